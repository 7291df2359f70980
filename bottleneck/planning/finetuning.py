"""Fine-tuning: direct training on a target with a start, as runs of the graph, read by the head they end with.

What starts it is one network, or several side by side under one head (models.joined): a concatenated representation.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from bottleneck import price, workers
from bottleneck.analysis import probes as solved
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.features import extract
from bottleneck.features.join import collect
from bottleneck.features.layers import LAST
from bottleneck.features.source import SPLITS, Kept, Member
from bottleneck.models import joined
from bottleneck.planning.planner import Planner
from bottleneck.pretraining import Start
from bottleneck.probing import START, TUNED, null
from bottleneck.training.run import Run

PLAIN, LINEAR_FIRST, _, TWO_STAGE, WARM = TUNED


def add(
    planner: Planner, arm: str, index: int, target: str, members, seeds, protocol: str, asks=(), reduce=False
) -> None:
    """The networks of `members`, of these seeds, on the target's training items; with "finetune", on so many shots of
    them too.

    `probe_finetune` (LP-FT, Kumar et al. 2022) starts from the linear probe's classifier, `finetune` and
    `dropout_finetune` (very large dropout on the features, Zhang & Bottou 2024) from a fresh one. `two_stage` (Zhang &
    Bottou 2023) trains the head alone above members that were fine-tuned each for itself, from the head that averages
    their logits; of several members that average is read as well (`two_stage_start`). `warm_start` (Ash & Adams 2020)
    goes on with the whole network, head included, on other items of the same classes.
    """
    check(arm, members, reduce)
    if protocol == WARM and not all(goes_on(planner, member, target) for member in members):
        return
    name = arm if len(members) > 1 else members[0].source.run.name
    shots = (None, *planner.study.probe.finetune.shots) if protocol == PLAIN else (None,)
    for count in shots:
        tuned = run(planner, name, target, members, seeds, protocol, count, asks)
        called = f"{protocol}-{name}-{target}/{seeds[0]}"
        last = planner.kept(tuned, tuned.steps, called, LAST)
        planner.probe(arm, index, target, (last,), protocol, asks, shots=count)
        if protocol == TWO_STAGE and len(members) > 1:
            planner.probe(arm, index, target, (planner.kept(tuned, 0, called, LAST),), START, asks)


def check(arm: str, members: tuple[Member, ...], reduce) -> None:
    """Raises UserError on members that cannot be trained further under one head."""
    kept = all(isinstance(m.source, Kept) and m.layer == LAST for m in members)
    nested = len(members) > 1 and kept and any(isinstance(m.source.run.model, joined.JoinedSpec) for m in members)
    if not kept or nested or reduce:
        expected = f"for fine-tuning, networks trained here and read at their last layer {LAST!r}, not reduced"
        raise UserError("probe.arms", arm, expected)


def goes_on(planner: Planner, member: Member, target: str) -> bool:
    """Whether a network can go on with its own classifier on a target that it was not trained on."""
    trained, component = member.source.run, planner.episodes.targets[target]
    return (
        target not in trained.components
        and planner.head(member.source, target) is not None
        and (trained.outputs == component.output_dim)
    )


def run(planner: Planner, name: str, target: str, members, seeds, protocol: str, shots: int | None, asks) -> Run:
    """The fine-tuned run, asked for."""
    component = whole = planner.episodes.targets[target]
    if shots:
        rows = solved.k_shot(whole.splits["train"].labels, shots, seeds[0], 0)
        component = few(whole, rows, shots, seeds[0])
    if protocol == TWO_STAGE:
        members = tuple(alone(planner, target, *each, asks) for each in zip(members, seeds, strict=True))
    parents = tuple((member.source.run, member.source.step) for member in members)
    tuned = planner.episodes.finetuned(name, parents, target, component, protocol, seeds[0], shots)
    start = Start(parents)
    if protocol == LINEAR_FIRST:
        needs = tuple(extract.of_member(member, whole) for member in members)
        start = Start(parents, needs, partial(solved_head, members, whole, planner.study.probe.scalings))
        for member in members:
            planner.read(member.source, LAST, whole, asks)
    elif protocol in (TWO_STAGE, WARM):
        start = Start(parents, head=partial(mean_head, parents))
    for member in members:
        planner.keep(member.source, asks)
    planner.parents[tuned.key] = tuple(price.ancestors(members).items())
    planner.lessons[tuned.key] = tuple((*place, images) for place, images in price.lessons(members).items())
    planner.train(tuned, asks, start, (component,))
    return tuned


def alone(planner: Planner, target: str, member: Member, seed: int, asks) -> Member:
    """One member fine-tuned by itself, as the protocol `finetune` of that network does it."""
    name = member.source.run.name
    tuned = run(planner, name, target, (member,), (seed,), PLAIN, None, asks)
    return planner.kept(tuned, tuned.steps, f"{PLAIN}-{name}-{target}/{seed}", LAST)


def few(component: Component, rows: np.ndarray, shots: int, seed: int) -> Component:
    """The component with so many training items per class."""
    train = component.splits["train"].take(rows)
    fingerprint = f"{component.fingerprints['train']} {shots} shots {seed}"
    return dataclasses.replace(
        component,
        splits={**component.splits, "train": train},
        fingerprints={**component.fingerprints, "train": fingerprint},
    )


def solved_head(members: tuple[Member, ...], component: Component, scalings, store) -> dict[str, np.ndarray]:
    """The linear probe's classifier with its scaling folded in, on raw features: kernel [sum of p_i, K], bias [K]."""
    y = {split: component.splits[split].labels for split in SPLITS}
    task = "classification" if component.num_classes else "regression"
    x = collect(store, members, component)
    how = dict(scalings=scalings, task=task, prior=null(component))
    with threadpool_limits(1, "blas"):  # as where probes are solved side by side
        probe = workers.call(solved.linear_probe, x, y, component.num_classes, **how)
    return {"kernel": probe.weights.astype(np.float32), "bias": probe.intercept.astype(np.float32)}


def mean_head(parents: tuple[tuple[Run, int], ...], store) -> dict[str, np.ndarray]:
    """The classifier that averages the logits of kept steps."""
    return joined.averaging_head([store.variables(*parent)["params"]["head"] for parent in parents])
