"""Is a feature kept in all, in some or in no seed? Evidence per seed, how far seeds differ, and what they add up to.

A count of seeds above a threshold turns noise of test items into disagreement between seeds. Here every seed has an
interval over the items, and seeds whose interval contains 0 are counted as undecided, not as one or the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.gap import FRACTION, testability
from bottleneck.analysis.intervals import Interval, mean_squares, two_way
from bottleneck.errors import UserError


@dataclass(frozen=True)
class Spread:
    """Standard deviation between seeds, with its interval, without what items and their interaction with seeds add."""

    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Seeds:
    """Evidence D_s = I_s - margin I_ref,s per seed, in bits: above 0 the seed keeps the feature, below 0 it lost it."""

    verdict: str  # "all" | "some" | "none" | "undecided" | "untestable"
    seeds: tuple[Interval, ...]  # D_s over items, Bonferroni over seeds: jointly at the level asked for
    mean: Interval  # of D over seeds and items
    retained: int  # seeds whose interval is above 0
    lost: int  # seeds whose interval is below 0
    undecided: int  # the other seeds
    spread: Spread | None  # of I between seeds; None with one seed or one item


def evidence(
    mixture, reference, margin: float = FRACTION, level: float = 0.95, *, entropy: float | None = None
) -> Seeds:
    """Evidence of every seed that it keeps a feature, from `mixture`, `reference`: bits [S, N], seeds and items alike.

    Each seed has a t interval over its items at level `1 - (1 - level) / S` (Bonferroni), so that with probability
    `level` all of them hold at once, and the word with them: "all", every interval is above 0; "none", every one is
    below; "some", at least one is above and at least one below; otherwise "undecided", and the counts say how far it
    got. Conditional on these S networks. With H(y) in bits as `entropy` the word is "untestable" where the reference is
    (`gap.testability`), and "undecided" where that is unclear. Raises UserError unless the tables have the same shape.
    """
    mixture, reference = (np.atleast_2d(np.asarray(table, np.float64)) for table in (mixture, reference))
    if mixture.shape != reference.shape:
        raise UserError("reference", reference.shape, f"{mixture.shape}: the mixture's seeds and items")
    d = mixture - margin * reference
    count = len(d)
    each = tuple(two_way(row, 1.0 - (1.0 - level) / count) for row in d)
    retained, lost = sum(interval.low > 0 for interval in each), sum(interval.high < 0 for interval in each)
    if retained == count or lost == count:
        verdict = "all" if retained else "none"
    else:
        verdict = "some" if retained and lost else "undecided"
    if entropy is not None and (testable := testability(reference, entropy, level)) != "testable":
        verdict = "untestable" if testable == "untestable" else "undecided"
    return Seeds(verdict, each, two_way(d, level), retained, lost, count - retained - lost, spread(mixture, level))


def spread(table, level: float = 0.95) -> Spread | None:
    """The standard deviation between seeds of `table` [S, N], as if there were infinitely many items.

    The variance component (A - E) / N of the two-way layout, floored at 0. Interval: Tukey's and Williams's
    (Biometrika 49, 1962), `(S - 1) (A - E F) / (N chi2)` with both quantiles at (1 + level)/2 for the lower limit and
    at (1 - level)/2 for the upper one, floored at 0: for normal seed effects. None if S or N is 1.
    """
    from scipy import stats  # here: loading it would delay every start

    s, n = np.shape(table)
    if s == 1 or n == 1:
        return None
    between, _, residual = mean_squares(table)
    tail = (1.0 - level) / 2.0
    upper, lower = (
        (s - 1) * (between - residual * stats.f.isf(q, s - 1, (s - 1) * (n - 1))) / (n * stats.chi2.isf(q, s - 1))
        for q in (1.0 - tail, tail)
    )
    return Spread(*(float(np.sqrt(max(variance, 0.0))) for variance in ((between - residual) / n, lower, upper)))


def ratio(a, b, level: float = 0.95) -> Interval:
    """How many times as much the means of the seeds of `a` [S, N] vary as those of `b` [S', N]: a ratio of variances.

    On these items: noise between networks on them is part of both. Interval: Fisher's F, for normal seed effects. One
    seed, or seeds without any variance, give no ratio: NaN within 0 and infinity.
    """
    from scipy import stats  # here: loading it would delay every start

    counts = dict(n_seeds=min(len(a), len(b)), n_examples=np.shape(a)[-1])
    a, b = np.mean(a, axis=1), np.mean(b, axis=1)
    if min(len(a), len(b)) < 2 or not b.var():
        return Interval(np.nan, 0.0, np.inf, np.nan, np.nan, "seeds", **counts, level=level)
    value, tail = a.var(ddof=1) / b.var(ddof=1), (1.0 - level) / 2.0
    low, high = (value / stats.f.isf(q, len(a) - 1, len(b) - 1) for q in (tail, 1.0 - tail))
    return Interval(float(value), float(low), float(high), np.nan, np.nan, "seeds", **counts, level=level)


@dataclass(frozen=True)
class Concatenation:
    """What one concatenation of all seeds reads. Items are the unit: it speaks of these networks."""

    joined: Interval  # bits
    over_mean: Interval  # minus the mean of its members
    over_best: Interval  # minus the member that is best on validation


def concatenation(joined, members, best: int, level: float = 0.95) -> Concatenation:
    """Whether weak evidence adds up over seeds: `joined` [N] bits of the concatenation, `members` [S, N] of its parts.

    `best` is the member chosen on validation. One concatenation has no spread over seeds; a control of the same width
    (concatenated untrained networks) shows what width alone adds. Raises UserError for shapes that do not agree.
    """
    joined, members = np.asarray(joined, np.float64), np.asarray(members, np.float64)
    if members.ndim != 2 or joined.shape != members.shape[1:]:
        raise UserError("joined", (joined.shape, members.shape), "bits [N] and [S, N] on the same items")
    if not 0 <= best < len(members):
        raise UserError("best", best, f"the index of one of {len(members)} members")
    return Concatenation(
        *(two_way(table, level) for table in (joined, joined - members.mean(0), joined - members[best]))
    )
