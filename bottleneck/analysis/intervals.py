"""Means of tables [S, N] (pretraining seeds x test items) with t intervals.

The standard error of a mean treats seeds and items as crossed random effects (the two-way layout) with Satterthwaite's
degrees of freedom. Contrasts are paired over items, and over seeds when the arms share them; arms with other seeds add
their seed variances, as Welch does. Everything is conditional on the training data and the probe split, but for
`over_points`.

Satterthwaite's t covers at 95 % and fails in the tails, where verdicts of a family are decided: with 5 seeds that make
up most of the variance it rejects a true null at .005 twice as often, as a small seed variance comes with many degrees
of freedom. So p values take both variances as estimated (`_tail`).
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np
from scipy import special

from bottleneck.errors import UserError

HIGHEST_POWER = 4  # of an axis, beside which a line is tested


@dataclass(frozen=True)
class Interval:
    """A mean with its t interval; `parts` are the variances of the mean due to seeds and to items."""

    value: float
    low: float
    high: float
    se: float
    dof: float
    unit: str  # what was sampled: "seeds and items", "items", "seeds", "draws and items", "split seeds", ...
    n_seeds: int
    n_examples: int
    level: float = 0.95
    parts: tuple[float, float] = (0.0, 0.0)
    estimates: tuple[tuple[float, float], ...] = ()  # two (variance, degrees of freedom) that add up to se^2, else one

    def p(self, null: float = 0.0, conservative: bool = False) -> float:
        """Two-sided p value of the mean being `null`; `conservative`: at most, not about, as often small as it says."""
        difference = abs(self.value - null)
        if not self.se > 0:
            return 1.0 if difference == 0 else 0.0
        if self.estimates:
            return _tail(difference, *self.estimates, conservative)
        return float(2.0 * special.stdtr(self.dof, -difference / self.se))


def _tail(difference: float, seeds: tuple[float, float], items: tuple[float, float], conservative: bool) -> float:
    """P(|error| > difference) where the error's variance is the sum of two, each estimated as (variance, dof).

    The estimates divided by q = chi2(dof) / dof are the true variances (Behrens and Fisher). That alone is
    `conservative`; weighting every pair of true variances by the sum of their inverses makes the level right to second
    order (Ghosh and Kim, Canadian Journal of Statistics 29, 2001). With one of the variances 0 both are the t test of
    the other.
    """
    (a, p), (b, q) = ((variance, _ratios(dof)) for variance, dof in (seeds, items))
    weights = np.outer(p[1], q[1])
    if not conservative:
        weights *= p[0][:, None] * b + q[0] * a
    sd = np.sqrt(a / p[0][:, None] + b / q[0])
    return float((weights * 2.0 * special.ndtr(-difference / sd)).sum() / weights.sum())


@functools.lru_cache(maxsize=64)
def _ratios(dof: float, count: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights that integrate over chi2(dof) / dof: equal steps of the logarithm, which converge fast."""
    z = np.linspace(-60 / dof - np.sqrt(120 / dof), np.log1p(70 / dof + 12 * np.sqrt(2 / dof)), count)
    log_density = dof / 2 * (z - np.expm1(z))
    weights = np.exp(log_density - log_density.max())
    return np.exp(z), weights / weights.sum()


def _interval(value, variance, dof, unit, n_seeds, n_examples, level, parts=(0.0, 0.0), estimates=()) -> Interval:
    se = float(np.sqrt(max(variance, 0.0)))
    half = float(special.stdtrit(dof, 0.5 + level / 2.0)) * se if se > 0 else 0.0
    return Interval(
        float(value),
        float(value) - half,
        float(value) + half,
        se,
        float(dof),
        unit,
        int(n_seeds),
        int(n_examples),
        level,
        tuple(float(max(part, 0.0)) for part in parts),
        tuple((float(max(variance, 0.0)), float(dof)) for variance, dof in estimates),
    )


def mean_squares(d):
    """Seed, item and residual mean squares A, B, E of tables `d` [..., S, N], S and N at least 2."""
    d = np.asarray(d, np.float64)
    s, n = d.shape[-2:]
    seeds, items, grand = d.mean(-1), d.mean(-2), d.mean((-2, -1))
    a = n * ((seeds - grand[..., None]) ** 2).sum(-1) / (s - 1)
    b = s * ((items - grand[..., None]) ** 2).sum(-1) / (n - 1)
    residual = d - seeds[..., None] - items[..., None, :] + grand[..., None, None]
    return a, b, (residual**2).sum((-2, -1)) / ((s - 1) * (n - 1))


