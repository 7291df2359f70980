"""What representations reach for their price: a panel a target, against the price that the reader chooses."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from bottleneck.report import helped, lookup, representations
from bottleneck.report.curves import named, spread
from bottleneck.report.drawing import BLUE, GREEN, GREY, OCHRE, PURPLE, VERMILLION, panels, reach
from bottleneck.report.lookup import SUBJECT, ends, extra, mean, unit_name
from bottleneck.report.section import Choice, Figure, Section
from bottleneck.representations import CONTROLS
from bottleneck.rows import select

NETWORK = "one network"  # of the mixture, by how long it trained
NETWORKS = (SUBJECT, "longer", "longest")
HUES = (GREEN, PURPLE, OCHRE, GREY)
MARKERS = {"member": "o", "repeated": "s", "averaged": "D", "pca": "^", "whitened": "v", "random": ">", "declared": "p"}
SIGNS = dict(zip(MARKERS, "\u25cb\u25a1\u25c7\u25b3\u25bd\u25b7\u2b20"))
SAID = {
    "member": "one member alone",
    "repeated": "one member repeated",
    "averaged": "predictions averaged",
    "declared": "trained as one",
}
LINED = ("", "declared")  # what a family's line joins: of the trained controls those of other sizes
APART = 1.045  # ratio of the places at which two of equal price are drawn
PRICES = {
    "training steps": lambda r: r["train_steps"],
    "image-forwards": lambda r: r["image_forwards"],
    "training FLOPs": lambda r: (extra(r).get("price") or {}).get("training_flops"),
    "probe dimension": lambda r: r["dim"],
    "parameters": lambda r: (extra(r).get("price") or {}).get("parameters"),
    "inference FLOPs": lambda r: (extra(r).get("price") or {}).get("inference_flops"),
}

METHODS = (
    "A representation is compared with a control item by item and, where the control has the same member sets or "
    "networks of a set's own (its members, the runs it stands on, those of its seeds), set by set; else the variances "
    "of both add. Reductions standardise every unit on the probe items, every member to the same total variance. "
    "Prices are counted from runs, steps and shapes, not measured."
)


@dataclass(frozen=True)
class Point:
    """A representation or control on a target: what it reads, with its interval, for its price."""

    name: str
    family: str
    control: str  # "" for a representation
    value: float
    low: float
    high: float
    price: float


def section(rows: list[dict]) -> Section | None:
    """All about declared representations. None without any."""
    tables = [made for make in representations.TABLES if (made := make(rows)).rows]
    said, points = helped.sentences(rows)
    parts = (*filter(None, [choice(rows)]), *tables)
    if not parts:
        return None
    return Section("representations", "Representations", said, parts, METHODS if points else "", points)


def choice(rows: list[dict]) -> Choice | None:
    """The figures of every measure and price that has more than one value."""
    over_seeds, names = select(rows, seed="all"), lookup.representation_names(rows)
    measures = {unit_name(rows): ("information", 1)}
    if lookup.score(rows) == "accuracy":
        measures["accuracy (%)"] = ("accuracy", 100)
    families = list(dict.fromkeys(family(name) for name in names))
    hues = {NETWORK: (VERMILLION, False)}
    hues |= {each: (HUES[i % len(HUES)], i >= len(HUES)) for i, each in enumerate(families)}
    drawn = {}
    for price, read in PRICES.items():
        for measure, (metric, scale) in measures.items():
            points = {t: _points(over_seeds, names, t, metric, scale, read) for t in lookup.targets(rows)}
            several = len({p.price for of in points.values() for p in of}) > 1
            if several and any(p.name in names for of in points.values() for p in of):
                levels = {t: _level(over_seeds, t, metric, scale) for t in points}
                drawn[measure, price] = _figure(points, levels, hues, measure, price, 100 if scale == 100 else None)
    if not drawn:
        return None
    shown = tuple(measure for measure in measures if any(measure == m for m, _ in drawn))
    prices = tuple(price for price in PRICES if all((measure, price) in drawn for measure in shown))
    key = (("direct training", BLUE, False), *((each, *style) for each, style in hues.items()))
    caption = (
        "What the linear probe reads, with 95% intervals over member sets or seeds, cut at the panel's edge; the blue "
        "line is direct training. Filled: representations, a line for those of one name but for the number at its end. "
        f"Open, in the same colour: their controls ({controls_key()}). What costs the same is drawn side by side."
    )
    figures = tuple(drawn[measure, price] for measure in shown for price in prices)
    return Choice("price", "What they cost and reach", caption, (("", shown), ("against", prices)), figures, key)


def controls_key() -> str:
    return ", ".join(f"{SIGNS[kind]} {SAID.get(kind, f'reduced, {kind}')}" for kind in MARKERS)


def family(name: str) -> str:
    """Representations of one name but for the number at its end are one family."""
    return re.sub(r"\d+$", "", name) or name


def _group(name: str) -> str:
    return NETWORK if name in NETWORKS else family(name)


def _level(rows: list[dict], target: str, metric: str, scale: float) -> float | None:
    row = mean(rows, "direct", target, metric)
    return scale * row["value"] if row and row["value"] is not None else None


def _points(rows, names: list[str], target: str, metric: str, scale: float, read) -> list[Point]:
    """The representations, the single networks and the controls of one target that have a price."""
    controls = {a: s for a, s in lookup.control_names(rows).items() if s["control"] in (*CONTROLS, "member")}
    of = {**dict.fromkeys(NETWORKS, (NETWORK, "")), **{name: (family(name), "") for name in names}}
    of |= {name: (family(name), "declared") for name in names if name in lookup.trained_controls(rows)}
    of |= {arm: (_group(said["control_of"]), said["control"]) for arm, said in controls.items()}
    points = []
    for name, (group, control) in of.items():
        row = mean(rows, name, target, metric)
        price = read(row) if row else None
        if price and row["value"] is not None:
            points.append(Point(name, group, control, *(scale * v for v in (row["value"], *ends(row))), price))
    return points


def _figure(points: dict, levels: dict, hues: dict, measure: str, price: str, ceiling: float | None) -> Figure:
    slug = re.sub(r"\W+", "-", f"price-{measure}-{price}").strip("-")
    shown = {target: of for target, of in points.items() if of}
    room = _room([p for of in shown.values() for p in of], [v for v in levels.values() if v is not None], ceiling)
    everywhere = sorted({p.price for of in shown.values() for p in of})
    svgs = tuple(
        panels(
            f"{slug}-{target}",
            [target],
            lambda axes, name: _draw(axes, shown[name], levels[name], hues, room, everywhere),
            inner=2.2,
            left=0.6,
            xlabel=price,
            ylabel=measure,
        )
        for target in shown
    )
    return Figure(slug, f"{measure} against {price}", "", svgs)


def _room(points: list[Point], levels: list[float], ceiling: float | None) -> tuple[float, float]:
    """Limits of the vertical axis: all values, and of intervals what lies within half their range of them."""
    values = [p.value for p in points] + levels
    more = 0.5 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    low = max(min(p.low for p in points), min(values) - more)
    return reach([*values, low, min(max(p.high for p in points), max(values) + more)], ceiling)


def _draw(axes, points: list[Point], level: float | None, hues: dict, room, prices: list[float]) -> None:
    if level is not None:
        axes.axhline(level, color=BLUE, linewidth=1.0, alpha=0.8, zorder=1)
    places = _places(points)
    for group, (colour, dashed) in hues.items():
        line = sorted((p for p in points if p.family == group and p.control in LINED), key=lambda p: p.price)
        x = [places[p.name] for p in line]
        axes.plot(x, [p.value for p in line], color=colour, linestyle="--" if dashed else "-", linewidth=1.3, zorder=3)
        for point in (p for p in points if p.family == group):
            _mark(axes, places[point.name], point, colour)
    axes.set_xscale("log")
    wide = [*places.values(), *prices]
    axes.set(xlim=(min(wide) / 1.2, max(wide) * 1.2), ylim=room)
    shown = named(spread(prices))
    axes.set_xticks(shown, [compact(price) for price in shown])
    axes.set_xticks([], minor=True)
    axes.grid(axis="y", alpha=0.15, linewidth=0.6)


def _mark(axes, x: float, point: Point, colour: str) -> None:
    """A point with its interval; its number beside it, where its name has one."""
    thin = bool(point.control)
    bar = dict(color=colour, linewidth=0.7 if thin else 1.3, alpha=0.45 if thin else 1.0, solid_capstyle="butt")
    axes.plot([x, x], [point.low, point.high], zorder=2, **bar)
    style = dict(markerfacecolor="none", markersize=4.2, alpha=0.8) if thin else dict(markersize=5.5)
    axes.plot([x], [point.value], marker=MARKERS.get(point.control, "o"), color=colour, linestyle="", zorder=4, **style)
    number = re.search(r"\d+$", point.name)
    if number and point.control in LINED:
        axes.annotate(number[0], (x, point.value), (4, 3), textcoords="offset points", fontsize=8, color=colour)


def _places(points: list[Point]) -> dict[str, float]:
    """Name -> where it is drawn: those of equal price beside each other, representations first."""
    places = {}
    for price in {p.price for p in points}:
        level = sorted((p for p in points if p.price == price), key=lambda p: bool(p.control))
        places |= {p.name: price * APART ** (i - (len(level) - 1) / 2) for i, p in enumerate(level)}
    return places


def compact(number: float) -> str:
    """A large number in a few characters."""
    if number < 10_000:
        return f"{number:,.0f}"
    power = min(int(math.log10(number)) // 3, 6)
    return f"{number / 1000**power:.3g}{' kMGTPE'[power]}"
