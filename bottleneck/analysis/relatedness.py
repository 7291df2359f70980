"""How related the components are, and whether that predicts which of them the mixture fails.

Entry (i, j) of the matrix is what the features of direct training on component i offer for target j. If components
learn for each other, a target that the others serve well should have a small gap: a negative rank correlation.
Exploratory: J targets are few, and their offers come from the same J networks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from bottleneck.errors import UserError

LEAST = 4  # targets; with 3 the smallest two-sided exact p value is 1/3
EXACT = 8  # targets up to which all permutations are enumerated (8! = 40320)
DRAWS = 40_000  # random permutations beyond that
WEIGHTED, BEST = "weighted mean of the other components", "best other component"


@dataclass(frozen=True)
class Prediction:
    """One predictor of the gaps. The numbers are None, and `reason` says why, where they mean nothing."""

    predictor: str
    offers: np.ndarray  # [n], as shares of what direct training on the target reads
    n: int  # targets
    spearman: float | None
    p: float | None  # two-sided, by permutation
    error: float | None  # leave-one-out root mean square error of gap = a + b offer, in shares
    baseline: float | None  # the same for predicting the mean gap of the other targets
    reason: str = ""


@dataclass(frozen=True)
class Relatedness:
    shares: np.ndarray  # [J, J]: (i, j) / (j, j); nan where direct training on j reads nothing
    targets: np.ndarray  # [n], the targets that could be used
    gaps: np.ndarray  # [n], gap / (j, j)
    weighted: Prediction
    best: Prediction


def predict(matrix, gaps, weights) -> Relatedness:
    """Predict the gaps from what the other components offer.

    `matrix` [J, J]: (i, j) bits of direct_i's features on target j; `gaps` [J]: I_direct - I_mixture in bits;
    `weights` [J] of the mixture. For target j the predictors are the mean over i != j of the normalised (i, j),
    weighted as the mixture, and the largest of them over components that are in the mixture. Targets whose own
    direct training reads nothing (no positive (j, j)) are left out. Raises UserError for shapes that do not agree and
    for a mixture of fewer than two components.
    """
    matrix, gaps, weights = (np.asarray(values, np.float64) for values in (matrix, gaps, weights))
    count = len(gaps)
    if matrix.shape != (count, count) or weights.shape != (count,):
        raise UserError(
            "matrix", (matrix.shape, weights.shape), f"bits [{count}, {count}] and weights [{count}], one per gap"
        )
    if (weights < 0).any() or (weights > 0).sum() < 2:
        raise UserError("weights", weights.tolist(), "no negative weight and at least two positive ones")
    direct = matrix.diagonal()
    targets = np.flatnonzero(direct > 0)
    shares = matrix / np.where(direct > 0, direct, np.nan)
    others = weights[:, None] * (1.0 - np.eye(count))
    mean = (others * shares).sum(0) / others.sum(0)
    best = np.where(others > 0, shares, -np.inf).max(0)
    gaps = gaps[targets] / direct[targets]
    return Relatedness(
        shares, targets, gaps, _prediction(WEIGHTED, mean[targets], gaps), _prediction(BEST, best[targets], gaps)
    )


def _prediction(name: str, offers, gaps) -> Prediction:
    n = len(gaps)
    if n < LEAST:
        return Prediction(name, offers, n, *(None,) * 4, f"{n} targets; at least {LEAST} are needed")
    if np.ptp(offers) == 0 or np.ptp(gaps) == 0:
        return Prediction(
            name, offers, n, *(None,) * 4, "all targets have the same " + ("offer" if np.ptp(gaps) else "gap")
        )
    errors, baselines = [], []
    for j in range(n):
        x, y = np.delete(offers, j), np.delete(gaps, j)
        varies = np.ptp(x) > 0
        slope = ((x - x.mean()) * y).sum() / ((x - x.mean()) ** 2).sum() if varies else 0.0
        errors.append(y.mean() + slope * (offers[j] - x.mean()) - gaps[j])
        baselines.append(y.mean() - gaps[j])
    rho, p = spearman(offers, gaps)
    return Prediction(name, offers, n, rho, p, *(float(np.sqrt(np.mean(np.square(e)))) for e in (errors, baselines)))


def spearman(x, y) -> tuple[float, float]:
    """Spearman's correlation of `x`, `y` [n] and its two-sided permutation p value: the share of |rho| at least this.

    Exact up to `EXACT` values (ties included), by `DRAWS` fixed random permutations beyond, the observed one counted.
    """
    from scipy import stats  # here: loading it would delay every start

    x, y = (stats.zscore(stats.rankdata(values)) for values in (x, y))
    n = len(x)
    if n <= EXACT:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)
        orders[0] = np.arange(n)
    rho = x @ y / n
    return float(rho), float((np.abs(y[orders] @ x / n) >= abs(rho) - 1e-9).mean())
