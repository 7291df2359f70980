"""Transforms of what the labels say: which classes there are, which of them an item is given, and how often wrongly."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from bottleneck.data import keyed, resample
from bottleneck.data.source import Source
from bottleneck.data.transform import Context, Transform, changed, probability, with_factors
from bottleneck.errors import UserError


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

        return changed(source, change, tuple(source.classes[c] for c in kept))


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

        return changed(source, change, tuple(names), {"class": source.classes})


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
        probability("rate", self.rate)

    def apply(self, source: Source, context: Context) -> Source:
        def change(split, examples):
            rate = self.rate if split in self.splits else 0.0
            noisy = keyed.announce(
                context.stream(split, "noise"), examples.keys, examples.labels, 1 - rate, len(source.classes)
            )
            changed = with_factors(examples, {context.key: (noisy != examples.labels).astype(np.int32)})
            return dataclasses.replace(changed, labels=noisy)

        return changed(source, change)


@dataclasses.dataclass(frozen=True)
class RandomLabels(Transform):
    """Labels drawn uniformly, independent of the image, in every split; the true class stays as factor
    `class`.
    """

    def apply(self, source: Source, context: Context) -> Source:
        def change(split, examples):
            labels = keyed.integers(context.stream(split, "labels"), examples.keys, len(source.classes))
            return dataclasses.replace(examples, labels=labels, factors={"class": examples.labels, **examples.factors})

        return changed(source, change, values={"class": source.classes})


def _class_index(source, field, name):
    if str(name) not in source.classes:
        shown = ", ".join(source.classes[:20]) + ", ..." * (len(source.classes) > 20)
        raise UserError(field, name, f"one of the classes {shown}")
    return source.classes.index(str(name))
