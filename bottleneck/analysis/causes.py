"""Why a target is missing: each suspected cause has an arm that would undo it, and what the arm restores is measured.

An arm is a table I [S, N] of information (bits, or R2) per seed and test item. `direct - mixture` is the gap. Arms
`longer`, `heads`, `randomised`, `wider` and `matched` are compared with it; shares of the gap need not add up, several
causes may be named, and an arm that is too noisy to tell leaves its cause undecided. Intervals are unadjusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis.gap import Verdict, describe
from bottleneck.analysis.intervals import Interval, contrast

NAMED = 0.5  # the share of the gap an intervention must account for
MIN_SETS = 5  # disjoint member sets a concatenation verdict needs
CEILING = 0.95  # of H(y): direct training above this leaves concatenation nothing to gain
CAUSES = {  # arm -> the cause it would undo
    "heads": "label conflict",
    "randomised": "competition",
    "matched": "dilution",
    "longer": "unfinished training",
    "wider": "capacity",
}
EVIDENCE = {  # arm -> what it did, in the words of a sentence
    "heads": "a head per component restores {share}",
    "randomised": "randomising the competing feature restores {share}",
    "matched": "direct training on as many of its examples already lacks {share}",
    "longer": "training longer restores {share}",
    "wider": "a wider network restores {share}",
}


@dataclass(frozen=True)
class Cause:
    """What one intervention says about one target's gap."""

    arm: str
    cause: str
    numerator: Interval  # I_arm - I_mixture (I_direct - I_matched for dilution)
    half: Interval  # numerator - 0.5 (I_direct - I_mixture)
    share: float  # numerator / (I_direct - I_mixture); nan if that is not positive
    status: str  # "named" | "ruled out" | "undecided"


def causes(arms, level: float = 0.95, paired: bool = True) -> list[Cause]:
    """One `Cause` for every intervention present in `arms`: arm -> I [S, N], with `mixture` and `direct` among them.

    Named: the share is at least 0.5 and the numerator's interval is above 0. Ruled out: the interval of
    `numerator - 0.5 gap` is below 0. Otherwise undecided. Meant for lost targets; without a positive gap there is
    nothing to explain and everything is undecided.
    """
    mixture, direct = arms["mixture"], arms["direct"]
    gap = float(np.mean(direct) - np.mean(mixture))
    found = []
    for arm, cause in CAUSES.items():
        if arm not in arms:
            continue
        terms = [(1.0, direct), (-1.0, arms[arm])] if arm == "matched" else [(1.0, arms[arm]), (-1.0, mixture)]
        numerator = contrast(terms, level, paired)
        half = contrast(_merge([*terms, (-NAMED, direct), (NAMED, mixture)]), level, paired)
        share = numerator.value / gap if gap > 0 else float("nan")
        status = "undecided"
        if share >= NAMED and numerator.low > 0:
            status = "named"
        elif gap > 0 and half.high < 0:
            status = "ruled out"
        found.append(Cause(arm, cause, numerator, half, share, status))
    return found


def _merge(terms):
    """Add the coefficients of terms that are the same table, so that its seeds are counted once."""
    merged: list[tuple[float, np.ndarray]] = []
    for coefficient, table in terms:
        same = [i for i, (_, other) in enumerate(merged) if other is table]
        if same:
            merged[same[0]] = (merged[same[0]][0] + coefficient, table)
        else:
            merged.append((coefficient, table))
    return merged


def interference(arms, level: float = 0.95, paired: bool = True) -> Interval | None:
    """`I_matched - I_mixture`: what the other components cost beyond the examples they displace."""
    if "matched" not in arms:
        return None
    return contrast([(1.0, arms["matched"]), (-1.0, arms["mixture"])], level, paired)


def saturated(found: list[Cause], interference: Interval | None) -> bool:
    """Whether the paper's word applies: interference remains, `longer` is ruled out, and `randomised` is named."""
    status = {cause.arm: cause.status for cause in found}
    return (
        interference is not None
        and interference.low > 0
        and status.get("longer") == "ruled out"
        and status.get("randomised") == "named"
    )


def sentence(
    target: str,
    verdict: Verdict,
    found: list[Cause] = (),
    points: Interval | None = None,
    interference: Interval | None = None,
    unit: str = "bits",
) -> str:
    """One sentence for one target: verdict, size with interval, named causes, then the undecided and ruled out ones."""
    text = describe(target, verdict, points, unit)
    if verdict.verdict == "lost" and found:
        named = sorted((c for c in found if c.status == "named"), key=lambda c: -c.share)
        clauses = [f"{c.cause} ({EVIDENCE[c.arm].format(share=f'{100 * c.share:.0f}% of the gap')})" for c in named]
        text += f"; cause{'s' if len(named) > 1 else ''}: {_join(clauses)}" if named else "; no cause is established"
        if saturated(found, interference):
            text += ", so the mixture's features are saturated by the competing one"
        for status in ("undecided", "ruled out"):
            others = [c.cause for c in found if c.status == status]
            text += f"; {status}: {_join(others)}" if others else ""
    return text + "."


def _join(words) -> str:
    words = list(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


@dataclass(frozen=True)
class ConcatenationGain:
    """What concatenating members adds, beyond what it adds for members trained directly."""

    gain: Interval  # of mixture members, over the mean of its own members
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
    gain = contrast([(1.0, cat), (-1.0, members)], level)
    control = contrast([(1.0, direct_cat), (-1.0, direct_members)], level)
    excess = contrast(
        [
            (1.0, np.atleast_2d(cat) - np.atleast_2d(members)),
            (-1.0, np.atleast_2d(direct_cat) - np.atleast_2d(direct_members)),
        ],
        level,
    )
    gain, control, excess = (_over_sets(interval) for interval in (gain, control, excess))
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
    unit = interval.unit.replace("seeds", "member sets")
    return Interval(**{**interval.__dict__, "unit": unit})
