import re

import pytest

from bottleneck.report import html, sweep, tables


@pytest.fixture
def kinds(sweep_rows):
    return {"sweep": [*sweep_rows(), *sweep_rows("plus")]}


@pytest.fixture
def section(kinds):
    return sweep.section(kinds)


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
        "slope": "-0.100 [-0.120, -0.080]",
        "unit": "bits per doubling",
        "adjusted p": "0.004",
        "lack of fit (p)": "0.600",
    }
    assert points.header == ("target", "mixture.weights.rare", "model.width", "gap (bits)") and len(points.rows) == 20
    assert list(map(str, points.rows[0])) == ["rare", "0.01", "32", "0.56 [0.51, 0.61]"]


def test_the_sentence_is_the_row_s_or_its_numbers(kinds, section):
    assert section.sentence.startswith(
        "rare: the slope of the gap over mixture.weights.rare is -0.10 bits per doubling"
    )
    kinds["sweep"][-1]["extra"] = {"sentence": "More weight closes the gap of plus."}
    assert sweep.sentences(kinds)[1] == "More weight closes the gap of plus."
    sweep.points(kinds)[0]["extra"] = {"sentence": "Over 5 split seeds the gap of rare is 0.5 bits."}
    assert sweep.sentences(kinds)[0] == "Over 5 split seeds the gap of rare is 0.5 bits."


def test_axes_of_words_are_only_in_the_table(sweep_rows):
    rows = sweep_rows()
    for r in rows:
        if r["point"]:
            width = r["point"].pop("model.width")
            r["point"]["mixture.label_space"] = "shared" if width == 32 else None
    section = sweep.section({"sweep": rows})
    assert [part.name for part in section.parts] == ["sweep-mixture.weights.rare", "slopes", "points"]
    assert section.parts[-1].rows[0][2] == "shared" and section.parts[-1].rows[1][2] == "\u2014"


def test_one_axis_has_one_curve_without_a_setting(sweep_rows):
    rows = [r for r in sweep_rows() if r["point"] is None or r["point"]["model.width"] == 32]
    (figure,) = sweep.figures(sweep.points({"sweep": rows}))
    assert [label for label, *_ in figure.key] == ["gap"]
    assert sweep.tables({"sweep": rows})[1].header == ("target", "mixture.weights.rare", "gap (bits)")


def test_a_sweep_alone_is_a_report_and_text(sweep_rows, tmp_path):
    path = html.write(tmp_path, sweep_rows(), {})
    source = path.read_text()
    assert '<h2 id="sweep">Sweep</h2>' in source and "Gap at every point" in source
    assert (tmp_path / "tables" / "slopes.csv").is_file() and "without a name" not in source
    assert "exploratory" not in source
    shown = tables.terminal(sweep_rows())
    assert shown.startswith("rare: the slope") and "Gap at every point" in shown


def test_nothing_without_points(sweep_rows):
    assert sweep.section({}) is None and sweep.section({"sweep": []}) is None
    bare = [{**r, "extra": None, "value": None, "ci95": None} for r in sweep_rows()]
    assert [part.name for part in sweep.section({"sweep": bare}).parts] == ["slopes", "points"]
