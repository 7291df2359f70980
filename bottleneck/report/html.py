"""The report: one HTML file that holds all it shows, with figures as SVG and tables as CSV beside it."""
from __future__ import annotations

import pathlib

import jinja2
from markupsafe import Markup

from bottleneck import atomic
from bottleneck.report import plots, tables
from bottleneck.report.tables import MISSING, PROBE, Number, Table
from bottleneck.rows import select

FILE = "report.html"
TAGS = {"lost", "retained", "inconclusive", "untestable", "named", "ruled out", "undecided"}   # have a colour
OUTSIDE = "Targets outside the mixture"


def write(workdir: pathlib.Path, rows: list[dict], provenance: dict) -> pathlib.Path:
    """Writes `workdir`/report.html, figures/*.svg and tables/*.csv; returns the report's path.

    `rows` are those of one study; `provenance` is JSON-like (versions, commit, devices, config hash, ...).
    The same rows and provenance give the same bytes.
    """
    drawn = figures(rows)
    for name, svg in drawn.items():
        atomic.write(workdir / "figures" / f"{name}.svg", svg)
    for table in tables.all_tables(rows):
        atomic.write(workdir / "tables" / f"{table.name}.csv", tables.to_csv(table))
    atomic.write(workdir / FILE, render(rows, provenance, drawn))
    return workdir / FILE


def figures(rows: list[dict]) -> dict[str, str]:
    """The figures that have something to show, by name, as SVG text."""
    found = {"accuracy": plots.accuracy(rows), "gap": plots.bits(rows), "budget": plots.budget(rows)}
    return {name: svg for name, svg in found.items() if svg}


def render(rows: list[dict], provenance: dict, drawn: dict[str, str]) -> str:
    """The report's HTML with the figures `drawn`; accuracy is drawn again, panel by panel, to flow."""
    loader = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    names = tables.targets(rows)
    panels = [svg for name in names if (svg := plots.accuracy(rows, [name]))]
    return environment.get_template("report.html").render(
        study=", ".join(sorted({r["study"] for r in rows if r["study"]})) or "without a name",
        sentences=_sentences(rows, names), tables={t.name: _view(t) for t in tables.all_tables(rows)},
        gap=Markup(drawn.get("gap", "")), panels=[Markup(svg) for svg in panels],
        budget=Markup(drawn.get("budget", "")), metric=tables.score(rows), floors=_drawn(rows),
        methods=methods(rows), provenance=_flat(provenance), margin=_margin(rows))


def methods(rows: list[dict]) -> list[str]:
    """What was done, in sentences made from the rows."""
    over_seeds, u = select(rows, seed="all"), tables.unit(rows)
    gaps, probes = select(over_seeds, metric=f"gap_{u}"), select(tables.chosen(rows), metric=u)
    said = []
    if gaps:
        steps = _values(select(over_seeds, arm="mixture", protocol=PROBE), "train_steps")
        length = f" for {tables.span(steps)} steps" if steps else ""
        spaces = _values(select(probes, arm="mixture"), "label_space")
        space = f" in a {spaces[0].replace('_', '-')} label space" if len(spaces) == 1 else ""
        said.append(f"Networks were pretrained on the mixture{length}{space}, and for each target directly, "
                    f"with the same seeds: {tables.counts(gaps)}.")
    if probes:
        menu = ", ".join(_values(select(rows, protocol=PROBE), "scaling"))
        edge = sum(bool(tables.extra(r).get("at_edge")) for r in probes)
        chosen = f"scaling ({menu}) and penalty" if menu else "penalty"
        said.append(f"Linear probes were fitted on frozen features, their {chosen} chosen on "
                    f"{_either(probes, 'selected_on')}, and read on {_either(probes, 'split')}; {edge:,} of "
                    f"{len(probes):,} chose a penalty at the edge of its grid.")
    said.append("Values are R2 on held-out items." if u == "r2" else "Information is in bits per item: how "
                "much better the calibrated probe predicts the label than the class frequencies do.")
    if gaps:
        said.append(f"Intervals are 95%, over {_either(gaps, 'ci_unit')}, and not adjusted for multiplicity.")
    for side in (False, True):
        members = [r for r in gaps if tables.outside(r) == side]
        tested = sum(tables.extra(r).get("adjusted_p") is not None for r in members)
        family = "on targets outside the mixture, a family of their own," if side else "on components"
        if members:
            said.append(f"Verdicts {family} use Holm's adjustment over the testable ones "
                        f"({tested} of {len(members)}).")
    if (margin := _margin(rows)) is not None:
        said.append(f"Lost is less than {100 * margin:g}% of what direct training shows, retained is more.")
    if any(tables.extra(r).get("provisional") for r in gaps):
        said.append("Verdicts from fewer than 4 seeds are provisional.")
    return said


