"""Two studies side by side: what each says of a target, how far their gaps differ, and how their configs differ."""

from __future__ import annotations

import math
import pathlib

from bottleneck import atomic
from bottleneck.report import findings, lookup, page, table
from bottleneck.report.drawing import BLUE, VERMILLION, lines, reach
from bottleneck.report.lookup import SUBJECT, counts, ends, extra, factors, mean, number, several, targets, unit
from bottleneck.report.section import Figure
from bottleneck.report.table import MISSING, Number, Table

Study = tuple[str, list[dict], dict]  # name, rows, provenance
DIFFERENCE = "difference"
METHOD = (
    "Differences of gaps take the studies as independent: the arms of both intervals add as squares (Zou and Donner, "
    "Statistics in Medicine 27, 2008). For studies that share test items or runs the intervals are too wide. "
    "Exploratory: 95%, not adjusted for multiplicity."
)


def write(path: pathlib.Path, first: Study, second: Study) -> pathlib.Path:
    """Writes the comparison of two studies as one self-contained HTML page at `path`; returns `path`.

    A study is (name, rows, provenance); `provenance["config"]` may be the config as nested dicts, `provenance["meant"]`
    the same with the default of every key that it leaves out. The same studies give the same bytes.
    """
    first, second = _named(first, second)
    gaps = figure(first, second)
    others = [{k: v for k, v in made_by.items() if k not in ("config", "meant")} for _, _, made_by in (first, second)]
    atomic.write(
        path,
        page.fill(
            "compare.html",
            names=(first[0], second[0]),
            sentences=sentences(first, second),
            provenance=differences(*others),
            figures=[page.figure(gaps)] if gaps else [],
            tables=[page.table(t, titled=False) for t in tables(first, second)],
            method=METHOD,
        ),
    )
    return path


def terminal(first: Study, second: Study, width: int = 120, encoding: str = "utf-8") -> str:
    """The same for a terminal: sentences, then tables, in what `encoding` can hold."""
    first, second = _named(first, second)
    said = table.encodable("\n".join(sentences(first, second)), encoding)
    return "\n\n".join([said, *(table.text(t, width, encoding) for t in tables(first, second))]) + "\n"


def tables(first: Study, second: Study) -> list[Table]:
    """Answers, features and settings, those that have lines."""
    return [t for t in (answers(first, second), features(first, second), settings(first, second)) if t.rows]


def sentences(first: Study, second: Study) -> list[str]:
    """On which targets the verdicts differ, and which targets only one study has, or that none is shared."""
    mains = [lookup.split(rows)[0] for _, rows, _ in (first, second)]
    verdicts = [{t: extra(lookup.gap(main, t)).get("verdict") for t in targets(main)} for main in mains]
    (a, *_), (b, *_) = first, second
    shared = [t for t in verdicts[0] if t in verdicts[1]]
    changed = [t for t in shared if verdicts[0][t] != verdicts[1][t]]
    said = [
        (f"{t} is {verdicts[0][t] or 'without a verdict'} in {a} and {verdicts[1][t] or 'without a verdict'} in {b}.")
        for t in changed
    ]
    same = [t for t in shared if t not in changed]
    if same:
        said.append(f"The verdict is the same on {several(same, 8)}.")
    for name, here, there in ((a, *verdicts), (b, *verdicts[::-1])):
        if only := [t for t in here if t not in there]:
            said.append(f"Only {name} has {several(only, 8)}.")
    return said if shared else [*said, "No target is judged in both."]


def answers(first: Study, second: Study) -> Table:
    """Two lines per target, one for each study, and the difference of their gaps."""
    mains = [(name, lookup.split(rows)[0]) for name, rows, _ in (first, second)]
    names = {lookup.unit_name(main) for _, main in mains}
    header = names.pop() if len(names) == 1 else "in its study's unit"
    lines = []
    for target in dict.fromkeys(t for _, main in mains for t in targets(main)):
        pair = [lookup.gap(main, target) for _, main in mains]
        lines += [_line(name, main, gap) for (name, main), gap in zip(mains, pair) if gap is not None]
        if (apart := difference(*pair)) is not None:
            lines.append((target, DIFFERENCE, MISSING, MISSING, MISSING, apart))
    rests = [f"{name}: {counts(lookup.gaps(main))}" for name, main in mains]
    apart = f" Difference: {first[0]} minus {second[0]}." if any(line[1] == DIFFERENCE for line in lines) else ""
    starred = " * provisional: fewer than 4 seeds." if any(line[2].endswith("*") for line in lines) else ""
    caption = f"{'; '.join(rests)}.{apart} Linear probe on the last layer; 95% intervals, not adjusted.{starred}"
    header = ("target", "study", "verdict", f"direct ({header})", f"mixture ({header})", f"gap ({header})")
    return Table("answers", "What is missing, in both", caption, header, tuple(lines))


def _line(name: str, main: list[dict], gap: dict) -> tuple:
    """What one study says of one target."""
    star = "*" if extra(gap).get("provisional") else ""
    sides = (number(mean(main, arm, gap["target"]), half=True) for arm in (gap["reference"] or "direct", SUBJECT))
    return (gap["target"], name, (extra(gap).get("verdict") or MISSING) + star, *sides, number(gap))


