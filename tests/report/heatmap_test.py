import re
import xml.etree.ElementTree

import pytest

from bottleneck.report import heatmap
from bottleneck.report.heatmap import Grid, draw

GRID = Grid(
    "title <&>",
    ("one", "two"),
    ("a", "bb"),
    (((0.0, "0"), (1.0, "100")), (None, (0.5, "50"))),
    notes=("low", "mid"),
    breaks=(1,),
    across="what",
    down="which",
)


def luminance(colour):
    found = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in found]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear))


def test_every_number_is_printed_in_its_cell():
    root = xml.etree.ElementTree.fromstring(draw(GRID))
    words = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["title <&>", "what", "which", "a", "bb", "one", "0", "100", "low", "two", "\u2014", "50", "mid"]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 3 and root.attrib["fill"] == "currentColor"


@pytest.mark.parametrize("shade", [i / 40 for i in range(-2, 43)])
def test_ink_contrasts_with_its_cell(shade):
    colour, ink = heatmap.colours(shade)
    pair = sorted((luminance(colour), 1.0 if ink == "#fff" else 0.0))
    assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5  # WCAG AA of small text


def test_the_ramp_grows_brighter_evenly():
    found = [luminance(heatmap.colours(i / 20)[0]) for i in range(21)]
    assert all(a < b for a, b in zip(found, found[1:]))
    assert heatmap.colours(-1.0) == heatmap.colours(0.0) and heatmap.colours(2.0) == heatmap.colours(1.0)


def test_everything_lies_inside_the_drawing():
    for columns in (("a", "bb"), ("a long name", "another long name of a layer")):
        svg = draw(Grid("t", GRID.lines, columns, GRID.cells, GRID.notes, GRID.breaks))
        width, height = (float(re.search(rf'{side}="(\d+)"', svg)[1]) for side in ("width", "height"))
        for x, y, w, h in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg):
            assert float(x) + float(w) <= width and float(y) + float(h) <= height
    assert "rotate(-45)" in svg and "rotate" not in draw(Grid("t", GRID.lines, ("a", "b"), GRID.cells))
