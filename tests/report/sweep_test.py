import re

import pytest

from bottleneck.report import categories, curves, html, sweep, sweep_figures, tables
from bottleneck.report.drawing import BLUE
from bottleneck.report.svg import short


@pytest.fixture
def kinds(sweep_rows):
    return {"sweep": [*sweep_rows(), *sweep_rows("plus")]}


@pytest.fixture
def section(kinds):
    return sweep_figures.section(kinds)


def test_a_figure_for_every_axis_of_numbers(section):
    weight, width, *_ = section.parts
    assert (weight.name, width.name) == ("sweep-mixture.weights.rare", "sweep-model.width")
    assert len(weight.panels) == 2  # rare and plus
    assert [label for label, *_ in weight.key] == ["model.width 32", "model.width 128"]
    shown = re.findall(r">([^<]*)</text>", weight.panels[0])
    assert {"rare", "0.01", "0.16", "gap (bits)", "mixture.weights.rare"} <= set(shown)


def test_slopes_and_points_are_tables(section):
    slopes, points = section.parts[2:]
    assert dict(zip(slopes.header, map(str, slopes.rows[0]))) == {
        "target": "rare",
        "axis": "mixture.weights.rare",
        "of": "gap",
        "slope": "-0.100 [-0.120, -0.080]",
        "unit": "bits per doubling",
        "adjusted p": "0.004",
        "lack of fit (p)": "0.600",
    }
    assert points.header == ("target", "mixture.weights.rare", "model.width", "gap (bits)") and len(points.rows) == 20
    assert list(map(str, points.rows[0])) == ["rare", "0.01", "32", "0.56 [0.51, 0.61]"]


def test_the_sentence_is_the_row_s_or_its_numbers(kinds, section):
    assert section.sentence == (
        "Over mixture.weights.rare the gap falls for rare (-0.1 bits per doubling) and plus (-0.1 bits per doubling)."
    )
    assert sweep.sentences(kinds)[0].startswith(
        "rare: the slope of the gap over mixture.weights.rare is -0.10 bits per doubling"
    )
    kinds["sweep"][-1]["extra"] = {"sentence": "More weight closes the gap of plus."}
    assert sweep.sentences(kinds)[1] == "More weight closes the gap of plus."
    sweep.points(kinds)[0]["extra"] = {"sentence": "Over 5 split seeds the gap of rare is 0.5 bits."}
    assert sweep.sentences(kinds)[0] == "Over 5 split seeds the gap of rare is 0.5 bits."


def test_a_headline_tells_a_bend_from_no_change(sweep_rows):
    slope = sweep_rows()[-1]
    axis = slope["extra"]["axis"]
    rows = [
        {**slope, "target": name, "extra": {"axis": axis, "adjusted_p": 0.5, "lack_of_fit": p}}
        for name, p in (("bent", 0.001), ("flat", 0.5))
    ]
    words = sweep.headline({"sweep": rows}, axis)
    assert words == (
        f"Over {axis} the gap changes, though along no straight line, for bent; no change of the gap is shown for flat."
    )
    assert sweep.headline({"sweep": rows[1:]}, axis) == f"Over {axis} no change of the gap is shown for any target."


def test_names_on_an_axis_stand_side_by_side(sweep_rows):
    rows = sweep_rows()
    for r in rows:
        if r["point"]:
            width = r["point"].pop("model.width")
            r["point"]["mixture.label_space"] = "shared" if width == 32 else None
    section = sweep_figures.section({"sweep": rows})
    weight, space, *tables = section.parts
    assert (weight.name, space.name) == ("sweep-mixture.weights.rare", "sweep-mixture.label_space")
    assert [table.name for table in tables] == ["slopes", "points"]
    assert {"shared", "\u2014"} <= set(re.findall(r">([^<]*)</text>", space.panels[0]))
    assert [label for label, *_ in space.key][0] == "mixture.weights.rare 0.01" and len(space.key) == 5
    assert tables[-1].rows[0][2] == "shared" and tables[-1].rows[1][2] == "\u2014"


def test_a_panel_shows_the_names_that_its_target_is_read_at():
    curve = curves.Curve("mixture", BLUE, ((0, 0.5, 0.4, 0.6), (2, 0.7, 0.6, 0.8)))
    other = curves.Curve("mixture", BLUE, ((1, 0.5, 0.4, 0.6),))
    both, one = categories.figure("f", "t", "c", {"a": [curve], "b": [other]}, ["red", "green", "blue"]).panels
    shown = [{"red", "green", "blue"} & set(re.findall(r">([^<]*)</text>", svg)) for svg in (both, one)]
    assert shown == [{"red", "blue"}, {"green"}]


