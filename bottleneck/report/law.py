"""The report's section on a data-mixture law: what it says at mixtures that it was not fitted to, beside its rivals.

Rows of kind law: `loss` and `predicted_loss` at every `point`, whose `extra` holds the component's `share` and whether
the point was `held_out`; `law_error`, `nearest_error`, `interpolated_error` and `law_gain`, of single points or, where
`point` is null, means over the held-out ones; where the target is null, over all components.
"""

from __future__ import annotations

import math

from bottleneck.report.drawing import INK, VERMILLION, panels, reach
from bottleneck.report.lookup import counts, ends, extra, find, number, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Number, Table
from bottleneck.rows import select

KIND = "law"
FORMS = {
    "constant": "c",
    "power": "c + k r^-a",
    "saturating": "c + (h - c) / (1 + (r / m)^a)",
    "exponential": "c + k exp(t . r)",
    "levels": "c + (h - c) / (1 + (r / m)^a), h fitted",
}


def section(kinds: dict) -> Section | None:
    """The section; None without a law."""
    rows = kinds.get(KIND, [])
    if not rows:
        return None
    return Section(
        "law", "Data-mixture law", sentence(rows), (figure(rows), summary(rows), points(rows)), methods(rows)
    )


def sentence(rows: list[dict]) -> str:
    """What the law is worth over all components."""
    return extra(find(rows, metric="law_error", target=None, point=None, unit="fraction")).get("sentence") or ""


def sentences(kinds: dict) -> list[str]:
    """The same for a terminal."""
    return [said for said in [sentence(kinds.get(KIND, []))] if said]


def tables(kinds: dict) -> list[Table]:
    """What a terminal shows."""
    return [summary(kinds[KIND])] if kinds.get(KIND) else []


def unit(rows: list[dict]) -> str:
    return "r2" if any(r["unit"] == "r2" for r in rows) else "bits"


def summary(rows: list[dict]) -> Table:
    """One line a component: the form that was chosen, and how far it and its rivals are off at held-out points."""
    said, shown = unit(rows), select(rows, point=None)
    between = any(r["metric"] == "interpolated_error" for r in shown)
    lines, used = [], {extra(r).get("form") for r in select(rows, metric="predicted_loss")}
    for target in (*values(rows, "target"), None):
        of = select(shown, target=target, unit="fraction")
        form = extra(next(iter(select(rows, metric="predicted_loss", target=target)), None)).get("form")
        cells = [find(of, metric="law_error"), find(of, metric="nearest_error")]
        cells += [find(of, metric="law_gain", reference="nearest")]
        cells += [find(of, metric="interpolated_error")] if between else []
        absolute = find(shown, target=target, unit=said, metric="law_error")
        lines.append((target or "all", form or MISSING, *map(number, cells), number(absolute, digits=3)))
    header = ("component", "law", "law, error (%)", "nearest trained (%)", "nearest - law (points)")
    header += ("line between neighbours (%)",) if between else ()
    held = extra(find(shown, metric="law_error")).get("held_out")
    caption = (
        f"Mean relative error of the predicted loss at {held} mixtures that were not fitted, with 95% intervals over "
        f"these mixtures, given the fitted ones; {counts(rows)}. Last: the law's mean error, absolute. Laws, r being "
        f"shares: {'; '.join(f'{form} {FORMS[form]}' for form in FORMS if form in used)}."
    )
    name = "R2" if said == "r2" else "bits"
    return Table("law", "Data-mixture law", caption, (*header, f"law, error ({name})"), tuple(lines))


def points(rows: list[dict]) -> Table:
    """Every point: what was measured and what is predicted."""
    lines, name = [], "1 - R2" if unit(rows) == "r2" else "bits"
    for measured in select(rows, metric="loss"):
        of = select(rows, target=measured["target"], point=measured["point"])
        predicted, held_out = find(of, metric="predicted_loss"), extra(measured).get("held_out")
        cells = [number(measured, digits=3), number(predicted, digits=3)]
        cells += [number(find(of, metric=f"{by}_error")) for by in ("law", "nearest")]
        share = Number(100 * extra(measured)["share"], digits=2)
        lines.append((measured["target"], share, "held out" if held_out else "fitted", *cells))
    lines.sort(key=lambda line: (values(rows, "target").index(line[0]), line[1].value))
    header = ("component", "its share (%)", "mixture", f"loss ({name})", f"law ({name})")
    header += ("law, error (%)", "nearest trained, error (%)")
    caption = (
        "The loss of the linear probe on the mixture's features, with 95% intervals over seeds and items; the law's, "
        "and errors at held-out mixtures, (predicted - measured) / measured, over seeds (jackknife)."
    )
    return Table("law-points", "Loss and law at every mixture", caption, header, tuple(lines))


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


def methods(rows: list[dict]) -> str:
    return (
        f"A data-mixture law ({counts(rows)}) is fitted to a component's mean loss at the trained mixtures by least "
        "squares of relative errors: constant; a power law in its share; a sigmoid of its logarithm, from what one "
        "who knows nothing loses, or from a level that is fitted; or the exponential of a weighted sum of all shares "
        "(Ye et al. 2024). The form is chosen by leave-one-out over the fitted mixtures between the outermost; those "
        "held out are met once. Nearest: by Hellinger's distance."
    )
