"""Refusals before anything is written: what training or transfer would stumble over later. All raise UserError."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from bottleneck.arms import ARMS
from bottleneck.data import component as components
from bottleneck.data.component import Component
from bottleneck.data.relabelling import Classes, Labels
from bottleneck.errors import UserError
from bottleneck.features import foreign
from bottleneck.features.layers import LAST, POSITIONS, tap_and_mode
from bottleneck.items import RELEASED
from bottleneck.planning.episodes import Episodes
from bottleneck.representations import RepresentationSpec, source_of
from bottleneck.study import StudySpec
from bottleneck.training.run import duration

LEAST_CKA = 20  # test items of a component


def data(study: StudySpec, inside: dict[str, Component], targets: dict[str, Component]) -> None:
    """What components must agree on."""
    shared_labels(study, inside)
    held_out(study, inside, targets)
    one_output(study, inside, targets)
    regression = study.objective.name == "regression"
    for name, component in targets.items():
        if regression != (component.num_classes == 0):
            kind = "classes" if component.num_classes else "vectors"
            raise UserError("objective.name", study.objective.name, f"the objective of the labels of {name!r} ({kind})")
        for protocol in ("k_shot", RELEASED):
            if protocol in study.probe.protocols and regression:
                raise UserError("probe.protocols", protocol, f"protocols for vectors, which the labels of {name!r} are")


def one_output(study: StudySpec, inside: dict[str, Component], targets: dict[str, Component]) -> None:
    """One output tells two classes apart, of components that share them; nothing else makes such a classifier."""
    if study.objective.loss != "softplus":
        return
    for name, component in targets.items():
        if component.num_classes != 2:
            expected = f"'softmax', for the {component.num_classes} classes of {name!r}"
            raise UserError("objective.loss", "softplus", expected)
    if len(inside) > 1 and study.mixture.label_space != "shared":
        raise UserError(
            "mixture.label_space", study.mixture.label_space, "'shared', where objective.loss is 'softplus'"
        )


def shared_labels(study: StudySpec, inside: dict[str, Component]) -> None:
    """A shared label space joins classes by position: components must not name the same position differently."""
    if study.mixture.label_space != "shared":
        return
    named = [component for component in inside.values() if not relabelled(component)]
    longest = max(named, key=lambda component: component.num_classes, default=None)
    for component in named:
        for index, (name, other) in enumerate(zip(component.classes, longest.classes)):
            if name != other:
                expected = (
                    f"one name for class {index}, which is {name!r} in {component.name!r} and {other!r} in "
                    f"{longest.name!r}; or a transform `labels` or `classes` that says which belong together, or "
                    "'disjoint'"
                )
                raise UserError("mixture.label_space", "shared", expected)


def relabelled(component: Component) -> bool:
    """Whether its config says which of its classes are which."""
    return any(isinstance(transform, Labels | Classes) for _, transform in component.transforms)


def held_out(study: StudySpec, inside: dict[str, Component], targets: dict[str, Component]) -> None:
    """Components of one file must hold out the same items, or one trains on what another is probed with."""
    if study.data.probe_split == "train":
        return
    for a in inside.values():
        for b in targets.values():
            for split in components.shared_items(a, b):
                expected = (
                    f"{split} items that {a.name!r} does not train on: components of one file need the same sizes "
                    "and the same classes before their labels are mapped"
                )
                raise UserError("components", b.name, expected)


def model(episodes: Episodes) -> None:
    """Whether the model fits the images and what is asked of it."""
    study, shape = episodes.study, episodes.shape
    try:
        study.augment.check(shape)
    except UserError as error:
        raise error.under("augment") from None
    episodes.model  # noqa: B018  refuses what the model's spec cannot be
    if "probe_finetune" in study.probe.protocols:
        if study.model.get("use_bias") is False:
            raise UserError(
                "model.use_bias", False, "True: 'probe_finetune' starts from a probe, which has an intercept"
            )
        if study.objective.loss == "softplus":
            expected = "'softmax': 'probe_finetune' starts from a probe, which has a logit for each class"
            raise UserError("objective.loss", "softplus", expected)


def start(episodes: Episodes) -> None:
    """Whether the weights that runs start from are of the study's model, and for images of its size."""
    if episodes.converted is None:
        return
    model, network, place = episodes.model, episodes.converted.network, episodes.study.init
    if model.name != network.spec.name:
        raise UserError("model.name", model.name, f"{network.spec.name!r}, of which the weights in init={place} are")
    for field in dataclasses.fields(model):
        own, held = getattr(model, field.name), getattr(network.spec, field.name)
        if own != held and field.name != "zero_residual":  # it says how random weights begin
            raise UserError(f"model.{field.name}", own, f"{held!r}, as the weights in init={place} have it")
    size = network.image_size
    if size and episodes.shape[:2] != (size, size):
        expected = f"images of {size} x {size} pixels, for which the position embedding in init={place} is"
        raise UserError("data.image_size", list(episodes.shape[:2]), expected)


