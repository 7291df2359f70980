"""Curves over steps with interval bands: one panel each, several beside each other under one key."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bottleneck.report.drawing import BLUE, GREEN, GREY, INK, OCHRE, PURPLE, VERMILLION, panels, reach
from bottleneck.report.lookup import ends
from bottleneck.report.section import Figure
from bottleneck.rows import select

HUES = (VERMILLION, BLUE, GREEN, PURPLE, OCHRE, GREY)
DASHED = (0, (4, 2))
LEFT = 0.72  # inches, for numbers such as -0.25 and what they are
ROOM = 0.16  # of an axis, between two steps that are both named


@dataclass(frozen=True)
class Curve:
    """Values over steps. The level of a reference stands beside the last one, or goes `through` the panel."""

    label: str
    colour: str
    points: tuple[tuple[int, float, float, float], ...]  # step, value, and the ends of its interval
    dashed: bool = False
    level: float | None = None
    through: bool = False


def curve(rows: list[dict], label: str, colour: str, scale: float = 1, **style) -> Curve | None:
    """The curve of rows over steps, None where none has a value."""
    drawn = sorted((r for r in rows if r["value"] is not None and r["step"] is not None), key=lambda r: r["step"])
    points = tuple((r["step"], scale * r["value"], *(scale * end for end in ends(r))) for r in drawn)
    return Curve(label, colour, points, **style) if points else None


def by_target(rows: list[dict], hues: dict, scale: float = 1, **style) -> list[Curve | None]:
    """One curve for every target in `hues`; null is the mixture as a whole."""
    return [
        curve(select(rows, target=target), target or "mixture", hue, scale, **style) for target, hue in hues.items()
    ]


def hues(names) -> dict[str, str]:
    """A colour per name, in turn."""
    return {name: HUES[i % len(HUES)] for i, name in enumerate(names)}


def figure(
    name: str,
    title: str,
    caption: str,
    curves: dict[str, list[Curve | None]],
    *,
    ylabel: str = "",
    xlabel: str = "step",
    shared: bool = True,
    ceiling: float | None = None,
    notes: dict[str, str] | None = None,
) -> Figure | None:
    """A panel for every title in `curves`, of one scale if `shared`; `ceiling` as in `extent`; a line of `notes` below
    each. None without a curve."""
    drawn = {t: [c for c in each if c] for t, each in curves.items()}
    drawn = {t: each for t, each in drawn.items() if each}
    every = [c for each in drawn.values() for c in each]
    if not every:
        return None
    room = extent(every, ceiling) if shared else None
    svgs = tuple(
        panel(f"{name}-{t}", t, each, ylabel, xlabel, room or extent(each, ceiling), (notes or {}).get(t, ""))
        for t, each in drawn.items()
    )
    return Figure(name, title, caption, svgs, key(every))


def key(curves: list[Curve]) -> tuple[tuple[str, str, bool], ...]:
    """What names the colours of these curves, each once."""
    return tuple(dict.fromkeys((c.label, c.colour.replace(INK, "currentColor"), c.dashed) for c in curves))


def panel(name: str, title: str, curves: list[Curve], ylabel: str, xlabel: str, room, note: str = "") -> str:
    """One panel, its steps placed by `spread`; `room` are the limits of the other axis; a `note` stands below."""
    places = spread(sorted({point[0] for each in curves for point in each.points}))
    low, high = min(places.values()), max(places.values())
    length = high - low or 1.0

    def draw(axes, _):
        for each in curves:
            _draw(axes, each, places, (high + 0.02 * length, high + 0.07 * length))
        shown = named(places)
        axes.set_xticks([places[step] for step in shown], [f"{step:,}" for step in shown])
        axes.set_xticks([place for step, place in places.items() if step not in shown], minor=True)
        axes.set(xlim=(low - 0.03 * length, high + 0.08 * length), ylim=room)
        axes.grid(axis="y", alpha=0.15, linewidth=0.6)

    return panels(name, [title], draw, inner=1.7, left=LEFT, note=note, xlabel=xlabel, ylabel=ylabel)


def _draw(axes, curve: Curve, places: dict, margin: tuple[float, float]) -> None:
    """One curve with its band, and its reference's level in the margin or through the panel."""
    x = [places[point[0]] for point in curve.points]
    values, bottoms, tops = zip(*(point[1:] for point in curve.points))
    if tops != bottoms and len(x) > 1:
        axes.fill_between(x, bottoms, tops, color=curve.colour, alpha=0.14, linewidth=0, zorder=2)
    elif tops != bottoms:
        axes.plot([x[0], x[0]], [bottoms[0], tops[0]], color=curve.colour, linewidth=1.2, zorder=2)
    style = dict(linestyle=DASHED, linewidth=1.2) if curve.dashed else dict(linestyle="-", linewidth=1.6)
    axes.plot(x, values, color=curve.colour, marker="" if len(x) > 1 else "o", markersize=4, zorder=3, **style)
    if curve.level is not None and curve.through:
        axes.axhline(curve.level, color=curve.colour, linewidth=0.8, alpha=0.5, zorder=1)
    elif curve.level is not None:
        level = dict(color=curve.colour, linewidth=2.2, solid_capstyle="butt", zorder=4)
        axes.plot(margin, [curve.level] * 2, **level)


def spread(steps: list[float]) -> dict[float, float]:
    """Where steps lie: at their logarithm, 0 one doubling before the first; as they are where some are below 0."""
    if min(steps) < 0:
        return {step: float(step) for step in steps}
    first = next((step for step in steps if step > 0), 1)
    return {step: math.log2(step) if step > 0 else math.log2(first) - 1 for step in steps}


def named(places: dict[float, float]) -> list[float]:
    """The steps that are written out: from the last one back, those that leave room between their names."""
    last = max(places)
    length, shown = places[last] - min(places.values()) or 1.0, [last]
    for step in sorted(places, reverse=True):
        if places[shown[-1]] - places[step] >= ROOM * length:
            shown.append(step)
    return shown[::-1]


def extent(curves: list[Curve], ceiling: float | None = None) -> tuple[float, float]:
    """Limits of a vertical axis: all values and references, and of intervals what lies within half their range of them.

    A few seeds give intervals so wide that they would flatten the curves; they are cut. `ceiling`: of values from 0.
    """
    values = [point[1] for curve in curves for point in curve.points] + [c.level for c in curves if c.level is not None]
    bands = [v for curve in curves for point in curve.points for v in point[2:]]
    room = 0.5 * (max(values) - min(values)) or max(bands) - min(bands)
    return reach([*values, max(min(bands), min(values) - room), min(max(bands), max(values) + room)], ceiling)
