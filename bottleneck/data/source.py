"""A source: labels, ids, known factors and a pure `fetch` for each of four splits, from plain configuration.

An item of files is what it is: its relative path, or the SHA-256 of its bytes. Its id, its split and every random
choice about it follow from that name, never from the order of a file.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from bottleneck import identity, typed
from bottleneck.data import keyed
from bottleneck.data.reading import Notes
from bottleneck.errors import UserError

SPLITS = ("train", "probe", "val", "test")

_SOURCES = {
    "factors": ("bottleneck.data.factors", "FactorsSpec"),
    "arrays": ("bottleneck.data.arrays", "ArraysSpec"),
    "folder": ("bottleneck.data.folder", "FolderSpec"),
    "tfds": ("bottleneck.data.tfds", "TfdsSpec"),
    "gaussian": ("bottleneck.data.gaussian", "GaussianSpec"),
    "slabs": ("bottleneck.data.slabs", "SlabsSpec"),
    "moons": ("bottleneck.data.moons", "MoonsSpec"),
    "mnist1d": ("bottleneck.data.mnist1d", "Mnist1dSpec"),
    "colored_digits": ("bottleneck.data.colored_digits", "ColoredDigitsSpec"),
}


@dataclasses.dataclass(frozen=True)
class Items:
    """What items of files are. names: str [n], in an object array. keys: uint64 [n], the hash of the name. contents:
    uint8 [n, 32], SHA-256 of the file or array (of name and size where data.fingerprint="names").
    """

    names: np.ndarray
    keys: np.ndarray
    contents: np.ndarray

    def take(self, rows: np.ndarray) -> Items:
        return Items(self.names[rows], self.keys[rows], self.contents[rows])


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of one component.

    labels: int32 [n] class indices, or float32 [n, m] for regression. ids: int32 [n], unique within the component over
    all splits (but for repeats in a resampled train split, and for probes on training items); of files, 31 bits of the
    hash of the item's name. factors: name -> int32 [n]. fetch: indices int [k] -> uint8 [k, H, W, 3], or float32 [k, d]
    for vector inputs; pure. items: what the items of files are; None where data are generated and the id says it all.
    crop: indices int [k], `crops.drawn` of each -> what `fetch` gives, but of these parts of the images as they are
    stored; None where there is no such image.
    """

    labels: np.ndarray
    ids: np.ndarray
    factors: dict[str, np.ndarray]
    fetch: Callable[[np.ndarray], np.ndarray]
    items: Items | None = None
    crop: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def keys(self) -> np.ndarray:
        """Integers [n] that random choices about the items are keyed by."""
        return self.ids if self.items is None else self.items.keys

    def take(self, rows: np.ndarray) -> Examples:
        """The items at `rows` (int [k] or bool [n]), in that order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        fetch, crop = self.fetch, self.crop
        return Examples(
            self.labels[rows],
            self.ids[rows],
            {k: v[rows] for k, v in self.factors.items()},
            lambda indices: fetch(rows[indices]),
            None if self.items is None else self.items.take(rows),
            crop and (lambda indices, drawn: crop(rows[indices], drawn)),
        )


@dataclasses.dataclass(frozen=True)
class Source:
    """What a source's `load` returns.

    splits: all of SPLITS, or only `train`, `test` and perhaps `val` where `hold_out` is to make the others. classes:
    names, () for regression. values: factor -> the names of its values, where it has any. file: a digest of the data
    that names of items belong to, wherever they lie, "" for generated data. notes: what was seen while reading.
    vectors: whether items are float32 [d] rather than images, so that the study's image size means nothing to them.
    """

    splits: dict[str, Examples]
    classes: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    file: str = ""
    notes: Notes = dataclasses.field(default_factory=Notes)
    vectors: bool = False


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """What every component of a study shares: one image size, one normalisation, one seed for splits.

    Sizes: generated sources need `train` and `test`. File sources hold `probe` and `val` items out of their
    training set, stratified by class; the rest, capped at `train`, trains, and the test set is capped at
    `test`. `mean` and `std` are in units of [0, 1]. `probe_split="train"` fits probes on the first `probe`
    training items. `fingerprint` of folders: `content` reads every file once, and remembers its hash by path, size and
    time of modification; `names` trusts names and sizes, for millions of files: a file changed at equal size is not
    noticed, nor are duplicates.
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
    fingerprint: Literal["content", "names"] = identity.field(default="content")

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
    return typed.build(getattr(importlib.import_module(module), cls), fields, path)


