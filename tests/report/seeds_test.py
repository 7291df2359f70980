import pytest

from bottleneck.report import lookup, seeds
from bottleneck.rows import kind


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "seeds")


def test_the_sentence_groups_by_class(section):
    assert section.sentence == (
        "Kept in some seeds and lost in others: label in shadowed, texture in every target; lost in every seed: label "
        "and shape in rare; kept in every seed: label in easy, colour in every target; undecided: label in plus and "
        "minus, background in every target."
    )


def test_the_table_has_counts_evidence_and_what_concatenation_adds(section):
    _, table = section.parts
    found = {cells[:2]: dict(zip(table.header, map(str, cells))) for cells in table.rows}
    assert len(found) == 21  # without the 4 that cannot be tested
    assert found["shadowed", "texture"] == {
        "target": "shadowed",
        "factor": "texture",
        "seeds": "some",
        "keep": "2",
        "lose": "2",
        "open": "1",
        "evidence": "0.02 [-0.08, 0.12]",
        "seed sd": "0.04",
        "concatenated": "0.96 \u00b10.03",
        "gain": "0.06 \u00b10.03",
        "control gain": "0.01 \u00b10.03",
    }


def test_dots_are_coloured_by_their_intervals(with_analyses):
    rows = [r for r in with_analyses(("seeds",)) if r["target"] == "shadowed" and kind(r) == "seeds"]
    (svg,) = seeds.section({"seeds": [r for r in rows if r["factor"] == "texture"]}).parts[0].panels
    counts = {
        colour: svg.lower().count(f'fill: {colour}"') + svg.lower().count(f"fill: {colour};")
        for colour in ("#009e73", "#d55e00", "#b5679a")
    }
    assert counts["#009e73"] >= 2 and counts["#d55e00"] >= 2 and counts["#b5679a"] >= 1


def test_nothing_without_evidence(with_analyses):
    kinds = lookup.split(with_analyses(("seeds",)))[1]
    assert seeds.section({}) is None
    assert seeds.section({"seeds": [r for r in kinds["seeds"] if r["metric"] != "evidence"]}) is None
