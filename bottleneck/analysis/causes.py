"""Why a target is missing: how its gap splits, and what each intervention restores of it.

An arm is a table I [S, N] of information (bits, or R2) per seed and test item; `direct - mixture` is the gap. It splits
exactly into *exposure* (what is lost even when the others' losses do not exist) and *interference* of the others. Every
suspected cause has an arm that would undo it (`bottleneck.arms`), and what that arm restores is measured: a cause is
*named* when it is surely more than half of the gap. Shares need not add up, several causes may be named, and intervals
are unadjusted.

Two readings would mislead and are not made. The competing feature is itself information about the label, and
randomising takes it away: competition is judged on the *variant* of the component whose competitor is independent of
the label. And a wider or more balanced run may only be a faster one, and a wide network reads much untrained: neither
is capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bottleneck import arms
from bottleneck.analysis.gap import testability
from bottleneck.analysis.intervals import Interval, contrast

SPLIT = ("mixture", "direct", "alone")  # the arms that split a gap
HALF = 0.5  # the share of the gap that a cause must account for
NEARLY_ALL = 0.99  # of the unique examples: a mixture that draws so many is not short of examples
STATUSES = ("named", "likely", "undecided", "ruled out", "not asked")


@dataclass(frozen=True)
class Evidence:
    """Everything that was read on one target. Tables are [S, N], seeds paired where their numbers agree."""

    arms: Mapping[str, np.ndarray]  # mixture, direct, and whichever of the other arms were trained and read
    variant: Mapping[str, np.ndarray]  # mixture, direct, alone, randomised, on the randomised variant; {} without one
    untrained_wider: np.ndarray | None  # the wider network at its step 0
    not_asked: Mapping[str, str]  # arm -> why it says nothing of this target whatever was read, in words
    label_space: str  # shared | disjoint | per_component
    margin: float  # the share of I_direct that counts as retained
    entropy: float  # H(y), bits
    weights: tuple[float, float] | None  # in the mixture and at equal weights; None outside the mixture
    drawn: float | None = None  # expected share of its unique examples that the mixture drew
    adapted: Mapping[str, np.ndarray] = field(default_factory=dict)  # mixture, direct, alone: as in `split`
    longer: tuple[float, float] = (2, 8)  # how many times as long `longer` and `longest` trained


@dataclass(frozen=True)
class Split:
    """The parts of a gap, which add up to it."""

    gap: Interval
    exposure: Interval
    interference: Interval
    normalisation: Interval | None  # what goes away with statistics of the component's own; None without BatchNorm
    exposure_half: Interval  # exposure - 0.5 gap


@dataclass(frozen=True)
class Rising:
    """Whether training was still rising when it ended: differences between finished runs."""

    mixture: Interval | None  # longer - mixture
    direct: Interval | None  # direct - direct_half
    longest: Interval | None  # longest - mixture
    enough: float  # (1 - margin) I_direct: so much is a rise
    unsettled: bool  # a rise is seen or not excluded by the arms that were read: `longest` has to settle it
    holds: bool  # it is, or that is not excluded, `longest` included
    words: str  # how sure that is; "" where it does not hold
    longer: tuple[float, float]  # as in Evidence


@dataclass(frozen=True)
class Cause:
    """What one intervention says about one target's gap."""

    arm: str
    cause: str
    numerator: Interval | None  # I_arm - I_mixture (I_direct - I_scarce for scarcity); None where nothing was read
    half: Interval | None  # numerator - 0.5 (I_direct - I_mixture)
    share: float  # numerator / (I_direct - I_mixture); nan where that is not positive or nothing was read
    status: str  # one of STATUSES
    evidence_words: str  # what the arm did, in words
    reason: str  # why it was not asked, or what limits the status


