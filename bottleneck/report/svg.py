"""SVG as text: elements, figures put together, keys. Words stay text; ink is the page's own (`currentColor`)."""

from __future__ import annotations

import re

from markupsafe import escape

FONTS = "system-ui, 'Helvetica Neue', Arial, sans-serif"
LINKS = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
PANEL = 317  # pixels, the width of one panel of a figure
GAP = 16  # pixels, between figures beside each other
LETTER = 7.4  # pixels, of a letter in text of 12 pixels, in a wide font


def short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1] + "\u2026"


def element(width: float, height: float, parts: list[str], style: str = "") -> str:
    """An <svg> element of `parts`, in pixels."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {LINKS} role="img" {size}{style}>\n' + "\n".join(parts) + "\n</svg>"
    )


def compose(pieces: list[str], foot: str) -> str:
    """SVG figures in lines of three, with `foot` (where there is one) below them all, as one <svg> element."""
    lines = [pieces[i : i + 3] for i in range(0, len(pieces), 3)] + ([[foot]] if foot else [])
    placed, top, width = [], 0.0, 0.0
    for line in lines:
        sizes, left = [_size(piece) for piece in line], 0.0
        for piece, (wide, _) in zip(line, sizes):
            placed.append(piece.replace("<svg", f'<svg x="{left:g}" y="{top:g}"', 1))
            left += wide + GAP
        top, width = top + max(high for _, high in sizes) + GAP, max(width, left)
    return element(max(width - GAP, 0), max(top - GAP, 0), placed) + "\n"


def key(labels) -> str:
    """A key to lines, (label, colour, dashed) each, as wide as three panels."""
    parts, x, y, across = [], 0.0, 0.0, 3 * PANEL
    for label, colour, dashed in labels:
        wide = 44 + LETTER * len(label)
        if x and x + wide > across:
            x, y = 0.0, y + 20
        dashes = ' stroke-dasharray="5 3"' if dashed else ""
        parts.append(f'<path d="M{x:.1f} {y + 9:.1f}h22" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{x + 28:.1f}" y="{y + 13:.1f}" fill="currentColor">{escape(label)}</text>')
        x += wide
    return element(across, y + 20, parts, style=f' font-family="{FONTS}" font-size="12"')


def _size(piece: str) -> tuple[float, float]:
    return tuple(float(re.search(rf'\b{side}="([\d.]+)"', piece)[1]) for side in ("width", "height"))
