"""A table as plain data, and as text for a terminal, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping
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
PLAIN = str.maketrans({MISSING: "-", "\u00b1": "+-", "\u2212": "-", "\u00d7": "x", "\u2026": "...", "\u00a0": " "})
NARROW = 16  # characters, to which a column of words may shrink


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


def trim(table: Table, meanings: Mapping[str, str] | None = None) -> Table:
    """The table without the columns in which no line has anything; of those that are left the caption adds what they
    mean (column -> sentence)."""
    kept = [i for i, column in enumerate(zip(*table.rows)) if set(column) != {MISSING}]
    header = tuple(table.header[i] for i in kept)
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    said = [sentence for head, sentence in (meanings or {}).items() if head in header]
    return replace(table, caption=" ".join([table.caption, *said]), header=header, rows=rows)


def text(table: Table, width: int = 120, encoding: str = "utf-8") -> str:
    """The table aligned for a terminal: words wrap to its width, and columns that find no room follow below.

    What `encoding` cannot hold is written in ASCII.
    """
    cells = [[encodable(str(cell), encoding) for cell in row] for row in table.rows]
    columns = [
        _Column(encodable(head, encoding), [row[i] for row in cells], is_numeric([row[i] for row in table.rows]))
        for i, head in enumerate(table.header)
    ]
    words = [table.title, *textwrap.wrap(table.caption, width)]
    blocks = ["\n".join(_block(block, width)) for block in _blocks(columns, width)]
    again = encodable(f"\n\n{table.title} (continued)\n\n", encoding)
    return "\n".join([*(encodable(line, encoding) for line in words), "", again.join(blocks)])


@dataclass(frozen=True)
class _Column:
    """A column of a table as text. Words may take fewer characters than they are long, numbers may not."""

    head: str
    cells: list[str]
    numeric: bool

    def natural(self) -> int:
        longest = max(map(len, self.cells), default=0)
        heads = textwrap.wrap(self.head, max(longest, 11), break_long_words=False) if self.numeric else [self.head]
        return max([longest, *map(len, heads)])

    def least(self) -> int:
        if self.numeric:
            return self.natural()
        words = [len(word) for cell in [self.head, *self.cells] for word in cell.split()]
        return min(self.natural(), max(NARROW, min(max(words, default=0), 2 * NARROW)))


def _blocks(columns: list[_Column], width: int) -> list[list[_Column]]:
    """The columns in as many blocks as the width asks for; those that lead the lines and tell them apart in each."""
    names = columns[: _leading(columns, width)]
    blocks, start = [[*names]], sum(column.least() + 2 for column in names)
    taken = start
    for column in columns[len(names) :]:
        if len(blocks[-1]) > len(names) and taken + column.least() > width:
            blocks.append([*names])
            taken = start
        blocks[-1].append(column)
        taken += column.least() + 2
    return blocks


def _leading(columns: list[_Column], width: int) -> int:
    """How many columns are in every block: the words that lead the lines, two at most, and what else it takes that no
    two lines are alike, as far as half the width holds it."""
    count = 2 if len(columns) > 2 and not columns[1].numeric else 1
    for more in range(count, len(columns)):
        lines = list(zip(*(column.cells for column in columns[:more])))
        if len(set(lines)) == len(lines):
            return more
        if sum(column.least() + 2 for column in columns[: more + 1]) > width / 2:
            break
    return count


def _block(columns: list[_Column], width: int) -> list[str]:
    """The lines of columns beside each other: the longest words give way until all fit."""
    widths = [column.natural() for column in columns]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        room = [w - column.least() for w, column in zip(widths, columns)]
        if not any(r > 0 for r in room):
            break
        widths[max(range(len(widths)), key=lambda i: (room[i] > 0) * widths[i])] -= 1
    heads = _lines([column.head for column in columns], columns, widths, bottom=True)
    rows = zip(*(column.cells for column in columns))
    return [
        *heads,
        "  ".join("-" * w for w in widths),
        *(line for row in rows for line in _lines(row, columns, widths)),
    ]


def _lines(cells, columns: list[_Column], widths: list[int], bottom: bool = False) -> list[str]:
    """One line of a table, as many lines high as its words wrap to."""
    wrapped = [_wrap(cell, w) or [""] for cell, w in zip(cells, widths)]
    high = max(map(len, wrapped))
    padded = [[""] * (high - len(w)) + w if bottom else w + [""] * (high - len(w)) for w in wrapped]
    shown = zip(*padded)
    return [
        "  ".join(p.rjust(w) if c.numeric else p.ljust(w) for p, w, c in zip(line, widths, columns)).rstrip()
        for line in shown
    ]


def _wrap(cell: str, width: int) -> list[str]:
    """Lines of words; one longer than a line is broken after a dot, slash, hyphen or underscore if it has one."""
    pieces = (piece for word in cell.split(" ") for piece in _broken(word, width))
    return textwrap.wrap(" ".join(pieces), width)


def _broken(word: str, width: int) -> Iterator[str]:
    while len(word) > width:
        end = max(word.rfind(mark, 0, width) for mark in "._/-") + 1 or width
        yield word[:end]
        word = word[end:]
    yield word


def encodable(words: str, encoding: str | None) -> str:
    """`words` as this encoding can hold them: its own marks in ASCII, others by their number."""
    try:
        words.encode(encoding or "ascii")
        return words
    except (UnicodeEncodeError, LookupError):
        return words.translate(PLAIN).encode("ascii", "backslashreplace").decode()


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
