"""A table as plain data, and as text for a terminal, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import textwrap
from dataclasses import dataclass, replace

MISSING = "\u2014"
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{c: rf"\{c}" for c in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        "[": "{[}",
        "]": "{]}",
        "\u00b1": r"$\pm$",
        "\u2212": "$-$",
        "\u00d7": r"$\times$",
        MISSING: "---",
        '"': "''",
    }
)


@dataclass(frozen=True)
class Number:
    """A row's value and interval; `half` shows the interval as plus or minus half its width."""

    value: float
    low: float | None = None
    high: float | None = None
    digits: int = 2
    half: bool = False

    def __str__(self):
        def show(x):
            return f"{x:z,.{self.digits}f}"

        if self.low is None or self.high is None:
            return show(self.value)
        if self.half:
            return f"{show(self.value)} \u00b1{show((self.high - self.low) / 2)}"
        return f"{show(self.value)} [{show(self.low)}, {show(self.high)}]"


Cell = Number | str


@dataclass(frozen=True)
class Table:
    """Cells under a header; `caption` says the units, how many seeds and items, and what the columns mean."""

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def trim(table: Table) -> Table:
    """The table without the columns in which no line has anything."""
    kept = [i for i, column in enumerate(zip(*table.rows)) if set(column) != {MISSING}]
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return replace(table, header=tuple(table.header[i] for i in kept), rows=rows)


def text(table: Table, width: int = 120) -> str:
    """The table aligned for a terminal; words wrap in the last column where a line would pass `width`."""
    cells = [[str(cell) for cell in row] for row in table.rows]
    numeric = [is_numeric(column) for column in zip(*table.rows)] or [False] * len(table.header)
    room = [max([len(row[i]) for row in cells], default=0) for i in range(len(numeric))]
    heads = [
        textwrap.wrap(h, max(w, 11), break_long_words=False) if n else [h]
        for h, w, n in zip(table.header, room, numeric)
    ]
    widths = [max(w, *map(len, head)) for w, head in zip(room, heads)]
    if not numeric[-1]:
        widths[-1] = min(widths[-1], max(16, width - sum(widths[:-1]) - 2 * (len(widths) - 1)))

    def line(parts):
        return "  ".join(p.rjust(w) if n else p.ljust(w) for p, w, n in zip(parts, widths, numeric)).rstrip()

    depth = max(map(len, heads))
    lines = [line([([""] * (depth - len(head)) + head)[i] for head in heads]) for i in range(depth)]
    lines.append("  ".join("-" * w for w in widths))
    for row in cells:
        wrapped = textwrap.wrap(row[-1], widths[-1]) or [""]
        lines.append(line([*row[:-1], wrapped[0]]))
        lines += [line([*("" for _ in row[:-1]), more]) for more in wrapped[1:]]
    return "\n".join([table.title, *textwrap.wrap(table.caption, width), "", *lines])


def to_csv(table: Table) -> str:
    """The table as CSV at full precision; a column with intervals becomes three."""
    columns = list(zip(*table.rows)) or [()] * len(table.header)
    widths = [3 if any(getattr(c, "low", None) is not None for c in column) else 1 for column in columns]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([h + end for h, w in zip(table.header, widths) for end in ("", " low", " high")[:w]])
    for row in table.rows:
        cells = [(c.strip(MISSING), "", "") if isinstance(c, str) else (c.value, c.low, c.high) for c in row]
        writer.writerow([value for cell, w in zip(cells, widths) for value in cell[:w]])
    return out.getvalue()


def to_latex(table: Table) -> str:
    """The table as a `tabular` to \\input, for a document that loads booktabs; intervals stand with their values.

    The caption is a comment: where it goes is the document's choice.
    """
    columns = list(zip(*table.rows)) or [()] * len(table.header)
    spec = "".join("r" if is_numeric(column) else "l" for column in columns)
    lines = [f"% {line}" for line in textwrap.wrap(f"{table.title}. {table.caption}", 110)]
    lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", " & ".join(map(_latex, table.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex(cell: Cell) -> str:
    words = str(cell).replace("-", "\u2212") if isinstance(cell, Number) else str(cell)
    return " ".join(words.split()).translate(LATEX)


def is_numeric(column) -> bool:
    """Whether a column holds numbers (or nothing), so that it is aligned to the right."""
    numbers = [isinstance(cell, Number) for cell in column]
    return any(numbers) and all(n or cell == MISSING for n, cell in zip(numbers, column))