def crossed(d):
    """Mean, its variance and degrees of freedom for tables `d` [..., S, N] of crossed seeds and items.

    `Var = max(A + B - E, A, B) / (S N)`; Satterthwaite's formula for the degrees of freedom of A + B - E.
    """
    s, n = np.shape(d)[-2:]
    a, b, e = mean_squares(d)
    total = np.maximum(np.maximum(a + b - e, a), b)
    spread = a**2 / (s - 1) + b**2 / (n - 1) + e**2 / ((s - 1) * (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = np.where(spread > 0, total**2 / spread, s - 1.0)
    return np.asarray(d).mean((-2, -1)), total / (s * n), dof


def two_way(d, level: float = 0.95) -> Interval:
    """Interval of the mean of `d` [S, N]: crossed seeds and items; items alone if S = 1, seeds alone if N = 1."""
    d = np.atleast_2d(np.asarray(d, np.float64))
    s, n = d.shape
    if s == 1 or n == 1:
        size, unit = (n, "items") if s == 1 else (s, "seeds")
        variance = d.var(ddof=1) / size if size > 1 else np.inf
        return _interval(
            d.mean(), variance, max(size - 1, 1), unit, s, n, level, (0.0, variance) if s == 1 else (variance, 0.0)
        )
    value, variance, dof = crossed(d)
    a, b, e = mean_squares(d)
    variance, seeds = float(variance), float(a) / (s * n)
    seed_part = max(float(a - e), 0.0) / (s * n)  # what more test items cannot shrink
    estimates = (seeds, s - 1), (variance - seeds, n - 1)
    return _interval(value, variance, dof, "seeds and items", s, n, level, (seed_part, variance - seed_part), estimates)


def proportion(hits, level: float = 0.95) -> Interval:
    """As `two_way` for `hits` [S, N] of 0 and 1, as `few_shot` for [S, D, N]. Where all are alike they show no
    variance, and the interval is Clopper and Pearson's for N items (Biometrika 26, 1934). None leaves 0 to 1."""
    hits = np.asarray(hits, np.float64)
    interval = few_shot([(1.0, hits)], level) if hits.ndim == 3 else two_way(hits, level)
    if np.ptp(hits):
        return dataclasses.replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 1.0))
    farthest = (0.5 - level / 2.0) ** (1 / interval.n_examples)  # as likely to give N of N
    low, high = (farthest, 1.0) if interval.value else (0.0, 1.0 - farthest)
    return dataclasses.replace(interval, low=low, high=high)


def welch(arms, level: float = 0.95) -> Interval:
    """Interval of `sum_k c_k mean(d_k)` for `arms`, a list of `(c_k, d_k [S_k, N])`, with items shared, seeds not.

    Seed variances add over arms; items enter through the contrast of the arms' item means. An arm with one seed takes
    its seed and residual mean squares from the arm that has most seeds; if all have one, items alone are the unit.
    """
    arms = [(float(c), np.atleast_2d(np.asarray(d, np.float64))) for c, d in arms]
    value = sum(c * d.mean() for c, d in arms)
    items = sum(c * d.mean(0) for c, d in arms)
    n = len(items)
    counts = [len(d) for _, d in arms]
    if max(counts) == 1 or n == 1:
        return two_way(items[None], level)
    widest = max((d for _, d in arms), key=len)
    seed_terms, residual_terms, spread, seed_spread = [], [], 0.0, 0.0
    for c, d in arms:
        a, _, e = mean_squares(d if len(d) > 1 else widest)
        seeds = (len(d) if len(d) > 1 else len(widest)) - 1
        seed_terms.append(c * c * a / (len(d) * n))
        residual_terms.append(c * c * e / (len(d) * n))
        seed_spread += seed_terms[-1] ** 2 / seeds
        spread += residual_terms[-1] ** 2 / (seeds * (n - 1))
    seed, item, residual = sum(seed_terms), items.var(ddof=1) / n, sum(residual_terms)
    variance = max(seed + item - residual, seed, item)
    spread += seed_spread + item**2 / (n - 1)
    fewest = min(c - 1 for c in counts if c > 1)
    dof = variance**2 / spread if spread > 0 else fewest
    seed_part = max(seed - residual, 0.0)
    estimates = (seed, seed**2 / seed_spread if seed_spread > 0 else fewest), (variance - seed, n - 1)
    return _interval(
        value, variance, dof, "seeds and items", min(counts), n, level, (seed_part, variance - seed_part), estimates
    )


