"""Figures of a sweep: along every axis the arms and the gap, a panel per target; names stand side by side."""

from __future__ import annotations

from bottleneck.axes import DERIVED, beside, is_numeric, setting, varying
from bottleneck.report import categories, curves, sweep
from bottleneck.report.drawing import BLUE, GREEN, GREY, INK, OCHRE, PURPLE, VERMILLION
from bottleneck.report.lookup import LABELS, PARTS, extra, unit_name, values
from bottleneck.report.section import Figure, Section
from bottleneck.rows import select

PART_HUES = dict(zip(("gap", *PARTS), (INK, BLUE, VERMILLION, OCHRE)))
ARM_HUES = {"direct": BLUE, "mixture": VERMILLION, "random": INK}
OTHERS = (GREEN, PURPLE, OCHRE, GREY)
Lines = dict[str, tuple[dict, list[dict]]]  # label -> style and rows


def section(kinds: dict) -> Section | None:
    """The section; None without a point or a slope."""
    shown = sweep.tables(kinds)
    if not shown:
        return None
    parts = (*figures(kinds), *shown)
    return Section("sweep", "Sweep", " ".join(sweep.headlines(kinds)), parts, sweep.methods(kinds))


def figures(kinds: dict) -> list[Figure]:
    """For every axis what the arms' features hold, the gap with its parts or for each setting of the others and, where
    recipes are compared, what arms hold beyond the mixture. Points that lie alone on an axis are left out, unless all
    do."""
    gaps, arms = sweep.points(kinds), sweep.points(kinds, "information")
    styles = _styles(arms)
    beyond = sweep.points(kinds, "over_mixture")
    shown, points = [], [r["point"] for r in gaps]
    for axis in sweep.axes(gaps):
        kept = beside(axis, points)
        along = _crossed(axis, kept, points)
        lines, levels, over = ([r for r in rows if setting(r["point"], kept) in along] for rows in (gaps, arms, beyond))
        settings = _settings(lines, kept)
        drawn = {title: _arms(rows, styles) for title, rows in _panels(levels, kept).items()}
        shown.append(_figure(LEVELS, axis, points, drawn, gaps))
        drawn = {
            title: _by_setting(rows, kept, settings) if len(settings) > 1 else _parts(kinds, rows)
            for title, rows in _panels(lines, []).items()
        }
        notes = {sweep.titled(r): _note(r) for r in sweep.slopes(kinds) if _is_about(r, axis)}
        shown.append(_figure(GAPS, axis, points, drawn, gaps, notes, sweep.headline(kinds, axis)))
        asked = any(sweep.axis_of(r) == axis and sweep.measure(r) == "over_mixture" for r in sweep.slopes(kinds))
        drawn = {title: _arms(rows, styles) for title, rows in _panels(over, kept).items()} if asked else {}
        shown.append(_figure(BEYOND, axis, points, drawn, gaps))
    return [figure for figure in shown if figure]


LEVELS = (
    "levels",
    "Information",
    "What a linear probe reads in every arm's features, with 95% intervals, cut at the panel's edge.",
)
GAPS = (
    "sweep",
    "Gap",
    "Direct training minus the mixture's features at every point, and what that splits into, with 95% intervals, cut "
    "at the panel's edge.",
)


BEYOND = (
    "beyond",
    "Beyond the mixture",
    "Every arm's information less the mixture's, the mean of all targets, with 95% intervals, cut at the panel's edge.",
)


def _figure(words, axis: str, points, drawn: dict, gaps: list[dict], notes=None, said: str = "") -> Figure | None:
    """`drawn`: title of a panel -> its lines; `said` stands below."""
    name, title, caption = words
    caption = " ".join(filter(None, (caption, said)))
    names = None if is_numeric(axis, points) else list(dict.fromkeys(point.get(axis) for point in points))
    apart = _apart(axis, points)

    def curves_of(lines: Lines) -> list:
        parts = [
            (label, style, [r for r in rows if setting(r["point"], apart) == at])
            for label, (style, rows) in lines.items()
            for at in dict.fromkeys(setting(r["point"], apart) for r in rows)
        ]
        return [curves.curve([_placed(r, axis, names) for r in rows], label, **style) for label, style, rows in parts]

    series = {panel: curves_of(lines) for panel, lines in drawn.items()}
    ylabel = f"{title.lower()} ({unit_name(gaps)})"
    where = dict(ylabel=ylabel, xlabel=axis, notes=notes)
    if names is None:
        return curves.figure(f"{name}-{axis}", f"{title} over {axis}", caption, series, **where)
    words = [str(sweep.value(held)) for held in names]
    return categories.figure(f"{name}-{axis}", f"{title} over {axis}", caption, series, words, **where)


