"""Which networks serve a component: verdicts over pairs, additions and sentences, on tables whose truth is known."""

import dataclasses

import numpy as np
import pytest

from bottleneck.analysis import gap, served
from bottleneck.analysis.intervals import holm


def table(mean, seeds=1, items=400, spread=0.3, seed=0):
    """[S, N] bits of this mean: item effects shared by all tables of one `items`, noise of its own."""
    rng = np.random.default_rng([seed, round(1000 * abs(mean)), seeds])
    shared = np.random.default_rng(9).normal(size=items)
    noise = rng.normal(size=(seeds, items))
    x = spread * (shared + 0.3 * (noise - noise.mean()))
    return mean + x - x.mean()


TABLES = {"one": {"a": table(0.9), "b": table(0.3)}, "two": {"a": table(0.5), "b": table(0.52, seed=1)}}
ENTROPIES = {"one": 1.0, "two": 1.0}


def test_every_ordered_pair_is_one_test_of_one_family():
    verdicts = served.pairs(TABLES, ENTROPIES)
    assert set(verdicts) == {(c, x, y) for c in TABLES for x, y in (("a", "b"), ("b", "a"))}
    p = {key: gap.judge({key: (TABLES[key[0]][key[2]], TABLES[key[0]][key[1]], 1.0)})[key].p for key in verdicts}
    adjusted = dict(zip(p, holm(list(p.values()))))
    assert {key: v.adjusted_p for key, v in verdicts.items()} == pytest.approx(adjusted)
    assert {key: v.verdict for key, v in verdicts.items()} == {
        ("one", "a", "b"): "retained",
        ("one", "b", "a"): "lost",
        ("two", "a", "b"): "retained",
        ("two", "b", "a"): "retained",
    }


def test_what_is_only_a_reference_is_in_no_test_of_its_own():
    """The family is what is asked: pairs that nobody asks of would only cost power."""
    verdicts = served.pairs(TABLES, ENTROPIES, references=("a",))
    assert set(verdicts) == {("one", "b", "a"), ("two", "b", "a")}
    assert verdicts["one", "b", "a"].adjusted_p <= served.pairs(TABLES, ENTROPIES)["one", "b", "a"].adjusted_p


def test_a_component_that_the_other_does_not_read_is_untestable_beside_it():
    verdicts = served.pairs({"one": {"a": table(0.9), "b": table(0.0, spread=0.05)}}, {"one": 1.0})
    assert verdicts["one", "a", "b"].verdict == "untestable" and verdicts["one", "b", "a"].verdict == "lost"


def test_beside_itself_a_network_serves_what_it_reads():
    assert served.itself(table(0.9), 1.0).verdict == "retained"
    assert served.itself(table(0.0, spread=0.05), 1.0).verdict == "untestable"
    seeds = table(0.73, 5) + np.array([[-0.2], [0.1], [0.0], [0.1], [0.0]])  # its own seeds, seed by seed
    assert served.itself(seeds, 1.0).verdict == "retained"


def test_seeds_of_different_recipes_are_not_paired():
    """Each recipe's spread over seeds counts by itself: pairing would cancel what they happen to share."""
    shift = np.array([[-0.2], [0.0], [0.2], [0.1], [-0.1]])
    a, b = table(0.8, 5) + shift, table(0.8, 5, seed=2) + shift
    held = served.pairs({"one": {"a": a, "b": b}}, {"one": 1.0})["one", "a", "b"].gap
    paired = gap.judge({"x": (b, a, 1.0)}, paired=True)["x"].gap
    assert held.high - held.low > 2 * (paired.high - paired.low) and held.unit == "seeds and items"


def test_an_addition_is_real_beyond_the_same_features_twice():
    alone, joined = table(0.3), table(0.9)
    added = served.addition(joined, alone, table(0.301), table(0.6), table(0.25))
    assert is_real(added) and added.dimension and added.added.value == pytest.approx(0.6)
    assert not is_real(served.addition(alone + 0.004, alone, alone, alone, alone))  # less than is worth a word
    assert not is_real(served.addition(table(0.5), alone, table(0.5), alone, alone))
    narrow = served.addition(joined, alone, alone, alone - 0.05, alone)
    assert is_real(narrow) and not narrow.dimension


def is_real(added):
    return served.real({0: added})[0]


def test_at_equal_dimension_it_is_held_against_the_first_reduced_likewise():
    """A reduction may cost the first alone as much as both: that is no sign of dimension."""
    lower = served.addition(table(0.9), table(0.5), table(0.5), table(0.3), table(0.1))
    assert lower.matched.value == pytest.approx(0.2) and lower.dimension


def test_additions_are_one_family():
    noise = np.random.default_rng(4).normal(size=(1, 400))
    noise = 0.3 * (noise - noise.mean()) / noise.std()
    nothing = np.zeros((1, 400))
    some, none = (served.addition(noise + shift, *[nothing] * 4) for shift in (0.3 * 2.6 / 20, 0.0))  # p of .01
    assert served.real({0: some})[0] and not served.real({0: some, **dict.fromkeys(range(1, 20), none)})[0]


