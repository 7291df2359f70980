"""What concatenating networks adds, judged by a difference of differences over disjoint member sets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.intervals import Interval, contrast

MIN_SETS = 5  # disjoint member sets a verdict needs
CEILING = 0.95  # of H(y): direct training above this leaves concatenation nothing to gain


@dataclass(frozen=True)
class ConcatenationGain:
    """What concatenating members adds, beyond what it adds for members trained directly."""

    gain: Interval  # of mixture members, over the mean of their set
    control: Interval  # the same for direct members
    excess: Interval  # gain - control
    verdict: str  # "gain" | "loss" | "no difference shown"; "" with too few member sets
    note: str  # why there is no verdict, or what limits it; "" otherwise


def concatenation_gain(
    cat, members, direct_cat, direct_members, *, direct=None, entropy: float | None = None, level: float = 0.95
) -> ConcatenationGain:
    """Difference of differences `[I(CAT_n) - mean I of its members]`, mixture runs minus direct runs.

    All four are tables [U, N] in bits over U disjoint member sets and N test items; `members` hold the mean over each
    set's own members. Sets of the two arms pair if their counts agree. `direct` (I_direct, any shape) and `entropy`
    H(y) decide whether the control could move at all.
    """
    added = np.atleast_2d(cat) - np.atleast_2d(members)
    direct_added = np.atleast_2d(direct_cat) - np.atleast_2d(direct_members)
    gain, control, excess = (
        _over_sets(contrast(terms, level))
        for terms in ([(1.0, added)], [(1.0, direct_added)], [(1.0, added), (-1.0, direct_added)])
    )
    verdict, notes = "", []
    sets = min(gain.n_seeds, control.n_seeds)
    if sets < MIN_SETS:
        notes.append(f"{sets} member set{'s' if sets > 1 else ''}: an interval, no verdict (needs {MIN_SETS})")
    else:
        verdict = "gain" if excess.low > 0 else "loss" if excess.high < 0 else "no difference shown"
    if direct is not None and entropy is not None and float(np.mean(direct)) >= CEILING * entropy:
        notes.append("direct at ceiling")
    return ConcatenationGain(gain, control, excess, verdict, "; ".join(notes))


def _over_sets(interval: Interval) -> Interval:
    return dataclasses.replace(interval, unit=interval.unit.replace("seeds", "member sets"))
