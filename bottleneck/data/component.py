"""A component: one distribution of the mixture, a labelled source seen through a label and a few transforms.

`load` builds one from plain configuration, applies the transforms in order, and states what each split is: a
fingerprint of all that determines how its items look to a network, and their labels (configuration and content, never
a path).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bottleneck import identity
from bottleneck.data import resample, transforms
from bottleneck.data.reading import Reading
from bottleneck.data.source import (
    SPLITS,
    DataSpec,
    Examples,
    Source,
    described,
    hold_out,
    load_source,
    source_spec,
    stamp,
)
from bottleneck.errors import UserError

HELD_BYTES = 2**28  # a split up to this size is made once, at its first fetch, and kept in memory


@dataclasses.dataclass(frozen=True)
class ComponentSpec:
    """config.components.<name>.

    source: {"name": one of factors, arrays, folder, tfds, gaussian, slabs, moons, mnist1d, colored_digits, **fields of
    its spec}. transforms: applied in order; the key is the transform's name, or any label with {"name": transform}.
    randomise: factors made independent of the label: redrawn where they are generated or planted, all else unchanged;
    by resampling where they are known only as a column (metadata of real images). sizes: this component's own train,
    probe, val or test.
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
class File:
    """Items that a component shows: the data they belong to, and their names in every split that is its own."""

    digest: str
    names: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """A loaded component. fingerprints: split -> digest of what its items look like, and their labels; the same
    wherever the files lie. source: the source's typed spec. transforms: (key, typed transform), in order. files: of
    its own source, then of those that dominoes add; none for generated data. reading: what was read, for
    `reading.describe`.
    """

    name: str
    splits: dict[str, Examples]
    classes: tuple[str, ...]
    fingerprints: dict[str, str]
    source: Any
    transforms: tuple[tuple[str, transforms.Transform], ...]
    files: tuple[File, ...]
    reading: Reading

    @property
    def num_classes(self) -> int:
        """0 for regression."""
        return len(self.classes)

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        shape = self.reading.shape
        return (*shape, 3) if shape else self.splits["train"].fetch(np.arange(1)).shape[1:]

    @property
    def output_dim(self) -> int:
        """Number of classes, or of regression targets."""
        return len(self.classes) or self.splits["train"].labels.shape[1]

    @property
    def file(self) -> str:
        """A digest of the files of its own source, "" for generated data: equal where components share items."""
        return self.files[0].digest if self.files else ""

    def shown(self, split: str) -> str:
        """A digest of which items a split shows, whatever they look like: that of copies of the same images is one."""
        items = self.splits[split].items
        if items is None:
            return self.fingerprints[split]
        return hashlib.sha256(f"{self.file}{items.keys.tobytes().hex()}".encode()).hexdigest()[:32]


def shared_items(a: Component, b: Component) -> dict[str, list[str]]:
    """held-out split of `b` -> names of its items that `a` trains on, directly or as halves of dominoes; only splits
    that have any. Items are the same where file and name are. A probe split on training items is not held out.
    """
    shared: dict[str, set] = {}
    for one in a.files:
        trained = set(one.names["train"])
        for other in b.files if trained else ():
            for split in other.names if one.digest == other.digest else ():
                if split != "train":
                    shared.setdefault(split, set()).update(trained.intersection(other.names[split]))
    return {split: sorted(shared[split]) for split in SPLITS if shared.get(split)}


def copies(a: Component, b: Component) -> dict[str, int]:
    """held-out split of `b` -> its items whose image, before any transform, is byte for byte one that `a` trains on,
    of another file; only splits that have any, and none where contents are not known (see `shared_items` for one file).
    """
    known = all(c.splits["train"].items is not None and c.reading.notes.exact for c in (a, b))
    if a.file == b.file or not known:
        return {}
    trained = {row.tobytes() for row in a.splits["train"].items.contents}
    counts = {s: sum(row.tobytes() in trained for row in b.splits[s].items.contents) for s in SPLITS if s != "train"}
    return {split: count for split, count in counts.items() if count}


