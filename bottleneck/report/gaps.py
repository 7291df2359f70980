"""Figures of the gaps as SVG text: their sizes, what they split into, and what restores them."""

from __future__ import annotations

from bottleneck.analysis.causes import HALF, STATUSES
from bottleneck.report import causes, lookup
from bottleneck.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    OCHRE,
    PURPLE,
    VERMILLION,
    lines,
    panels,
    reach,
    remark,
)
from bottleneck.report.lookup import PARTS, ends, extra
from bottleneck.report.section import Figure
from bottleneck.report.svg import short
from bottleneck.rows import select

VERDICTS = {
    "lost": (VERMILLION, "o"),
    "retained": (GREEN, "s"),
    "inconclusive": (PURPLE, "D"),
    "untestable": (INK, "x"),
}
COLOURS = dict(zip(STATUSES, (VERMILLION, OCHRE, PURPLE, GREY)))  # what was not asked is not drawn
HUES = dict(zip(PARTS, (BLUE, VERMILLION, OCHRE)))
BAR = 0.56  # of the room between two lines


def sizes(rows: list[dict]) -> Figure | None:
    """Every gap in bits (R2) with its 95% interval; a short line marks the margin."""
    gap_rows = [r for r in lookup.gaps(rows) if r["value"] is not None]
    if not gap_rows:
        return None
    edges = {id(r): _edge(rows, r) for r in gap_rows}

    def draw(axes):
        for y, r in enumerate(gap_rows):
            colour, marker = VERDICTS.get(extra(r).get("verdict"), (INK, "o"))
            axes.plot(ends(r), [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([r["value"]], [y], marker=marker, markersize=6, color=colour, linestyle="")
            if (edge := edges[id(r)]) is not None:
                axes.plot([edge, edge], [y - 0.32, y + 0.32], color=INK, linewidth=1.1)
            remark(axes, y, extra(r).get("verdict") or "", colour)
        values = [v for r in gap_rows for v in (r["value"], *ends(r), edges[id(r)]) if v is not None]
        axes.set(xlim=reach([0.0, *values]))

    foreign = any(r["arm"] != lookup.SUBJECT for r in gap_rows)
    who = "the features" if foreign else "mixture"
    svg = lines(
        "gap", [lookup.titled(r) for r in gap_rows], draw, xlabel=f"gap: direct minus {who} ({lookup.unit_name(rows)})"
    )
    margin, beyond = lookup.margin(rows), ""
    if margin is not None:
        beyond = (
            f" The short upright line is the margin: beyond it, less is kept than {100 * margin:g}% of what direct "
            "training shows."
        )
    subject = "the features of the mixture, or of the source named," if foreign else "the mixture's features,"
    caption = f"Direct training minus {subject} with 95% intervals.{beyond}"
    return Figure("gap", "Gap per target", caption, (svg,), fixed=True)


def _edge(rows: list[dict], gap: dict) -> float | None:
    """The gap at which the verdict's D would be 0; None where it means nothing."""
    distance = lookup.find(rows, target=gap["target"], arm=gap["arm"], metric="margin", unit=gap["unit"])
    if extra(gap).get("verdict") == "untestable" or distance is None or distance["value"] is None:
        return None
    return gap["value"] - distance["value"]


def split(rows: list[dict]) -> Figure | None:
    """What the gap of every lost target splits into: bars end to end, negative parts on the other side of 0."""
    shown = [
        (r, pieces) for r in lookup.lost(rows) if (pieces := lookup.parts(rows, r["target"])) and _whole(pieces, r)
    ]
    if not shown:
        return None

    def draw(axes):
        limits = [0.0]
        for y, (gap, pieces) in enumerate(shown):
            stacked = stack({part: row["value"] for part, row in pieces.items()})
            for part, (left, width) in stacked.items():
                axes.barh(y, width, BAR, left=left, color=HUES[part], linewidth=0, zorder=2)
                limits += [left, left + width]
            axes.plot(ends(gap), [y, y], color=INK, linewidth=1.2, solid_capstyle="butt", zorder=3)
            axes.plot([gap["value"]] * 2, [y - 0.36, y + 0.36], color=INK, linewidth=1.6, zorder=3)
            limits += ends(gap)
        axes.set(xlim=reach(limits))

    names = list(dict.fromkeys(part for _, pieces in shown for part in pieces))
    svg = lines("split", [r["target"] for r, _ in shown], draw, xlabel=lookup.unit_name(rows), right=0.2)
    caption = (
        "Lost targets. Parts end to end, those below 0 to the left of it (there the others help); the upright line is "
        "the gap, with its 95% interval. Intervals of the parts are in the table."
    )
    return Figure("split", "How the gap splits", caption, (svg,), tuple((p, HUES[p], False) for p in names), fixed=True)


def _whole(pieces: dict[str, dict], gap: dict) -> bool:
    return all(row["value"] is not None for row in (*pieces.values(), gap))


def stack(values: dict[str, float]) -> dict[str, tuple[float, float]]:
    """name -> (where its bar starts, its signed width): positive ones end to end to the right, negative to the left."""
    high, low, places = 0.0, 0.0, {}
    for name, value in values.items():
        places[name] = (high if value >= 0 else low, value)
        high, low = (high + value, low) if value >= 0 else (high, low + value)
    return places


def shares(rows: list[dict]) -> Figure | None:
    """The share of the gap that each suspected cause's arm restores, one panel per lost target."""
    restored = [r for r in causes.restored(rows) if extra(r).get("share") is not None and r["value"] is not None]
    if not restored:
        return None
    names = list(dict.fromkeys(r["target"] for r in restored))
    most = max(len(select(restored, target=name)) for name in names)
    room = limits([(extra(r)["share"], *interval(r)) for r in restored])

    def draw(axes, target):
        of = select(restored, target=target)
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
        axes.axvline(100 * HALF, color=INK, linewidth=0.7, alpha=0.6, linestyle=(0, (4, 3)))
        for y, r in enumerate(of):
            colour = COLOURS.get(extra(r).get("status"), INK)
            low, high = interval(r)
            axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([100 * extra(r)["share"]], [y], marker="o", markersize=5, color=colour, linestyle="")
            remark(axes, y, extra(r).get("status") or "", colour)
        axes.set(xlim=room, ylim=(most - 0.4, -0.6))
        axes.set_yticks(range(len(of)), _names(of))
        axes.tick_params(axis="y", length=0)

    drawn = tuple(
        panels(
            f"restored-{name}", [name], draw, inner=0.24 * most, left=1.35, right=0.72, xlabel="share of the gap (%)"
        )
        for name in names
    )
    caption = (
        "What each cause's arm restores of the gap, with the 95% interval of what is restored over the gap as it was "
        "measured, cut at the panel's edge; the dashed line is half of the gap. Causes that were not asked are left "
        "out."
    )
    return Figure("restored", "Shares of the gap", caption, drawn)


def _names(rows: list[dict]) -> list[str]:
    """The causes of one target; with the factor where several compete."""
    names = [extra(r).get("cause") or "" for r in rows]
    return [short(f"{n}: {r['factor']}", 20) if names.count(n) > 1 else n for n, r in zip(names, rows)]


def interval(row: dict) -> tuple[float, float]:
    """The ends of what is restored as shares: over the same gap as the share is."""
    share = extra(row)["share"]
    if not row["value"]:
        return (share, share)
    return tuple(end * share / row["value"] for end in ends(row))


def limits(shown: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Limits in percent that hold every share, half and all of the gap, and of intervals what is no wider than that."""
    values = [100 * value for value, *_ in shown] + [0.0, 50.0, 100.0]
    room = 0.25 * (max(values) - min(values))
    low, high = min(100 * low for _, low, _ in shown), max(100 * high for *_, high in shown)
    return reach([*values, max(low, min(values) - room), min(high, max(values) + room)])
