"""Changes to a source that plant known, competing features in real images; those of labels are in `relabelling`.

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
from bottleneck.data import keyed
from bottleneck.data import source as sources
from bottleneck.data.relabelling import Classes, LabelNoise, Labels, RandomLabels
from bottleneck.data.source import Source
from bottleneck.data.transform import Context, Transform, changed, probability, with_factors
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class Tint(Transform):
    """Tints the image with the colour of a value that announces the label with `reliability`.

    The K colours are evenly spaced hues; `strength` is the colour's share of the result. Below chance, 1/K, a colour
    would announce the other labels: `reliability` is at least that. Adds its key as a factor.
    """

    reliability: float = 1.0
    strength: float = 0.3

    def __post_init__(self):
        probability("reliability", self.reliability)
        probability("strength", self.strength)

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

            return _with_images(with_factors(examples, {context.key: tint}), colour)

        return changed(source, change)


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

        return changed(source, lambda split, examples: _with_images(examples, turn))


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

        return changed(source, lambda split, examples: _with_images(examples, blur))


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
        probability("reliability", self.reliability)
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

            both = dataclasses.replace(examples, factors=factors, fetch=fetch, crop=None)  # no image is stored as two
            return with_factors(both, {one: own, other: partner})

        return changed(source, change)


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


def _with_images(examples, change):
    """Images change when they are fetched, parts of stored images once they are cut."""
    fetch, crop = examples.fetch, examples.crop
    return dataclasses.replace(
        examples,
        fetch=lambda indices: change(fetch(indices), indices),
        crop=crop and (lambda indices, drawn: change(crop(indices, drawn), indices)),
    )


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
