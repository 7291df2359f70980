"""The report: one HTML file that holds all it shows, with figures as SVG and tables as CSV and LaTeX in directories."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from bottleneck import atomic
from bottleneck.report import (
    audit,
    audit_figures,
    claims,
    curves,
    findings,
    gaps,
    law_figure,
    lookup,
    page,
    plots,
    prices,
    removed,
    spread_figure,
    sweep_figures,
    tables,
)
from bottleneck.report.methods import exploratory, methods
from bottleneck.report.section import Figure, Section
from bottleneck.report.sections import sections
from bottleneck.report.table import Table, to_csv, to_latex

FILE = "report.html"
OUTSIDE = "Targets outside the mixture"


@dataclass(frozen=True)
class Content:
    """All that a report shows, drawn once."""

    study: str  # its name
    rows: list[dict]  # of the main answer
    chapters: list[Section]  # of the main answer and of a sweep
    sections: list[Section]  # of the analyses
    judged: list[dict]  # of an audit: whether a network serves a component
    clauses: dict[str, str]  # what the analyses add to a target's sentence
    overview: Table | None  # where, when and in which seeds, in a few words

    @property
    def figures(self) -> list[Figure]:
        return [figure for section in (*self.chapters, *self.sections) for figure in section.figures]

    @property
    def tables(self) -> list[Table]:
        shown = [table for section in (*self.chapters, *self.sections) for table in section.tables]
        return [*shown, *filter(None, [self.overview])]


def write(
    directory: pathlib.Path, rows: list[dict], provenance: dict, reading: dict[str, list[str]] | None = None
) -> pathlib.Path:
    """Writes `directory`/report.html, figures/*.svg and tables/*.{csv,tex}; returns the report's path.

    `rows` are those of one study or sweep; `provenance` is JSON-like (versions, commit, devices, config, ...), where a
    list of several versions of a package says that runs differ; `reading` has for every component the lines that say
    what was read of it. The same arguments give the same bytes.
    """
    content = read(rows)
    for figure in content.figures:
        atomic.write(directory / "figures" / f"{figure.name}.svg", figure.svg())
    for table in content.tables:
        atomic.write(directory / "tables" / f"{table.name}.csv", to_csv(table))
        atomic.write(directory / "tables" / f"{table.name}.tex", to_latex(table))
    atomic.write(directory / FILE, render(content, provenance, reading))
    return directory / FILE


def read(rows: list[dict]) -> Content:
    """The content of a study's rows."""
    main, kinds = lookup.split(rows)
    study = ", ".join(sorted({r["study"] for r in rows if r["study"]})) or "without a name"
    answered = [
        *(chapters(main) if main else audit_figures.sections(kinds)),
        *filter(None, (part.section(kinds) for part in (claims, removed, sweep_figures, spread_figure, law_figure))),
    ]
    judged = audit.judged(kinds.get(audit.KIND, []))
    return Content(study, main, answered, sections(kinds), judged, findings.clauses(kinds), findings.overview(kinds))


def chapters(rows: list[dict]) -> list[Section]:
    """The parts of the main answer that have a figure or a table to show, in reading order."""
    made = {table.name: table for table in tables.all_tables(rows)}
    drawn = figures(rows)
    several = [
        ("answer", "What is missing", ("gap", "split")),
        ("restored", "What restores it", ("restored",)),
        ("accuracy", f"{_score(rows)} per target and arm", ("accuracy",)),
        ("representations", "", ()),
        ("protocols", "By protocol", ("few-shot",)),
        ("limits", "Floors, ceilings and bounds", ()),
    ]
    shown = []
    for name, title, of in several:
        if name == "representations":
            shown += filter(None, [prices.section(rows)])
            continue
        parts = tuple(drawn[figure] for figure in of if figure in drawn)
        table = (made[name],) if name in made else ()
        parts = (*table, *parts) if name in ("answer", "restored") else (*parts, *table)
        shown += [Section(name, title, "", parts)] if parts else []
    return shown


def figures(rows: list[dict]) -> dict[str, Figure]:
    """The main answer's figures that have something to show, by name."""
    drawn = (gaps.sizes(rows), gaps.split(rows), gaps.shares(rows), accuracy(rows), few_shot(rows))
    return {figure.name: figure for figure in drawn if figure is not None}


def accuracy(rows: list[dict]) -> Figure | None:
    """What every arm reaches, target by target."""
    drawn, panels = _drawn(rows), tuple(plots.accuracy(rows).values())
    caption = "Dots are seeds, ticks their means with 95% intervals; all panels share one scale."
    caption += f" Reference lines: {', '.join(drawn)}." if drawn else ""
    return Figure("accuracy", f"{_score(rows)} by linear probe, per arm", caption, panels) if panels else None


def _score(rows: list[dict]) -> str:
    return "R2" if lookup.unit(rows) == "r2" else "Accuracy"


def few_shot(rows: list[dict]) -> Figure | None:
    """Few-shot probes, target by target."""
    percent = lookup.score(rows) == "accuracy"
    caption = (
        "Linear probes on so many examples per class, mean over seeds and draws with 95% intervals, cut at the panel's "
        "edge; the thin line is direct training's probe on all."
    )
    ylabel, ceiling = ("accuracy (%)", 100) if percent else ("R2", None)
    return curves.figure(
        "few-shot",
        "Few-shot probes",
        caption,
        plots.shots(rows),
        xlabel="examples per class",
        ylabel=ylabel,
        ceiling=ceiling,
    )


def render(content: Content, provenance: dict, reading: dict[str, list[str]] | None = None) -> str:
    """The report's HTML."""
    return page.fill(
        "report.html",
        study=content.study,
        about=about(content),
        chapters=[page.section(s) for s in content.chapters],
        sections=[page.section(s) for s in content.sections],
        sentences=_sentences(content),
        methods=[
            [*methods(content.rows), *(s.methods for s in content.chapters if s.methods)],
            exploratory(content.sections),
        ],
        reading=[_headed(name, lines) for name, lines in (reading or {}).items()],
        differing=page.differing(provenance),
        provenance=page.flat(provenance),
    )


def _headed(name: str, lines: list[str]) -> tuple[str, list[str]]:
    """What was read of a component under a heading: its name and source, where its first line begins with both."""
    head, colon, _ = lines[0].partition(": ") if lines else ("", "", "")
    if not colon or not head.startswith(f"{name} ("):
        return name, lines
    return head, [line.removeprefix(f"{head}: ") for line in lines]


def about(content: Content) -> str:
    """What the page is about: what a mixture costs, unless it holds nothing but claims."""
    if any(section.name == audit.KIND for section in content.chapters):
        return "What each network serves"
    only_claims = [section.name for section in content.chapters] == [claims.KIND]
    return "Published results, held against ours" if only_claims else "What the mixture cost each component"


def _drawn(rows: list[dict]) -> list[str]:
    """The reference lines which the accuracy panels draw."""
    names = {label for strip in plots.strips(rows, lookup.score(rows), 1).values() for label in strip}
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
    for row in content.judged:
        head, _, text = lookup.extra(row)["sentence"].partition(f" by {row['arm']}")
        said = {
            "verdict": lookup.extra(row)["verdict"],
            "head": head,
            "text": f" by {row['arm']}{text}" if text else "",
        }
        groups.setdefault(row["target"], []).append({**said, "clause": ""})
    for said in tables.sentences(content.rows, content.clauses):
        row, verdict, sentence = said["row"], said["verdict"], said["sentence"]
        who, is_so, _ = sentence.partition(f" is {verdict}")  # the words to stress
        head = f"{who}{is_so}" if verdict and is_so and who.startswith(row["target"]) else ""
        groups[OUTSIDE if lookup.outside(row) else ""].append(
            {"verdict": verdict, "head": head, "text": sentence[len(head) :], "clause": said["clause"]}
        )
    return {title: group for title, group in groups.items() if group}
