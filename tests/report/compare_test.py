import copy
import math
import re

import pytest

from bottleneck.report import compare, lookup
from bottleneck.report.table import MISSING, Number

CONFIG = {
    "name": "mixture",
    "mixture": {"weights": {"easy": 0.5, "rare": 0.01}, "label_space": "shared"},
    "keep": [1, 2],
    "train": {"steps": 10},
}


@pytest.fixture
def pair(with_analyses):
    """`base`, and `other`: without rare, its plus retained, another label space, and no analysis of seeds."""
    other = [r for r in with_analyses(("ladder", "steps")) if r["target"] != "rare"]
    gap = lookup.gap(other, "plus")
    gap.update(value=0.02, ci95=[-0.01, 0.05], extra={**gap["extra"], "verdict": "retained"})
    config = copy.deepcopy(CONFIG)
    config["mixture"]["label_space"] = "per_component"
    del config["mixture"]["weights"]["rare"]
    return (
        (
            "base",
            with_analyses(("ladder", "steps", "seeds")),
            {"commit": "aaa", "versions": {"jax": "1"}, "config": CONFIG},
        ),
        ("other", other, {"commit": "bbb", "versions": {"jax": "1"}, "config": config}),
    )


def test_sentences_say_what_differs(pair):
    assert compare.sentences(*pair) == [
        "plus is lost in base and retained in other.",
        "The verdict is the same on easy, shadowed and minus.",
        "Only base has rare.",
    ]


def test_both_studies_stand_under_each_other_with_the_difference(pair):
    table = compare.answers(*pair)
    found = {cells[:2]: list(map(str, cells[2:])) for cells in table.rows}
    assert found["plus", "base"] == ["lost", "0.98 \u00b10.04", "0.26 \u00b10.04", "0.72 [0.68, 0.76]"]
    assert found["plus", "other"][0] == "retained" and found["plus", "other"][-1] == "0.02 [-0.01, 0.05]"
    assert found["plus", "difference"] == [MISSING, MISSING, MISSING, "0.70 [0.65, 0.75]"]  # 0.05 = hypot(0.04, 0.03)
    assert ("rare", "base") in found and ("rare", "other") not in found and ("rare", "difference") not in found


def test_variances_of_independent_studies_add():
    def gap(value, low, high, unit="bits"):
        return dict(value=value, ci95=None if low is None else [low, high], unit=unit)

    a, b = gap(0.5, 0.2, 0.8), gap(0.1, -0.3, 0.5)
    assert compare.difference(a, b) == Number(0.4, 0.4 - math.hypot(0.3, 0.4), 0.4 + math.hypot(0.3, 0.4))
    found, back = compare.difference(a, b), compare.difference(b, a)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    uneven = compare.difference(gap(0.5, 0.4, 0.9), gap(0.0, -0.3, 0.0))
    assert (uneven.low, uneven.high) == pytest.approx((0.4, 1.0))  # each side by the arms that lead there
    assert compare.difference(a, gap(0.1, None, None)) == Number(0.4)
    assert compare.difference(a, None) is None and compare.difference(a, gap(0.1, 0, 1, "r2")) is None
    assert compare.difference(a, gap(None, None, None)) is None


def test_rungs_and_courses_stand_side_by_side(pair):
    table = compare.features(*pair)
    assert table.header == (
        "target",
        "factor",
        "where: base",
        "where: other",
        "when: base",
        "when: other",
        "seeds: base",
        "seeds: other",
    )
    found = {cells[:2]: cells[2:] for cells in table.rows}
    assert found["plus", "label"] == (
        "nonlinear",
        "nonlinear",
        "learned then lost",
        "learned then lost",
        "undecided",
        MISSING,
    )
    assert found["rare", "shape"] == ("nowhere (10%)", MISSING, "never learned", MISSING, "none", MISSING)
    assert ("easy", "shape") not in found  # untestable in both


def test_only_settings_that_differ_are_shown(pair):
    assert compare.settings(*pair).rows == (
        ("mixture.label_space", "shared", "per_component"),
        ("mixture.weights.rare", "0.01", MISSING),
    )
    hashes = [(name, rows, {"config": "abc"}) for name, rows, _ in pair]
    assert compare.settings(*hashes).rows == ()
    assert compare.differences({"a": [1, 2], "b": {}}, {"a": [1, 2], "b": {"c": 1}}) == [("b.c", MISSING, "1")]


def test_a_default_that_one_config_states_is_no_difference():
    """And of a part that only one has, its own defaults are no news."""
    stated = {"margin": 0.9, "train": {"steps": 10}}, {"train": {"steps": 20}, "targets": {"x": {"size": 1}}}
    meant = (
        {"margin": 0.9, "seeds": 5, "train": {"steps": 10}, "targets": {}},
        {"margin": 0.9, "seeds": 5, "train": {"steps": 20}, "targets": {"x": {"size": 1, "crop": 0}}},
    )
    sides = [(name, [], {"config": said, "meant": of}) for name, said, of in zip("ab", stated, meant)]
    assert compare.settings(*sides).rows == (("targets.x.size", MISSING, "1"), ("train.steps", "10", "20"))


def test_where_no_target_is_shared_that_is_said(pair):
    base, other = pair
    rare = (base[0], [r for r in base[1] if r["target"] == "rare"], base[2])
    assert compare.sentences(rare, other) == [
        "Only base has rare.",
        "Only other has easy, shadowed, plus and minus.",
        "No target is judged in both.",
    ]


def test_the_page_stands_alone_and_repeats(pair, tmp_path):
    path = compare.write(tmp_path / "compare.html", *pair)
    source = path.read_text()
    assert path == tmp_path / "compare.html" and "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", source)
    assert not re.findall(r"<script|<link|@import|url\((?!#)|\bsrc=", source) and "prefers-color-scheme: dark" in source
    for part in (
        "base</strong> and <strong>other",
        "plus is lost in base",
        "mixture.label_space",
        "Zou and Donner",
        "aaa",
    ):
        assert part in source
    assert "jax" not in source  # the same in both
    assert compare.write(tmp_path / "again.html", *pair).read_text() == source


def test_the_terminal_has_the_same(pair):
    shown = compare.terminal(*pair)
    assert (
        shown.startswith("plus is lost in base and retained in other.\n")
        and "0.70 [0.65, 0.75]" in shown
        and "per_component" in shown
    )


def test_the_terminal_s_encoding_is_kept_to(pair):
    assert "0.98 +-0.04" in compare.terminal(*pair, encoding="ascii").encode("ascii").decode()


def test_studies_of_one_name_and_of_nothing(pair, study, tmp_path):
    same = compare.terminal(pair[0], pair[0])
    assert "base (1): 5 seeds" in same and "Configuration" not in same and "The verdict is the same on easy" in same
    for first, second in (
        ((("a", [], {}), ("b", [], {}))),
        (("a", study(), {}), ("b", study(unit="r2", arms=("direct", "mixture")), {})),
    ):
        assert compare.write(tmp_path / "x.html", first, second).is_file() and compare.terminal(first, second)
    units = compare.answers(("a", study(), {}), ("b", study(unit="r2", arms=("direct", "mixture")), {}))
    assert "gap (in its study's unit)" in units.header and not any(line[1] == "difference" for line in units.rows)
