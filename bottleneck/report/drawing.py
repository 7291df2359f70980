"""How figures are drawn: as SVG text, the same bytes for the same numbers, on a canvas of ours and never by pyplot.

Text stays text. Axes and words are drawn in `currentColor`, so a page's style sheet themes them. Data colours
are after Okabe and Ito (2008), those that keep a contrast of about 3 to 1 on white and on near-black.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
import re

from bottleneck.report.svg import FONTS, short

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
WIDTH = 3.3  # inches, of one panel
NOTE = 0.17  # inches, of a line of words
BARE = 3.8  # inches, of one that stands alone, beside the names of its lines


def _matplotlib():
    """Matplotlib. A backend that it does not know, asked for by the environment, would make the import itself fail.

    The backend stays the user's where it exists, for pyplot in their notebook: nothing here uses it.
    """
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        module = importlib.import_module("matplotlib")
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    if asked:
        with contextlib.suppress(ValueError):
            module.rcParams["backend"] = asked
    return module


matplotlib = _matplotlib()
_canvas = importlib.import_module("matplotlib.backends.backend_svg").FigureCanvasSVG
_figure = importlib.import_module("matplotlib.figure").Figure
_lines = importlib.import_module("matplotlib.lines").Line2D
_locator = importlib.import_module("matplotlib.ticker").MaxNLocator
RAMP = matplotlib.colormaps["cividis"]


@contextlib.contextmanager
def figure(width: float, height: float):
    """A figure of this size in inches, under our style whatever style is in force."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        drawn = _figure((width, height))
        _canvas(drawn)
        yield drawn


def panels(
    name,
    titles,
    draw,
    *,
    inner: float,
    left: float,
    right: float = 0.2,
    below=0.0,
    note="",
    xlabel: str,
    ylabel="",
    labels=(),
) -> str:
    """A grid of equal panels, in inches: `inner` high, `left` for tick labels and `right` for words, `below` for long
    tick labels; lines of `note` under the axis' name, and a legend."""
    below, xlabel = below + NOTE * len(note.splitlines()), f"{xlabel}\n{note}" if note else xlabel
    columns = min(len(titles), 3)
    lines, across = math.ceil(len(titles) / columns), 4 if columns > 1 else 2
    cell = inner + below + 0.8
    legend = 0.2 * math.ceil(len(labels) / across) + 0.1 if labels else 0.0
    width, height = WIDTH * columns, cell * lines + legend
    with figure(width, height) as drawn:
        for i, title in enumerate(titles):
            column, line = i % columns, i // columns
            bottom = height - line * cell - inner - 0.3
            axes = drawn.add_axes(
                ((column * WIDTH + left) / width, bottom / height, (WIDTH - left - right) / width, inner / height)
            )
            axes.xaxis.set_major_locator(_locator(5, steps=[1, 2, 5, 10]))
            draw(axes, title)
            axes.set_title(short(title), x=-(left - 0.06) / (WIDTH - left - right))
            axes.set_xlabel(xlabel)
            if ylabel and column == 0:
                axes.set_ylabel(ylabel)
        if labels:
            handles = [_lines([], [], label=label, **style) for label, style in labels]
            across = min(across, len(handles))
            drawn.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0), ncols=across)
        return to_svg(drawn, name)


def lines(name: str, names: list[str], draw, *, xlabel: str, right: float = 1.0) -> str:
    """One wide panel with a named line for each of `names`; `right` inches are for words beside the lines."""
    left = 0.2 + 0.075 * max(len(short(line)) for line in names)
    width, height = left + BARE, 0.3 * len(names) + 0.75
    with figure(width, height) as drawn:
        axes = drawn.add_axes((left / width, 0.5 / height, (BARE - right) / width, (height - 0.6) / height))
        axes.axvline(0, color=INK, linewidth=0.7, alpha=0.6)
        draw(axes)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=xlabel)
        axes.set_yticks(range(len(names)), list(map(short, names)))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.15, linewidth=0.6)
        return to_svg(drawn, name)


def remark(axes, y: float, words: str, colour: str = INK) -> None:
    """Words to the right of a line of a panel."""
    axes.text(1.03, y, words, transform=axes.get_yaxis_transform(), va="center", color=colour)


def reach(values, ceiling: float | None = None) -> tuple[float, float]:
    """Limits of an axis that shows all of `values`, from 0 up to `ceiling` at most where there is one."""
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (max(low, 0.0) - pad, min(high, ceiling) + pad) if ceiling else (low - pad, high + pad)


def to_svg(drawn, name: str) -> str:
    """The figure as an <svg> element: in pixels, the page's colour for ink, ids of this figure's own."""
    out = io.StringIO()
    drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None})
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
