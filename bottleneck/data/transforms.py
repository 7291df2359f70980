"""Changes to a source that plant known, competing features in real images, or change what the labels say.

Each transform is a dataclass with `apply(source, context) -> Source`, pure and lazy: images change when
fetched. Every random choice is keyed by (data.split_seed, split, the transform's key, the item's key), never by
order. Dominoes after Shah et al. (arXiv:2006.07710); the tint is ColoredMNIST's idea (Arjovsky et al.,
arXiv:1907.02893).
"""

from __future__ import annotations

import colorsys
import dataclasses
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFilter

from bottleneck import identity, typed
from bottleneck.data import keyed, resample
from bottleneck.data import source as sources
from bottleneck.data.source import DataSpec, Source
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class Context:
    """Where a transform stands: its key in the component's `transforms`, the study's data (at the image size
    of this point of the chain), and the planted factors to make independent of the label.
    """

    key: str
    data: DataSpec
    randomise: tuple[str, ...]

    def stream(self, split: str, purpose: str) -> tuple:
        """The key of a stream of random numbers."""
        return ("transform", self.data.split_seed, split, self.key, purpose)


class Transform:
    """What all transforms share. `early` ones, listed first, act before the splits are made, so that sizes
    count what they leave.
    """

    early = False

    def plants(self, key: str) -> tuple[str, ...]:
        """Factors it adds that can be redrawn independently of the label."""
        return ()


@dataclasses.dataclass(frozen=True)
class Classes(Transform):
    """Keeps the classes named in `keep`, in that order, as classes 0, 1, ... (a number stands for its name).
    `balanced`: as many items of each as the smallest has in that split."""

    keep: tuple[int | str, ...]
    balanced: bool = False
    early = True

    def apply(self, source: Source, context: Context) -> Source:
        kept = [_class_index(source, "keep", name) for name in self.keep]
        if len(kept) < 2 or len(set(kept)) < len(kept):
            raise UserError("keep", self.keep, "at least two different classes")
        new = np.full(len(source.classes), -1, np.int32)
        new[kept] = np.arange(len(kept))

        def change(split, examples):
            rest = examples.take(new[examples.labels] >= 0)
            rest = dataclasses.replace(rest, labels=new[rest.labels])
            return rest.take(resample.balanced(rest, context.stream(split, "balanced"))) if self.balanced else rest

        return _changed(source, change, tuple(source.classes[c] for c in kept))


@dataclasses.dataclass(frozen=True)
class Labels(Transform):
    """Maps every class to a new one, many to one: `map` is old name -> new index, all of 0..k-1 used.

    The old class stays known as factor `class`.
    """

    map: dict[str, int]
    early = True

    def apply(self, source: Source, context: Context) -> Source:
        given = {_class_index(source, "map", name): label for name, label in self.map.items()}
        missing = [name for index, name in enumerate(source.classes) if index not in given]
        if missing:
            shown = ", ".join(missing[:5])
            raise UserError("map", self.map, f"a new class for every class (missing: {shown})")
        count = max(given.values()) + 1
        if sorted(set(given.values())) != list(range(count)) or count < 2:
            raise UserError("map", self.map, "new classes 0, 1, ..., at least two, none left out")
        new = np.array([given[index] for index in range(len(source.classes))], np.int32)
        names = ["|".join(np.array(source.classes)[new == label]) for label in range(count)]

        def change(split, examples):
            return dataclasses.replace(
                examples, labels=new[examples.labels], factors={"class": examples.labels, **examples.factors}
            )

        return _changed(source, change, tuple(names), {"class": source.classes})


@dataclasses.dataclass(frozen=True)
class Tint(Transform):
    """Tints the image with the colour of a value that announces the label with `reliability`.

    The K colours are evenly spaced hues; `strength` is the colour's share of the result. Below chance, 1/K, a colour
    would announce the other labels: `reliability` is at least that. Adds its key as a factor.
    """

    reliability: float = 1.0
    strength: float = 0.3

    def __post_init__(self):
        _probability("reliability", self.reliability)
        _probability("strength", self.strength)

    def plants(self, key: str) -> tuple[str, ...]:
        return (key,)

    def apply(self, source: Source, context: Context) -> Source:
        values = len(source.classes)
        if values > 1 and self.reliability < 1 / values - 1e-9:
            raise UserError("reliability", self.reliability, f"at least 1/{values}, chance among {values} classes")
        reliability = 1 / values if context.key in context.randomise else self.reliability
        hues = 255 * np.array([colorsys.hsv_to_rgb(value / values, 1, 1) for value in range(values)])

        def change(split, examples):
            stream = context.stream(split, "tint")
            tint = keyed.announce(stream, examples.keys, examples.labels, reliability, values)

            def colour(images, indices):
                mixed = (1 - self.strength) * images + self.strength * hues[tint[indices], None, None]
                return np.rint(mixed).astype(np.uint8)

            return _with_images(_with_factors(examples, {context.key: tint}), colour)

        return _changed(source, change)


