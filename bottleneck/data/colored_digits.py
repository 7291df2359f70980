"""Digits whose colour says the label more reliably than their shape does, but otherwise from one environment to the
next: ColoredMNIST (Arjovsky et al. 2019, arXiv:1907.02893, as in Pezeshki et al. 2021 and Zhang et al. 2022).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bottleneck import identity
from bottleneck.data import arrays, keyed
from bottleneck.data.source import DataSpec, Source
from bottleneck.errors import UserError

_DIGITS = tuple(str(digit) for digit in range(10))


@dataclasses.dataclass(frozen=True)
class ColoredDigitsSpec:
    """path: a `.npz` file of gray digits as `arrays` reads it, of the classes 0 to 9 (MNIST).

    The label is 1 for digits below 5, flipped with probability `label_noise`. The colour is the label, flipped with the
    probability of the item's environment: items are dealt to the environments of `flips` evenly. Every second row and
    column is kept, and stands in one of two planes, that of the colour: an item is float32 [2 * 14 * 14] in [0, 1]. The
    factor `colour` can be randomised, which is a flip of 1/2. Further factors: `digit`, `environment` and `shape`, the
    label before noise. Noise and colours are keyed by the item, so components of one file hold out the same items.
    """

    path: str = identity.field()
    flips: tuple[float, ...] = (0.1, 0.2)
    label_noise: float = 0.25
    seed: int = 0

    randomisable = ("colour",)

    def __post_init__(self):
        if not self.flips or not all(0 <= flip <= 1 for flip in self.flips):
            raise UserError("flips", self.flips, "a probability for each environment")
        if not 0 <= self.label_noise <= 1:
            raise UserError("label_noise", self.label_noise, "a probability")


def stamp(spec: ColoredDigitsSpec) -> tuple:
    """Another one once the file is another."""
    return arrays.stamp(arrays.ArraysSpec(spec.path))


def load(spec: ColoredDigitsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Splits train, test and perhaps val. Raises UserError as `arrays.load` does, and for other classes or sizes."""
    sizes = arrays.load(arrays.ArraysSpec(spec.path), data).notes.sizes
    if len(sizes) > 1 or any(side % 2 for size in sizes for side in size):
        raise UserError("source.path", spec.path, "images of one size, of an even number of rows and columns")
    ((width, height),) = sizes
    whole = arrays.load(arrays.ArraysSpec(spec.path), dataclasses.replace(data, image_size=(height, width)))
    if whole.classes != _DIGITS:
        raise UserError("source.path", spec.path, f"the classes 0 to 9 (here: {', '.join(whole.classes[:12])})")
    splits = {split: _coloured(spec, data, examples, randomise) for split, examples in whole.splits.items()}
    notes = dataclasses.replace(whole.notes, sizes={}, modes={})  # they are read as vectors
    return dataclasses.replace(whole, splits=splits, classes=("5-9", "0-4"), notes=notes, vectors=True)


def _coloured(spec, data, examples, randomise):
    key, keys = ("colored digits", data.split_seed, spec.seed), examples.keys
    shape = (examples.labels < 5).astype(np.int32)
    labels = shape ^ (keyed.uniform((*key, "noise"), keys) < spec.label_noise)
    environment = keyed.integers((*key, "environment"), keys, len(spec.flips))
    flip = 0.5 if "colour" in randomise else np.array(spec.flips)[environment]
    colour = labels ^ (keyed.uniform((*key, "flip"), keys) < flip)
    factors = {"colour": colour, "shape": shape, "digit": examples.labels, "environment": environment}

    def fetch(rows):
        gray = examples.fetch(rows)[:, ::2, ::2, 0].astype(np.float32) / 255
        planes = np.zeros((len(gray), 2, *gray.shape[1:]), np.float32)
        planes[np.arange(len(gray)), colour[rows]] = gray
        return planes.reshape(len(gray), -1)

    return dataclasses.replace(examples, labels=labels, factors=factors, fetch=fetch)
