"""The report: one HTML file that holds all it shows, with figures as SVG and tables as CSV and LaTeX beside it."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from bottleneck import atomic
from bottleneck.report import curves, findings, lookup, page, plots, tables
from bottleneck.report.methods import exploratory, methods
from bottleneck.report.section import Figure, Section
from bottleneck.report.sections import sections
from bottleneck.report.table import Table, to_csv, to_latex

FILE = "report.html"
OUTSIDE = "Targets outside the mixture"


@dataclass(frozen=True)
class Content:
    """All that a report shows, drawn once."""

    rows: list[dict]  # of the main answer
    figures: dict[str, Figure]  # of the main answer, by name
    sections: list[Section]  # of the analyses
    clauses: dict[str, str]  # what the analyses add to a target's sentence
    overview: Table | None  # where, when and in which seeds, in a few words


def write(workdir: pathlib.Path, rows: list[dict], provenance: dict) -> pathlib.Path:
    """Writes `workdir`/report.html, figures/*.svg and tables/*.{csv,tex}; returns the report's path.

    `rows` are those of one study; `provenance` is JSON-like (versions, commit, devices, config hash, ...).
    The same rows and provenance give the same bytes.
    """
    content = read(rows)
    parts = [
        *content.figures.values(),
        *tables.all_tables(content.rows),
        *filter(None, [content.overview]),
        *(part for found in content.sections for part in found.parts),
    ]
    for part in parts:
        if isinstance(part, Figure):
            atomic.write(workdir / "figures" / f"{part.name}.svg", part.svg())
        else:
            atomic.write(workdir / "tables" / f"{part.name}.csv", to_csv(part))
            atomic.write(workdir / "tables" / f"{part.name}.tex", to_latex(part))
    atomic.write(workdir / FILE, render(content, provenance))
    return workdir / FILE


def read(rows: list[dict]) -> Content:
    """The content of a study's rows."""
    main, kinds = lookup.split(rows)
    return Content(main, figures(main), sections(kinds), findings.clauses(kinds), findings.overview(kinds))


def figures(rows: list[dict]) -> dict[str, Figure]:
    """The main answer's figures that have something to show, by name."""
    found = [gap(rows), accuracy(rows), few_shot(rows), budget(rows)]
    return {figure.name: figure for figure in found if figure and any(figure.panels)}


def gap(rows: list[dict]) -> Figure:
    """Every target's gap."""
    margin = lookup.margin(rows)
    beyond = (
        ""
        if margin is None
        else (
            " The short upright line is the margin: beyond it, the mixture keeps less than "
            f"{100 * margin:g}% of what direct training shows."
        )
    )
    caption = "Direct training minus the mixture's features, with 95% intervals." + beyond
    return Figure("gap", "Gap per target", caption, (plots.bits(rows),), fixed=True)


def accuracy(rows: list[dict]) -> Figure:
    """What every arm reaches, target by target."""
    drawn = _drawn(rows)
    caption = "Dots are seeds, ticks their means with 95% intervals; all panels share one scale."
    caption += f" Reference lines: {', '.join(drawn)}." if drawn else ""
    panels = tuple(filter(None, (plots.accuracy(rows, [name]) for name in lookup.targets(rows))))
    return Figure(
        "accuracy", f"{'R2' if lookup.score(rows) == 'r2' else 'Accuracy'} by linear probe, per arm", caption, panels
    )


def few_shot(rows: list[dict]) -> Figure | None:
    """Few-shot probes, target by target."""
    percent = lookup.score(rows) == "accuracy"
    caption = (
        "Linear probes on so many examples per class, mean over seeds and draws with 95% intervals, cut at the panel's "
        "edge; the thin line is direct training's probe on all."
    )
    return curves.figure(
        "few-shot",
        "Few-shot probes",
        caption,
        plots.shots(rows),
        xlabel="examples per class",
        ylabel="accuracy (%)" if percent else "R2",
        ceiling=100 if percent else None,
    )


def budget(rows: list[dict]) -> Figure:
    """What representations cost and reach."""
    caption = (
        "Linear probe against total training steps of all members, with 95% intervals; the line is direct training. "
        "Representations of equal cost are drawn side by side around it."
    )
    return Figure("budget", "What they cost and reach", caption, (plots.budget(rows),), fixed=True)


def render(content: Content, provenance: dict) -> str:
    """The report's HTML."""
    rows = content.rows
    found = [
        {"name": s.name, "title": s.title, "sentence": s.sentence, "parts": [page.part(p) for p in s.parts]}
        for s in content.sections
    ]
    return page.fill(
        "report.html",
        study=", ".join(sorted({r["study"] for r in rows if r["study"]})) or "without a name",
        sections=found,
        sentences=_sentences(content),
        tables={t.name: page.table(t) for t in tables.all_tables(rows)},
        figures={name: page.figure(figure) for name, figure in content.figures.items()},
        metric=lookup.score(rows),
        methods=[methods(rows), exploratory(content.sections)],
        provenance=page.flat(provenance),
    )


def _drawn(rows: list[dict]) -> list[str]:
    """The reference lines which the accuracy panels draw."""
    names = {label for t in lookup.targets(rows) for label in plots.strips(rows, t, lookup.score(rows), 1)}
    lines = (
        ("direct", "direct training: blue line"),
        ("random init", "random initialisation: dashed"),
        ("pooled input", "pooled input: dotted"),
        ("Bayes", "Bayes optimum: thin line"),
    )
    return [words for label, words in lines if label in names]


def _sentences(content: Content) -> dict[str, list[dict]]:
    """Sentences under the headings of their families, with the words to stress apart."""
    groups: dict[str, list[dict]] = {"": [], OUTSIDE: []}
    for name in lookup.targets(content.rows):
        found = lookup.verdict(content.rows, name)
        said, verdict = (lookup.extra(found).get(key) or "" for key in ("sentence", "verdict"))
        if said:
            head = f"{name} is {verdict}" if said.startswith(f"{name} is {verdict}") else ""
            groups[OUTSIDE if lookup.outside(found) else ""].append(
                {"verdict": verdict, "head": head, "text": said[len(head) :], "clause": content.clauses.get(name, "")}
            )
    return {title: found for title, found in groups.items() if found}