def _values(rows: list[dict], key: str) -> list:
    return sorted({r[key] for r in rows if r[key]})


def _either(rows: list[dict], key: str) -> str:
    return " or ".join(_values(rows, key)) or "what no row says"


def _margin(rows: list[dict]) -> float | None:
    """The share of direct training's information that decides between lost and retained."""
    gaps = select(rows, seed="all", metric=f"gap_{tables.unit(rows)}")
    return next((m for r in gaps if (m := tables.extra(r).get("margin")) is not None), None)


def _drawn(rows: list[dict]) -> list[str]:
    """The reference lines which the accuracy panels draw."""
    names = {label for t in tables.targets(rows) for label in plots.strips(rows, t, tables.score(rows), 1)}
    lines = (("direct", "direct training: blue line"), ("random init", "random initialisation: dashed"),
             ("pooled input", "pooled input: dotted"), ("Bayes", "Bayes optimum: thin line"))
    return [words for label, words in lines if label in names]


def _sentences(rows: list[dict], names: list[str]) -> dict[str, list[dict]]:
    """Sentences under the headings of their families, with the words to stress apart."""
    groups: dict[str, list[dict]] = {"": [], OUTSIDE: []}
    for name in names:
        found = tables.verdict(rows, name)
        said, verdict = (tables.extra(found).get(key) or "" for key in ("sentence", "verdict"))
        if said:
            head = f"{name} is {verdict}" if said.startswith(f"{name} is {verdict}") else ""
            groups[OUTSIDE if tables.outside(found) else ""].append(
                {"verdict": verdict, "head": head, "text": said[len(head):]})
    return {title: found for title, found in groups.items() if found}


def _view(table: Table) -> dict:
    """A table for the template: cells with their text and class."""
    numeric = [tables.is_numeric(column) for column in zip(*table.rows)]
    cells = [[_cell(cell, n) for cell, n in zip(row, numeric)] for row in table.rows]
    for above, below in zip(table.rows, cells[1:]):      # a target of several lines is named once
        below[0]["repeat"] = above[0] == below[0]["text"]
    # Intervals of one column take one width, so that its values stand under each other.
    room = [max(len(row[i]["interval"]) for row in cells) for i in range(len(numeric))]
    return {"title": table.title, "caption": table.caption, "header": list(zip(table.header, numeric)),
            "rows": cells, "room": room}


def _cell(cell: tables.Cell, numeric: bool) -> dict:
    words = str(cell)
    value, _, interval = words.partition(" ") if isinstance(cell, Number) else (words, "", "")
    tag = words.rstrip("*").replace(" ", "-") if words.rstrip("*") in TAGS else ""
    return {"text": value, "interval": interval, "numeric": numeric, "tag": tag, "missing": cell == MISSING,
            "repeat": False}


def _flat(value, prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as (key, text) lines, sorted by key; a dict of plain values is one line."""
    found = []
    for key in sorted(value, key=str):
        inner, name = value[key], f"{prefix}{key}".replace("_", " ")
        if isinstance(inner, dict) and any(isinstance(v, dict) for v in inner.values()):
            found += _flat(inner, f"{name}: ")
        elif isinstance(inner, dict):
            found.append((name, ", ".join(f"{k} {inner[k]}" for k in sorted(inner, key=str))))
        elif isinstance(inner, list | tuple):
            found.append((name, ", ".join(map(str, inner)) or MISSING))
        else:
            found.append((name, MISSING if inner is None else str(inner)))
    return found
