"""The figure of a data-mixture law: a component's loss over mixtures, fitted and held out, and the law between them."""

from __future__ import annotations

import math

from bottleneck.report import law
from bottleneck.report.drawing import INK, VERMILLION, panels, reach
from bottleneck.report.law import unit
from bottleneck.report.lookup import ends, extra, values
from bottleneck.report.section import Figure, Section
from bottleneck.rows import select


def section(kinds: dict) -> Section | None:
    """The section; None without a law."""
    rows = kinds.get(law.KIND, [])
    if not rows:
        return None
    parts = (figure(rows), law.summary(rows), law.points(rows))
    return Section("law", "Data-mixture law", " ".join(law.sentences(kinds)), parts, law.methods(rows))


def figure(rows: list[dict]) -> Figure:
    """A panel a component: its loss at every mixture, held-out ones open, and the law."""
    axis = _axis(rows)
    shown = values(rows, "target")
    drawn = {target: {m: select(rows, metric=m, target=target) for m in ("loss", "predicted_loss")} for target in shown}
    every = [v for of in drawn.values() for rows_of in of.values() for r in rows_of for v in (r["value"],)]
    every += [v for of in drawn.values() for r in of["loss"] for v in ends(r)]
    room = reach([0.0, *every])
    svgs = tuple(_panel(target, of, axis, room, _label(rows)) for target, of in drawn.items())
    key = (("measured: filled fitted, open held out", "currentColor", False), ("law", VERMILLION, False))
    caption = (
        "The component's loss on features of the mixture at every mixture that was trained, with 95% intervals. The "
        "law is fitted to the filled points alone; the open ones test it."
    )
    return Figure("law", "Loss over the mixture, and the law", caption, svgs, key)


def _label(rows: list[dict]) -> str:
    return "loss (1 - R2)" if unit(rows) == "r2" else "loss (bits)"


def _axis(rows: list[dict]) -> str | None:
    """The one axis of the sweep; None where there are several, or names: then the component's share is shown."""
    names = dict.fromkeys(name for r in rows for name in r["point"] or ())
    numeric = all(isinstance(r["point"][name], int | float) for r in rows for name in r["point"] or ())
    return next(iter(names)) if len(names) == 1 and numeric else None


def _panel(target: str, of: dict[str, list[dict]], axis: str | None, room: tuple, ylabel: str) -> str:
    def place(row):
        return row["point"][axis] if axis else extra(row)["share"]

    def draw(axes, _):
        line = sorted(of["predicted_loss"], key=place)
        axes.plot([place(r) for r in line], [r["value"] for r in line], color=VERMILLION, linewidth=1.6, zorder=2)
        for r in of["loss"]:
            axes.plot([place(r)] * 2, ends(r), color=INK, linewidth=1.2, zorder=3)
            fill = "none" if extra(r).get("held_out") else INK
            style = dict(marker="o", markersize=5, color=INK, markerfacecolor=fill, linestyle="")
            axes.plot([place(r)], [r["value"]], zorder=4, **style)
        _ticks(axes, [place(r) for r in of["loss"]])
        axes.set(ylim=room)
        axes.grid(axis="y", alpha=0.15, linewidth=0.6)

    return panels(f"law-{target}", [target], draw, inner=1.7, left=0.6, xlabel=axis or "its share", ylabel=ylabel)


def _ticks(axes, x: list[float]) -> None:
    """A logarithmic axis with a few round numbers, a linear one where a number is 0."""
    if min(x) <= 0:
        return
    axes.set_xscale("log")
    low, high = min(x), max(x)
    decades = [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    ticks = decades if len(decades) > 1 else [low, high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
