"""Curves over steps with interval bands: one panel each, several beside each other under one key."""
from __future__ import annotations

import math
from dataclasses import dataclass

from bottleneck.report.drawing import BLUE, GREEN, GREY, INK, OCHRE, PURPLE, VERMILLION, panels, reach
from bottleneck.report.lookup import ends

HUES = (VERMILLION, BLUE, GREEN, PURPLE, OCHRE, GREY)
DASHED = (0, (4, 2))
ROOM = 0.16              # of an axis, between two steps that are both named


@dataclass(frozen=True)
class Curve:
    """Values over steps, with the level of a reference beside the last one."""
    label: str
    colour: str
    points: tuple[tuple[int, float, float, float], ...]      # step, value, and the ends of its interval
    dashed: bool = False
    level: float | None = None


def curve(rows: list[dict], label: str, colour: str, scale: float = 1, **style) -> Curve | None:
    """The curve of rows over steps, None where none has a value."""
    found = sorted((r for r in rows if r["value"] is not None and r["step"] is not None), key=lambda r: r["step"])
    points = tuple((r["step"], scale * r["value"], *(scale * end for end in ends(r))) for r in found)
    return Curve(label, colour, points, **style) if points else None


def hues(names) -> dict[str, str]:
    """A colour per name, in turn."""
    return {name: HUES[i % len(HUES)] for i, name in enumerate(names)}


def panel(name: str, title: str, curves: list[Curve], *, ylabel: str, xlabel="step", room=None, level: float | None = None,
          ceiling: float | None = None) -> str:
    """One panel: steps on a logarithmic axis, step 0 one doubling before the first.

    `room`: the limits of the vertical axis, for panels of one scale; `level`: a line through the whole panel; `ceiling`: as in
    `extent`.
    """
    steps = sorted({point[0] for curve in curves for point in curve.points})
    positive = [step for step in steps if step > 0] or [1]
    places = {step: math.log2(step) if step > 0 else math.log2(positive[0]) - 1 for step in steps}
    low, high = min(places.values()), max(places.values())
    length = high - low or 1.0

    def draw(axes, _):
        if level is not None:
            axes.axhline(level, color=INK, linewidth=0.8, alpha=0.5, zorder=1)
        for curve in curves:
            x = [places[point[0]] for point in curve.points]
            values, bottoms, tops = zip(*(point[1:] for point in curve.points))
            style = dict(color=curve.colour, linestyle=DASHED if curve.dashed else "-")
            if tops != bottoms:
                axes.fill_between(x, bottoms, tops, color=curve.colour, alpha=0.14, linewidth=0, zorder=2)
            axes.plot(x, values, linewidth=1.2 if curve.dashed else 1.6, zorder=3, marker="" if len(x) > 1 else "o", markersize=4, **style)
            if curve.level is not None:
                axes.plot([high + 0.02 * length, high + 0.07 * length], [curve.level] * 2, color=curve.colour, linewidth=2.2,
                          solid_capstyle="butt", clip_on=False, zorder=4)
        shown = named(places)
        axes.set_xticks([places[step] for step in shown], [f"{step:,}" for step in shown])
        axes.set_xticks([place for step, place in places.items() if step not in shown], minor=True)
        axes.set(xlim=(low - 0.03 * length, high + 0.08 * length), ylim=room or extent(curves, level, ceiling))
        axes.grid(axis="y", alpha=0.15, linewidth=0.6)

    return panels(name, [title], draw, inner=1.7, left=0.6, xlabel=xlabel, ylabel=ylabel)


def named(places: dict[int, float]) -> list[int]:
    """The steps that are written out: from the last one back, those that leave room between their names."""
    last = max(places)
    length, found = places[last] - min(places.values()) or 1.0, [last]
    for step in sorted(places, reverse=True):
        if places[found[-1]] - places[step] >= ROOM * length:
            found.append(step)
    return found[::-1]


def extent(curves: list[Curve], level: float | None = None, ceiling: float | None = None) -> tuple[float, float]:
    """Limits of a vertical axis: all values and references, and of intervals what lies within half their range of them.

    A few seeds give intervals so wide that they would flatten the curves; they are cut. `ceiling`: values lie from 0 to it.
    """
    values = [point[1] for curve in curves for point in curve.points]
    values += [c.level for c in curves if c.level is not None] + ([level] if level is not None else [])
    ends = [v for curve in curves for point in curve.points for v in point[2:]]
    room = 0.5 * (max(values) - min(values)) or max(ends) - min(ends)
    cut = (max(min(ends), min(values) - room), min(max(ends), max(values) + room))
    return reach([*values, *cut], ceiling)


def key(curves: list[Curve]) -> tuple[tuple[str, str, bool], ...]:
    """(label, colour, dashed) of every kind of curve, once."""
    return tuple(dict.fromkeys((c.label, c.colour.replace(INK, "currentColor"), c.dashed) for c in curves))
