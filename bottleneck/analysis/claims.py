"""Whether a published result is met: an interval of ours against a band that stood before the first run.

Everything in percent or points. A published number has the band `published +- max(2 sd, 2 points)`: *reproduced* inside
it, *not reproduced* where the interval and the band are disjoint, else *undecided*. A result that has no number, or
whose protocol was reduced, has a direction instead, the side of a threshold that is ours: the *same direction* at best,
the *other direction* beyond it. One network decides nothing: its interval is of items alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals
from bottleneck.analysis.intervals import Interval

SDS, POINTS = 2.0, 2.0  # half the width of a published number's band: so many published sd, and at least so many points
REPRODUCED, SAME, AGAINST, OTHER, UNDECIDED, MEASURED = STATUSES = (
    "reproduced",
    "same direction",
    "not reproduced",
    "other direction",
    "undecided",
    "measured",
)


@dataclass(frozen=True)
class Band:
    """Where an interval has to lie, ends included (infinite where open), and what it is inside, or apart from it."""

    low: float
    high: float
    inside: str
    apart: str

    def judge(self, low: float, high: float) -> str:
        """The status of an interval."""
        if self.low <= low and high <= self.high:
            return self.inside
        return self.apart if high < self.low or low > self.high else UNDECIDED


def band(
    published: float | None, sd: float | None, above: float | None, below: float | None, reduced: bool
) -> Band | None:
    """The band of a claim; None of a question that nobody has answered before: it is measured, and not judged."""
    if published is not None and not reduced:
        half = max(SDS * (sd or 0.0), POINTS)
        return Band(published - half, published + half, REPRODUCED, AGAINST)
    if above is None and below is None:
        return None
    return Band(-np.inf if above is None else above, np.inf if below is None else below, SAME, OTHER)


def judge(ours: Interval, held: Band | None) -> str:
    """One of STATUSES."""
    if held is None:
        return MEASURED
    return held.judge(ours.low, ours.high) if ours.n_seeds > 1 else UNDECIDED


def difference(reads: np.ndarray, minus: np.ndarray | None, shared_items: bool) -> Interval:
    """Interval of a mean, or of a difference of means, of tables [S, N]: seeds and items crossed.

    Of a difference, over the same items where they are shared; else over the seeds that both sides must then have.
    Raises ValueError where they share neither.
    """
    if minus is None:
        return intervals.two_way(reads)
    if shared_items:
        return intervals.contrast([(1.0, reads), (-1.0, minus)])
    if len(reads) != len(minus):
        raise ValueError(f"{len(reads)} and {len(minus)} seeds on different items")
    return intervals.across([(1.0, reads), (-1.0, minus)])


def auc_items(score, positive) -> np.ndarray:
    """What every item [n] says of the area under the ROC curve of `score` [n] for telling `positive` (bool [n]).

    Their mean is the area (ties count half), and the variance of their mean that of DeLong et al. (Biometrics 44,
    1988): an item's share of the items of the other class that it is on the right side of, less the area, weighted by
    the inverse of the frequency of its class. Raises ValueError where a class is missing.
    """
    from scipy import stats  # here: loading it would delay every start

    score, positive = np.asarray(score, np.float64), np.asarray(positive, bool)
    if positive.all() or not positive.any():
        raise ValueError("items of both classes are needed")
    counts = np.where(positive, positive.sum(), (~positive).sum())
    within = np.empty(len(score))
    for side in (positive, ~positive):
        within[side] = stats.rankdata(score[side])
    beyond = (stats.rankdata(score) - within) / (len(score) - counts)  # the share of the other class that lies below
    share = np.where(positive, beyond, 1.0 - beyond)
    area = share[positive].mean()
    return area + (share - area) * len(score) / counts
