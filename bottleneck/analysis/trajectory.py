"""When a factor was learned: information over the kept steps of a run, its peak, what was lost after it, and a verdict.

Reading a peak and its value off the same noisy curve finds forgetting where there is none (the largest of 20 equal
checkpoints lies 1.87 standard errors above the last). So the peak is chosen on validation items, once for all seeds,
and read on test items: what the noise of items adds to the choice does not reach the value. A fluctuation of the
networks themselves from step to step is on both splits and counts as real (20 equal steps of 5 seeds that wander
independently by 1 point show 0.87 points of forgetting); keeping few, log-spaced steps and the margin are for that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.gap import FRACTION, testability
from bottleneck.analysis.intervals import Interval, contrast, two_way
from bottleneck.errors import UserError


@dataclass(frozen=True)
class Learning:
    """What the kept steps say about one factor or label. Exploratory: intervals, unadjusted for multiplicity.

    With R the reference, r = 1 - margin, and I_peak, I_last, ... the information at a step, the first statement whose
    interval shows it is the verdict:

    1. "untestable": R is, as `gap.testability` says; "undecided" where that is unclear.
    2. "learned": I_last > margin R. The end decides: neither a dip on the way, nor a fall from above the reference,
       nor a late arrival is a loss; nor is it asked whether step 0 read it too (`init` says).
    3. "still rising": I_last - I_since > r R, `since` being the latest kept step between a quarter and a half of the
       last one. A factor that was lost and is coming back is here, as its end is not yet known.
    4. "learned then lost": I_peak - I_last > r R. With the peak at step 0, training discarded what the network
       offered before it.
    5. "never learned": I_peak - I_init < r R and I_last < margin R: it is not read, and no step added more than next to
       nothing. `init` may be well above 0.
    6. "learned in part": I_peak - I_init > r R, and I_last < margin R.
    7. "undecided": none of these.
    """

    verdict: str
    peak: int  # the step with most information on validation
    last: int  # the last step
    since: int | None  # the step from which the rise is measured
    init: Interval  # I at step 0, bits, like all that follow
    best: Interval  # I at the peak
    end: Interval  # I at the last step
    forgetting: Interval  # I_peak - I_last; exactly 0 where the peak is the last step
    rise: Interval | None  # I_last - I_since, the gain over the last doubling; None without such a step
    reference: Interval  # I of direct training


def learning(steps, test, val, reference, *, entropy: float, margin: float = FRACTION, level: float = 0.95) -> Learning:
    """The course of one factor in the networks of one recipe, and the verdict on it (see `Learning`).

    `steps` [T] ascending from 0, where training starts; `test` [T, S, N] bits; `val` [T, S] mean bits on validation;
    `reference` [S', N] bits of direct training on the same test items, paired over seeds if S' = S; `entropy` H(y)
    in bits. With one seed the intervals are over items: they speak of these checkpoints, not of the recipe. Raises
    UserError for steps that do not ascend from 0 and for shapes that do not agree.
    """
    steps, reference = [int(step) for step in steps], np.atleast_2d(np.asarray(reference, np.float64))
    test, val = np.asarray(test, np.float64), np.asarray(val, np.float64)
    _check_shapes(steps, test, val)
    curve = val.mean(1)
    peak = int(np.flatnonzero(curve == curve.max())[-1])  # of equals the latest: no forgetting between them
    doubling = [t for t, step in enumerate(steps) if steps[-1] <= 4 * step <= 2 * steps[-1]]
    rise = test[-1] - test[doubling[-1]] if doubling else None
    course = _Course(test[0], test[peak], test[-1], rise, reference)
    return Learning(
        _verdict(course, entropy, margin, level),
        steps[peak],
        steps[-1],
        steps[doubling[-1]] if doubling else None,
        two_way(course.init, level),
        two_way(course.best, level),
        two_way(course.end, level),
        two_way(course.best - course.end, level),
        None if rise is None else two_way(rise, level),
        two_way(reference, level),
    )


def _check_shapes(steps, test, val) -> None:
    if len(steps) < 2 or steps[0] != 0 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise UserError("steps", steps, "at least two steps, ascending from 0")
    if test.ndim != 3 or len(test) != len(steps) or val.shape != test.shape[:2]:
        raise UserError(
            "test", (test.shape, val.shape), f"bits [{len(steps)}, S, N] on test and [{len(steps)}, S] on val"
        )


@dataclass(frozen=True)
class _Course:
    """What the verdict is about: information [S, N] in bits at the steps that decide."""

    init: np.ndarray
    best: np.ndarray
    end: np.ndarray
    rise: np.ndarray | None  # None without a step to measure it from
    reference: np.ndarray  # [S', N]


def _verdict(course: _Course, entropy: float, margin: float, level: float) -> str:
    """The first statement of `Learning` whose interval shows it."""

    def against(table, share):
        return contrast([(1.0, table), (-share, course.reference)], level)

    testable, rest = testability(course.reference, entropy, level), 1.0 - margin
    kept, added = against(course.end, margin), against(course.best - course.init, rest)
    if testable != "testable":
        return "untestable" if testable == "untestable" else "undecided"
    if kept.low > 0:
        return "learned"
    if course.rise is not None and against(course.rise, rest).low > 0:
        return "still rising"
    if against(course.best - course.end, rest).low > 0:
        return "learned then lost"
    if added.high < 0 and kept.high < 0:
        return "never learned"
    if added.low > 0 and kept.high < 0:
        return "learned in part"
    return "undecided"


def log_steps(total: int, halvings: int) -> tuple[int, ...]:
    """Steps to keep: 0, and `total` halved 0 ... `halvings` times, rounded down; ascending, each once.

    Rounded down, so that a step at or before half of the last is always among them (for `total` of at least 2).
    """
    if total < 1 or halvings < 0:
        raise UserError("halvings", (total, halvings), "at least one step and no negative number of halvings")
    return tuple(sorted({0, *(total >> k for k in range(halvings + 1))}))
