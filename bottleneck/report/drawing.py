"""How figures are drawn: as SVG text, the same bytes for the same numbers.

Text stays text. Axes and words are drawn in `currentColor`, so a page's style sheet themes them. Data colours
are after Okabe and Ito (2008), those that keep a contrast of about 3 to 1 on white and on near-black.
"""

from __future__ import annotations

import io
import math
import re

import matplotlib
from markupsafe import escape
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#010203"  # stands for currentColor while Matplotlib draws
BLUE, VERMILLION, GREEN, PURPLE, OCHRE, GREY = "#3182BD", "#D55E00", "#009E73", "#B5679A", "#B8860B", "#7F8790"
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bottleneck",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    **dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "axes.titlecolor",
            "xtick.color",
            "ytick.color",
            "grid.color",
        ),
        INK,
    ),
}
FONTS = "system-ui, 'Helvetica Neue', Arial, sans-serif"
LINKS = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
WIDTH = 3.3  # inches, of one panel
GAP = 16  # pixels, between figures beside each other
LETTER = 7.4  # pixels, of a letter in text of 12 pixels, in a wide font


def panels(
    name, titles, draw, *, inner: float, left: float, right: float = 0.2, xlabel: str, ylabel="", labels=()
) -> str:
    """A grid of equal panels, in inches: `inner` high, `left` for tick labels and `right` for words, a legend of `labels` below."""
    columns = min(len(titles), 3)
    lines, across = math.ceil(len(titles) / columns), 4 if columns > 1 else 2
    cell = inner + 0.8
    legend = 0.2 * math.ceil(len(labels) / across) + 0.1 if labels else 0.0
    width, height = WIDTH * columns, cell * lines + legend
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure((width, height))
        for i, title in enumerate(titles):
            column, line = i % columns, i // columns
            bottom = height - line * cell - inner - 0.3
            axes = figure.add_axes(
                ((column * WIDTH + left) / width, bottom / height, (WIDTH - left - right) / width, inner / height)
            )
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            draw(axes, title)
            axes.set_title(short(title), x=-(left - 0.06) / (WIDTH - left - right))
            axes.set_xlabel(xlabel)
            if ylabel and column == 0:
                axes.set_ylabel(ylabel)
        if labels:
            handles = [matplotlib.lines.Line2D([], [], label=label, **style) for label, style in labels]
            across = min(across, len(handles))
            figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0), ncols=across)
        return to_svg(figure, name)


def short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1] + "\u2026"


def reach(values, ceiling: float | None = None) -> tuple[float, float]:
    """Limits of an axis that shows all of `values`, from 0 up to `ceiling` at most where there is one."""
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (max(low, 0.0) - pad, min(high, ceiling) + pad) if ceiling else (low - pad, high + pad)


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element: in pixels, the page's colour for ink, ids of this figure's own."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL).replace(INK, "currentColor")
    # Matplotlib's style sheet would apply to the whole page; the same is said on the element below.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, svg)
    name = re.sub(r"[^\w-]", "_", name)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"(url\(#|href=\"#)", rf"\1{name}-", svg)
    points = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    size = 'width="{:.0f}" height="{:.0f}"'.format(*(float(v) * 4 / 3 for v in points.groups()))
    style = 'role="img" style="stroke-linejoin: round; stroke-linecap: butt"'
    return re.sub(r'width="[\d.]+pt"', style, re.sub(r'height="[\d.]+pt"', size, svg, count=1), count=1)


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


def element(width: float, height: float, parts: list[str], style: str = "") -> str:
    """An <svg> element of `parts`, in pixels."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {LINKS} role="img" {size}{style}>\n' + "\n".join(parts) + "\n</svg>"
    )


def key(labels) -> str:
    """A key to lines, (label, colour, dashed) each, as wide as three panels."""
    parts, x, y, across = [], 0.0, 0.0, 3 * 96 * WIDTH
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
