"""What concatenating networks adds, judged by a difference of differences over disjoint member sets; and which member
carries it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information
from bottleneck.analysis.intervals import Interval, contrast
from bottleneck.analysis.probes import Probe

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
        over_sets(contrast(terms, level))
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


def over_sets(interval: Interval) -> Interval:
    """An interval over member sets in the place of seeds, called so."""
    return dataclasses.replace(interval, unit=interval.unit.replace("seeds", "member sets"))


@dataclass(frozen=True)
class Without:
    """What a fitted probe loses when one member says nothing: positive numbers are what the member carried."""

    information: np.ndarray  # [n_test] bits (R2 items for regression)
    correct: np.ndarray | None  # [n_test] 1 where it was right and is wrong now, -1 the other way round
    weight: float  # mean |w| of the member's standardised units


def without(probe: Probe, x, y, widths) -> list[Without]:
    """For every member, the probe as it was fitted with the member's features held at their means of the probe split.

    `x[split]` [n, sum of widths] for probe, val and test, members side by side as `widths` says; `y` as the probe's
    own. Nothing is fitted again but the calibration on val, by the probe's own rule: else an overconfident remainder
    would be charged to the member.
    """
    features, ends = np.asarray(x["probe"], np.float64), np.cumsum(widths)
    mean, spread = features.mean(0), features.std(0)
    outputs = {split: np.asarray(x[split], np.float64) @ probe.weights + probe.intercept for split in ("val", "test")}
    found = []
    for start, stop in zip(ends - widths, ends, strict=True):
        weights = probe.weights[start:stop]
        held = {split: out - (x[split][:, start:stop] - mean[start:stop]) @ weights for split, out in outputs.items()}
        size = float(np.abs(spread[start:stop, None] * weights).mean())
        if probe.correct is None:
            left = information.r2_items(y["test"], held["test"])
            found.append(Without(probe.bits - left, None, size))
            continue
        calibration = information.calibrate(held["val"], y["val"], probe.prior)
        left = information.bits(information.apply(calibration, held["test"]), y["test"], probe.prior)
        right = held["test"].argmax(1) == y["test"]
        found.append(Without(probe.bits - left, probe.correct.astype(np.int8) - right, size))
    return found
