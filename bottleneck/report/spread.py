"""The report's section on what seeds vary: how far apart networks lie over initialisations, and over orders.

Rows of kind spread: `spread`, the standard deviation between seeds at a `point`, whose `extra` says what they `vary`;
`spread_ratio`, the variance over initialisations over that over orders, with a `sentence`.
"""

from __future__ import annotations

from bottleneck.report.drawing import BLUE, OCHRE, VERMILLION, lines, reach
from bottleneck.report.lookup import counts, ends, extra, find, number, unit_name, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import Table
from bottleneck.rows import select

KIND = "spread"
CALLED = {"both": "both vary", "init": "initialisation alone", "order": "order alone"}
HUES = {"both": OCHRE, "init": VERMILLION, "order": BLUE}


def section(kinds: dict) -> Section | None:
    """The section; None without a spread."""
    rows = kinds.get(KIND, [])
    if not rows:
        return None
    shown = (*filter(None, [figure(rows)]), table(rows))
    return Section("spread", "Initialisation or order", " ".join(sentences(kinds)), shown, methods(rows))


def sentences(kinds: dict) -> list[str]:
    """What every component's ratio says."""
    return [
        extra(r)["sentence"] for r in select(kinds.get(KIND, []), metric="spread_ratio") if extra(r).get("sentence")
    ]


def tables(kinds: dict) -> list[Table]:
    return [table(kinds[KIND])] if kinds.get(KIND) else []


def _of(rows: list[dict], target: str) -> dict[str, dict]:
    """What seeds vary -> the row of their spread."""
    found = {extra(r).get("vary"): r for r in select(rows, metric="spread", target=target) if r["value"] is not None}
    return {vary: found[vary] for vary in CALLED if vary in found}


def table(rows: list[dict]) -> Table:
    """One line a component: the spread over each, and the ratio."""
    varied = [vary for vary in CALLED if any(vary in _of(rows, t) for t in values(rows, "target"))]
    made = tuple(
        (
            target,
            *(number(_of(rows, target).get(vary), digits=4) for vary in varied),
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


def figure(rows: list[dict]) -> Figure | None:
    """The spread over what seeds vary, with its interval, component by component."""
    shown = [(t, vary, r) for t in values(rows, "target") for vary, r in _of(rows, t).items()]
    if not shown:
        return None
    largest = max(r["value"] for *_, r in shown)

    def draw(axes):
        for y, (_, vary, r) in enumerate(shown):
            low, high = ends(r)
            axes.plot([low, min(high, 3 * largest)], [y, y], color=HUES[vary], linewidth=1.6, solid_capstyle="butt")
            axes.plot([r["value"]], [y], marker="o", markersize=5.5, color=HUES[vary], linestyle="")
        tops = [min(ends(r)[1], 3 * largest) for *_, r in shown]
        axes.set(xlim=reach([0.0, *tops]))

    names = [f"{target}: {CALLED[vary]}" for target, vary, _ in shown]
    svg = lines("spread", names, draw, xlabel=f"standard deviation between seeds ({unit_name(rows)})", right=0.2)
    caption = "How far networks lie apart that differ in one of the two alone, with 95% intervals, cut at the edge."
    return Figure("spread", "Spread between seeds", caption, (svg,), fixed=True)


def methods(rows: list[dict]) -> str:
    return (
        f"Initialisation and order ({counts(rows)}): runs whose seeds change the initial parameters alone, or the "
        "order of batches, augmentation and dropout alone, the other being the first seed's. Spread: the seeds' "
        "variance component of the two-way layout, by Tukey's and Williams's interval; their ratio by Fisher's F."
    )
