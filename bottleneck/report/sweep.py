"""The report's section on a sweep: how each target's arms and gap move along the axes of its points, and the slopes.

Rows of kind sweep: `information` of every arm, `gap` and its parts at every `point` (axis -> value); `slope`, whose
`extra` names the `axis`, the `measure`, and holds `adjusted_p`, `lack_of_fit` (a p) and a `sentence`, where they are
known; `difference` between the names on an axis, likewise.
"""

from __future__ import annotations

from bottleneck.axes import NAMED, is_number, setting, varying
from bottleneck.report.lookup import (
    LABELS,
    PARTS,
    counts,
    ends,
    extra,
    find,
    number,
    plain,
    several,
    unit,
    unit_name,
    values,
)
from bottleneck.report.table import MISSING, Number, Table, trim
from bottleneck.rows import select

KIND = "sweep"
SIGNIFICANT = 0.05  # of adjusted p
MOST = 6  # targets that a sentence names
HIDDEN = 1e-6  # bits
UNADJUSTED = "95% intervals, not adjusted for multiplicity"


def points(kinds: dict, metric: str = "gap") -> list[dict]:
    """The rows of a metric at every point, in the unit of information."""
    rows = select(kinds.get(KIND, []), seed="all", metric=metric)
    return [r for r in select(rows, unit=unit(rows)) if r["point"]]


def slopes(kinds: dict) -> list[dict]:
    return select(kinds.get(KIND, []), seed="all", metric="slope")


def differences(kinds: dict) -> list[dict]:
    return select(kinds.get(KIND, []), seed="all", metric="difference")


def measure(row: dict) -> str:
    """What a slope or a difference is of."""
    return extra(row).get("measure") or "gap"


def titled(row: dict) -> str:
    """A row's target; with what is independent of its label, where it is not as it is."""
    if row["target"] is None:
        return f"all targets, {row['arm']}"
    return f"{row['target']} ({row['factor']} randomised)" if row["factor"] else row["target"]


def axes(rows: list[dict]) -> list[str]:
    """The axes along which the points of these rows differ, in the order in which they are named."""
    return varying([r["point"] for r in rows])


def headlines(kinds: dict) -> list[str]:
    """What is seen along every axis, in one sentence each; then what is said of no axis."""
    gaps = [r for r in (*slopes(kinds), *differences(kinds)) if measure(r) == "gap"]
    said = [headline(kinds, axis) for axis in dict.fromkeys(axis_of(r) for r in gaps)]
    return [*filter(None, said), *(words for r in _apart(kinds) if (words := extra(r).get("sentence")))]


def headline(kinds: dict, axis: str) -> str:
    """For which targets the gap changes along an axis; what recipes hold beyond the mixture there."""
    of = [r for r in (*slopes(kinds), *differences(kinds)) if axis_of(r) == axis and r["value"] is not None]
    groups: dict[str, list[str]] = {"grows": [], "falls": [], "bends": [], "stays": []}
    for r in (r for r in of if measure(r) == "gap"):
        name, way = extra(r).get("name"), _way(r)
        who = titled(r) if name is None else f"{titled(r)} at {name}"
        groups[way].append(f"{who} ({r['value']:+z.2g} {r['unit']})" if way in ("grows", "falls") else who)
    if not any(groups.values()):
        return ""
    base = next((extra(r)["against"] for r in of if "against" in extra(r)), None)
    ways = {"grows": "grows", "falls": "falls"} if base is None else {"grows": "is larger", "falls": "is smaller"}
    said = [f"the gap {words} for {several(groups[way], MOST)}" for way, words in ways.items() if groups[way]]
    if groups["bends"]:
        said.append(f"the gap changes, though along no straight line, for {several(groups['bends'], MOST)}")
    if groups["stays"]:
        change = "change" if base is None else "difference"
        said.append(f"no {change} of the gap is shown for {several(groups['stays'], MOST) if said else 'any target'}")
    where = f"Over {axis}" if base is None else f"Against {base}" if axis == NAMED else f"Over {axis}, against {base},"
    words = f"{where} {'; '.join([*said, *filter(None, [_own(of)])])}"
    recipes = [extra(r)["sentence"] for r in of if measure(r) == "over_mixture" and extra(r).get("sentence")]
    return " ".join([f"{words}.", *recipes])


