"""The eigenbasis of one set of features, in which every linear probe of them is solved.

One eigendecomposition of the centred features of the probe split (raw or standardised) serves every ridge penalty,
every target, the whitened condition and the solves of the multinomial logistic probe. Beside the coordinates
themselves, memory is bounded by chunks of items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bottleneck.errors import UserError

CHUNK = 2**23  # numbers, float64: 64 MiB
SMALLEST_SPREAD = 1e-12  # of a unit, beside its mean and the largest spread: units below count as constant


@dataclass(frozen=True)
class Basis:
    """Eigenbasis of the probe split's features: `x -> ((x - mean) * inverse_scale) @ vectors`."""

    scaling: str  # "raw" or "standardised"; whitening is standardised with a shrinkage
    mean: np.ndarray  # [p]
    inverse_scale: np.ndarray  # [p], 0 for a constant column when standardised
    vectors: np.ndarray  # [p, r], orthonormal
    variances: np.ndarray  # [r], descending
    items: np.ndarray  # [n, r + 1] coordinates of the probe split, and 1 for the intercept

    @property
    def coordinates(self) -> np.ndarray:
        """[n, r] of the probe split."""
        return self.items[:, :-1]

    def project(self, x) -> np.ndarray:
        """Coordinates [m, r] of other items [m, p]."""
        projected = np.empty((len(x), len(self.variances)))
        for rows in chunks(*np.shape(x)):
            projected[rows] = ((np.asarray(x[rows], np.float64) - self.mean) * self.inverse_scale) @ self.vectors
        return projected

    def penalties(self, lam: float, shrinkage: float | None = None) -> np.ndarray:
        """Diagonal penalty [r] in this basis: `lam`, or `lam (s + shrinkage)` for whitened coordinates."""
        return np.full(len(self.variances), lam) if shrinkage is None else lam * (self.variances + shrinkage)

    def to_input(self, weights, intercept) -> tuple[np.ndarray, np.ndarray]:
        """Weights [r, k], intercept [k] in this basis -> the same function of raw features: [p, k], [k]."""
        kernel = self.inverse_scale[:, None] * (self.vectors @ weights)
        return kernel, intercept - self.mean @ kernel

    def outputs(self, x, weights, intercept) -> np.ndarray:
        """What weights [r, k] and an intercept [k] in this basis say of other items [m, p]: [m, k]."""
        kernel, bias = self.to_input(weights, intercept)
        said = [np.asarray(x[rows], np.float64) @ kernel + bias for rows in chunks(*np.shape(x))]
        return np.concatenate(said) if said else np.empty((0, len(bias)))


def basis(x, scaling: str = "raw", most: int | None = None) -> Basis:
    """Eigenbasis of `x` [n, p], by the smaller of the p x p covariance and the n x n Gram; of its directions the `most`
    leading ones.

    Directions with less than about 1e-13 of the largest variance are below the resolution of float64 and dropped.
    """
    if scaling not in ("raw", "standardised"):
        raise UserError("scaling", scaling, "raw or standardised")
    n, p = np.shape(x)
    parts, inverse_scale = chunks(n, p), np.ones(p)
    mean = sum(np.asarray(x[rows], np.float64).sum(0) for rows in parts) / n

    def scaled(rows):
        return (np.asarray(x[rows], np.float64) - mean) * inverse_scale

    if scaling == "standardised":
        inverse_scale = inverse_spread(sum((scaled(rows) ** 2).sum(0) for rows in parts) / n, mean)
    if p <= n:
        variances, vectors = np.linalg.eigh(sum(z.T @ z for z in map(scaled, parts)) / n)
    else:
        z = scaled(slice(None))
        variances, left = np.linalg.eigh(z @ z.T / n)
        vectors = z.T @ left
    keep = variances > max(variances[-1], 0.0) * max(n, p) * np.finfo(np.float64).eps
    vectors = vectors[:, keep][:, ::-1][:, :most]
    if p > n:
        vectors = vectors / np.linalg.norm(vectors, axis=0)
    items = np.ones((n, vectors.shape[1] + 1))
    for rows in parts:
        items[rows, :-1] = scaled(rows) @ vectors
    variances = sum((items[rows, :-1] ** 2).sum(0) for rows in parts) / n
    return Basis(scaling, mean, inverse_scale, vectors, variances, items)


def chunks(n: int, width: int) -> list[slice]:
    """Rows of n x `width` numbers, at most CHUNK numbers at a time."""
    size = max(1, CHUNK // max(1, width))
    return [slice(start, start + size) for start in range(0, n, size)]


def inverse_spread(variance, mean) -> np.ndarray:
    """1 / standard deviation [p] of features of a `variance` and `mean` [p]; 0 for constant ones."""
    std = np.sqrt(variance)
    # below that is rounding, of the unit's own mean or of the other units
    varies = std > SMALLEST_SPREAD * np.maximum(np.abs(mean), std.max(initial=1e-300))
    return np.where(varies, 1.0 / np.where(varies, std, 1.0), 0.0)


def class_sums(items, labels, classes: int) -> np.ndarray:
    """[K, r]: the sum of the `items` [n, r] of each class; the last of a basis' own items is their number."""
    rows = np.asarray(labels), np.arange(len(labels))
    member = sparse.csr_array((np.ones(len(labels)), rows), shape=(classes, len(labels)))
    return np.asarray(member @ items)
