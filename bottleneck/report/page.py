"""Pages: self-contained HTML from templates, with tables and provenance made ready for them."""

from __future__ import annotations

import itertools
import pathlib
import re

import jinja2
from markupsafe import Markup

from bottleneck.report.section import Choice, Figure, Section
from bottleneck.report.table import MISSING, Cell, Number, Table, is_numeric

LONG = 40  # lines: a longer table is folded
MANY = 7  # columns: a table with more is set closer
WORDY = 28  # characters: longer words may wrap
NARROW = 280  # pixels: a wider drawing may have to scroll on a telephone
SHRINK = 0.8  # the least size at which a drawing is shown
TONES = {  # words of verdicts -> the colour they have
    **dict.fromkeys(
        ("lost", "named", "not reproduced", "nowhere", "never learned", "learned then lost", "none"), "lost"
    ),
    **dict.fromkeys(("retained", "prominent", "learned", "all", "reproduced"), "retained"),
    **dict.fromkeys(("inconclusive", "likely", "undecided", "some", "still rising", "learned in part"), "open"),
    **dict.fromkeys(("linear", "nonlinear", "earlier"), "open"),
    "same direction": "retained",
    **dict.fromkeys(("measured", "untestable", "ruled out", "not asked"), "soft"),
}


def fill(template: str, **values) -> str:
    """The page of a template beside this file."""
    loader = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def table(shown: Table, titled: bool = True) -> dict:
    """A table for a template: cells with their text and class; without its title where a heading is just that."""
    numeric = [is_numeric(column) for column in zip(*shown.rows)]
    cells = [[_cell(cell, n) for cell, n in zip(row, numeric)] for row in shown.rows]
    for above, below in zip(shown.rows, cells[1:]):  # a target of several lines is named once
        below[0]["repeat"] = above[0] == below[0]["text"]
    # Intervals of one column take one width, so that its values stand under each other.
    room = [max(len(row[i]["interval"]) for row in cells) for i in range(len(numeric))]
    return {
        "kind": "table",
        "title": shown.title,
        "titled": titled,
        "caption": shown.caption,
        "header": list(zip(shown.header, numeric)),
        "rows": cells,
        "room": room,
        "close": len(shown.header) > MANY,
        "folded": len(cells) > LONG,
    }


def figure(shown: Figure) -> dict:
    """A figure for a template: panels with their least widths in pixels."""
    panels = []
    for svg in shown.panels:
        least = round(SHRINK * int(re.search(r'\bwidth="(\d+)', svg)[1]))
        panels.append({"svg": Markup(svg), "least": least, "scrolls": shown.fixed and least > NARROW})
    return {
        "kind": "figure",
        "title": shown.title,
        "caption": shown.caption,
        "key": shown.key,
        "fixed": shown.fixed,
        "panels": panels,
    }


def choice(shown: Choice) -> dict:
    """Figures to choose from, for a template: each with the numbers of its options, one for every axis."""
    options = itertools.product(*(range(len(names)) for _, names in shown.axes))
    figures = [{"at": at, **figure(each)} for at, each in zip(options, shown.figures, strict=True)]
    said = {"name": shown.name, "title": shown.title, "caption": shown.caption, "key": shown.key}
    return {"kind": "choice", "axes": shown.axes, "figures": figures, **said}


def section(shown: Section) -> dict:
    """A section for a template."""
    parts = [
        table(part, part.title != shown.title)
        if isinstance(part, Table)
        else choice(part)
        if isinstance(part, Choice)
        else figure(part)
        for part in shown.parts
    ]
    said = {"name": shown.name, "title": shown.title, "sentence": shown.sentence, "points": shown.points}
    return {**said, "parts": parts}


def _cell(cell: Cell, numeric: bool) -> dict:
    words, interval = str(cell), ""
    shown = {"numeric": numeric, "tone": "", "missing": cell == MISSING, "repeat": False, "wordy": len(words) > WORDY}
    if isinstance(cell, Number):
        words, _, interval = words.partition(" ")
        return {**shown, "text": words, "interval": interval, "wordy": False}
    tone = TONES.get(re.match(r"[^:*(]*", words)[0].rstrip(), "")  # without a layer, a share, or doubt
    return {**shown, "text": words, "interval": interval, "tone": tone}


def flat(value, prefix: str = "") -> list[tuple[str, str]]:
    """Nested provenance as (key, text) lines, sorted by key; a dict of plain values and lists is one line."""
    lines = []
    for key in sorted(value, key=str):
        inner, name = value[key], f"{prefix}{key}".replace("_", " ")
        if isinstance(inner, dict) and any(isinstance(v, dict) for v in inner.values()):
            lines += flat(inner, f"{name}: ")
        elif isinstance(inner, dict):
            lines.append((name, ", ".join(f"{k} {_one(inner[k], ' and ')}" for k in sorted(inner, key=str)) or MISSING))
        else:
            lines.append((name, _one(inner, ", ")))
    return lines


def _one(value, between: str) -> str:
    """A plain value, or the values of a list, in words."""
    if isinstance(value, list | tuple):
        return between.join(map(str, value)) or MISSING
    return MISSING if value is None else str(value)


def differing(provenance: dict) -> str:
    """The package versions that differ among the runs of a study, in words; "" where none does."""
    versions = provenance.get("versions")
    pairs = versions.items() if isinstance(versions, dict) else ()
    several = {name: listed for name, listed in pairs if isinstance(listed, list | tuple) and len(listed) > 1}
    return ", ".join(f"{name} ({' and '.join(map(str, several[name]))})" for name in sorted(several))