def _own(rows: list[dict]) -> str:
    """What changes of the mixture's own information, at names where direct training is another and the gap hides it."""
    gaps = {(titled(r), extra(r).get("name")): r["value"] for r in rows if measure(r) == "gap"}
    differing = [r for r in rows if measure(r) == "mixture" and r["metric"] == "difference"]
    hidden = [r for r in differing if abs(r["value"] + gaps.get((titled(r), extra(r)["name"]), -r["value"])) > HIDDEN]
    shown = [
        f"{titled(r)} at {extra(r)['name']} ({r['value']:+z.2g} {r['unit']})" for r in hidden if _way(r) != "stays"
    ]
    way = "direct training differs, too: the mixture's own information changes for"
    return f"{way} {several(shown, MOST)}" if shown else ""


def _way(row: dict) -> str:
    """What a slope, or a difference, of the gap shows."""
    p, misfit = extra(row).get("adjusted_p"), extra(row).get("lack_of_fit")
    if p is not None and p < SIGNIFICANT:
        return "falls" if row["value"] < 0 else "grows"
    return "bends" if misfit is not None and misfit < SIGNIFICANT else "stays"


def sentences(kinds: dict) -> list[str]:
    """What every slope and difference says in full, and what is said of no axis."""
    said = [words for r in _apart(kinds) if (words := extra(r).get("sentence"))]
    for r in (*differences(kinds), *slopes(kinds)):
        if words := extra(r).get("sentence"):
            said.append(words)
        elif r["metric"] == "slope" and measure(r) == "gap":
            said.append(_numbers(r))
    return said


def _numbers(row: dict) -> str:
    """A slope without a sentence of its own."""
    low, high = ends(row) if row["value"] is not None else (None, None)
    words = f"{titled(row)}: the slope of the gap over {axis_of(row)} is"
    size = "not known." if low is None else f"{row['value']:z.2f} {row['unit'] or ''} ({low:z.2f} to {high:z.2f})."
    return f"{words} {size}"


def _apart(kinds: dict) -> list[dict]:
    """Rows whose sentence is about no axis: gaps over all draws of the data, and where training was still rising."""
    return [*points(kinds), *points(kinds, "rise")]


def axis_of(row: dict) -> str:
    return extra(row).get("axis") or "the axis"


def tables(kinds: dict) -> list[Table]:
    """Slopes, differences, gaps and arms of all points: those tables that have lines."""
    made = [_slopes(slopes(kinds)), _differences(differences(kinds)), _gaps(kinds), _arms(kinds), _beyond(kinds)]
    return [trim(table) for table in made if table.rows]


def _slopes(rows: list[dict]) -> Table:
    lines = tuple(
        (
            titled(r),
            extra(r).get("axis") or MISSING,
            measure(r),
            number(r, digits=3),
            r["unit"] or MISSING,
            *(plain(extra(r).get(key), 3) for key in ("adjusted_p", "lack_of_fit")),
        )
        for r in rows
    )
    tests = "one slope a target"
    if any(extra(r).get("exploratory") for r in rows):
        tests = (
            "the slope of a target's gap is the test, those of parts and of what has a factor randomised exploratory"
        )
    caption = (
        f"{counts(rows)}; least squares over the axis among points that differ along it alone, {UNADJUSTED}; p is "
        f"adjusted by Holm over the targets of one axis and measure ({tests}). Lack of fit: the p of what a straight "
        "line leaves over."
    )
    header = ("target", "axis", "of", "slope", "unit", "adjusted p", "lack of fit (p)")
    return Table("slopes", "Slopes", caption, header, lines)


