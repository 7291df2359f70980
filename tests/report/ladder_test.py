import re

import pytest

from bottleneck.report import ladder, lookup
from bottleneck.report.table import MISSING


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "ladder")


def lines(table):
    return {cells[:2]: dict(zip(table.header, map(str, cells))) for cells in table.rows}


def test_the_sentence_says_what_is_where_the_deepest_first(section):
    assert section.sentence == (
        "At its last step the mixture reads nowhere in full: label and shape in rare; only before the last layer: "
        "background in rare; only non-linearly: label in plus and minus, background in easy, shadowed, plus and minus; "
        "linearly though not prominently: label in shadowed, texture in every target; prominently: label in easy, "
        "colour in every target. In 6 of 21 the intervals do not decide."
    )


def test_heatmaps_print_shares_of_the_reference(section):
    figure, _ = section.parts
    assert len(figure.panels) == 5
    shown = [re.findall(r">([^<]*)</text>", svg) for svg in figure.panels]
    assert shown[0][:6] == ["easy", "layer1", "layer2", "features", "nonlinear", "prominent"]
    label = shown[4].index("label")
    assert shown[4][label : label + 7] == ["label", "5", "7", "8", "10", "1", "nowhere"]  # rare
    assert "earlier: layer1" in shown[4] and "linear*" in shown[1] and "untestable" in shown[0]


def test_the_table_has_what_supports_a_rung(section):
    found = lines(section.parts[1])
    assert found["shadowed", "texture"] == {
        "target": "shadowed",
        "factor": "texture",
        "rung": "linear",
        "certain": "no",
        "layer": "features",
        "direct (bits)": "0.97",
        "linear (bits)": "0.90 \u00b10.03",
        "selectivity (bits)": "0.86 \u00b10.03",
        "type-disjoint (%)": "94.5 \u00b13.0",
    }
    assert found["easy", "label"]["type-disjoint (%)"] == found["easy", "shape"]["certain"] == MISSING
    assert len(found) == 25
    assert (
        "untrained" not in section.parts[1].header and "Untrained" not in section.parts[1].caption
    )  # no row names such a layer


def test_an_untrained_layer_that_reads_as_much_is_named(with_analyses):
    rows = with_analyses(("ladder",))
    rung = lookup.find(rows, metric="rung", target="easy", factor="colour")
    rung["extra"] = {**rung["extra"], "untrained": "layer2"}
    table = ladder.section(lookup.split(rows)[1]).parts[1]
    assert lines(table)["easy", "colour"]["untrained"] == "layer2" and "Untrained:" in table.caption


def test_a_rung_without_a_control_says_why(with_analyses):
    rows = with_analyses(("ladder",))
    rung = lookup.find(rows, metric="rung", target="easy", factor="colour")
    rung["extra"] = {**rung["extra"], "control": "one combination of factors"}
    found = lines(ladder.section(lookup.split(rows)[1]).parts[1])
    assert found["easy", "colour"]["no control because"] == "one combination of factors"
    assert found["easy", "texture"]["no control because"] == MISSING


def test_a_foreign_subject_is_told_apart(with_analyses):
    rows = [r for r in with_analyses(("ladder",)) if r["target"] == "easy"]
    rows += [{**r, "arm": "vit"} for r in rows if r["arm"] == "mixture"]
    section = ladder.section(lookup.split(rows)[1])
    assert "At its last step the mixture reads" in section.sentence and ". vit reads" in section.sentence
    assert [re.findall(r">([^<]*)</text>", svg)[0] for svg in section.parts[0].panels] == ["easy", "easy, vit"]
    assert {line[0] for line in section.parts[1].rows} == {"easy", "easy, vit"}


def test_nothing_testable(with_analyses):
    rows = [
        {**r, "extra": {**r["extra"], "rung": "untestable", "shares": {}}} if r["metric"] == "rung" else r
        for r in with_analyses(("ladder",))
    ]
    assert ladder.section(lookup.split(rows)[1]).sentence.startswith("No label or factor can be tested")
    assert (
        ladder.section({}) is None
        and ladder.section({"ladder": [r for r in rows if r["metric"] == "information"]}) is None
    )