def _apart(axis: str, points: list[dict]) -> list[str]:
    """The axes whose points no line joins: along a computed axis all but the one that moves most along it."""
    if axis not in DERIVED:
        return []
    plain = [name for name in varying(points) if name not in DERIVED]
    moving = [name for name in plain if name not in beside(axis, points)]
    widest = max(moving, key=lambda name: len({setting(point, [name]) for point in points}), default=None)
    return [name for name in plain if name != widest]


def _placed(row: dict, axis: str, names: list | None) -> dict:
    """The row with its place along an axis: a number, or where its name stands."""
    held = row["point"].get(axis)
    return {**row, "step": held if names is None else names.index(held)}


def _crossed(axis: str, kept: list[str], points: list[dict]) -> set[str]:
    """The settings of the other axes at which there are several points along this one."""
    along: dict[str, set] = {}
    for point in points:
        along.setdefault(setting(point, kept), set()).add(setting(point, [axis]))
    return {where for where, held in along.items() if len(held) > 1} or set(along)


def _settings(rows: list[dict], kept: list[str], brief: bool = False) -> dict[str, str]:
    """The settings of these rows, in words: only what differs among them; `brief`: without where a key stands."""
    points = {setting(r["point"], kept): r["point"] for r in rows}
    differ = [name for name in kept if len({setting(point, [name]) for point in points.values()}) > 1]
    names = {name: name.rpartition(".")[2] if brief else name for name in differ}
    return {
        where: ", ".join(f"{name} {sweep.value(point.get(key))}" for key, name in names.items())
        for where, point in points.items()
    }


def _panels(rows: list[dict], kept: list[str]) -> dict[str, list[dict]]:
    """Title of a panel -> its rows: one for every target, and setting of the axes in `kept`."""
    settings, panels = _settings(rows, kept, brief=True), {}
    for r in rows:
        who = sweep.titled(r) if r["target"] else "all targets"
        title = ", ".join(filter(None, (who, settings[setting(r["point"], kept)])))
        panels.setdefault(title, []).append(r)
    return panels


def _arms(rows: list[dict], styles: dict[str, dict]) -> Lines:
    """A line for every arm."""
    return {LABELS.get(arm, arm): (styles[arm], select(rows, arm=arm)) for arm in values(rows, "arm")}


def _styles(rows: list[dict]) -> dict[str, dict]:
    """The colour of every arm, one everywhere; dashed where colours come again."""
    others = [arm for arm in values(rows, "arm") if arm not in ARM_HUES]
    turns = {arm: dict(colour=OTHERS[i % len(OTHERS)], dashed=i >= len(OTHERS)) for i, arm in enumerate(others)}
    return {**{arm: dict(colour=hue) for arm, hue in ARM_HUES.items()}, **turns}


def _by_setting(rows: list[dict], kept: list[str], settings: dict[str, str]) -> Lines:
    """A line for every setting of the other axes."""
    hues = curves.hues(settings)
    return {
        words: (dict(colour=hues[where]), [r for r in rows if setting(r["point"], kept) == where])
        for where, words in settings.items()
    }


def _parts(kinds: dict, rows: list[dict]) -> Lines:
    """The gap and, where they are known, its parts at the same points."""
    drawn = {"gap": (dict(colour=PART_HUES["gap"]), rows)}
    for part in PARTS:
        every = sweep.points(kinds, part)
        of = [held for r in rows if (held := sweep.same(every, r))]
        drawn |= {part: (dict(colour=PART_HUES[part]), of)} if of else {}
    return drawn


def _is_about(row: dict, axis: str) -> bool:
    return extra(row).get("axis") == axis and sweep.measure(row) == "gap" and row["value"] is not None


def _note(row: dict) -> str:
    low, high = row["ci95"] or (row["value"],) * 2
    return f"slope {row['value']:z.2g} {row['unit']}\n({low:z.2g} to {high:z.2g})"
