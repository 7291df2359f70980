"""The report's section on what seeds vary: how far apart networks lie over initialisations, and over orders.

Rows of kind spread: `spread`, the standard deviation between seeds at a `point`, whose `extra` says what they `vary`;
`spread_ratio`, the variance over initialisations over that over orders, with a `sentence`.
"""

from __future__ import annotations

from bottleneck.report.lookup import counts, extra, find, number, unit_name, values
from bottleneck.report.table import Table
from bottleneck.rows import select

KIND = "spread"
CALLED = {"both": "both vary", "init": "initialisation alone", "order": "order alone"}


def sentences(kinds: dict) -> list[str]:
    """What every component's ratio says."""
    return [
        extra(r)["sentence"] for r in select(kinds.get(KIND, []), metric="spread_ratio") if extra(r).get("sentence")
    ]


def tables(kinds: dict) -> list[Table]:
    return [table(kinds[KIND])] if kinds.get(KIND) else []


def spreads(rows: list[dict], target: str) -> dict[str, dict]:
    """What seeds vary -> the row of their spread."""
    found = {extra(r).get("vary"): r for r in select(rows, metric="spread", target=target) if r["value"] is not None}
    return {vary: found[vary] for vary in CALLED if vary in found}


def table(rows: list[dict]) -> Table:
    """One line a component: the spread over each, and the ratio."""
    varied = [vary for vary in CALLED if any(vary in spreads(rows, t) for t in values(rows, "target"))]
    made = tuple(
        (
            target,
            *(number(spreads(rows, target).get(vary), digits=4) for vary in varied),
            number(find(rows, metric="spread_ratio", target=target), digits=2),
        )
        for target in values(rows, "target")
    )
    header = ("target", *(f"{CALLED[vary]} ({unit_name(rows)})" for vary in varied), "initialisation / order")
    caption = (
        f"Standard deviation between seeds of what the mixture's features hold, without noise of items; {counts(rows)}."
        " Last: the ratio of the variances of the seeds' means. 95% intervals for normal seed effects."
    )
    return Table("spread", "Spread between seeds", caption, header, made)


def methods(rows: list[dict]) -> str:
    return (
        f"Initialisation and order ({counts(rows)}): runs whose seeds change the initial parameters alone, or the "
        "order of batches, augmentation and dropout alone, the other being the first seed's. Spread: the seeds' "
        "variance component of the two-way layout, by Tukey's and Williams's interval; their ratio by Fisher's F."
    )
