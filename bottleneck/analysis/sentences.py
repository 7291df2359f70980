"""What was found of one target, in words: verdict, parts of the gap, causes by status."""

from __future__ import annotations

import numpy as np

from bottleneck import arms
from bottleneck.analysis.causes import STATUSES, Cause, Rising, Split, saturated
from bottleneck.analysis.gap import DIRECT, MIXTURE, Verdict, describe
from bottleneck.analysis.intervals import Interval


def sentence(
    target: str,
    verdict: Verdict,
    split: Split | None = None,
    causes: tuple[Cause, ...] = (),
    points: Interval | None = None,
    unit: str = "bits",
    *,
    rising: Rising | None = None,
    variant_interference: Interval | None = None,
    of: str = MIXTURE,
    against: str = DIRECT,
) -> str:
    """One sentence for one target: the verdict, how its gap splits, then of a lost one what restores it, by status.
    `of` whose features, and what they are held `against`."""
    text = describe(target, verdict, points, unit, of, against)
    if split is not None and verdict.verdict != "untestable":
        text += f"; the gap splits into {parts(split, unit)}"
    if verdict.verdict != "lost" or not causes:
        return text + "."
    for status in STATUSES:
        said = sorted((c for c in causes if c.status == status), key=lambda c: -np.nan_to_num(c.share))
        if said:
            text += f"; {status}: {_join(_clauses(said))}"
        elif status == "named":
            text += "; no cause is named"
        if status == "named" and saturated(causes, variant_interference):
            text += ", so the mixture's features are saturated by the competing one"
    if rising is not None and rising.holds:
        text += _rise(rising, unit)
    return text + "."


def parts(split: Split, unit: str = "bits") -> str:
    """The parts of a gap in words, with intervals; a part that is surely negative says what that means."""
    named = {
        "normalisation": (split.normalisation, "statistics of its own make it worse"),
        "exposure": (split.exposure, "seeing less of it helps"),
        "interference": (split.interference, "the others help"),
    }
    return _join(
        f"{name} {part.value:z.2f} {unit} ({part.low:z.2f} to {part.high:z.2f}{f'; {words}' if part.high < 0 else ''})"
        for name, (part, words) in named.items()
        if part is not None
    )


def exposure_contains(normalised_step: bool, clipped: bool) -> str:
    """What exposure holds, as a sentence, by optimiser: `normalised_step` (Adam and its kin), `clipped` gradients."""
    if not normalised_step and not clipped:
        return (
            "Exposure holds what few draws of the component cost and, as its gradient is divided by the whole batch's "
            "weight, that it is small beside the full weight decay."
        )
    by = ["the optimiser rescales its step"] * normalised_step + ["clipping acts on the sum of gradients"] * clipped
    return (
        f"Exposure holds what few draws of the component cost; {_join(by)}, so that the share of a step that goes to "
        "the others counts as interference."
    )


def _clauses(causes: list[Cause]) -> list[str]:
    """What is said of causes of one status; those of which the same is to be said stand together."""
    of: dict[str, list[str]] = {}
    for cause in causes:
        of.setdefault("; ".join(filter(None, (cause.evidence_words, cause.reason))), []).append(cause.cause)
    return [f"{_join(names)} ({said})" if said else _join(names) for said, names in of.items()]


def _rise(rising: Rising, unit: str) -> str:
    added = {
        f"{arms.times(rising.longer[1])} as long adds": rising.longest,
        f"{arms.times(rising.longer[0])} as long adds": rising.mixture,
        "the second half of direct training adds": rising.direct,
    }
    said = [f"{words} {r.value:z.2f} ({r.low:z.2f} to {r.high:z.2f})" for words, r in added.items() if r is not None]
    return f"; {rising.words}" + (f": {_join(said)}, and {rising.enough:.2f} {unit} would be a rise" if said else "")


def _join(words) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