def contrast(arms, level: float = 0.95, paired: bool = True) -> Interval:
    """Interval of `sum_k c_k mean(d_k)`, `arms` a list of `(c_k, d_k [S_k, N])`; paired by seed if counts agree."""
    arms = [(c, np.atleast_2d(np.asarray(d, np.float64))) for c, d in arms]
    if len({d.shape[1] for _, d in arms}) > 1:
        raise UserError("arms", [d.shape for _, d in arms], "the same test items in every arm")
    if paired and len({d.shape for _, d in arms}) == 1:
        return two_way(sum(c * d for c, d in arms), level)
    return welch(arms, level)


def holm(p_values) -> np.ndarray:
    """Holm's adjusted p values, in the order given."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    return adjusted


def nested(table) -> np.ndarray:
    """A table for intervals of `table` [S, D, N], D draws (of few shots) in each of S seeds.

    [S, N], the means over draws: the seed mean square then carries the variance of draws. Of one seed [D, N]: the draws
    take the place of seeds.
    """
    table = np.asarray(table, np.float64)
    return table[0] if len(table) == 1 else table.mean(1)


def few_shot(arms, level: float = 0.95, paired: bool = True) -> Interval:
    """`contrast` of `arms`, a list of `(c_k, d_k [S_k, D, N])` that have the same draws in the same seed.

    Where all arms have one seed the unit is "draws and items": it speaks of these networks.
    """
    interval = contrast([(c, nested(table)) for c, table in arms], level, paired)
    if any(len(table) > 1 for _, table in arms):
        return interval
    return dataclasses.replace(interval, unit=interval.unit.replace("seeds", "draws"), n_seeds=1)


@dataclass(frozen=True)
class Slope:
    """How a measure changes along an axis, and whether a line describes it. A contrast of its points."""

    interval: Interval  # per unit of x
    misfit: float  # root mean square distance of the points' means from the line: noise included
    misfit_p: float | None  # of the points lying on a line; None with two points, which always do


def slope(tables, x, paired: bool, level: float = 0.95, groups=None) -> Slope:
    """The least-squares slope of the points' means over `x` [P]: `tables` is a list of P tables [S, N], items shared.

    For a slope per doubling give log2 of the axis. `paired`: the points have the same seeds in the same order. With
    `groups` [P] every group has a level of its own: a slope compares points of one group. The p value of the misfit is
    Bonferroni's over the contrasts of the square, cube and fourth power of x, as many as there are points for, each
    made orthogonal to those before. Raises UserError where x is the same in every group, and for points without the
    same test items.
    """
    x, groups = np.asarray(x, np.float64), [0] * len(tables) if groups is None else list(groups)
    if len(x) != len(tables) or len(groups) != len(x) or not np.isfinite(x).all() or not coefficients(x, groups).any():
        raise UserError("x", x.tolist(), f"at least two different values, one for each of the {len(tables)} points")
    members = np.array(groups)[:, None] == np.array(list(dict.fromkeys(groups)))
    used = (members @ np.array([len(np.unique(x[of])) > 1 for of in members.T])).nonzero()[0]
    x, groups, tables = x[used], [groups[i] for i in used], [tables[i] for i in used]
    tilt = coefficients(x, groups)
    interval = contrast(list(zip(tilt, tables)), level, paired)
    levels = members[used][:, members[used].any(0)].astype(np.float64)
    means = np.array([np.mean(table) for table in tables])
    residuals = (means - interval.value * x) - levels @ (levels.T @ (means - interval.value * x) / levels.sum(0))
    p = [contrast(list(zip(bend, tables)), level, paired).p() for bend in _bends(x, levels, tilt)]
    return Slope(interval, float(np.sqrt((residuals**2).mean())), min(1.0, len(p) * min(p)) if p else None)


def coefficients(x, groups) -> np.ndarray:
    """The contrast [P] of points that is their least-squares slope over `x`, every group with a level of its own; zeros
    where x is the same in each of them."""
    x = np.asarray(x, np.float64)
    means = {group: np.mean([at for at, of in zip(x, groups) if of == group]) for group in dict.fromkeys(groups)}
    centred = x - np.array([means[group] for group in groups])
    size = centred @ centred
    return centred / size if size > 1e-12 * (x @ x) else np.zeros_like(x)


def _bends(x: np.ndarray, levels: np.ndarray, tilt: np.ndarray) -> list[np.ndarray]:
    """Contrasts of the powers of x that neither the groups' `levels` [P, G] nor the slope take up, of length 1."""
    taken = [*(levels / np.linalg.norm(levels, axis=0)).T, tilt / np.linalg.norm(tilt)]
    scaled = (x - x.mean()) / np.abs(x - x.mean()).max()
    for power in range(2, HIGHEST_POWER + 1):
        left = column = scaled**power
        for _ in range(2):  # the second time for what rounding left of the first
            left = left - np.transpose(taken) @ (np.array(taken) @ left)
        if np.linalg.norm(left) > 1e-6 * np.linalg.norm(column):
            taken.append(left / np.linalg.norm(left))
    return taken[levels.shape[1] + 1 :]