def difference(first: dict | None, second: dict | None) -> Number | None:
    """The difference of two gaps of independent studies, in one unit; without an interval where either has none.

    With d = a - b, the limits are d - sqrt((a - l_a)^2 + (u_b - b)^2) and d + sqrt((u_a - a)^2 + (b - l_b)^2):
    variances add (Zou and Donner 2008); of t intervals each arm keeps its own quantile, which it would not need to.
    """
    if None in (first, second) or None in (first["value"], second["value"]) or first["unit"] != second["unit"]:
        return None
    a, b = first["value"], second["value"]
    limits = [*(first["ci95"] or (None, None)), *(second["ci95"] or (None, None))]
    if None in limits:
        return Number(a - b)
    low_a, high_a, low_b, high_b = limits
    return Number(a - b, a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b))


def features(first: Study, second: Study) -> Table:
    """Where, when and in which seeds: one line per label and factor that either study looked at."""
    sides = [lookup.split(rows)[1] for _, rows, _ in (first, second)]
    every = [
        r for kinds in sides for kind in ("ladder", "steps", "seeds") for r in kinds.get(kind, []) if r["seed"] == "all"
    ]
    lines = []
    for target in targets(every):
        for factor in factors(every, target):
            summaries = [findings.summary(kinds, target, factor) for kinds in sides]
            if {cell for words in summaries for cell in words} - {MISSING, findings.UNTESTABLE}:
                lines.append((target, findings.name(factor), *(cell for pair in zip(*summaries) for cell in pair)))
    header = (
        "target",
        "factor",
        *(f"{word}: {name}" for word in ("where", "when", "seeds") for name, *_ in (first, second)),
    )
    caption = (
        "The first rung that reads it at the last step, its course over training, seeds that keep it. Exploratory."
    )
    if any(str(cell).endswith("*") for line in lines for cell in line):
        caption += " * intervals do not decide."
    return Table("features", "Features, in both", caption, header, tuple(lines))


def settings(first: Study, second: Study) -> Table:
    """The keys of the configurations that differ in what they mean; of a part that only one has, what it states."""
    stated = [held if isinstance(held := made_by.get("config"), dict) else {} for _, _, made_by in (first, second)]
    meant = [made_by.get("meant", said) for said, (_, _, made_by) in zip(stated, (first, second))]
    said = {key for config in stated for key, _ in _flat(config)}
    lines = [line for line in differences(*meant) if MISSING not in line[1:] or line[0] in said]
    caption = "Keys that differ, defaults filled in."
    return Table("settings", "Configuration", caption, ("key", first[0], second[0]), tuple(lines))


def differences(first: dict, second: dict) -> list[tuple[str, str, str]]:
    """(dotted key, its value in each) of what differs between two nested dicts, in which an empty one says nothing; an
    em dash where there is none."""
    sides = [dict(_flat(side)) for side in (first, second)]
    keys = dict.fromkeys(key for side in sides for key in side)
    return [
        (key, *(side.get(key, MISSING) for side in sides))
        for key in sorted(keys)
        if sides[0].get(key) != sides[1].get(key)
    ]


def _flat(value: dict, prefix: str = ""):
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, inner)) if isinstance(inner, list | tuple) else str(inner)


def figure(first: Study, second: Study) -> Figure | None:
    """The gaps of both studies, target by target. None where no target has one in both."""
    mains = [lookup.split(rows)[0] for _, rows, _ in (first, second)]
    pairs = {t: [lookup.gap(main, t) for main in mains] for t in targets(mains[0])}
    pairs = {t: pair for t, pair in pairs.items() if all(r is not None and r["value"] is not None for r in pair)}
    if not pairs or len(set(map(unit, mains))) > 1:
        return None

    def draw(axes):
        for y, pair in enumerate(pairs.values()):
            for r, shift, colour, marker in zip(pair, (-0.16, 0.16), (VERMILLION, BLUE), "os"):
                axes.plot(ends(r), [y + shift] * 2, color=colour, linewidth=1.4, solid_capstyle="butt")
                axes.plot([r["value"]], [y + shift], marker=marker, markersize=5, color=colour, linestyle="")
        axes.set(xlim=reach([0.0, *(v for pair in pairs.values() for r in pair for v in ends(r))]))

    svg = lines("gaps", list(pairs), draw, xlabel=f"gap ({lookup.unit_name(mains[0])})", right=0.2)
    caption = "Direct training minus the mixture's features, with 95% intervals."
    key = ((first[0], VERMILLION, False), (second[0], BLUE, False))
    return Figure("gaps", "Gaps in both", caption, (svg,), key, fixed=True)


def _named(first: Study, second: Study) -> tuple[Study, Study]:
    """The two, with names that tell them apart."""
    if first[0] != second[0]:
        return first, second
    return tuple((f"{name} ({i})", rows, provenance) for i, (name, rows, provenance) in enumerate((first, second), 1))
