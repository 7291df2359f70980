"""Ridge regression for every penalty of a grid: in the eigenbasis of the features a penalty costs one division."""

from __future__ import annotations

import numpy as np

from bottleneck.analysis.eigenbasis import Basis, class_sums

GRID = tuple(float(v) for v in np.logspace(-6, 5, 45))  # the community's grid (Kornblith et al. 2019; DINOv2)
WHITENED_PENALTY = 1e-3  # whitening sweeps the shrinkage; the penalty in whitened coordinates stays here


def ridge(
    space: Basis, targets, lambdas=GRID, *, whitened: bool = False, classes: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of `targets` [n, m] for every penalty: weights [len(lambdas), r, m] and intercept [m]. With a
    number of `classes`, labels int [n] stand for their one-hots.

    Minimises `mean |y - f|^2 + lam |w|^2` in the scaling's own coordinates with a free intercept. If `whitened`, the
    values are shrinkages and the penalty is `WHITENED_PENALTY` in the whitened coordinates.
    """
    if classes:
        sums = class_sums(space.items, targets, classes)
        intercept = sums[:, -1] / len(targets)
        cross = sums[:, :-1].T / len(targets)  # coordinates have mean 0
    else:
        targets = np.asarray(targets, np.float64)
        intercept = targets.mean(0)
        cross = space.coordinates.T @ (targets - intercept) / len(targets)
    shifts = [space.penalties(WHITENED_PENALTY, v) if whitened else space.penalties(v) for v in lambdas]
    return np.stack([cross / (space.variances + shift)[:, None] for shift in shifts]), intercept


def squared_errors(weights, coordinates, targets) -> np.ndarray:
    """Mean squared errors [L, m] of `weights` [L, r, m] at `coordinates` [n, r].

    `targets` [n, m] come less the intercept. `mean (y - z w)^2` multiplied out: second moments replace a pass over the
    items for every penalty.
    """
    n, (steps, r, m) = len(targets), weights.shape
    moments, cross = coordinates.T @ coordinates / n, coordinates.T @ targets / n
    flat = weights.transpose(1, 0, 2).reshape(r, steps * m)
    return (targets**2).mean(0) - 2.0 * (weights * cross).sum(1) + (flat * (moments @ flat)).sum(0).reshape(steps, m)