_loaded: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def load(name: str, spec: ComponentSpec, data: DataSpec) -> Component:
    """Loads component `name`. Raises UserError naming the key below `components.<name>`.

    While one is in use, the same specs over unchanged files give the same object.
    """
    try:
        data = dataclasses.replace(data, **spec.sizes)
        origin, chain = source_spec(spec.source), transforms.build(spec.transforms)
        stamps = tuple(stamp(one) for one in _origins(origin, chain))
        key = (name, repr((origin, chain, spec.randomise, data)), stamps)
        known = _loaded.get(key)
        if known is None:
            known = _loaded[key] = _load(name, origin, chain, spec.randomise, data)
        return known
    except UserError as error:
        raise error.under(f"components.{name}") from None


def _origins(origin, chain) -> Iterator:
    """The specs of all sources: the component's own and those that dominoes add."""
    yield origin
    for key, transform in chain:
        if isinstance(transform, transforms.Dominoes):
            try:
                yield from _origins(*transform.second)
            except UserError as error:
                raise error.under(f"transforms.{key}") from None


def _load(name, origin, chain, randomise, data):
    redrawn = [*origin.randomisable, *(factor for key, transform in chain for factor in transform.plants(key))]
    made = _run(origin, chain, data, tuple(factor for factor in randomise if factor in redrawn))
    natural = tuple(factor for factor in randomise if factor not in redrawn)
    source = _resampled(made.source, natural, redrawn, data.split_seed)
    _check_classes(source)
    splits, origins = dict(source.splits), {split: split for split in SPLITS}
    if data.probe_split == "train":
        splits["probe"] = splits["train"].take(np.arange(min(data.probe, len(splits["train"]))))
        origins["probe"] = "train"
    splits = {split: splits[split] for split in SPLITS}
    fingerprints = {
        split: identity.digest(
            {
                **made.looks[origins[split]],
                "randomise": sorted(randomise),
                "items": _held_items(splits[split], source.values),
            }
        )
        for split in SPLITS
    }
    files = tuple(File(file.digest, {s: n for s, n in file.names.items() if origins[s] == s}) for file in made.files)
    report = _report(name, origin, source, splits, origins, data)
    prefix = f"components.{name}"
    held = {s: _held(splits[s], prefix) for s in SPLITS}
    return Component(name, held, source.classes, fingerprints, origin, tuple(chain), files, report)


def _resampled(source, natural, redrawn, seed):
    known = source.splits["train"].factors
    for factor in natural:
        if factor not in known:
            names = ", ".join(dict.fromkeys((*redrawn, *known))) or "none"
            raise UserError("randomise", factor, f"a factor that can be redrawn or is a known column; here: {names}")
    return resample.independent(source, natural, seed) if natural else source


def _check_classes(source):
    if len(source.classes) == 1:
        raise UserError("source", source.classes[0], "at least two classes (all items are of this one)")


def _held_items(examples, values) -> str:
    """A digest of the items of one split: their ids and, of files, their names, contents, labels and factors."""
    sha = hashlib.sha256(examples.ids.astype("<i4").tobytes())
    if examples.items is not None:
        names = "\0".join(examples.items.names).encode(errors="surrogateescape")
        sha.update(hashlib.sha256(names).digest() + examples.items.contents.tobytes())
        sha.update(examples.labels.astype("<i4").tobytes())
        for name in sorted(examples.factors):
            # By what the values are called: values of other splits may shift their codes.
            present, codes = np.unique(examples.factors[name], return_inverse=True)
            called = [values[name][code] if name in values else int(code) for code in present]
            sha.update(identity.digest([name, called]).encode() + codes.astype("<i4").tobytes())
    return sha.hexdigest()


def _report(name, origin, source, splits, origins, data) -> Reading:
    """What was read, with duplicates across the splits that are its own."""
    held = {split: part for split, part in splits.items() if origins[split] == split and part.items is not None}
    contents = {split: [row.tobytes() for row in part.items.contents] for split, part in held.items()}
    duplicates = {}
    for position, split in enumerate(contents):
        known = set(contents[split])
        for other in list(contents)[position + 1 :]:
            if count := sum(content in known for content in contents[other]):
                duplicates[split, other] = count
    items = {split: len(part) for split, part in splits.items()}
    shape = () if source.vectors else data.shape
    source_name = described(origin)["name"]
    exact = duplicates if source.notes.exact else None
    absent = {split: _absent(part.labels, source.classes) for split, part in splits.items() if source.classes}
    return Reading(name, source_name, items, source.classes, shape, exact, source.notes, absent)