def over_points(tables, common_items: bool, level: float = 0.95) -> Interval:
    """Unconditional interval of a measure over split seeds: `tables` holds one table [S, N] for each of n points.

    The variance of the points' means over n carries what the training data, the probe split and the seeds add: a
    network trained on another split is another network. Where all points share their test items (`common_items`), these
    add their part by the two-way formula, points in the place of seeds. Raises UserError for fewer than two points.
    """
    if len(tables) < 2:
        raise UserError("tables", len(tables), "at least two points")
    if common_items:
        means = np.stack([np.atleast_2d(np.asarray(table, np.float64)).mean(0) for table in tables])
    else:
        means = np.array([[np.mean(table)] for table in tables])
    interval = two_way(means, level)
    seeds = min(len(np.atleast_2d(table)) for table in tables)
    examples = np.atleast_2d(tables[0]).shape[1] if common_items else sum(np.shape(table)[-1] for table in tables)
    return dataclasses.replace(
        interval, unit=interval.unit.replace("seeds", "split seeds"), n_seeds=seeds, n_examples=examples
    )


def across(terms, level: float = 0.95) -> Interval:
    """Interval of `sum_k w_k mean(d_k)`, `terms` a list of `(w_k, d_k [S, N_k])`: seeds shared, items not.

    The two-way formula with item and residual variances added over the item sets; one term gives `two_way`.
    """
    terms = [(float(w), np.atleast_2d(np.asarray(d, np.float64))) for w, d in terms]
    s = len(terms[0][1])
    value, n = sum(w * d.mean() for w, d in terms), sum(d.shape[1] for _, d in terms)
    item_terms = [(w * w * d.mean(0).var(ddof=1) / d.shape[1], d.shape[1] - 1) for w, d in terms]
    item, spread = sum(v for v, _ in item_terms), sum(v * v / dof for v, dof in item_terms)
    item_dof = item**2 / spread if spread > 0 else n - 1.0
    if s == 1:
        return _interval(value, item, item_dof, "items", 1, n, level, (0.0, item))
    seed = sum(w * d.mean(1) for w, d in terms).var(ddof=1) / s
    residual_terms = [(w * w * float(mean_squares(d)[2]) / d.size, (s - 1) * (d.shape[1] - 1)) for w, d in terms]
    residual = sum(v for v, _ in residual_terms)
    spread += seed**2 / (s - 1) + sum(v * v / dof for v, dof in residual_terms)
    variance = max(seed + item - residual, seed, item)
    seed_part = max(seed - residual, 0.0)
    return _interval(
        value,
        variance,
        variance**2 / spread if spread > 0 else s - 1.0,
        "seeds and items",
        s,
        n,
        level,
        (seed_part, variance - seed_part),
        ((seed, s - 1), (variance - seed, item_dof)),
    )
