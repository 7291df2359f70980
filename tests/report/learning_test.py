import re

import pytest

from bottleneck.report import learning


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "steps")


@pytest.fixture
def parts(section):
    return {part.name: part for part in section.parts}


def lines(table):
    return {cells[:2]: dict(zip(table.header, map(str, cells))) for cells in table.rows}


def test_the_sentence_says_what_was_lost_on_the_way_first(section):
    assert section.sentence == (
        "By the last step, learned then lost: label in plus and minus, background in every target; still rising: label "
        "in shadowed, texture in every target; never learned: label and shape in rare; learned: label in easy, colour "
        "in every target."
    )


def test_the_table_has_peak_last_and_forgetting(parts):
    found = lines(parts["learning"])
    assert len(found) == 25
    line = found["plus", "background"]
    assert (line["verdict"], line["peak (step)"], line["last (step)"]) == ("learned then lost", "94", "1,500")
    assert float(line[("at the peak (bits)")]) - float(line[("at the end (bits)")]) == pytest.approx(
        float(line["forgetting (bits)"].split()[0]), abs=0.011
    )
    assert line["direct (bits)"] == "0.97" and re.fullmatch(r"0\.\d\d \[0\.\d\d, 0\.\d\d\]", line["forgetting (bits)"])


def test_trajectories_have_a_panel_per_target_the_head_dashed(parts):
    figure = parts["trajectories"]
    assert len(figure.panels) == 5 and all("stroke-dasharray" in svg for svg in figure.panels)
    assert [label for label, _, dashed in figure.key if dashed] == ["head as it is"]
    assert [label for label, _, dashed in figure.key if not dashed] == [
        "label",
        "shape",
        "colour",
        "texture",
        "background",
    ]
    assert ("label", "currentColor", False) in figure.key


def test_accuracies_balanced_mixed_and_of_the_worst_group(parts):
    assert [label for label, *_ in parts["accuracy-steps"].key] == [
        "balanced",
        "as mixed",
        "easy",
        "shadowed",
        "plus",
        "minus",
        "rare",
    ]
    table = lines(parts["accuracy-last"])
    assert table["all, balanced", "linear probe"]["accuracy (%)"] == "75.0 \u00b11.0"
    assert table["all, balanced", "head as it is"]["spread (%)"] == "10.0 \u00b11.0"
    assert (
        table["rare", "linear probe"]["which"] == ("label 1, colour 0")
        and table["rare", "linear probe"]["worst group (%)"] == "43.2 \u00b15.0"
    )


def test_what_the_rank_is_limited_by_is_said(parts):
    assert "(n = 1,500)" in parts["shapes"].caption and "never a verdict" in parts["shapes"].caption
    assert (
        len(parts["shapes"].panels) == 3 and len(parts["gradients"].panels) == 2 and len(parts["cka-steps"].panels) == 4
    )
    assert "never a verdict" in parts["cka-steps"].caption


def test_only_what_there_are_rows_for(with_analyses):
    rows = with_analyses(("steps",))
    kinds = {"steps": [r for r in rows if r["metric"] == "learning"]}
    assert [part.name for part in learning.section(kinds).parts] == ["learning"] and not learning.section(kinds).methods
    kinds = {"gradients": [r for r in with_analyses(("gradients",)) if r["metric"] == "gradient_norm"]}
    assert [part.name for part in learning.section(kinds).parts] == ["gradients"] and learning.section(
        kinds
    ).sentence == ""
    assert learning.section({}) is None
