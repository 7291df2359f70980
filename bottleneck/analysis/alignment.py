"""Companions of CKA: how well one representation can be rotated, or linearly regressed, onto another.

Cross-validated forms read everything from the moments of the folds, so a fold costs products of p x p matrices and no
further pass over the items. Context beside a probe, never a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.eigenbasis import basis
from bottleneck.analysis.hsic import centred, matrix
from bottleneck.analysis.ridge import GRID
from bottleneck.errors import UserError

FOLDS = 5
SEED = 0  # of the one shuffle into folds


def mean_cca2(x, y) -> float:
    """Mean squared canonical correlation of centred `x` [n, p1] and `y` [n, p2], over min(rank x, rank y) directions.

    In sample, as a reference: for y of one unit it is the R2 of least squares, and independent representations read
    max(p1, p2) / (n - 1). nan if one of them does not vary. Raises UserError unless n > p1 + p2: with fewer examples
    some correlations are 1 whatever the features.
    """
    x, y = matrix("x", x), matrix("y", y, len(x))
    if len(x) <= x.shape[1] + y.shape[1]:
        raise UserError("x", x.shape, f"more examples than the {x.shape[1] + y.shape[1]} units of both representations")
    spaces = [basis(z) for z in (centred(x), centred(y))]
    if not all(len(space.variances) for space in spaces):
        return float("nan")
    u, v = (space.coordinates / np.sqrt(len(x) * space.variances) for space in spaces)
    return float(((u.T @ v) ** 2).sum() / min(u.shape[1], v.shape[1]))


def procrustes(x, y, *, folds: int | None = None) -> float:
    """Cosine of `y` and the best rotation of `x` onto it: the nuclear norm of Xc^T Yc over |Xc| |Yc| (Frobenius).

    1 if they agree up to rotation, shift and scale. `x` [n, p1], `y` [n, p2]; zeros pad the narrower one. In sample,
    independent representations read about 8 / (3 pi) sqrt(p/n) (p1 = p2 = p much below n); with `folds` the rotation is
    found on the other folds and they read 0. nan if one of them does not vary.
    """
    x, y = matrix("x", x), matrix("y", y, len(x))
    if folds is not None:
        return companions(x, y, folds=folds).procrustes
    x, y = centred(x), centred(y)
    scale = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.linalg.norm(x.T @ y, "nuc") / scale) if scale > 0 else float("nan")


def ridge_r2(x, y, *, folds: int = FOLDS) -> float:
    """Share of the variance of `y` [n, p2], all units together, that ridge regression on `x` [n, p1] predicts.

    Held out, in `folds` folds. The penalty is chosen on the other folds by generalised cross-validation (Golub, Heath
    & Wahba 1979), from the community's grid in units of the mean variance of `x`; one penalty serves all units. It may
    be negative, by noise; nan if x or y does not vary.
    """
    return companions(x, y, folds=folds).r2_xy


@dataclass(frozen=True)
class Companions:
    """Cross-validated companions of a similarity."""

    r2_xy: float  # of y from x
    r2_yx: float  # of x from y
    procrustes: float


def companions(x, y, *, groups=None, folds: int = FOLDS) -> Companions:
    """Ridge R2 in both directions and the Procrustes cosine of `x` [n, p1] and `y` [n, p2], over the same folds.

    `groups` int [n] takes out the means of every group first, over all its items (what a held-out item adds to its own
    group's mean is of order 1/n). Folds are drawn by a fixed seed. Raises UserError for fewer than 2.
    """
    x, y = matrix("x", x), matrix("y", y, len(x))
    if folds < 2:
        raise UserError("folds", folds, "at least 2")
    x, y = (z if z.shape[1] <= len(z) else basis(z).coordinates for z in (centred(x, groups), centred(y, groups)))
    if not (x.any() and y.any()):
        return Companions(*[float("nan")] * 3)
    order = np.random.default_rng(SEED).permutation(len(x))
    tests = [_Moments.of(x[items], y[items]) for items in np.array_split(order, min(folds, len(x)))]
    total = sum(tests[1:], tests[0])
    parts = []
    for test in tests:
        train = total - test
        covariances, held_out = train.about(train), test.about(train)
        u, _, v = np.linalg.svd(covariances.xy, full_matrices=False)
        parts.append(
            (
                _ridge_error(covariances, held_out),
                np.trace(held_out.yy),
                _ridge_error(covariances.swapped(), held_out.swapped()),
                np.trace(held_out.xx),
                ((u.T @ held_out.xy) * v).sum(),
            )
        )
    error_y, total_y, error_x, total_x, aligned = np.sum(parts, 0)
    return Companions(
        float(1.0 - error_y / total_y), float(1.0 - error_x / total_x), float(aligned / np.sqrt(total_x * total_y))
    )


@dataclass(frozen=True)
class _Moments:
    """Number of items, sums and sums of products of some rows of x and y."""

    n: int
    x: np.ndarray  # [p1]
    y: np.ndarray  # [p2]
    xx: np.ndarray  # [p1, p1]
    xy: np.ndarray  # [p1, p2]
    yy: np.ndarray  # [p2, p2]

    @staticmethod
    def of(x, y) -> _Moments:
        return _Moments(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, y.T @ y)

    def __add__(self, other) -> _Moments:
        return _Moments(*(getattr(self, k) + getattr(other, k) for k in self.__dataclass_fields__))

    def __sub__(self, other) -> _Moments:
        return _Moments(*(getattr(self, k) - getattr(other, k) for k in self.__dataclass_fields__))

    def about(self, train) -> _Moments:
        """Mean products of deviations from the means of `train`."""
        x, y = train.x / train.n, train.y / train.n
        sx, sy = self.x / self.n - x, self.y / self.n - y

        def shifted(products, a, b, sa, sb):  # E (u - a)(v - b) = E uv - (a + sa)(b + sb) + sa sb
            return products / self.n - np.outer(a + sa, b + sb) + np.outer(sa, sb)

        return _Moments(
            self.n,
            sx,
            sy,
            shifted(self.xx, x, x, sx, sx),
            shifted(self.xy, x, y, sx, sy),
            shifted(self.yy, y, y, sy, sy),
        )

    def swapped(self) -> _Moments:
        return _Moments(self.n, self.y, self.x, self.yy, self.xy.T, self.xx)


def _ridge_error(train: _Moments, test: _Moments) -> float:
    """Mean squared error on `test` of ridge of y on x fitted to `train`, both about the means of `train`."""
    variances, vectors = np.linalg.eigh(train.xx)
    variances = np.maximum(variances, 0.0)
    cross = vectors.T @ train.xy
    explained = (cross**2).sum(1)
    best, chosen = np.inf, 1.0
    for penalty in np.array(GRID)[::-1] * (variances.mean() or 1.0):  # a tie goes to the strongest penalty
        shrunk = variances + penalty
        error = np.trace(train.yy) - (explained * (shrunk + penalty) / shrunk**2).sum()
        score = error / (1.0 - (1.0 + (variances / shrunk).sum()) / train.n) ** 2
        if score < best:
            best, chosen = score, penalty
    kernel = vectors @ (cross / (variances + chosen)[:, None])
    return float(np.trace(test.yy) - 2.0 * (kernel * test.xy).sum() + (kernel * (test.xx @ kernel)).sum())
