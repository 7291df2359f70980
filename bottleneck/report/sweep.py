"""The report's section on a sweep: how each target's gap moves along the axes of its points, and its slope.

Rows of kind sweep: `gap` at every `point` (axis -> value), and `slope`, whose `extra` names the `axis` and holds
`adjusted_p`, `lack_of_fit` (a p) and a `sentence`, where they are known.
"""

from __future__ import annotations

from bottleneck.report.lookup import counts, ends, extra, number, plain, targets, titled, unit, unit_name, values
from bottleneck.report.section import Figure, Section
from bottleneck.report.table import MISSING, Number, Table, trim
from bottleneck.rows import select

KIND = "sweep"


def section(kinds: dict) -> Section | None:
    """The section; None without a point or a slope."""
    shown = tables(kinds)
    if not shown:
        return None
    parts = (*figures(points(kinds)), *shown)
    return Section("sweep", "Sweep", " ".join(sentences(kinds)), parts, methods(kinds))


def points(kinds: dict) -> list[dict]:
    """The gap at every point, in the unit of information."""
    rows = select(kinds.get(KIND, []), seed="all", metric="gap")
    return [r for r in select(rows, unit=unit(rows)) if r["point"]]


def slopes(kinds: dict) -> list[dict]:
    return select(kinds.get(KIND, []), seed="all", metric="slope")


def axes(rows: list[dict]) -> list[str]:
    """The axes along which the points of these rows differ, in the order in which they are named."""
    names = dict.fromkeys(name for r in rows for name in r["point"])
    return [name for name in names if len({repr(r["point"].get(name)) for r in rows}) > 1]


def sentences(kinds: dict) -> list[str]:
    """What every slope says, and the gaps over all split seeds."""
    said = [words for r in points(kinds) if (words := extra(r).get("sentence"))]
    for r in slopes(kinds):
        low, high = ends(r) if r["value"] is not None else (None, None)
        words = f"{titled(r)}: the slope of the gap over {extra(r).get('axis') or 'the axis'} is"
        size = "not known." if low is None else f"{r['value']:z.2f} {r['unit'] or ''} ({low:z.2f} to {high:z.2f})."
        said.append(extra(r).get("sentence") or f"{words} {size}")
    return said


def tables(kinds: dict) -> list[Table]:
    """The slopes and the gaps of all points, those tables that have lines."""
    gaps, lean = points(kinds), slopes(kinds)
    names = axes(gaps)
    slope_lines = tuple(
        (titled(r), extra(r).get("axis") or MISSING, number(r, digits=3), r["unit"] or MISSING, *_tests(r))
        for r in lean
    )
    point_lines = tuple(
        (titled(r), *(_value(r["point"].get(name)) for name in names), number(r))
        for target in values(gaps, "target")
        for r in select(gaps, target=target)
    )
    unadjusted = "95% intervals, not adjusted for multiplicity"
    slope_caption = (
        f"{counts(lean)}; least squares over the axis, {unadjusted}; p is adjusted by Holm over the targets, one slope "
        "a target. Lack of fit: the p of what a straight line leaves over."
    )
    header = ("target", "axis", "slope", "unit", "adjusted p", "lack of fit (p)")
    made = [
        trim(Table("slopes", "Slopes", slope_caption, header, slope_lines)),
        Table(
            "points",
            "Gap at every point",
            f"{counts(gaps)}; {unadjusted}, and no verdicts: a sweep's test is its slope.",
            ("target", *names, f"gap ({unit_name(gaps)})"),
            point_lines,
        ),
    ]
    return [table for table in made if table.rows]


def figures(rows: list[dict]) -> list[Figure]:
    """For every axis of numbers, the gap along it: a panel per target, a curve for each setting of the other axes."""
    from bottleneck.report import curves  # loads Matplotlib, which a terminal's tables do not need

    names, shown = axes(rows), []
    for name in names:
        of = [{**r, "step": r["point"].get(name)} for r in rows if _is_number(r["point"].get(name))]
        drawn = {target: _curves(curves, select(of, target=target), name, names) for target in targets(of)}
        caption = (
            "Direct training minus the mixture's features at every point, with 95% intervals, cut at the panel's edge."
        )
        ylabel = f"gap ({unit_name(rows)})"
        figure = curves.figure(f"sweep-{name}", f"Gap over {name}", caption, drawn, ylabel=ylabel, xlabel=name)
        shown += [figure] if figure else []
    return shown


def _curves(curves, rows: list[dict], axis: str, names: list[str]) -> list:
    settings: dict[str, list[dict]] = {}
    for r in rows:
        others = [f"{name} {_value(r['point'].get(name))}" for name in names if name != axis]
        subject = [] if r["arm"] == "mixture" else [r["arm"]]
        settings.setdefault(", ".join([*subject, *others]) or "gap", []).append(r)
    return [curves.curve(of, label, hue) for (label, of), hue in zip(settings.items(), curves.hues(settings).values())]


def _tests(row: dict) -> tuple:
    return tuple(plain(extra(row).get(key), 3) for key in ("adjusted_p", "lack_of_fit"))


def _value(value) -> Number | str:
    """A coordinate as a cell: a number with the digits that it has."""
    if not _is_number(value):
        return MISSING if value is None else str(value)
    digits = len(f"{value:.12f}".rstrip("0").partition(".")[2])
    return Number(value, digits=digits)


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def methods(kinds: dict) -> str:
    rows = [*points(kinds), *slopes(kinds)]
    return (
        f"A slope over a sweep ({counts(rows)}) is the least-squares contrast of the points' tables of seeds by items, "
        "the items shared, the seeds unpaired where the points' seeds differ."
    )
