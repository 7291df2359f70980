"""The figure of how far networks lie apart: the spread between seeds over initialisations, and over orders."""

from __future__ import annotations

from bottleneck.report import spread
from bottleneck.report.drawing import BLUE, OCHRE, VERMILLION, lines, reach
from bottleneck.report.lookup import ends, unit_name, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.spread import CALLED, spreads

HUES = {"both": OCHRE, "init": VERMILLION, "order": BLUE}


def section(kinds: dict) -> Section | None:
    """The section; None without a spread."""
    rows = kinds.get(spread.KIND, [])
    if not rows:
        return None
    shown = (*filter(None, [figure(rows)]), spread.table(rows))
    return Section("spread", "Initialisation or order", " ".join(spread.sentences(kinds)), shown, spread.methods(rows))


def figure(rows: list[dict]) -> Figure | None:
    """The spread over what seeds vary, with its interval, component by component."""
    shown = [(t, vary, r) for t in values(rows, "target") for vary, r in spreads(rows, t).items()]
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