def _absent(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(classes[i] for i in np.setdiff1d(np.arange(len(classes)), labels))


@dataclasses.dataclass(frozen=True)
class _Made:
    """A source after its transforms. looks: split -> JSON-able data, how its items come to look as they do. files:
    whose items they are.
    """

    source: Source
    looks: dict[str, dict]
    files: tuple[File, ...]


def _run(origin, chain, data: DataSpec, randomise: tuple[str, ...]) -> _Made:
    """Loads source spec `origin`, makes the four splits and applies `chain`."""
    pairs = [transform.below for _, transform in chain if isinstance(transform, transforms.Dominoes)]
    parts = 2 ** sum(pairs), 2 ** (len(pairs) - sum(pairs))
    for side, size, count in zip(("height", "width"), data.shape, parts, strict=True):
        if size % count:
            raise UserError("image_size", data.image_size, f"a {side} divisible by {count}, for dominoes")
    half = tuple(size // count for size, count in zip(data.shape, parts, strict=True))
    whole, data = data, dataclasses.replace(data, image_size=half)
    source = load_source(origin, data, tuple(f for f in randomise if f in origin.randomisable))
    if chain and source.vectors:
        raise UserError(f"transforms.{chain[0][0]}", type(origin).__name__, "no transforms for vector inputs")
    partners, late = {}, False
    for key, transform in chain:
        if not transform.early and not late:
            source, late = hold_out(source, data), True
        context = transforms.Context(key, data, randomise)
        try:
            if isinstance(transform, transforms.Dominoes):
                partners[key] = _run(*transform.second, data, ())
                source = transform.apply(source, context, partners[key].source)
                height, width = data.shape
                doubled = (2 * height, width) if transform.below else (height, 2 * width)
                data = dataclasses.replace(data, image_size=doubled)
            else:
                source = transform.apply(source, context)
        except UserError as error:
            raise error.under(f"transforms.{key}") from None
    source = hold_out(source, data)
    looks = {split: _look(split, origin, chain, whole, partners, source) for split in SPLITS}
    names = {split: part.items.names for split, part in source.splits.items() if part.items is not None}
    files = (File(source.file, names),) if source.file else ()
    return _Made(source, looks, files + tuple(file for made in partners.values() for file in made.files))


def _look(split, origin, chain, data, partners, source) -> dict:
    """How the items of `split` come to look as they do, but for which items there are. Of the study's data only what is
    read: no normalisation, no size of any split, and no seed where nothing is drawn.
    """
    steps = []
    for key, transform in chain:
        step = [key, type(transform).__name__, identity.canonical(transform)]
        if key in partners:
            made = partners[key]
            step += [made.looks[split], _held_items(made.source.splits[split], made.source.values)]
        steps.append(step)
    look = {"split": split, "source": described(origin), "transforms": steps}
    if not source.vectors:
        look["shape"] = list(data.shape)
    if chain or not source.file:
        look["seed"] = data.split_seed
    return look


def _held(examples: Examples, prefix: str) -> Examples:
    """`examples`, its images made once and kept where the split is small, though not parts of them; mistakes in the
    data carry the component's name."""
    lock, kept, size, crop = threading.Lock(), [], len(examples), examples.crop

    def made(make, *given):
        try:
            return make(*given)
        except UserError as error:
            raise error.under(prefix) from None

    def fetch(indices):
        indices = np.asarray(indices, np.int64)
        with lock:
            if not kept:
                one = made(examples.fetch, np.arange(min(1, size)))
                small = one.nbytes * size <= HELD_BYTES
                kept.append(made(examples.fetch, np.arange(size)) if small else None)
        return made(examples.fetch, indices) if kept[0] is None else kept[0][indices]

    return dataclasses.replace(examples, fetch=fetch, crop=crop and functools.partial(made, crop))