def split(mixture, direct, alone, *, adapted: Mapping | None = None, level: float = 0.95) -> Split:
    """`direct - mixture` as exposure `direct - alone` plus interference `alone - mixture`, tables [S, N].

    `adapted`: mixture, direct and alone read again with BatchNorm statistics of the component. Then the two parts are
    of that reading, and what it closes is normalisation: the three add up to the gap as it was read at first.
    """
    ours = {"mixture": mixture, "direct": direct, "alone": alone}
    ours = {name: np.atleast_2d(np.asarray(table, np.float64)) for name, table in ours.items()}
    read = {name: np.atleast_2d(np.asarray((adapted or ours)[name], np.float64)) for name in ours}
    gone = [(1.0, ours["direct"] - read["direct"]), (-1.0, ours["mixture"] - read["mixture"])]
    half = [(1.0, read["direct"] - HALF * ours["direct"]), (-1.0, read["alone"]), (HALF, ours["mixture"])]
    return Split(
        contrast([(1.0, ours["direct"]), (-1.0, ours["mixture"])], level),
        contrast([(1.0, read["direct"]), (-1.0, read["alone"])], level),
        contrast([(1.0, read["alone"]), (-1.0, read["mixture"])], level),
        contrast(gone, level) if adapted else None,
        contrast(half, level),
    )


def interference(tables: Mapping, level: float = 0.95) -> Interval | None:
    """`alone - mixture` of one reading (the variant's, say); None where it has no `alone`."""
    if not {"alone", "mixture"} <= set(tables):
        return None
    return contrast([(1.0, tables["alone"]), (-1.0, tables["mixture"])], level)


def exposed(split: Split) -> bool:
    """Whether scarcity is worth a run: unless exposure is surely less than half of the gap."""
    return not split.exposure_half.high < 0


def competes(mixture, direct, entropy: float, level: float = 0.95) -> tuple[bool, str]:
    """Whether competition can be judged, and why not: `mixture` and `direct` [S, N] read on the randomised variant.

    There the competitor tells nothing, so that what is read is the feature the label has of its own.
    """
    if (testable := testability(direct, entropy, level)) == "untestable":
        return False, "it has no feature of its own"
    if testable == "unclear":
        return False, "whether it has a feature of its own is unclear"
    if not contrast([(1.0, direct), (-1.0, mixture)], level).low > 0:
        return False, "its own feature is not missing"
    return True, ""


def rising(evidence: Evidence, level: float = 0.95) -> Rising:
    """Whether the mixture or direct training was still rising, by runs that were finished at other lengths.

    A rise is more than `(1 - margin) I_direct`, or an interval that does not exclude so much. `longest` settles it
    where it was read. Without any longer run of the mixture a rise is not excluded.
    """
    read, least = evidence.arms, 1.0 - evidence.margin

    def rise(after, before):
        """The rise, and the rise less what would count as one; None, None where a run is missing."""
        if not {after, before} <= set(read):
            return None, None
        weights = {after: 1.0, before: -1.0}
        beyond = weights | {"direct": weights.get("direct", 0.0) - least}
        return tuple(contrast([(w, read[arm]) for arm, w in each.items()], level) for each in (weights, beyond))

    mixture, mixture_beyond = rise("longer", "mixture")
    direct, direct_beyond = rise("direct", "direct_half")
    longest, longest_beyond = rise("longest", "mixture")
    shorter = [beyond for beyond in (mixture_beyond, direct_beyond) if beyond is not None]
    unsettled = any(not beyond.high < 0 for beyond in shorter)
    decisive = shorter if longest is None else [longest_beyond]
    holds = any(not beyond.high < 0 for beyond in decisive) or (mixture is None and longest is None)
    seen = any(beyond.value > 0 for beyond in decisive)
    words = ("training is still rising" if seen else "training may still be rising") if holds else ""
    enough = least * float(np.mean(read["direct"]))
    return Rising(mixture, direct, longest, enough, unsettled, holds, words, evidence.longer)


def causes(evidence: Evidence, level: float = 0.95) -> tuple[Cause, ...]:
    """One `Cause` for each that has an arm, in the order of `arms.CAUSES`. Meant for lost targets.

    *Named*: the interval of `half` is above 0. *Likely*: the share is at least 0.5 and the numerator's interval above
    0. *Ruled out*: the interval of `half` is below 0. *Not asked*: a rule or the study says so. Else *undecided*.
    While training is rising, or where width alone reads the label, statuses are limited and say so.
    """
    rise = rising(evidence, level)
    return tuple(_cause(evidence, arms.ARMS[name], rise, level) for name in arms.CAUSES.values())