def layers(read: Iterable[tuple[str, str, dict[str, int]]]) -> None:
    """`read`: (config key, layer, the model's taps with their numbers of dimensions)."""
    for path, layer, taps in read:
        try:
            tap, mode = tap_and_mode(layer)
        except UserError as error:
            raise UserError(path, layer, error.expected) from None
        if tap not in taps:
            raise UserError(path, layer, f"a layer of the model: {', '.join(taps)}")
        if mode == POSITIONS and (path != "analysis.layers" or taps[tap] < 3):
            raise UserError(path, layer, "one vector per item here: pooled, or flattened")


def members(study: StudySpec) -> None:
    """Whether members from elsewhere name the only layer there is, which has no steps."""
    for name, spec in study.representations.items():
        for pattern in spec.patterns:
            whose, _, which = pattern.partition("@")
            if source_of(pattern) in study.sources and which not in (f"last:{LAST}", f"0:{LAST}"):
                expected = f"{whose}@last:{LAST}, as features from elsewhere are of one step and one layer"
                raise UserError(f"representations.{name}.members", pattern, expected)


def arms(study: StudySpec, declared: dict[str, RepresentationSpec]) -> None:
    """Whether the arms of further protocols are there, and what these can read."""
    known = (*ARMS, "random", *declared)
    for arm in study.probe.arms:
        if arm not in known:
            raise UserError("probe.arms", arm, f"arms and representations among {', '.join(known)}")
        if arm in declared and declared[arm].combine == "average":
            raise UserError("probe.arms", arm, "a representation of features, not of averaged predictions")


def shots(episodes: Episodes) -> None:
    """Few-shot sizes and durations of fine-tuning."""
    study = episodes.study
    for name, component in episodes.targets.items():
        train, batch = component.splits["train"], study.train.batch
        for key in ("steps", "head_steps"):
            value = getattr(study.probe.finetune, key)
            duration(value, batch=batch, key=f"probe.finetune.{key}", examples=len(train))
        asked = {
            "probe.shots": (study.probe.shots if "k_shot" in study.probe.protocols else (), "probe"),
            "probe.finetune.shots": (
                study.probe.finetune.shots if "finetune" in study.probe.protocols else (),
                "train",
            ),
        }
        for key, (numbers, split) in asked.items():
            if not numbers or not component.num_classes:
                continue
            least = np.bincount(component.splits[split].labels, minlength=component.num_classes).min()
            if max(numbers) > least:
                said = "probe items" if split == "probe" else "training items"
                raise UserError(key, numbers, f"at most {least}, the {said} of the smallest class of {name!r}")


def analyses(study: StudySpec, targets: dict[str, Component]) -> None:
    """Analyses that a study cannot have."""
    spaced = [layer for layer in study.analysis.layers if layer.endswith(f".{POSITIONS}")]
    if spaced and len(spaced) < len(study.analysis.layers):
        expected = "positions of all layers or of none: other modes have other samples"
        raise UserError("analysis.layers", study.analysis.layers, expected)
    wanted = [kind for kind in study.analysis.kinds if kind != "cka"]
    if study.objective.name == "regression" and wanted:
        raise UserError("analysis.kinds", wanted[0], "'cka' alone where labels are vectors")
    for name, component in targets.items():
        items = len(component.splits["test"])
        if "cka" in study.analysis.kinds and items < LEAST_CKA:
            raise UserError("analysis.kinds", "cka", f"at least {LEAST_CKA} test items, not the {items} of {name!r}")


def sources(study: StudySpec, targets: dict[str, Component]) -> None:
    """Whether features from elsewhere are there, whole, and of the targets' items."""
    for name, spec in study.sources.items():
        for directory in spec.directories:
            for component in targets.values():
                try:
                    foreign.load(directory, component)
                except UserError as error:
                    raise UserError(f"sources.{name}", error.value, error.expected) from None
