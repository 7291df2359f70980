"""The table of declared representations: what they cost and what they add."""

from __future__ import annotations

from bottleneck.report.lookup import (
    SUBJECT,
    counts,
    extra,
    find,
    mean,
    number,
    representation_names,
    score,
    targets,
    unit,
    unit_name,
    whole,
)
from bottleneck.report.table import MISSING, Table, trim
from bottleneck.rows import select

GAINS = ("gain", "control_gain", "excess_gain", "over_single")


def table(rows: list[dict]) -> Table:
    """What representations cost and add to their own members, beside the control."""
    rows, names, scored = select(rows, seed="all"), representation_names(rows), score(rows) == "accuracy"
    used = [r for r in rows if r["arm"] in names]
    lines = [
        line
        for target in targets(rows)
        for arm in ([SUBJECT, *names] if names else ())
        if (line := _line(rows, used, target, arm, scored))
    ]
    caption = (
        f"{counts(used, None)}; steps are those of all members together. Gain: over the mean of its own members. "
        "Control: the same for directly trained members. Excess: their difference; a verdict rests on it where there "
        "are enough disjoint sets. Over single: over one whole run. 95% intervals, not adjusted for multiplicity."
    )
    header = (
        "target",
        "representation",
        "steps",
        "sets",
        unit_name(rows),
        *(["accuracy (%)"] if scored else []),
        "gain",
        "control",
        "excess",
        "over single",
        "verdict",
    )
    return trim(Table("representations", "Representations and what they add", caption, header, tuple(lines)))


def _line(rows: list[dict], used: list[dict], target: str, arm: str, scored: bool) -> tuple | None:
    """The line of one representation on one target, None where it was not read."""
    level = mean(rows, arm, target)
    if level is None:
        return None
    gain, control, excess, single = (find(used, arm=arm, target=target, metric=g, unit=unit(rows)) for g in GAINS)
    notes = (extra(excess).get("note") or "").split("; ")
    notes = ["no verdict" if "no verdict" in note else note for note in notes]
    return (
        target,
        "one network" if arm == SUBJECT else arm,
        whole(level["train_steps"]),
        whole(level["n_seeds"]),
        number(level, half=True),
        *([number(mean(rows, arm, target, "accuracy"), half=True)] if scored else []),
        *(number(row, half=True) for row in (gain, control, excess, single)),
        "; ".join(filter(None, [extra(excess).get("verdict"), *notes])) or MISSING,
    )
