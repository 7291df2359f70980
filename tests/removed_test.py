"""What recipes remove of interference, on planted tables: shares, halves and rivals are known."""

import numpy as np
import pytest

from bottleneck import removed
from bottleneck.analysis import intervals
from bottleneck.points import Place, Reading, over_targets
from bottleneck.report import removed as reported
from bottleneck.rows import row, select

POINT = {"point": "here"}


def reading(target, levels, seeds=5, items=400, shown=None, recipes=("cure", "longer")):
    """Every arm's information: its level, and noise of seeds and items that all arms share in part."""
    rng = np.random.default_rng(len(target))
    shared = 0.05 * rng.normal(size=items)
    arms = {arm: level + shared + 0.02 * rng.normal(size=(seeds, items)) for arm, level in levels.items()}
    place = Place(POINT, tuple(range(seeds)), (), recipes=recipes)
    return Reading(place, target, None, "bits", target, shown or target, arms, {})


@pytest.fixture(scope="module")
def rows():
    others = dict(direct_half=1.0, cat2=1.0, specialists=1.0)  # no networks for the whole mixture, or several
    lost = dict(direct=1.0, alone=1.0, mixture=0.2, heads=0.7, cure=0.8, longer=0.3, **others)
    kept = dict(direct=1.0, alone=1.0, mixture=1.0, heads=1.0, cure=0.9, longer=1.0, **others)
    together = [reading("lost", lost), reading("kept.", kept)]
    return [row(finding, "sweep", 1) for finding in removed.findings(together)]


def one(rows, **keys):
    (found,) = select(rows, **keys)
    return found


def test_shares_are_of_the_interference(rows):
    cure = one(rows, arm="cure", target="lost", reference="mixture")
    assert cure["value"] == pytest.approx(0.6, abs=0.01) and cure["extra"]["share"] == pytest.approx(0.75, abs=0.01)
    assert cure["extra"]["beyond_half"][0] == pytest.approx(0.2, abs=0.01)
    assert cure["extra"]["interference"][0] == pytest.approx(0.8, abs=0.01)
    assert one(rows, arm="cure", target="kept.", reference="mixture")["extra"]["share"] is None  # there is nothing lost
    over = one(rows, arm="cure", target=None, reference="mixture")
    assert over["value"] == pytest.approx((0.6 - 0.1) / 2, abs=0.01)
    assert over["extra"]["share"] == pytest.approx(0.5 / 0.8, abs=0.02)


def test_rivals_are_one_network_for_all_and_other_recipes(rows):
    assert {r["reference"] for r in select(rows, arm="cure")} == {"mixture", "heads", "longer"}
    assert one(rows, arm="cure", target="lost", reference="heads")["value"] == pytest.approx(0.1, abs=0.01)


def test_the_report_says_where_half_is_removed_and_what_it_costs(rows):
    kinds = {"sweep": rows}
    cure, longer = reported.sentences(kinds)
    assert cure == (
        "cure: of the interference with all targets it removes 62% at here, shown to be at least half at 1 of 1 "
        "points; it is shown to read less than the mixture for kept. at here (-0.099); more than each of its rivals at "
        "0 of 1 points."
    )
    assert "12% at here" in longer and "at least half at 0 of 1 points" in longer and "mixture nowhere" in longer
    section = reported.section(kinds)
    expected = "At least half of the interference with all targets is shown to be removed by cure at here."
    assert section.sentence == expected and section.points == (cure, longer)
    over, table = section.parts
    assert [str(line[1]) for line in over.rows] == ["cure", "longer"]
    assert table.header == (
        *("target", "recipe", "interference", "removed", "share", "at least half"),
        *("beyond heads", "beyond longer", "beyond cure"),
    )
    cells = {tuple(map(str, line[:2])): line for line in table.rows}
    assert str(cells["lost", "cure"][5]) == "yes" and str(cells["lost", "longer"][5]) == "no"
    assert str(cells["kept.", "cure"][5]) == "\u2014"


def test_without_alone_or_recipes_nothing_is_said():
    levels = dict(direct=1.0, mixture=0.2, cure=0.8)
    assert not list(removed.findings([reading("lost", levels)]))
    assert not list(removed.findings([reading("lost", dict(levels, alone=1.0), recipes=())]))
    assert reported.section({}) is None


def test_targets_of_the_same_items_are_no_independent_draws_of_items():
    """The mean of copies of one table has that table's interval; of different items it is narrower."""
    table = np.random.default_rng(0).normal(size=(4, 300))
    copies = [reading(name, dict(mixture=0.0), shown="same") for name in ("a", "b", "c")]
    whole = intervals.two_way(table)
    assert over_targets(copies, [table] * 3).se == pytest.approx(whole.se)
    others = [reading(name, dict(mixture=0.0)) for name in ("a", "b", "c")]
    tables = [np.random.default_rng(s).normal(size=(4, 300)) for s in range(3)]
    assert over_targets(others, tables).se < 0.8 * np.mean([intervals.two_way(t).se for t in tables])


def test_targets_with_more_seeds_give_those_that_all_have():
    tables = [np.full((s, 10), float(s)) + np.arange(s)[:, None] for s in (2, 4)]
    held = over_targets([reading("a", dict(mixture=0.0)), reading("b", dict(mixture=0.0))], tables)
    assert held.n_seeds == 2 and held.value == pytest.approx((2.5 + 4.5) / 2)
