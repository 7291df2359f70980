"""The report's section on discovery: what each round leaves for the next, and where no example was left.

Rows of kind discovery: `wrong`, the share of a component's training items that a round (`step`) of a recipe (`arm`) has
wrong, and `rounds`, whose `extra` holds a sentence.
"""

from __future__ import annotations

from bottleneck.report.lookup import extra, number, span, values
from bottleneck.report.section import Section
from bottleneck.report.table import MISSING, Table
from bottleneck.rows import select

KIND = "discovery"


def section(kinds: dict) -> Section | None:
    """None without a chain of rounds."""
    rows = select(kinds.get(KIND, []), seed="all")
    said = [extra(r)["sentence"] for r in select(rows, metric="rounds")]
    wrong = select(rows, metric="wrong")
    if not said:
        return None
    methods = (
        "Rounds of discovery are trained by group DRO over the training items that earlier rounds have right and "
        "wrong, all components together; a group is as its examples in a batch, and the synthesis has a head a round, "
        "against hard pseudo-labels, half of its items those on which the rounds agree."
    )
    return Section("discovery", "Rounds of discovery", " ".join(said), (table(wrong),) if wrong else (), methods)


def table(wrong: list[dict]) -> Table:
    """A line for every round, a column for every component."""
    names = values(wrong, "target")
    places = dict.fromkeys((r["arm"], r["step"]) for r in wrong)
    lines = tuple(
        (arm, str(step), *(_cell(select(wrong, arm=arm, step=step, target=name)) for name in names))
        for arm, step in places
    )
    items, seeds = (span(sorted({r[key] for r in wrong})) for key in ("n_examples", "n_seeds"))
    caption = (
        f"Percent of a component's training items ({items}), over {seeds} seeds; 95% intervals, not adjusted for "
        "multiplicity. Round 0 is a short run, the others are trained by group DRO."
    )
    return Table("discovery", "What rounds of discovery have wrong", caption, ("recipe", "round", *names), lines)


def _cell(rows: list[dict]):
    return number(rows[0], half=True) if rows else MISSING
