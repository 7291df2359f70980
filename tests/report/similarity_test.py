import re

import pytest

from bottleneck.report import lookup, similarity


@pytest.fixture
def section(content):
    return next(s for s in content.sections if s.name == "similarity")


def texts(svg):
    return re.findall(r">([^<]*)</text>", svg)


def test_it_is_context_in_the_sentence_and_in_every_caption(section):
    assert section.sentence == (
        "Similarity between mixture and direct training 0.21 to 0.41, seeds 0.74 to 0.77, steps 0.28 to 0.91, layers "
        "0.60 to 0.80: context, no verdict. The loss of a feature with less than 20% of a representation's spread, "
        "depending on the pair, would not show."
    )
    assert all("never a verdict" in part.caption for part in section.parts if part.name != "cka")


def test_one_half_of_a_symmetric_matrix_says_the_other(section):
    (svg,) = section.parts[1].panels  # steps
    shown = texts(svg)
    assert shown[0] == "mixture, seed 0, features" and shown[1:10] == [
        str(s) for s in (0, 12, 23, 47, 94, 188, 375, 750, 1500)
    ]
    assert shown.count("\u2014") == 9 and shown.count("0.91") == 16  # no row for a pair of one with itself
    assert shown[10:14] == ["0", "\u2014", "0.91", "0.82"]


def test_pairs_of_the_same_labels_are_told_apart_by_seed(section):
    (svg,) = section.parts[3].panels  # direct
    shown = texts(svg)
    assert shown[:6] == ["features", *(f"seed {i}" for i in range(5))]
    assert shown[6:9] == ["direct-easy", "0.38", "0.39"] and shown.count("direct-rare") == 1


def test_the_record_is_in_the_table(section):
    table = section.parts[-1]
    line = dict(zip(table.header, map(str, table.rows[0])))
    assert line == {
        "comparison": "layers",
        "a": "mixture/0@1500:layer1",
        "b": "mixture/0@1500:layer2",
        "CKA": "0.80 [0.78, 0.82]",
        "SE": "0.010",
        "null": "0.00",
        "null sd": "0.01",
        "floor: random init": "0.34",
        "floor: pooled input": "0.21",
        "ceiling": "0.81",
        "pooled": "0.90",
        "detection limit": "0.20",
        "R2 a to b": "0.70",
        "R2 b to a": "0.60",
        "Procrustes": "0.80",
    }
    assert len(table.rows) == 3 + 36 + 10 + 25 and table.title == "Records of all pairs"


def test_settings_name_what_differs():
    row = dict(reference="layers", members=["mixture/0@10:a", "mixture/1@10:b"])
    assert similarity.setting(row) == "mixture, step 10: seed 0 against seed 1"
    assert similarity.setting({**row, "members": ["here", "there"]}) == similarity.TITLES["layers"]
    assert similarity.setting({**row, "reference": "seeds", "members": ["m/0@1:x", "m/1@1:x"]}) == "m, step 1, x"


def test_nothing_without_pairs(with_analyses):
    kinds = lookup.split(with_analyses(("cka",)))[1]
    assert (
        similarity.section({}) is None
        and similarity.section({"cka": [{**r, "value": None} for r in kinds["cka"]]}) is None
    )