def load_source(spec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Loads a source from its spec dataclass."""
    return importlib.import_module(type(spec).__module__).load(spec, data, randomise)


def described(spec) -> dict:
    """A source's spec as canonical, JSON-able data with its name, without paths and without fields at their default; of
    encoded images with the number of the decoder."""
    names = {module: name for name, (module, _) in _SOURCES.items()}
    where = type(spec).__module__
    decoder = getattr(importlib.import_module(where), "DECODER", None)
    return {"name": names[where], **({"decoder": decoder} if decoder else {}), **identity.canonical(spec)}


def stamp(spec):
    """Something hashable that is another once the files of `spec` are others; () for generated data."""
    return getattr(importlib.import_module(type(spec).__module__), "stamp", lambda spec: ())(spec)


def content_names(hashes: Mapping[str, Sequence[str]], labels: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """split -> names of items known by the hash of their bytes: the hash, its repeats numbered from 2.

    Repeats are numbered split by split, in the order of their labels, never of the file.
    """
    seen, names = collections.Counter(), {}
    for split, digests in hashes.items():
        names[split] = list(digests)
        for row in np.lexsort((labels[split], np.array(digests, "S"))):
            seen[digests[row]] += 1
            if seen[digests[row]] > 1:
                names[split][row] += f"-{seen[digests[row]]}"
    return names


def items(names: Sequence[str], contents: Sequence[bytes]) -> Items:
    """Items from their names and the SHA-256 of their contents, 32 bytes each."""
    named = np.empty(len(names), object)
    named[:] = names
    keys = np.frombuffer(
        b"".join(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8] for name in names), "<u8"
    )
    return Items(named, keys, np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 32))


def ordered(splits: dict[str, Examples]) -> dict[str, Examples]:
    """Every split in canonical order, sorted by name, with ids from the names (whatever `ids` they came with)."""
    splits = {split: part.take(np.argsort(part.items.names, kind="stable")) for split, part in splits.items()}
    names = np.concatenate([part.items.names for part in splits.values()])
    keys = np.concatenate([part.items.keys for part in splits.values()])
    order = np.argsort(names, kind="stable")
    ids = np.empty(len(names), np.int32)
    ids[order] = _numbers(keys[order])
    stops = np.cumsum([len(part) for part in splits.values()])
    parts = np.split(ids, stops[:-1])
    return {split: dataclasses.replace(part, ids=its) for (split, part), its in zip(splits.items(), parts, strict=True)}


def _numbers(keys):
    """int32 [n]: the upper 31 bits of each key; where they are taken, the next that are not."""
    ids = (keys >> np.uint64(33)).astype(np.int64)
    first = np.unique(ids, return_index=True)[1]
    taken = set(ids.tolist()) if len(first) < len(ids) else set()
    for row in np.setdiff1d(np.arange(len(ids)), first):
        while ids[row] in taken:
            ids[row] = (ids[row] + 1) % 2**31
        taken.add(int(ids[row]))
    return ids.astype(np.int32)


def hold_out(source: Source, data: DataSpec) -> Source:
    """Makes the four splits of a source that has `train`, `test` and perhaps `val`.

    `probe` and `val` items are held out of `train` by the hash of the item's name and data.split_seed, stratified by
    class; `train` and `test` are capped the same way. A source with all four is returned as it is. Raises UserError
    where a class is too small.
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
                    f"and in {split} (class {class_name!r} has {items:,} training items)",
                )
    if not len(rest):
        raise UserError("sizes.probe", data.probe, f"fewer items than the training set has ({len(train):,})")
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
    order = rows[np.argsort(keyed.bits(key, examples.keys[rows]), kind="stable")]
    if count is None or count >= len(order):
        return order
    if examples.labels.ndim > 1:
        return order[:count]
    classes, inverse, sizes = np.unique(examples.labels[order], return_inverse=True, return_counts=True)
    quota = apportion(count * sizes / len(order))
    rank = np.empty(len(order), int)
    for label in range(len(classes)):
        where = np.flatnonzero(inverse == label)
        rank[where] = np.arange(len(where))
    return order[rank < quota[inverse]]


def apportion(shares: np.ndarray) -> np.ndarray:
    """int [k]: whole numbers near `shares` (float [k], at least 0), of the same sum, by largest remainder."""
    quota = np.floor(shares + 1e-9).astype(int)
    missing = int(np.floor(shares.sum() + 1e-6)) - quota.sum()
    quota[np.argsort(quota - shares, kind="stable")[:missing]] += 1
    return quota