def test_what_is_no_more_than_the_same_features_twice_is_seldom_called_real():
    """Both of one mean beyond the first alone: whether one is called more is a matter of chance, at 2.5 %."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(400):
        alone = rng.normal(0.3, 0.5, (1, 200))
        joined, twice = (alone + rng.normal(0.1, 0.4, (1, 200)) for _ in range(2))
        called += is_real(served.addition(joined, alone, twice, alone, alone))
    assert called / 400 < 0.06


def test_what_is_restored_is_one_family():
    reference, near, far = table(0.9), table(0.88), table(0.5)
    asked = {"near": (reference, near, False), "far": (reference, far, False)}
    assert served.restored(asked) == {"near": True, "far": False}
    noise = np.random.default_rng(3).normal(size=(1, 400))
    above = (noise - noise.mean()) / noise.std() + 2.4 / 20  # 2.4 standard errors above the margin: p of .017
    one = (np.zeros((1, 400)), above, False)
    nothing = (np.zeros((1, 400)), above - 2.4 / 20, False)
    assert served.restored({0: one})[0] and not served.restored({0: one, **dict.fromkeys(range(1, 50), nothing)})[0]


def told(component="one", network="b", reference="a", **more):
    verdict = served.pairs(TABLES, ENTROPIES)[component, network, reference]
    return served.Told(component, network, reference, True, verdict, **more)


def test_the_sentence_says_by_how_much_where_and_what_restores_it():
    joined = served.addition(table(0.92), *[table(0.3)] * 4).joined
    said = served.sentence(told(depth="it is readable at layer2", restored_by=(("a", joined),)))
    assert said.startswith("one is not served by b: 0.30 bits, 33% of the 0.90 of a, the best audited, a gap of 0.60")
    assert "this checkpoint, 400 test items" in said and "it is readable at layer2" in said
    assert said.endswith("; a (the reference) beside it (0.92 bits together) restores it.")
    assert served.sentence(told(restored_by=())).endswith("; no other audited network beside it surely restores it.")
    assert "restore" not in served.sentence(told())  # nobody asked


def test_the_sentence_of_what_is_served_stops_there():
    said = served.sentence(told("two", "b", "a", depth="nowhere"))
    assert said.startswith("two is served by b: 0.52 bits, 104% of the 0.50 of a") and "nowhere" not in said


def test_of_the_reference_it_says_what_floors_read_and_no_verdict():
    """The best of several may still be poor: what it reads of all there is, and what the pixels do, is said instead."""
    verdict = served.itself(TABLES["one"]["a"], 1.0)
    itself = dataclasses.replace(
        told("one", "a", "b"), reference="a", verdict=verdict, floors=(("the pixels read", 0.96),)
    )
    said = served.sentence(itself)
    assert said.startswith("one is read by a, the best of the audited networks: 0.90 bits, 0.8")
    assert "90% of the label's 1.00; the pixels read 0.96 (this checkpoint" in said and "served" not in said
    alone = served.sentence(dataclasses.replace(itself, alone=True))
    assert "the one network, with nothing to hold it against" in alone


def test_what_is_not_clear_is_said_of_the_reference():
    """Not of direct training, which there may be none of."""
    weak = {"one": {"a": table(0.03), "b": table(0.02, seed=1)}}
    verdict = served.pairs(weak, ENTROPIES)["one", "b", "a"]
    said = served.sentence(served.Told("one", "b", "a", True, verdict))
    assert verdict.testability == "unclear" and "a itself is not clearly above nothing" in said and "direct" not in said


def test_seeds_and_provisional_verdicts_are_said():
    tables = {"one": {"a": table(0.9, 3), "b": table(0.3, 3)}}
    verdict = served.pairs(tables, ENTROPIES)["one", "b", "a"]
    said = served.sentence(served.Told("one", "b", "a", False, verdict))
    assert "(3 seeds, 400 test items, provisional)" in said and "the best audited" not in said


def test_thousands_of_items_are_separated():
    verdict = served.pairs({"one": {"a": table(0.9, items=1200), "b": table(0.3, items=1200)}}, ENTROPIES)[
        "one", "b", "a"
    ]
    assert served.scope(verdict) == "this checkpoint, 1,200 test items"


def test_untestable_is_said_with_what_was_needed():
    verdicts = served.pairs({"one": {"a": table(0.9), "b": table(0.0, spread=0.05)}}, {"one": 1.0})
    said = served.sentence(served.Told("one", "a", "b", False, verdicts["one", "a", "b"]))
    assert said.startswith("one is untestable beside b: b itself shows 0.00 bits (upper 95% limit 0.00")
    assert "0.020); a reads 0.90 bits, 0.8" in said and "90% of the label's 1.00 (this checkpoint, 400" in said
    itself = served.itself(table(0.0, spread=0.05), 1.0)
    alone = served.sentence(served.Told("one", "b", "b", False, itself))
    assert alone.startswith("one is untestable: b itself shows 0.00 bits") and "reads" not in alone