def saturated(causes, variant_interference: Interval | None) -> bool:
    """Whether the paper's word applies: interference on the variant, finished training, competition named."""
    status = {cause.cause: cause.status for cause in causes}
    return (
        variant_interference is not None
        and variant_interference.low > 0
        and status.get("unfinished training") == "ruled out"
        and status.get("competition") == "named"
    )


def _cause(evidence: Evidence, arm: arms.Arm, rise: Rising, level: float) -> Cause:
    cause, nothing = arm.cause_in(evidence.label_space), (None, None, float("nan"))
    if arm.unique and evidence.drawn is not None and evidence.drawn >= NEARLY_ALL:
        words = f"the mixture drew {_percent(evidence.drawn, 1)} of its unique examples"
        return Cause(arm.name, cause, *nothing, "ruled out", words, "")
    tables = evidence.variant if arm.randomised else evidence.arms
    if arm.steps > 1 and "longest" in tables:
        arm = arms.ARMS["longest"]
    reason = _why_not(evidence, arm, tables, level)
    if reason:
        return Cause(arm.name, cause, *nothing, "not asked", "", reason)
    numerator, half, share = _restored(arm, tables, level)
    if np.isnan(share):
        return Cause(arm.name, cause, numerator, half, share, "undecided", "", "there is no gap to explain")
    before, after = (_weight(weight) for weight in evidence.weights or (np.nan, np.nan))
    times = arms.times(evidence.longer[arm.name == "longest"])
    words = arm.evidence.format(share=_percent(share), times=times, before=before, after=after)
    status, reason = _limited(_status(numerator, half, share), evidence, arm, rise, level)
    return Cause(arm.name, cause, numerator, half, share, status, words, reason)


def _why_not(evidence: Evidence, arm: arms.Arm, tables: Mapping, level: float) -> str:
    """Why an arm says nothing of this target; "" where it does."""
    if arm.name in evidence.not_asked:
        return evidence.not_asked[arm.name]
    if arm.unique and "alone" in tables:
        parts = [tables[name] for name in SPLIT]
        if not exposed(split(*parts, adapted=evidence.adapted, level=level)):
            return "exposure, of which it is a part, is surely less than half of the gap"
    if arm.randomised and {"mixture", "direct"} <= set(tables):
        asked, reason = competes(tables["mixture"], tables["direct"], evidence.entropy, level)
        if not asked:
            return reason
    return "" if arm.name in tables else "not run"


def _restored(arm: arms.Arm, tables: Mapping, level: float) -> tuple[Interval, Interval, float]:
    """Numerator, numerator less half the gap, and share of one arm."""
    table, mixture, direct = tables[arm.name], tables["mixture"], tables["direct"]
    if arm.reference == "direct":
        numerator, half = [(1.0, direct), (-1.0, table)], [(1.0 - HALF, direct), (-1.0, table), (HALF, mixture)]
    else:
        numerator, half = [(1.0, table), (-1.0, mixture)], [(1.0, table), (HALF - 1.0, mixture), (-HALF, direct)]
    numerator, half = contrast(numerator, level), contrast(half, level)
    gap = float(np.mean(direct) - np.mean(mixture))
    return numerator, half, numerator.value / gap if gap > 0 else float("nan")


def _status(numerator: Interval, half: Interval, share: float) -> str:
    if half.low > 0:
        return "named"
    if half.high < 0:
        return "ruled out"
    return "likely" if share >= HALF and numerator.low > 0 else "undecided"


def _limited(status: str, evidence: Evidence, arm: arms.Arm, rise: Rising, level: float) -> tuple[str, str]:
    """The status that may be said, and what limits it: neither speed nor width is capacity."""
    if arm.width > 1 and status in ("named", "likely"):
        if evidence.untrained_wider is None:
            return "undecided", "it was not read untrained"
        if not _restored(arm, {**evidence.arms, arm.name: evidence.untrained_wider}, level)[1].high < 0:
            return "undecided", "width alone reads it, trained or not"
    if rise.holds and arm.steps > 1 and status == "ruled out":
        return "undecided", rise.words
    if rise.holds and (arm.width > 1 or arm.equal_weights) and status == "named":
        return "likely", rise.words
    return status, ""


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:z.{digits}f}%"


def _weight(weight: float) -> str:
    return f"{weight:.2f}" if weight >= 0.005 else f"{weight:.2g}"
