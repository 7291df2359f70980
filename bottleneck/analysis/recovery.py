"""How deep a feature is buried: the fine-tuning it takes to read it, against that from a random initialisation.

A curve gives the information reached at each level of a budget, steps or examples. The budget to a target is where
the curve first crosses it. A curve that never does, or that does before its first positive level, bounds the budget
and nothing else; such bounds are carried on as bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.gap import FRACTION
from bottleneck.analysis.intervals import two_way
from bottleneck.errors import UserError


@dataclass(frozen=True)
class Budget:
    """What it took each seed to reach the target, in the unit of the levels. Known exactly where low = high."""

    target: float  # bits
    low: np.ndarray  # [S]; the largest level where the target was never reached
    high: np.ndarray  # [S]; inf where the target was never reached

    @property
    def median(self) -> float:
        """Over seeds, of `high`: an upper bound, inf unless enough seeds reached the target."""
        return float(np.median(self.high))

    @property
    def censored(self) -> int:
        """Seeds that never reached the target."""
        return int(np.isinf(self.high).sum())


def budget(levels, curve, target: float) -> Budget:
    """The budget at which every seed's mean information first reaches `target`.

    `levels` [B] ascending from 0 or more (steps or examples); `curve` [B, S, N] bits. Between two positive levels the
    curve is taken as linear in log(level). Of a target reached by the first positive level only that is known (`low`
    is 0 there), as a logarithm has nothing to say about the way from 0; reached at level 0, the budget is 0. A noisy
    curve crosses early, in every arm. Raises UserError for levels that do not ascend and shapes that do not agree.
    """
    levels, curve = np.asarray(levels, np.float64), np.asarray(curve, np.float64)
    if levels.ndim != 1 or not len(levels) or levels[0] < 0 or (np.diff(levels) <= 0).any() or levels[-1] <= 0:
        raise UserError("levels", levels.tolist(), "ascending numbers of steps or examples, from 0 or more")
    if curve.ndim != 3 or len(curve) != len(levels):
        raise UserError("curve", curve.shape, f"bits [{len(levels)}, S, N]")
    means = curve.mean(2)
    reached = means >= target
    low, high = np.full(means.shape[1], levels[-1]), np.full(means.shape[1], np.inf)
    for s in np.flatnonzero(reached.any(0)):
        b = int(reached[:, s].argmax())
        if b == 0 or levels[b - 1] == 0:
            low[s], high[s] = 0.0, levels[b]  # both 0 if reached at level 0
        else:
            before, after = means[b - 1, s], means[b, s]
            position = (target - before) / (after - before)
            low[s] = high[s] = levels[b - 1] * (levels[b] / levels[b - 1]) ** position
    return Budget(float(target), low, high)


@dataclass(frozen=True)
class Savings:
    """log2 of (budget from a random initialisation / budget from the start), per seed; 1 is half the budget saved.

    If every seed reached the target in both arms, `at_least` = `value` = `at_most`. Otherwise the mean over seeds is
    only known to lie between the two, which may be infinite, and `low`, `high` enclose the uncertainty of both.
    """

    target: float  # bits
    start: Budget
    random: Budget
    value: float | None  # the mean over seeds; None if any seed is censored
    at_least: float
    at_most: float
    low: float  # of the t interval over seeds of the lower bounds
    high: float  # of the t interval over seeds of the upper bounds
    n_seeds: int
    censored: int  # seeds in which the start, the random initialisation or both never reached the target
    floored: int  # seeds in which either reached it within the first positive level
    faster: int  # seeds with certainly a smaller budget than from random initialisation
    slower: int  # seeds with certainly a larger one


def savings(curve_start, curve_random, levels, reference, margin: float = FRACTION, level: float = 0.95) -> Savings:
    """What starting from a checkpoint saves on the way to `margin` times direct training's information.

    `curve_start`, `curve_random`: bits [B, S, N] on the same levels [B] (steps or examples), seeds in one order;
    `reference` [S', N] bits of direct training, whose mean sets one target for all seeds and is taken as given. On the
    log scale budgets up to the first positive level count as that level, which draws savings towards 0: the levels
    resolve no less. A seed that never reached the target has a budget above the largest level, and no number is put in
    its place. For targets that are testable (`gap.testability`): where direct training reads nothing, anything reaches
    the target.
    Raises UserError for curves of different numbers of seeds.
    """
    target = margin * float(np.mean(reference))
    start, random = budget(levels, curve_start, target), budget(levels, curve_random, target)
    if len(start.low) != len(random.low):
        raise UserError("curve_random", len(random.low), f"the same {len(start.low)} seeds as the start")
    floor = float(min(value for value in np.asarray(levels) if value > 0))
    logs = [np.log2(np.maximum(limit, floor)) for limit in (start.low, start.high, random.low, random.high)]
    least, most = logs[2] - logs[1], logs[3] - logs[0]
    at_least, at_most = float(least.mean()), float(most.mean())
    censored = np.isinf(start.high) | np.isinf(random.high)
    floored = (start.high <= floor) | (random.high <= floor)
    return Savings(
        target,
        start,
        random,
        None if censored.any() else at_least,
        at_least,
        at_most,
        _limits(least, level)[0],
        _limits(most, level)[1],
        len(least),
        int(censored.sum()),
        int(floored.sum()),
        int((least > 0).sum()),
        int((most < 0).sum()),
    )


def _limits(values, level: float) -> tuple[float, float]:
    """The t interval over seeds of the mean of `values` [S]; an infinite value leaves that side open."""
    if np.isinf(values).any():
        return -np.inf, np.inf
    interval = two_way(values[:, None], level)
    return interval.low, interval.high
