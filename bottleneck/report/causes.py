"""The table of what restores a gap: one line per lost target and suspected cause, with the arm that would undo it."""

from __future__ import annotations

from dataclasses import replace

from bottleneck import arms
from bottleneck.analysis.causes import STATUSES
from bottleneck.report.lookup import SUBJECT, counts, extra, number, targets, unit, unit_name, whole
from bottleneck.report.table import MISSING, Table
from bottleneck.rows import select

RULE = (
    "Named: the interval of what the arm restores minus half of the gap lies above 0. Likely: the share is at least "
    "half and the interval of what is restored lies above 0. Ruled out: the first interval lies below 0. Else undecided"
)


def restored(rows: list[dict]) -> list[dict]:
    """The rows of what each cause's arm restores, target by target, the surest and largest first."""
    of = select(rows, seed="all", metric="restored", unit=unit(rows))
    if all(r["value"] is None for r in of):  # no arm was trained: the sentences say why
        return []
    order = targets(rows)

    def place(row):
        status = extra(row).get("status")
        rank = STATUSES.index(status) if status in STATUSES else len(STATUSES)
        return (order.index(row["target"]), rank, -(extra(row).get("share") or 0.0))

    return sorted((r for r in of if r["target"] in order), key=place)


def cause(row: dict) -> str:
    """A row's cause in words, with the factor that competes."""
    name = extra(row).get("cause") or MISSING
    return f"{name} with {row['factor']}" if row["factor"] else name


def table(rows: list[dict]) -> Table:
    """What each intervention restores of a lost target's gap, and what that says."""
    of = restored(rows)
    lines = tuple(
        (
            r["target"],
            cause(r),
            extra(r).get("status") or MISSING,
            whole(extra(r).get("share"), 100),
            number(r),
            r["arm"],
            arms.ARMS[r["arm"]].trained if r["arm"] in arms.ARMS and r["value"] is not None else MISSING,
            "; ".join(filter(None, (extra(r).get("evidence"), extra(r).get("reason")))) or MISSING,
        )
        for r in of
    )
    header = (
        "target",
        "suspected cause",
        "status",
        "share of the gap (%)",
        f"restored ({unit_name(rows)})",
        "arm",
        "what was trained",
        "in words",
    )
    return Table("restored", "What restores it", caption(of), header, lines)


def short(rows: list[dict]) -> Table:
    """The same for a terminal: what was trained stands once, below the caption's words, and not in every line."""
    whole_table = table(rows)
    left_out = whole_table.header.index("what was trained")
    lines = [line[left_out - 1 : left_out + 1] for line in whole_table.rows]
    trained = "; ".join(dict.fromkeys(f"{arm}: {words}" for arm, words in lines if words != MISSING))
    header, *lines = ((*line[:left_out], *line[left_out + 1 :]) for line in (whole_table.header, *whole_table.rows))
    return replace(whole_table, caption=f"{whole_table.caption} Arms: {trained}.", header=header, rows=tuple(lines))


def caption(of: list[dict]) -> str:
    """What the columns mean, and of what competition was read."""
    scarce = " (scarcity: direct training minus the arm)" if select(of, arm="scarce") else ""
    words = [
        f"Lost targets only; {counts(of)}. Restored: the arm minus the {SUBJECT}{scarce}, with its 95% interval, not "
        f"adjusted for multiplicity. {RULE}. Shares need not add up."
    ]
    if any(r["factor"] for r in of):
        words.append(
            "Competition is read on a variant of the target in which the competing factor is independent of the label: "
            "gap, share and status are of that variant."
        )
    if any(extra(r).get("status") == "not asked" for r in of):
        words.append("Not asked: the last column says why.")
    return " ".join(words)
