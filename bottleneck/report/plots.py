"""Figures of what arms and few-shot probes reach, as SVG text: the same bytes for the same rows."""

from __future__ import annotations

from bottleneck.report import lookup
from bottleneck.report.curves import Curve, curve
from bottleneck.report.drawing import BLUE, GREEN, INK, VERMILLION, panels, reach
from bottleneck.report.lookup import ARMS, LABELS, ends, mean
from bottleneck.report.svg import short
from bottleneck.rows import select

COLOURS = {"direct": BLUE, "mixture": VERMILLION}  # every other arm: GREEN


def accuracy(rows: list[dict]) -> dict[str, str]:
    """target -> a panel: the linear probe's accuracy (R2) of every arm, seeds as dots.

    The mean is a tick with its 95% interval; all panels have one scale. The levels of direct training, of the
    floors (dashed, dotted) and of the Bayes optimum are drawn through the panel. Targets without a mean are left out.
    """
    metric = lookup.score(rows)
    scale = 100 if metric == "accuracy" else 1
    drawn = {t: strip for t, strip in strips(rows, metric, scale).items() if strip}
    every = [
        v for strip in drawn.values() for _, level, limits, dots in strip.values() for v in (level, *limits, *dots)
    ]
    if not drawn:
        return {}
    room = reach(every, scale if metric == "accuracy" else None)
    lines = max(map(len, drawn.values()))
    return {
        target: panels(
            f"accuracy-{target}",
            [target],
            lambda axes, name: _strip(axes, drawn[name], room, lines),
            inner=0.19 * lines,
            left=0.95,
            xlabel="R2" if lookup.unit(rows) == "r2" else "accuracy (%)",
        )
        for target in drawn
    }


def strips(rows: list[dict], metric: str, scale: float) -> dict[str, dict[str, tuple]]:
    """target -> what its panel shows, top to bottom: label -> (arm, mean, interval, seeds)."""
    single = [r for r in lookup.chosen(rows) if r["metric"] == metric and r["value"] is not None and not r["factor"]]
    over_seeds = select(rows, seed="all", metric=metric)
    subjects = [r["arm"] for r in lookup.gaps(rows)]
    drawn = {}
    for target in lookup.targets(rows):
        drawn[target] = {}
        for arm in dict.fromkeys(("bayes", *ARMS, *subjects, "random", "pixels")):
            optimum = dict(arm="bayes", target=target, reference="direct")
            level = lookup.find(over_seeds, **optimum) if arm == "bayes" else mean(over_seeds, arm, target, metric)
            if level is None or level["value"] is None:
                continue
            seeds = sorted(select(single, arm=arm, target=target), key=lambda r: r["seed"])
            limits, dots = ([scale * v for v in each] for each in (ends(level), (r["value"] for r in seeds)))
            drawn[target][LABELS.get(arm, short(arm, 14))] = (arm, scale * level["value"], limits, dots)
    return drawn


def _strip(axes, strip: dict[str, tuple], limits, lines: int):
    """One panel of `accuracy`."""
    for y, (arm, level, (low, high), dots) in enumerate(strip.values()):
        colour = COLOURS.get(arm, INK if arm in (*lookup.FLOORS, "bayes") else GREEN)
        if arm in ("direct", "bayes", "random", "pixels"):
            dashes = {"random": (0, (4, 3)), "pixels": (0, (1.5, 2.5))}.get(arm, "-")
            alpha = 0.75 if arm == "direct" else 0.4
            axes.axvline(level, color=colour, linewidth=0.8, linestyle=dashes, alpha=alpha, zorder=1)
        axes.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
        marker, size = ("D", 5) if arm == "bayes" else ("|", 11)
        axes.plot(
            [level],
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


def shots(rows: list[dict]) -> dict[str, list[Curve | None]]:
    """target -> curves of few-shot probes over the examples per class, with direct training's probe on all."""
    metric = lookup.score(rows)
    scale = 100 if metric == "accuracy" else 1
    read = [{**r, "step": r["n_shot"]} for r in select(rows, seed="all", protocol="k_shot", metric=metric)]
    return {target: _few(rows, read, target, metric, scale) for target in lookup.targets(read)}


def _few(rows: list[dict], read: list[dict], target: str, metric: str, scale: float) -> list[Curve | None]:
    """A curve for every arm that was probed on few examples of one target."""
    full = mean(rows, "direct", target, metric)
    levels = {"direct": scale * full["value"]} if full and full["value"] is not None else {}
    drawn = []
    for arm in (*ARMS, "random"):
        style = dict(dashed=arm == "random", level=levels.get(arm), through=True)
        colour = INK if arm == "random" else COLOURS.get(arm, GREEN)
        drawn.append(curve(select(read, arm=arm, target=target), LABELS.get(arm, arm), colour, scale, **style))
    return drawn