def test_arms_and_parts_have_a_line_each(sweep_rows):
    rows = [r for r in sweep_rows(arms=True) if r["point"] is None or r["point"]["model.width"] == 32]
    levels, gap, slopes, points, arms = sweep_figures.section({"sweep": rows}).parts
    assert (levels.name, gap.name) == ("levels-mixture.weights.rare", "sweep-mixture.weights.rare")
    assert [label for label, *_ in levels.key] == ["direct", "mixture", "alone"]
    assert [label for label, *_ in gap.key] == ["gap", "exposure", "interference"]
    shown = re.findall(r">([^<]*)</text>", gap.panels[0])
    assert {"slope -0.1 bits per doubling", "(-0.12 to -0.08)"} <= set(shown)
    assert [row[2] for row in slopes.rows] == ["gap", "exposure", "interference"]
    assert points.header == ("target", "mixture.weights.rare", "gap (bits)", "exposure", "interference")
    assert arms.header == ("target", "mixture.weights.rare", "direct", "mixture", "alone") and len(arms.rows) == 5


def test_along_a_computed_axis_lines_join_points_of_one_kind(sweep_rows, monkeypatch):
    """Two depths have nearly the same numbers of parameters: no line goes to and fro between them."""
    rows = []
    for r in sweep_rows():
        if r["point"]:
            width, depth = r["point"]["mixture.weights.rare"], r["point"]["model.width"]
            at = {"model.width": width, "model.depth": depth, "parameters": round(1000 * width) + depth}
            rows.append({**r, "point": at})
    drawn = {}
    monkeypatch.setattr(curves, "figure", lambda name, title, caption, panels, **options: drawn.update({name: panels}))
    sweep_figures.figures({"sweep": rows})
    lines = drawn["sweep-parameters"]["rare"]
    assert [line.label for line in lines] == ["gap", "gap"] and [len(line.points) for line in lines] == [5, 5]
    assert len(drawn["sweep-model.width"]["rare"]) == 2 and lines[0].points != lines[1].points


def test_a_target_with_a_factor_randomised_is_one_of_its_own(sweep_rows):
    rows = [*sweep_rows(arms=True), *({**r, "factor": "colour"} for r in sweep_rows(arms=True))]
    levels, *_, points, arms = sweep_figures.section({"sweep": rows}).parts
    titles = {re.findall(r">([^<]*)</text>", panel)[-1] for panel in levels.panels}
    whole = [f"rare{words}, width {width}" for words in ("", " (colour randomised)") for width in (32, 128)]
    assert titles == {short(title) for title in whole}
    assert [line[0] for line in points.rows] == ["rare"] * 10 + ["rare (colour randomised)"] * 10
    assert len(arms.rows) == 20


def test_differences_are_a_table(sweep_rows):
    extra = {"axis": "point", "name": "B first", "against": "A first", "adjusted_p": 0.01, "sentence": "B first loses."}
    rows = [dict(sweep_rows()[-1], metric="difference", unit="bits", extra=extra)]
    (table,) = sweep.tables({"sweep": rows})
    header = ("target", "axis", "points", "of", "difference (bits)", "adjusted p")
    assert table.header == header and table.rows[0][2:4] == ("B first against A first", "gap")
    assert sweep.sentences({"sweep": rows}) == ["B first loses."]


def test_one_axis_has_one_curve_without_a_setting(sweep_rows):
    rows = [r for r in sweep_rows() if r["point"] is None or r["point"]["model.width"] == 32]
    (figure,) = sweep_figures.figures({"sweep": rows})
    assert [label for label, *_ in figure.key] == ["gap"]
    assert sweep.tables({"sweep": rows})[1].header == ("target", "mixture.weights.rare", "gap (bits)")


def test_a_sweep_alone_is_a_report_and_text(sweep_rows, tmp_path):
    path = html.write(tmp_path, sweep_rows(), {})
    source = path.read_text()
    assert '<h2 id="sweep">Sweep</h2>' in source and "Gap at every point" in source
    assert (tmp_path / "tables" / "slopes.csv").is_file() and "without a name" not in source
    assert "exploratory" not in source  # what is shown is the test
    shown = tables.terminal(sweep_rows())
    assert shown.startswith("rare: the slope") and "Gap at every point" in shown


def test_nothing_without_points(sweep_rows):
    assert sweep_figures.section({}) is None and sweep_figures.section({"sweep": []}) is None
    bare = [{**r, "extra": None, "value": None, "ci95": None} for r in sweep_rows()]
    assert [part.name for part in sweep_figures.section({"sweep": bare}).parts] == ["slopes", "points"]
