"""The report: one HTML file that holds everything it shows, with figures as SVG and tables as CSV beside it."""
from __future__ import annotations

import pathlib

import jinja2
from markupsafe import Markup

from bottleneck.checkpoint import write_atomic
from bottleneck.report import plots, tables
from bottleneck.report.tables import MISSING, PROBE, Number, Table
from bottleneck.rows import select

FILE = "report.html"
TAGS = {"lost", "retained", "inconclusive", "untestable", "named", "ruled out", "undecided"}     # words drawn as labels


def write(workdir: pathlib.Path, rows: list[dict], provenance: dict) -> pathlib.Path:
    """Writes `workdir`/report.html, figures/*.svg and tables/*.csv; returns the report's path.

    `rows` are those of one study; `provenance` is JSON-like (versions, commit, devices, config hash, ...) and shown as
    it is. The same rows and provenance give the same bytes.
    """
    drawn = figures(rows)
    for name, svg in drawn.items():
        write_atomic(workdir / "figures" / f"{name}.svg", svg)
    for table in tables.all_tables(rows):
        write_atomic(workdir / "tables" / f"{table.name}.csv", tables.to_csv(table))
    write_atomic(workdir / FILE, render(rows, provenance, drawn))
    return workdir / FILE


def figures(rows: list[dict]) -> dict[str, str]:
    """The figures that have something to show, by name, as SVG text."""
    found = {"accuracy": plots.accuracy(rows), "gap": plots.bits(rows), "budget": plots.budget(rows)}
    return {name: svg for name, svg in found.items() if svg}


