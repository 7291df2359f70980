"""A component: one distribution of the mixture, a labelled source seen through a label and a few transforms.

`load` builds one from plain configuration, applies the transforms in order, and states the component's identity
(configuration and content, never a path).
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from bottleneck import config
from bottleneck.data import transforms
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source, fields, hold_out, load_source, source_spec
from bottleneck.errors import UserError

HELD_BYTES = 2**28  # a split up to this size is made once, at its first fetch, and kept in memory


@dataclasses.dataclass(frozen=True)
class ComponentSpec:
    """config.components.<name>.

    source: {"name": one of factors, arrays, folder, tfds, gaussian, **fields of its spec}. transforms:
    applied in order; the key is the transform's name, or any label with {"name": transform}. randomise:
    factors made independent of the label, all else unchanged. sizes: this component's own train, probe, val
    or test.
    """

    source: dict[str, Any]
    transforms: dict[str, dict] = dataclasses.field(default_factory=dict)
    randomise: tuple[str, ...] = ()
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for split in self.sizes:
            if split not in SPLITS:
                raise UserError(f"sizes.{split}", self.sizes[split], "one of " + ", ".join(SPLITS))


@dataclasses.dataclass(frozen=True)
class Component:
    """A loaded component. identity: what makes it, JSON-able, the same wherever the files lie."""

    name: str
    splits: dict[str, Examples]
    classes: tuple[str, ...]
    identity: dict

    @property
    def num_classes(self) -> int:
        """0 for regression."""
        return len(self.classes)

    @property
    def output_dim(self) -> int:
        """Number of classes, or of regression targets."""
        return len(self.classes) or self.splits["train"].labels.shape[1]


def load(name: str, spec: ComponentSpec, data: DataSpec) -> Component:
    """Loads component `name`. Raises UserError naming the key below `components.<name>`."""
    try:
        return _load(name, spec, data)
    except UserError as error:
        raise error.under(f"components.{name}") from None


def _load(name, spec, data):
    data = dataclasses.replace(data, **spec.sizes)
    origin = source_spec(spec.source)
    chain = build(spec.transforms)
    planted = [factor for key, transform in chain for factor in transform.plants(key)]
    for factor in spec.randomise:
        if factor not in (*origin.randomisable, *planted):
            known = ", ".join((*origin.randomisable, *planted)) or "none"
            raise UserError("randomise", factor, f"a factor that can be redrawn; here: {known}")
    source, chain_identity = run(origin, chain, data, spec.randomise)
    splits = dict(source.splits)
    if data.probe_split == "train":
        splits["probe"] = splits["train"].take(np.arange(min(data.probe, len(splits["train"]))))
    identity = {
        "source": {"name": spec.source["name"], **fields(origin)},
        "transforms": chain_identity,
        "randomise": sorted(spec.randomise),
        "fingerprint": source.fingerprint,
        "data": {**fields(data), "image_size": list(data.shape)},
    }
    prefix = f"components.{name}"
    held = {s: dataclasses.replace(splits[s], fetch=_held(splits[s], prefix)) for s in SPLITS}
    return Component(name, held, source.classes, identity)


def build(specs: dict[str, dict]) -> list[tuple[str, transforms.Transform]]:
    """(key, transform) in order, from {key: {**fields}} or {key: {"name": transform, **fields}}."""
    chain = []
    for key, given in specs.items():
        name = given.get("name", key)
        if name not in transforms.TRANSFORMS:
            raise UserError(f"transforms.{key}", name, "one of " + ", ".join(transforms.TRANSFORMS))
        fields = {k: v for k, v in given.items() if k != "name"}
        chain.append((key, config.build(transforms.TRANSFORMS[name], fields, f"transforms.{key}")))
    return chain


def run(
    origin, chain: list[tuple[str, transforms.Transform]], data: DataSpec, randomise: tuple[str, ...]
) -> tuple[Source, list]:
    """Loads source spec `origin`, makes the four splits and applies `chain`.

    Returns the source and, as JSON-able data, what the chain is: [key, transform, fields] and, for dominoes,
    what its second source is.
    """
    height, width = data.shape
    halvings = sum(isinstance(transform, transforms.Dominoes) for _, transform in chain)
    if width % 2**halvings:
        raise UserError("image_size", data.image_size, f"a width divisible by {2**halvings}, for dominoes")
    data = dataclasses.replace(data, image_size=(height, width >> halvings))
    source = load_source(origin, data, tuple(f for f in randomise if f in origin.randomisable))
    if chain and not source.classes:
        raise UserError(f"transforms.{chain[0][0]}", type(origin).__name__, "no transforms for vector inputs")
    described, late = [], False
    for key, transform in chain:
        if not transform.early and not late:
            source, late = hold_out(source, data), True
        entry = [key, type(transform).__name__, fields(transform)]
        context = transforms.Context(key, data, randomise)
        try:
            if isinstance(transform, transforms.Dominoes):
                second = source_spec(transform.source)
                inner = build(transform.transforms)
                partner, inner_described = run(second, inner, data, ())
                entry.append(
                    {"source": {"name": transform.source["name"], **fields(second)}, "transforms": inner_described}
                )
                source = transform.apply(source, context, partner)
                data = dataclasses.replace(data, image_size=(height, 2 * data.shape[1]))
            else:
                source = transform.apply(source, context)
        except UserError as error:
            raise error.under(f"transforms.{key}") from None
        described.append(entry)
    return hold_out(source, data), described


def touch(component: Component) -> None:
    """Fetches one item of every split, so that files that cannot be read are met (UserError) before any work."""
    for examples in component.splits.values():
        examples.fetch(np.arange(min(1, len(examples))))


def _held(examples: Examples, prefix: str) -> Callable[[np.ndarray], np.ndarray]:
    """`fetch`, made once and kept where the split is small; mistakes in the data carry the component's name."""
    lock, kept, size = threading.Lock(), [], len(examples)

    def made(indices):
        try:
            return examples.fetch(indices)
        except UserError as error:
            raise error.under(prefix) from None

    def fetch(indices):
        indices = np.asarray(indices, np.int64)
        with lock:
            if not kept:
                one = made(np.arange(min(1, size)))
                small = one.nbytes * size <= HELD_BYTES
                kept.append(made(np.arange(size)) if small else None)
        return made(indices) if kept[0] is None else kept[0][indices]

    return fetch
