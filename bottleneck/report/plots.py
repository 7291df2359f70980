"""Figures of the main answer as SVG text: pure functions from rows, the same bytes for the same rows."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure

from bottleneck.report import lookup
from bottleneck.report.curves import Curve, curve
from bottleneck.report.drawing import (
    BLUE,
    GREEN,
    INK,
    MARKERS,
    OCHRE,
    PURPLE,
    STYLE,
    VERMILLION,
    panels,
    reach,
    short,
    to_svg,
)
from bottleneck.report.lookup import ARMS, LABELS, PROBE, ends
from bottleneck.rows import select

COLOURS = {"direct": BLUE, "mixture": VERMILLION}  # every other arm: GREEN
VERDICTS = {
    "lost": (VERMILLION, "o"),
    "retained": (GREEN, "s"),
    "inconclusive": (PURPLE, "D"),
    "untestable": (INK, "x"),
}
SPACING = 1.07  # ratio of the places at which two representations of equal cost are drawn


def accuracy(rows: list[dict], only: list[str] | None = None) -> str:
    """One panel per target (those in `only`): the linear probe's accuracy of every arm, seeds as dots.

    The mean is a tick with its 95% interval; all panels have one scale. The levels of direct training, of the
    floors (dashed, dotted) and of the Bayes optimum are drawn through the panel. "" with nothing to show.
    """
    metric = lookup.score(rows)
    scale = 100 if metric == "accuracy" else 1
    found = {t: strips(rows, t, metric, scale) for t in lookup.targets(rows)}
    found = {t: strip for t, strip in found.items() if strip}
    every = [v for strip in found.values() for _, mean, ends, dots in strip.values() for v in (mean, *ends, *dots)]
    shown = {t: s for t, s in found.items() if only is None or t in only}
    if not shown:
        return ""
    limits = reach(every, scale if metric == "accuracy" else None)
    lines = max(map(len, found.values()))
    return panels(
        "-".join(["accuracy", *(only or ())]),
        list(shown),
        lambda axes, target: _strip(axes, shown[target], limits, lines),
        inner=0.19 * lines,
        left=0.95,
        xlabel="R2" if metric == "r2" else "accuracy (%)",
    )


def strips(rows: list[dict], target: str, metric: str, scale: float) -> dict[str, tuple]:
    """What a panel shows, top to bottom: label -> (arm, mean, interval, seeds)."""
    found = {}
    for arm in ("bayes", *ARMS, "random", "pixels"):
        kind = dict(reference="direct") if arm == "bayes" else dict(protocol=PROBE)
        mean = lookup.find(rows, arm=arm, target=target, metric=metric, **kind)
        if mean is None or mean["value"] is None:
            continue
        seeds = [
            r
            for r in lookup.chosen(rows)
            if (r["arm"], r["target"], r["metric"]) == (arm, target, metric) and r["value"] is not None
        ]
        dots = [scale * r["value"] for r in sorted(seeds, key=lambda r: r["seed"])]
        found[LABELS.get(arm, arm)] = (arm, scale * mean["value"], [scale * e for e in ends(mean)], dots)
    return found


def _strip(axes, strip: dict[str, tuple], limits, lines: int):
    """One panel of `accuracy`."""
    for y, (arm, mean, (low, high), dots) in enumerate(strip.values()):
        colour = COLOURS.get(arm, INK if arm in (*lookup.FLOORS, "bayes") else GREEN)
        if arm in ("direct", "bayes", "random", "pixels"):
            dashes = {"random": (0, (4, 3)), "pixels": (0, (1.5, 2.5))}.get(arm, "-")
            alpha = 0.75 if arm == "direct" else 0.4
            axes.axvline(mean, color=colour, linewidth=0.8, linestyle=dashes, alpha=alpha, zorder=1)
        axes.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
        marker, size = ("D", 5) if arm == "bayes" else ("|", 11)
        axes.plot(
            [mean],
            [y],
            marker=marker,
            markersize=size,
            markeredgewidth=1.8,
            markerfacecolor="none",
            color=colour,
            linestyle="",
            zorder=3,
        )
        spread = [y + 0.34 * (i / (len(dots) - 1) - 0.5) if len(dots) > 1 else y for i in range(len(dots))]
        axes.plot(
            dots, spread, marker="o", markersize=3.8, markeredgewidth=0, color=colour, alpha=0.6, linestyle="", zorder=4
        )
    axes.set(xlim=limits, ylim=(lines - 0.4, -0.6))
    axes.set_yticks(range(len(strip)), list(strip))
    axes.tick_params(axis="y", length=0)


def bits(rows: list[dict]) -> str:
    """Every target's gap in bits (R2) with its 95% interval; a short line marks the margin."""
    u = lookup.unit(rows)
    found = [r for t in lookup.targets(rows) if (r := lookup.verdict(rows, t)) and r["value"] is not None]
    if not found:
        return ""
    left = 0.2 + 0.075 * max(len(short(r["target"])) for r in found)
    width, height = left + 3.8, 0.3 * len(found) + 0.75
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure((width, height))
        axes = figure.add_axes((left / width, 0.5 / height, 2.8 / width, (height - 0.6) / height))
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
        values = [0.0]
        for y, r in enumerate(found):
            verdict = lookup.extra(r).get("verdict", "")
            colour, marker = VERDICTS.get(verdict, (INK, "o"))
            low, high = ends(r)
            axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([r["value"]], [y], marker=marker, markersize=6, color=colour, linestyle="")
            distance = lookup.find(rows, target=r["target"], metric=f"margin_{u}")
            if verdict != "untestable" and distance is not None and distance["value"] is not None:
                edge = r["value"] - distance["value"]  # the gap at which D would be 0
                axes.plot([edge, edge], [y - 0.32, y + 0.32], color=INK, linewidth=1.1)
                values.append(edge)
            axes.text(1.03, y, verdict, transform=axes.get_yaxis_transform(), va="center", color=colour)
            values += [r["value"], low, high]
        axes.set(
            xlim=reach(values),
            ylim=(len(found) - 0.4, -0.6),
            xlabel=f"gap: direct minus mixture ({'R2' if u == 'r2' else 'bits'})",
        )
        axes.set_yticks(range(len(found)), [short(r["target"]) for r in found])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.15, linewidth=0.6)
        return to_svg(figure, "gap")


