"""A source: labels, ids, known factors and a pure `fetch` for each of four splits, from plain configuration."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Literal

import numpy as np

from bottleneck import config
from bottleneck.data import keyed
from bottleneck.errors import UserError

SPLITS = ("train", "probe", "val", "test")

_SOURCES = {
    "factors": ("bottleneck.data.factors", "FactorsSpec"),
    "arrays": ("bottleneck.data.arrays", "ArraysSpec"),
    "folder": ("bottleneck.data.folder", "FolderSpec"),
    "tfds": ("bottleneck.data.tfds", "TfdsSpec"),
    "gaussian": ("bottleneck.data.gaussian", "GaussianSpec"),
}


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of one component.

    labels: int32 [n] class indices, or float32 [n, m] for regression. ids: int32 [n], unique within the
    component over all splits. factors: name -> int32 [n]. fetch: indices int [k] -> uint8 [k, H, W, 3], or
    float32 [k, d] for vector inputs; pure.
    """

    labels: np.ndarray
    ids: np.ndarray
    factors: dict[str, np.ndarray]
    fetch: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Examples:
        """The items at `rows` (int [k] or bool [n]), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        fetch = self.fetch
        return Examples(
            self.labels[rows],
            self.ids[rows],
            {k: v[rows] for k, v in self.factors.items()},
            lambda indices: fetch(rows[indices]),
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """What a source's `load` returns.

    splits: all of SPLITS, or only `train`, `test` and perhaps `val` where `hold_out` is to make the others.
    classes: names, () for regression. fingerprint: hash of file-based data (a folder's names, sizes and labels), "" for generated
    data.
    """

    splits: dict[str, Examples]
    classes: tuple[str, ...]
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What every component of a study shares: one image size, one normalisation, one seed for splits.

    Sizes: generated sources need `train` and `test`. File sources hold `probe` and `val` items out of their
    training set, stratified by class; the rest, capped at `train`, trains, and the test set is capped at
    `test`. `mean` and `std` are in units of [0, 1]. `probe_split="train"` fits probes on the first `probe`
    training items.
    """

    image_size: int | tuple[int, int] = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    split_seed: int = 0
    train: int | None = None
    probe: int = 2000
    val: int = 1000
    test: int | None = None
    probe_split: Literal["held_out", "train"] = "held_out"

    def __post_init__(self):
        if min(self.shape) < 4:
            raise UserError("image_size", self.image_size, "at least 4 pixels")
        for key in ("mean", "std"):
            if len(getattr(self, key)) != 3:
                raise UserError(key, getattr(self, key), "three numbers")
        if min(self.std) <= 0:
            raise UserError("std", self.std, "three positive numbers")
        for split in SPLITS:
            size = getattr(self, split)
            if size is not None and size < 1:
                raise UserError(split, size, "at least 1 item")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size

    def generated_sizes(self) -> dict[str, int]:
        """Split -> items, for generated data; raises UserError where one is not given."""
        for split in ("train", "test"):
            if getattr(self, split) is None:
                raise UserError(f"sizes.{split}", None, "a number of items (the data are generated)")
        held_out = self.probe if self.probe_split == "held_out" else 0
        return {"train": self.train, "probe": held_out, "val": self.val, "test": self.test}


def source_spec(source: dict, path: str = "source"):
    """Builds the spec dataclass of `source`; raises UserError naming the key."""
    name = source.get("name") if isinstance(source, dict) else None
    if name not in _SOURCES:
        raise UserError(f"{path}.name", name, "one of " + ", ".join(_SOURCES))
    module, cls = _SOURCES[name]
    fields = {k: v for k, v in source.items() if k != "name"}
    return config.build(getattr(importlib.import_module(module), cls), fields, path)


def load_source(spec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Loads a source from its spec dataclass."""
    return importlib.import_module(type(spec).__module__).load(spec, data, randomise)


def fields(spec) -> dict:
    """A spec dataclass as JSON-able plain data, without fields marked as no part of its identity (paths)."""
    names = [f.name for f in dataclasses.fields(spec) if f.metadata.get("identity", True)]
    values = [getattr(spec, name) for name in names]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in zip(names, values, strict=True)}


def path_field(**kwargs):
    """A dataclass field left out of the identity: where data lie, or what the identity states in another way."""
    return dataclasses.field(metadata={"identity": False}, **kwargs)


def hold_out(source: Source, data: DataSpec) -> Source:
    """Makes the four splits of a source that has `train`, `test` and perhaps `val`.

    `probe` and `val` items are held out of `train` by data.split_seed, stratified by class; `train` and
    `test` are capped the same way. A source with all four is returned as it is. Raises UserError where a
    class is too small.
    """
    if set(source.splits) == set(SPLITS):
        return source
    train, test = source.splits["train"], source.splits["test"]
    _check_classes(source)
    wanted = {"probe": data.probe if data.probe_split == "held_out" else 0}
    if "val" not in source.splits:
        wanted["val"] = data.val
    rest, splits = np.arange(len(train)), {}
    for split, count in wanted.items():
        chosen = _stratified(train, rest, count, (data.split_seed, "hold out"))
        rest = np.setdiff1d(rest, chosen)
        splits[split] = train.take(np.sort(chosen))
        for label, class_name in enumerate(source.classes):
            if not np.any(train.labels[rest] == label) or count and not np.any(splits[split].labels == label):
                items = int(np.sum(train.labels == label))
                raise UserError(
                    f"sizes.{split}",
                    count,
                    f"a size that leaves items of every class in train "
                    f"and in {split} (class {class_name!r} has {items} training items)",
                )
    if not len(rest):
        raise UserError("sizes.probe", data.probe, f"fewer items than the training set has ({len(train)})")
    order = _stratified(train, rest, data.train, (data.split_seed, "train"))
    splits["train"] = train.take(order)
    if "val" not in splits:
        val = source.splits["val"]
        kept = _stratified(val, np.arange(len(val)), data.val, (data.split_seed, "val"))
        splits["val"] = val.take(np.sort(kept))
    kept = _stratified(test, np.arange(len(test)), data.test, (data.split_seed, "test"))
    splits["test"] = test.take(np.sort(kept))
    return dataclasses.replace(source, splits={split: splits[split] for split in SPLITS})


def _check_classes(source: Source) -> None:
    for split, examples in source.splits.items():
        if not len(examples):
            raise UserError("source", split, "a source with items in this split")
        for label, class_name in enumerate(source.classes):
            if (
                split != "train"
                and np.any(examples.labels == label)
                and not np.any(source.splits["train"].labels == label)
            ):
                raise UserError("source", class_name, f"no class in {split} that is absent from train")


def _stratified(examples: Examples, rows: np.ndarray, count: int | None, key: tuple) -> np.ndarray:
    """At most `count` of `rows` (None: all), classes in proportion (largest remainder), in keyed random
    order.
    """
    order = rows[np.argsort(keyed.bits(key, examples.ids[rows]), kind="stable")]
    if count is None or count >= len(order):
        return order
    if examples.labels.ndim > 1:
        return order[:count]
    labels = examples.labels[order]
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    exact = count * sizes / len(order)
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    rank = np.empty(len(order), int)
    for label in range(len(classes)):
        where = np.flatnonzero(inverse == label)
        rank[where] = np.arange(len(where))
    return order[rank < quota[inverse]]
