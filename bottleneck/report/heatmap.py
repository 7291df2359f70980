"""Heatmaps as SVG text: a number printed in every cell, on a ramp that grey and colour-blind eyes read alike.

The ramp is cividis (Nunez, Anderton and Renslow, PLoS ONE 13, 2018): even steps of lightness, dark to bright on both
themes. The printed number has the ink, black or white, that contrasts more with its cell.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import escape

from bottleneck.report.drawing import RAMP
from bottleneck.report.svg import FONTS, LETTER, element, short
from bottleneck.report.table import MISSING

HEIGHT = 26  # pixels, of a cell
FLAT = 62  # pixels: columns that would be wider have slanted names


@dataclass(frozen=True)
class Grid:
    """Cells by line and column: (shade in [0, 1], printed words), or None where no row has a number."""

    title: str
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[tuple[float, str] | None, ...], ...]
    notes: tuple[str, ...] = ()  # words to the right of each line
    breaks: tuple[int, ...] = ()  # columns before which there is a gap
    across: str = ""  # what the columns are
    down: str = ""  # what the lines are


def draw(grid: Grid) -> str:
    """The heatmap as an <svg> element."""
    names = [short(name, 18) for name in grid.columns]
    printed = [len(cell[1]) for line in grid.cells for cell in line if cell] or [1]
    flat = max(map(_width, names)) + 8 <= FLAT
    wide = max(36, LETTER * max(printed) + 10, max(map(_width, names)) + 8 if flat else 0)
    down = 20 if grid.down else 0
    left = down + max(map(_width, [short(name, 18) for name in grid.lines])) + 8
    slant = 0 if flat else 0.72 * max(map(_width, names)) + 6
    top = 24 + (18 if grid.across else 0) + (18 if flat else slant + 6)
    places = [left + i * wide + 10 * sum(b <= i for b in grid.breaks) for i in range(len(names))]
    right = places[-1] + wide
    notes = 12 + max(map(_width, grid.notes)) if grid.notes else 0
    width = max(right + max(notes, slant), 1.08 * _width(grid.title))
    height = top + HEIGHT * len(grid.lines) + 2
    out = [_text(0, 12, grid.title, size=13.3, weight="bold")]
    if grid.across:
        out.append(_text((left + right) / 2, 34, grid.across, anchor="middle", soft=True))
    if grid.down:
        out.append(
            _text(
                0,
                0,
                grid.down,
                anchor="middle",
                soft=True,
                turn=f"translate(12 {top + HEIGHT * len(grid.lines) / 2:.1f}) rotate(-90)",
            )
        )
    for x, name in zip(places, names):
        turn = "" if flat else f"translate({x + wide / 2 - 2:.1f} {top - 7:.1f}) rotate(-45)"
        out.append(_text(x + wide / 2, top - 6, name, anchor="middle") if flat else _text(0, 0, name, turn=turn))
    for i, (name, line) in enumerate(zip(grid.lines, grid.cells)):
        y = top + i * HEIGHT
        out.append(_text(left - 8, y + HEIGHT / 2 + 4, short(name, 18), anchor="end"))
        for x, cell in zip(places, line):
            out += _cell(x, y, wide, cell)
        if grid.notes:
            out.append(_text(right + 12, y + HEIGHT / 2 + 4, grid.notes[i]))
    return element(width, height, out, style=f' font-family="{FONTS}" font-size="12" fill="currentColor"')


def _cell(x: float, y: float, wide: float, cell) -> list[str]:
    middle, base = x + wide / 2, y + HEIGHT / 2 + 4
    if cell is None:
        return [_text(middle, base, MISSING, anchor="middle", soft=True)]
    shade, words = cell
    colour, ink = colours(shade)
    return [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide - 1:.1f}" height="{HEIGHT - 1}" fill="{colour}"/>',
        _text(middle, base, words, anchor="middle", fill=ink),
    ]


def colours(shade: float) -> tuple[str, str]:
    """A cell's colour and the ink that contrasts more with it, by the WCAG's contrast of relative luminances."""
    red, green, blue, _ = RAMP(min(max(shade, 0.0), 1.0))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    dark = (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05)
    return "#" + "".join(f"{round(255 * c):02x}" for c in (red, green, blue)), "#000" if dark else "#fff"


def _width(words: str) -> float:
    return LETTER * len(words)


def _text(x: float, y: float, words: str, *, anchor="", fill="", soft=False, turn="", size=0.0, weight="") -> str:
    given = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "text-anchor": anchor,
        "fill": fill,
        "opacity": "0.65" if soft else "",
        "transform": turn,
        "font-size": f"{size:g}" if size else "",
        "font-weight": weight,
    }
    return "<text " + " ".join(f'{k}="{v}"' for k, v in given.items() if v) + f">{escape(words)}</text>"