def budget(rows: list[dict], only: list[str] | None = None) -> str:
    """One panel per target: declared representations against total training steps, beside the single network.

    The horizontal line is direct training. Representations of equal cost are drawn side by side around it.
    """
    u, declared = lookup.unit(rows), lookup.representation_names(rows)

    def reached(arm, target):
        found = lookup.find(rows, arm=arm, target=target, protocol=PROBE, metric=u)
        return found if found and found["value"] is not None else None

    names = [*("mixture", "longer"), *declared]
    points = {t: {n: r for n in names if (r := reached(n, t)) and r["train_steps"]} for t in lookup.targets(rows)}
    names = [n for n in names if any(n in found for found in points.values())]
    if not set(names) & set(declared):
        return ""
    shown = [t for t, found in points.items() if found and (only is None or t in only)]
    direct = {t: reached("direct", t) for t in shown}
    every = [v for found in points.values() for r in found.values() for v in (r["value"], *ends(r))]
    every += [r["value"] for r in direct.values() if r]
    costs = sorted({r["train_steps"] for found in points.values() for r in found.values()})
    places = {}
    for cost in costs:
        level = [n for n in names if any(n in f and f[n]["train_steps"] == cost for f in points.values())]
        places |= {(n, cost): cost * SPACING ** (i - (len(level) - 1) / 2) for i, n in enumerate(level)}
    line = dict(color=COLOURS["direct"], linewidth=1.0, alpha=0.8)

    def draw(axes, target):
        if direct[target]:
            axes.axhline(direct[target]["value"], **line)
        for name, r in points[target].items():
            style = _mark(names.index(name), name)
            x, (low, high) = places[name, r["train_steps"]], ends(r)
            axes.plot([x, x], [low, high], color=style["color"], linewidth=1.2, solid_capstyle="butt")
            axes.plot([x], [r["value"]], **style)
        axes.set_xscale("log")
        edges = (min(places.values()) / 1.15, max(places.values()) * 1.15)
        axes.set(xlim=edges, ylim=reach(every))
        axes.set_xticks(costs, [f"{c:,}" for c in costs])
        axes.set_xticks([], minor=True)
        axes.grid(axis="y", alpha=0.15, linewidth=0.6)

    labels = [("direct training", line)] * any(direct.values())
    labels += [("single network" if n == "mixture" else n, _mark(i, n)) for i, n in enumerate(names)]
    return panels(
        "-".join(["budget", *(only or ())]),
        shown,
        draw,
        inner=1.9,
        left=0.5,
        xlabel="total training steps",
        ylabel="R2" if u == "r2" else "bits",
        labels=labels,
    )


def shots(rows: list[dict]) -> dict[str, list[Curve | None]]:
    """target -> curves of few-shot probes over the examples per class; with the full probe of direct training as a level."""
    metric, found = lookup.score(rows), {}
    scale = 100 if metric == "accuracy" else 1
    read = [{**r, "step": r["n_shot"]} for r in select(rows, seed="all", protocol="k_shot", metric=metric)]
    for target in lookup.targets(read):
        full = lookup.find(rows, arm="direct", target=target, protocol=PROBE, metric=metric)
        levels = {"direct": scale * full["value"]} if full and full["value"] is not None else {}
        found[target] = []
        for arm in (*ARMS, "random"):
            of, colour = select(read, arm=arm, target=target), INK if arm == "random" else COLOURS.get(arm, GREEN)
            found[target].append(
                curve(
                    of, LABELS.get(arm, arm), colour, scale, dashed=arm == "random", level=levels.get(arm), through=True
                )
            )
    return found


def _mark(index: int, name: str) -> dict:
    others = (GREEN, PURPLE, OCHRE)
    colour = VERMILLION if name == "mixture" else others[index % len(others)]
    marker = MARKERS[index % len(MARKERS)]
    return dict(marker=marker, color=colour, markersize=5.5, markeredgewidth=0, linestyle="")