@dataclasses.dataclass(frozen=True)
class Rotate(Transform):
    """Turns every image by `degrees`, counter-clockwise; quarter turns are exact, others bilinear on black."""

    degrees: float

    def apply(self, source: Source, context: Context) -> Source:
        turns, rest = divmod(self.degrees, 90)
        height, width = context.data.shape

        def turn(images, indices):
            if not rest and (height == width or turns % 2 == 0):
                return np.ascontiguousarray(np.rot90(images, int(turns), axes=(1, 2)))
            return _pictures(images, lambda picture: picture.rotate(self.degrees, Image.Resampling.BILINEAR))

        return _changed(source, lambda split, examples: _with_images(examples, turn))


@dataclasses.dataclass(frozen=True)
class Blur(Transform):
    """Blurs every image; `radius` is the standard deviation of the (Pillow) Gaussian in pixels."""

    radius: float

    def __post_init__(self):
        if self.radius < 0:
            raise UserError("radius", self.radius, "at least 0 pixels")

    def apply(self, source: Source, context: Context) -> Source:
        def blur(images, indices):
            return _pictures(images, lambda picture: picture.filter(ImageFilter.GaussianBlur(self.radius)))

        return _changed(source, lambda split, examples: _with_images(examples, blur))


@dataclasses.dataclass(frozen=True)
class LabelNoise(Transform):
    """With probability `rate`, replaces a label by one of the other classes, uniformly (symmetric noise).

    By default only in `splits=("train",)`: backbones see noisy labels, while probes, choices and tests ask
    for the clean task, as is usual in the study of noisy labels. Name all four splits to make the noise part
    of the task. Adds its key as a factor: 1 where the label was changed.
    """

    rate: float
    splits: tuple[Literal["train", "probe", "val", "test"], ...] = ("train",)

    def __post_init__(self):
        _probability("rate", self.rate)

    def apply(self, source: Source, context: Context) -> Source:
        def change(split, examples):
            rate = self.rate if split in self.splits else 0.0
            noisy = keyed.announce(
                context.stream(split, "noise"), examples.keys, examples.labels, 1 - rate, len(source.classes)
            )
            changed = _with_factors(examples, {context.key: (noisy != examples.labels).astype(np.int32)})
            return dataclasses.replace(changed, labels=noisy)

        return _changed(source, change)


@dataclasses.dataclass(frozen=True)
class RandomLabels(Transform):
    """Labels drawn uniformly, independent of the image, in every split; the true class stays as factor
    `class`.
    """

    def apply(self, source: Source, context: Context) -> Source:
        def change(split, examples):
            labels = keyed.integers(context.stream(split, "labels"), examples.keys, len(source.classes))
            return dataclasses.replace(examples, labels=labels, factors={"class": examples.labels, **examples.factors})

        return _changed(source, change, values={"class": source.classes})


