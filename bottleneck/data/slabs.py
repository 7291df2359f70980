"""Vectors of linear and multi-slab coordinates, every one of which alone predicts the label (Shah et al. 2020,
arXiv:2006.07710, section 3 and appendix B): which of them does a network come to use?

Each coordinate lies in [-1, 1]. A linear one is above `margin` where the label is 1, below -`margin` where it is 0. A
k-slab one lies in one of k slabs of equal width, `2 margin` apart, that belong to the two labels in turn; the middle
one belongs to label 0. Given the label, coordinates are independent. The masses of the slabs are those of the released
code: of label 0 in five slabs 3/4 lie in the middle; in seven slabs 7/8 of label 1 lie in the inner pair, and half of
label 0 in the middle.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from bottleneck.data import keyed
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source
from bottleneck.errors import UserError

# Number of slabs -> for either label the chance of its innermost slabs: the middle one, or the pair beside it.
_INNER = {3: (1.0, 1.0), 5: (3 / 4, 1.0), 7: (1 / 2, 7 / 8)}
_KINDS = {"slabs3": 3, "slabs5": 5, "slabs7": 7}  # block -> number of slabs


@dataclasses.dataclass(frozen=True)
class SlabsSpec:
    """LMS-5 by default: one linear and 49 five-slab coordinates. linear, slabs3, slabs5, slabs7: how many coordinates
    of each block; `margin` as above. noise: the chance that a linear coordinate says nothing, drawn within its margin.
    rotate: whether a random rotation hides the coordinates. seed: another rotation, and other items.

    A block can be randomised: drawn as if for another, random label, the same for all of its coordinates (`slabs`: all
    blocks but the linear one). Factors: `linear` and `slabs3` to `slabs7`, the label that the block was drawn for, and
    `slab`, in which slab from the left the first slab coordinate lies.
    """

    linear: int = 1
    slabs3: int = 0
    slabs5: int = 49
    slabs7: int = 0
    margin: float = 0.1
    noise: float = 0.0
    rotate: bool = True
    seed: int = 0

    randomisable = ("linear", "slabs", *_KINDS)

    def __post_init__(self):
        for block in ("linear", *_KINDS):
            if getattr(self, block) < 0:
                raise UserError(block, getattr(self, block), "a number of coordinates")
        if not self.dim:
            raise UserError("linear", self.linear, "at least one coordinate in all")
        if not 0 < self.margin < 1 / 6:
            raise UserError("margin", self.margin, "a number between 0 and 1/6, so that seven slabs fit into [-1, 1]")
        if not 0 <= self.noise <= 1:
            raise UserError("noise", self.noise, "a probability")

    @property
    def dim(self) -> int:
        return self.linear + self.slabs3 + self.slabs5 + self.slabs7

    @property
    def blocks(self) -> dict[str, int]:
        """The blocks that there are, with their numbers of coordinates, in order."""
        return {block: getattr(self, block) for block in ("linear", *_KINDS) if getattr(self, block)}


def rotation(spec: SlabsSpec) -> np.ndarray:
    """float64 [dim, dim], orthogonal: items are coordinates @ rotation."""
    if not spec.rotate:
        return np.eye(spec.dim)
    draws = np.random.default_rng([0x51AB5, spec.seed]).standard_normal((spec.dim, spec.dim))
    q, r = np.linalg.qr(draws)
    return q * np.sign(np.diag(r))  # uniform over all rotations and reflections


def load(spec: SlabsSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Four splits of x float32 [n, dim] with labels 0 and 1. Blocks in `randomise` are independent of the label."""
    splits = {}
    for position, split in enumerate(SPLITS):
        count = data.generated_sizes()[split]
        # An item's id fixes all of it, so a larger split only adds items.
        ids = np.arange(count, dtype=np.int32) + np.int32(position << 28)
        key = ("slabs", data.split_seed, spec.seed)
        labels = keyed.integers((*key, "label"), ids, 2)
        drawn_for = dict.fromkeys(spec.blocks, labels)
        for block in spec.blocks:
            group = block if block in randomise or block == "linear" else "slabs"
            if group in randomise:
                drawn_for[block] = keyed.integers((*key, "random", group), ids, 2)
        factors = dict(drawn_for)
        for block in [block for block in spec.blocks if block != "linear"][:1]:
            factors["slab"] = _slab(_KINDS[block], (*key, spec.linear), ids, drawn_for[block])
        splits[split] = Examples(labels, ids, factors, functools.partial(_fetch, spec, key, ids, drawn_for))
    return Source(splits, ("0", "1"), vectors=True)


def _fetch(spec, key, ids, drawn_for, rows):
    """float32 [n, dim]: the items at `rows`."""
    ids, columns = ids[rows], []
    for block, number in spec.blocks.items():
        labels = drawn_for[block][rows]
        for _ in range(number):
            stream = (*key, len(columns))
            if block == "linear":
                columns.append(_linear(spec, stream, ids, labels))
            else:
                slab = _slab(_KINDS[block], stream, ids, labels)
                columns.append(_position(_KINDS[block], spec.margin, stream, ids, slab))
    return (np.stack(columns, axis=1) @ rotation(spec)).astype(np.float32)


def _linear(spec, key, ids, labels):
    depth = keyed.uniform((*key, "depth"), ids)
    sided = (2 * labels - 1) * (spec.margin + (1 - spec.margin) * depth)
    return np.where(keyed.uniform((*key, "noise"), ids) < spec.noise, (2 * depth - 1) * spec.margin, sided)


def _slab(slabs, key, ids, labels):
    """int32 [n] in 0..slabs-1: which slab from the left; every second one is of label 1, the middle one of label 0."""
    outer = keyed.uniform((*key, "outer"), ids) >= np.array(_INNER[slabs])[labels]
    rank = labels + 2 * outer  # from the middle
    side = 2 * keyed.integers((*key, "side"), ids, 2) - 1
    return ((slabs - 1) // 2 + side * rank).astype(np.int32)


def _position(slabs, margin, key, ids, slab):
    """float64 [n]: a place in the slab, uniformly."""
    gap = 2 * margin
    width = (2 - (slabs - 1) * gap) / slabs
    return (slab - (slabs - 1) // 2) * (width + gap) + width * (keyed.uniform((*key, "depth"), ids) - 0.5)
