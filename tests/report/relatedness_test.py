import re

import pytest

from bottleneck.report import lookup, relatedness


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "relatedness")


def test_the_sentence_has_spearman_with_n_and_p(section):
    said = section.sentence.replace("\u00a0", " ")
    assert said == (
        "Of pairs of different components, training on plus reads most of minus (0.97 bits). Spearman correlation of "
        "the weighted mean of the other components with the gaps: -0.70, n = 5, p = 0.19. Spearman correlation of the "
        "best other component with the gaps: -0.20, n = 5, p = 0.73."
    )


def test_the_matrix_is_direct_features_by_target(section):
    figure, table = section.parts
    shown = re.findall(r">([^<]*)</text>", figure.panels[0])
    assert shown[shown.index("rare") + 1 :][:6] == ["easy", "0.97", "0.60", "0.03", "0.03", "0.03"]
    assert table.header == ("trained on", "easy", "shadowed", "plus", "minus", "rare")
    assert list(map(str, table.rows[1])) == ["shadowed", "0.60 \u00b10.03", "0.97 \u00b10.03", *["0.03 \u00b10.03"] * 3]


def test_a_correlation_that_means_nothing_says_why(with_analyses):
    kinds = lookup.split(with_analyses(("relatedness",)))[1]
    rows = [
        {**r, "value": None, "extra": {**r["extra"], "reason": "3 targets; at least 4 are needed"}}
        if r["metric"] == "relatedness"
        else r
        for r in kinds["relatedness"]
    ]
    assert relatedness.section({"relatedness": rows}).sentence.endswith("3 targets; at least 4 are needed.")
    assert relatedness.section({}) is None
