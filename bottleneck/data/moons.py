"""Two moons that a line may or may not tell apart: the example of gradient starvation (Pezeshki et al. 2021,
arXiv:2011.09468, figures 1 to 3, and its released code).

Two interleaved half circles of radius 1 with normal noise are moved 0.3 apart, each is folded over to its own side of
the line between them, and then shifted by `margin`: away from the line, so that one coordinate alone says the label, or
across it. That coordinate comes first. Unlike the code, angles are random rather than a grid, and the moons are centred
by the mean of the distribution rather than of the sample, so that no item depends on the others.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bottleneck.data import keyed
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source
from bottleneck.errors import UserError

APART, MEAN = 0.3, 0.25  # by how much the moons are moved, and the mean height of both after that


@dataclasses.dataclass(frozen=True)
class MoonsSpec:
    """margin: shift of each moon away from the line between them (negative: towards it). noise: standard deviation.

    A coordinate can be randomised: drawn as for another item with a label of its own. `separating` is the first, across
    the line, `along` the second. Each is a factor too: the label it was drawn for.
    """

    margin: float = 0.1
    noise: float = 0.1
    seed: int = 0

    randomisable = ("separating", "along")

    def __post_init__(self):
        if self.noise < 0:
            raise UserError("noise", self.noise, "a standard deviation of at least 0")


def load(spec: MoonsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Four splits of x float32 [n, 2], items of label 0 and 1 in turn."""
    splits = {}
    for position, split in enumerate(SPLITS):
        count = data.generated_sizes()[split]
        ids = np.arange(count, dtype=np.int32) + np.int32(position << 28)
        labels, key = ids % 2, ("moons", data.split_seed, spec.seed)
        factors, columns = {}, []
        for column, name in enumerate(spec.randomisable):
            stream = (*key, name) if name in randomise else key
            factors[name] = keyed.integers((*stream, "label"), ids, 2) if name in randomise else labels
            columns.append(_points(spec, stream, ids, factors[name])[column])
        items = np.stack(columns, axis=1).astype(np.float32)
        splits[split] = Examples(labels, ids, factors, items.__getitem__)
    return Source(splits, ("0", "1"), vectors=True)


def _points(spec, key, ids, labels):
    """(across, along), float64 [n] each: label 0 lies at positive heights."""
    angle = np.pi * keyed.uniform((*key, "angle"), ids)
    shake = spec.noise * keyed.normal((*key, "noise"), ids, 2)
    along = np.where(labels, 0.5 - np.cos(angle), np.cos(angle) - 0.5) + shake[:, 0]
    height = np.where(labels, 0.5 - np.sin(angle) - APART, np.sin(angle) + APART) + shake[:, 1] - MEAN
    return (1 - 2 * labels) * (np.abs(height) + spec.margin), along