def render(rows: list[dict], provenance: dict, drawn: dict[str, str]) -> str:
    """The report's HTML, with the figures of `figures`; the panels of `accuracy` are drawn again one by one, to flow."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True,
                                     undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    names = tables.targets(rows)
    panels = [svg for name in names if (svg := plots.accuracy(rows, [name]))]
    return environment.get_template("report.html").render(
        study=", ".join(sorted({r["study"] for r in rows if r["study"]})) or "without a name",
        sentences=_sentences(rows, names), tables={t.name: _view(t) for t in tables.all_tables(rows)},
        gap=Markup(drawn.get("gap", "")), panels=[Markup(svg) for svg in panels], budget=Markup(drawn.get("budget", "")),
        metric=tables.score(rows), floors=_drawn(rows), methods=methods(rows), provenance=_flat(provenance),
        margin=_margin(rows))


def methods(rows: list[dict]) -> list[str]:
    """What was done, in sentences made from the rows."""
    over_seeds, u = tables.summaries(rows), tables.unit(rows)
    gaps = select(over_seeds, metric=f"gap_{u}")
    probes = [r for r in rows if r["seed"] != "all" and r["protocol"] == PROBE and (r["extra"] or {}).get("chosen") is not False]
    said = []
    steps = sorted({r["train_steps"] for r in select(over_seeds, arm="mixture", protocol=PROBE) if r["train_steps"]})
    spaces = sorted({r["label_space"] for r in probes if r["arm"] == "mixture" and r["label_space"]})
    if gaps:
        length = f" for {_span(steps)} steps" if steps else ""
        space = f" in a {spaces[0].replace('_', '-')} label space" if len(spaces) == 1 else ""
        said.append(f"Networks were pretrained on the mixture{length}{space}, and for each target directly, with the same seeds: "
                    f"{tables.counts(gaps)}.")
    if probes:
        menu = sorted({r["scaling"] for r in rows if r["protocol"] == PROBE and r["scaling"]})
        choice = " and ".join(filter(None, (f"scaling ({', '.join(menu)})" if menu else "", "penalty")))
        where = sorted({r["selected_on"] for r in probes if r["selected_on"]})
        edge = sum(bool((r["extra"] or {}).get("at_edge")) for r in probes if r["metric"] == u)
        solved = sum(r["metric"] == u for r in probes)
        said.append(f"Linear probes were fitted on frozen features, their {choice} chosen on {' and '.join(where) or 'an unnamed split'}, "
                    f"and read on {' and '.join(sorted({r['split'] for r in probes if r['split']})) or 'an unnamed split'}; "
                    f"{edge} of {solved} probes chose a penalty at the edge of its grid.")
    said.append("Values are R2 on held-out items." if u == "r2" else
                "Information is in bits per item: how much better the calibrated probe predicts the label than the class frequencies do.")
    if gaps:
        units = sorted({r["ci_unit"] for r in gaps if r["ci_unit"]})
        said.append(f"Intervals are 95%, {f'over {_words(units)}, ' if units else ''}and not adjusted for multiplicity.")
        verdicts = {side: [r for r in gaps if tables.outside(r) == side] for side in (False, True)}
        for side, members in verdicts.items():
            tested = sum((r["extra"] or {}).get("adjusted_p") is not None for r in members)
            if members:
                family = "on targets outside the mixture, a family of their own," if side else "on components"
                said.append(f"Verdicts {family} use Holm's adjustment over the testable ones ({tested} of {len(members)})"
                            f"{'' if side else _margin_words(rows)}.")
    if any((r["extra"] or {}).get("provisional") for r in gaps):
        said.append("Verdicts from fewer than 4 seeds are provisional.")
    return said


def _margin(rows: list[dict]) -> float | None:
    found = {(r["extra"] or {}).get("margin") for r in select(tables.summaries(rows), metric=f"gap_{tables.unit(rows)}")} - {None}
    return min(found, default=None)


def _margin_words(rows: list[dict]) -> str:
    margin = _margin(rows)
    return "" if margin is None else f": lost is less than {100 * margin:g}% of what direct training shows, retained is more"


def _drawn(rows: list[dict]) -> list[str]:
    """The reference lines which the accuracy panels draw."""
    names = {label for t in tables.targets(rows) for label in plots.strips(rows, t, tables.score(rows), 1)}
    lines = (("direct", "direct training: blue line"), ("random init", "random initialisation: dashed"),
             ("pooled pixels", "pooled pixels: dotted"), ("Bayes", "Bayes optimum: thin line"))
    return [words for label, words in lines if label in names]


def _sentences(rows: list[dict], names: list[str]) -> dict[str, list[dict]]:
    """Sentences under the headings of their families, with the words to stress apart."""
    groups: dict[str, list[dict]] = {"": [], "Targets outside the mixture": []}
    for name in names:
        found = tables.verdict(rows, name)
        extra = (found or {}).get("extra") or {}
        if extra.get("sentence"):
            said, verdict = extra["sentence"], extra.get("verdict", "")
            head = f"{name} is {verdict}" if said.startswith(f"{name} is {verdict}") else ""
            groups["Targets outside the mixture" if tables.outside(found) else ""].append(
                {"verdict": verdict, "head": head, "text": said[len(head):]})
    return {title: found for title, found in groups.items() if found}


def _view(table: Table) -> dict:
    """A table for the template: cells with their text and class."""
    numeric = [tables.is_numeric(column) for column in zip(*table.rows)]
    cells = [[_cell(cell, n) for cell, n in zip(row, numeric)] for row in table.rows]
    for above, below in zip(table.rows, cells[1:]):      # a target that goes on over several lines is named once
        below[0]["repeat"] = above[0] == below[0]["text"]
    # Intervals of one column take one width, so that its values stand under each other.
    room = [max(len(row[i]["interval"]) for row in cells) for i in range(len(table.header))]
    return {"title": table.title, "caption": table.caption, "header": list(zip(table.header, numeric)), "rows": cells, "room": room}


def _cell(cell, numeric: bool) -> dict:
    words = str(cell)
    value, _, interval = words.partition(" ") if isinstance(cell, Number) else (words, "", "")
    tag = words.rstrip("*") if words.rstrip("*") in TAGS else ""
    return {"text": value, "interval": interval, "numeric": numeric, "tag": tag.replace(" ", "-"), "missing": cell == MISSING, "repeat": False}


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


def _span(values: list) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def _words(units: list[str]) -> str:
    return " or ".join(units)