@dataclasses.dataclass(frozen=True)
class Dominoes(Transform):
    """Puts an image of a second source to the right of each image, or `below` it, each half the size of the study's.

    `announces`: whether the label is the class of the left (top) image, of the right (bottom) one, or of both. A half
    that does not announce shows a class independent of the label. The second half announces with `reliability`.
    Partners come from the same split. Class c of the second source stands for class c of the first. Adds factors
    `left` and `right`, or `top` and `bottom`. `source` and `transforms` are those of the second source, as in a
    component; fingerprints state them as built.
    """

    source: dict[str, Any] = identity.field()
    announces: Literal["left", "right", "top", "bottom", "both"] = "both"
    reliability: float = 1.0
    transforms: dict[str, dict] = identity.field(default_factory=dict)
    below: bool = False

    def __post_init__(self):
        _probability("reliability", self.reliability)
        if self.announces not in (*self.halves, "both"):
            raise UserError("announces", self.announces, f"one of {', '.join(self.halves)}, both")

    @property
    def halves(self) -> tuple[str, str]:
        """What the first and the second image are called."""
        return ("top", "bottom") if self.below else ("left", "right")

    def plants(self, key: str) -> tuple[str, ...]:
        return self.halves

    @property
    def second(self) -> tuple[Any, list[tuple[str, Transform]]]:
        """The typed spec of the second source, and its transforms."""
        return sources.source_spec(self.source), build(self.transforms)

    def apply(self, source: Source, context: Context, second: Source) -> Source:
        """`second` is the loaded second source, at the image size of this point of the chain."""
        values, (one, other) = len(source.classes), self.halves
        if len(second.classes) < values:
            expected = f"a source of at least {values} classes (it has {len(second.classes)})"
            raise UserError("source", self.source.get("name"), expected)

        def side(name, split, examples, pool):
            announces = self.announces in (name, "both") and name not in context.randomise
            reliability = (self.reliability if name == other else 1.0) if announces else 1 / values
            stream = context.stream(split, name)
            shown = keyed.announce(stream, examples.keys, examples.labels, reliability, values)
            where = keyed.uniform((*stream, "item"), examples.keys)
            return shown, _members(pool, shown, where, split, second.classes)

        def change(split, examples):
            partner, partner_item = side(other, split, examples, second.splits[split])
            own, own_item = examples.labels, np.arange(len(examples))
            if self.announces == other or one in context.randomise:
                own, own_item = side(one, split, examples, examples)
            factors = {name: codes[own_item] for name, codes in examples.factors.items()}

            def fetch(indices):
                images = examples.fetch(own_item[indices]), second.splits[split].fetch(partner_item[indices])
                return np.concatenate(images, axis=1 if self.below else 2)

            both = dataclasses.replace(examples, factors=factors, fetch=fetch)
            return _with_factors(both, {one: own, other: partner})

        return _changed(source, change)


TRANSFORMS = {
    "classes": Classes,
    "labels": Labels,
    "tint": Tint,
    "rotate": Rotate,
    "blur": Blur,
    "label_noise": LabelNoise,
    "random_labels": RandomLabels,
    "dominoes": Dominoes,
}


def build(specs: dict[str, dict]) -> list[tuple[str, Transform]]:
    """(key, transform) in order, from {key: {**fields}} or {key: {"name": transform, **fields}}."""
    chain = []
    for key, given in specs.items():
        name = given.get("name", key)
        if name not in TRANSFORMS:
            raise UserError(f"transforms.{key}", name, "one of " + ", ".join(TRANSFORMS))
        fields = {k: v for k, v in given.items() if k != "name"}
        chain.append((key, typed.build(TRANSFORMS[name], fields, f"transforms.{key}")))
    return chain


def _changed(source, change, classes=None, values=None):
    """`source` after `change(split, examples)`, with other `classes` and the names of the `values` of new factors."""
    splits = {split: change(split, examples) for split, examples in source.splits.items()}
    classes = source.classes if classes is None else classes
    # A factor that was there already keeps its name, and its values.
    return dataclasses.replace(source, splits=splits, classes=classes, values={**(values or {}), **source.values})


def _with_factors(examples, added):
    return dataclasses.replace(examples, factors={**examples.factors, **added})


def _with_images(examples, change):
    fetch = examples.fetch
    return dataclasses.replace(examples, fetch=lambda indices: change(fetch(indices), indices))


def _pictures(images, change):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images]) if len(images) else images


def _members(pool, classes, where, split, names):
    """For each item, an item of `pool` of class `classes`, chosen by `where` in [0, 1)."""
    order = np.argsort(pool.labels, kind="stable")
    counts = np.bincount(pool.labels, minlength=int(classes.max(initial=0)) + 1)
    for absent in np.setdiff1d(classes, pool.labels):
        raise UserError("source", split, f"items of every class in this split (class {names[absent]!r} has none)")
    starts = np.cumsum(counts) - counts
    return order[starts[classes] + (where * counts[classes]).astype(np.int64)]


def _class_index(source, field, name):
    if str(name) not in source.classes:
        shown = ", ".join(source.classes[:20]) + ", ..." * (len(source.classes) > 20)
        raise UserError(field, name, f"one of the classes {shown}")
    return source.classes.index(str(name))


def _probability(field, value):
    if not 0 <= value <= 1:
        raise UserError(field, value, "a number from 0 to 1")
