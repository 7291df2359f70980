"""Vector inputs with a known retained set: component j asks for one direction of a Gaussian.

x ~ N(0, I_d) and the target is `scale * <u_j, x> e_j` plus noise, with orthonormal u shared by all
components. A two-layer linear network of width k trained on a mixture keeps the k largest weight_j * scale_j
(Saxe, McClelland and Ganguli, arXiv:1312.6120, for the order in which the modes are learned).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bottleneck.data.source import SPLITS, DataSpec, Examples, Source
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class GaussianSpec:
    """index: which direction and which output, j. outputs: how many components share the space. seed: of the
    u.
    """

    index: int = 0
    dim: int = 20
    outputs: int = 6
    scale: float = 1.0
    noise: float = 0.0
    seed: int = 0

    randomisable = ()

    def __post_init__(self):
        if not 1 <= self.outputs <= self.dim:
            raise UserError("outputs", self.outputs, f"1 to dim={self.dim} (the directions are orthogonal)")
        if not 0 <= self.index < self.outputs:
            raise UserError("index", self.index, f"0 to {self.outputs - 1}")
        if self.noise < 0:
            raise UserError("noise", self.noise, "a standard deviation of at least 0")


def directions(dim: int, outputs: int, seed: int) -> np.ndarray:
    """float64 [outputs, dim], orthonormal rows: the u of every component with this seed."""
    draws = np.random.default_rng([0xD12EC, seed]).standard_normal((dim, outputs))
    return np.linalg.qr(draws)[0].T


def load(spec: GaussianSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Four splits of x float32 [n, dim] and labels float32 [n, outputs], zero outside column `index`."""
    direction = directions(spec.dim, spec.outputs, spec.seed)[spec.index]
    splits = {}
    for position, split in enumerate(SPLITS):
        count = data.generated_sizes()[split]
        rng = np.random.default_rng([data.split_seed, spec.seed, spec.index, position])
        # Input and noise of an item are one row of draws, so a larger split only adds items.
        draws = rng.standard_normal((count, spec.dim + 1))
        inputs = draws[:, :-1]
        labels = np.zeros((count, spec.outputs), np.float32)
        labels[:, spec.index] = spec.scale * (inputs @ direction) + spec.noise * draws[:, -1]
        ids = np.arange(count, dtype=np.int32) + np.int32(position << 28)
        splits[split] = Examples(labels, ids, {}, inputs.astype(np.float32).__getitem__)
    return Source(splits, (), vectors=True)