def _differences(rows: list[dict]) -> Table:
    lines = tuple(
        (
            titled(r),
            extra(r).get("axis") or MISSING,
            f"{extra(r).get('name')} against {extra(r).get('against')}",
            measure(r),
            number(r, digits=3),
            plain(extra(r).get("adjusted_p"), 3),
        )
        for r in rows
    )
    caption = (
        f"{counts(rows)}; each name against the first, among points that differ in it alone, {UNADJUSTED}, exploratory;"
        " p is adjusted by Holm over the targets of one measure and name."
    )
    header = ("target", "axis", "points", "of", f"difference ({unit_name(rows)})", "adjusted p")
    return Table("differences", "Differences between points", caption, header, lines)


def _gaps(kinds: dict) -> Table:
    """The gap and its parts at every point."""
    gaps = points(kinds)
    parts = {part: points(kinds, part) for part in (*PARTS, "finished")}
    names = axes(gaps)
    rises = {True: "yes", False: "no", None: MISSING}
    lines = tuple(
        (
            *_place(r, names),
            number(r),
            *(number(same(rows, r)) for rows in parts.values()),
            rises[extra(same(points(kinds, "rise"), r)).get("rising")],
        )
        for r in _by(gaps)
    )
    shown = f"gap ({unit_name(gaps)})", *PARTS, "of the longest run", "still rising"
    caption = f"{counts(gaps)}; {UNADJUSTED}, and no verdicts: a sweep's test is its slope."
    if parts["finished"]:
        caption += " Of the longest run: the gap to `longest` where training may have been rising, else to `longer`."
    return Table("points", "Gap at every point", caption, ("target", *names, *shown), lines)


def _arms(kinds: dict) -> Table:
    """What every arm's features hold at every point."""
    rows, gaps = points(kinds, "information"), points(kinds)
    names, arms = axes(gaps), values(rows, "arm")
    lines = tuple(
        (*_place(r, names), *(number(same(select(rows, arm=arm), r)) for arm in arms)) for r in _by(gaps) if rows
    )
    caption = f"{counts(rows)}; {unit_name(rows)} of a linear probe on each arm's features, {UNADJUSTED}."
    header = ("target", *names, *(LABELS.get(arm, arm) for arm in arms))
    return Table("levels", "Every arm at every point", caption, header, lines if arms else ())


def _beyond(kinds: dict) -> Table:
    """What every arm holds beyond the mixture, on average over the targets, at every point."""
    rows = points(kinds, "over_mixture")
    names, arms = axes(points(kinds)), values(rows, "arm")
    firsts = {setting(r["point"], names): r for r in rows}
    lines = tuple(
        (*_coordinates(r, names), *(number(same(select(rows, arm=arm), r)) for arm in arms)) for r in firsts.values()
    )
    targets = max((extra(r).get("targets") or 0 for r in rows), default=0)
    caption = (
        f"Information less the mixture's, mean of a point's targets, {targets} at most; {counts(rows)}; {UNADJUSTED}."
    )
    header = (*names, *(f"{LABELS.get(arm, arm)} ({unit_name(rows)})" for arm in arms))
    return Table("beyond", "Beyond the mixture, over all targets", caption, header, lines)


def _by(rows: list[dict]) -> list[dict]:
    """Rows target by target."""
    return [r for name in dict.fromkeys(map(titled, rows)) for r in rows if titled(r) == name]


def same(rows: list[dict], row: dict) -> dict | None:
    """The first of these rows about the same target at the same point."""
    return find(rows, target=row["target"], factor=row["factor"], point=row["point"])


def _place(row: dict, names: list[str]) -> tuple:
    return (titled(row), *_coordinates(row, names))


def _coordinates(row: dict, names: list[str]) -> tuple:
    return tuple(value(row["point"].get(name)) for name in names)


def value(held) -> Number | str:
    """A coordinate as a cell: a number with the digits that it has."""
    if not is_number(held):
        return MISSING if held is None else str(held)
    return Number(held, digits=len(f"{held:.12f}".rstrip("0").partition(".")[2]))


def methods(kinds: dict) -> str:
    rows = [*points(kinds), *slopes(kinds)]
    return (
        f"A slope over a sweep ({counts(rows)}) is the least-squares contrast of the points' tables of seeds by items, "
        "among points that differ along that axis alone (along a computed axis: in nothing that leaves it as it is), "
        "the items shared, the seeds unpaired where the points' seeds differ."
    )
