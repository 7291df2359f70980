"""Member sets: which networks a representation lists."""

import pytest

from bottleneck import config as configs
from bottleneck.errors import UserError
from bottleneck.representations import (
    CONTROLS,
    REDUCTIONS,
    Place,
    RepresentationSpec,
    derived,
    sets,
    source_of,
)

LENGTHS = {"mixture": 100, "direct-a.b": 40, "theirs": 0}


def listed(members, seeds=(0, 1, 2, 3, 4), **fields):
    spec = RepresentationSpec(members, **fields)
    return sets(spec, lambda source: seeds, LENGTHS.__getitem__, "representations.r")


@pytest.mark.parametrize(
    ("step", "expected"), [("last", 100), ("0", 0), ("7", 7), ("100", 100), ("1/4", 25), ("1/3", 33), ("4/4", 100)]
)
def test_steps(step, expected):
    assert listed(f"mixture/3@{step}:features") == [(Place("mixture", 3, expected, "features"),)]


def test_seeds_are_taken_n_at_a_time_in_disjoint_sets():
    assert [[m.seed for m in group] for group in listed("mixture/*@last:stage1", n=2)] == [[0, 1], [2, 3]]
    assert [[m.seed for m in group] for group in listed("mixture/*@last:stage1", seeds=(7, 8, 9), n=3)] == [[7, 8, 9]]
    assert len(listed("direct-a.b/*@1/2:features")) == 5


def test_every_source_has_its_own_seeds_and_its_own_length():
    seeds = {"mixture": (100, 101), "theirs": (0, 1, 2)}
    spec = RepresentationSpec("theirs/*@last:features")
    places = sets(spec, seeds.__getitem__, LENGTHS.__getitem__, "representations.r")
    assert places == [(Place("theirs", seed, 0, "features"),) for seed in (0, 1, 2)]
    both = RepresentationSpec(("mixture/*@last:features", "theirs/*@last:features"))
    with pytest.raises(UserError, match="equally many seeds"):
        sets(both, seeds.__getitem__, LENGTHS.__getitem__, "representations.r")


def test_patterns_are_joined_set_by_set():
    groups = listed(("mixture/*@1/2:features", "mixture/*@last:stage1"), seeds=(0, 1))
    assert groups == [
        (Place("mixture", seed, 50, "features"), Place("mixture", seed, 100, "stage1")) for seed in (0, 1)
    ]


def test_a_member_repeated():
    (group,) = listed("mixture/1@last:features", repeat=3)
    assert group == (Place("mixture", 1, 100, "features"),) * 3
    repeated = listed("mixture/*@last:features", n=2, repeat=2)
    assert [[m.seed for m in group] for group in repeated] == [[0, 1, 0, 1], [2, 3, 2, 3]]


@pytest.mark.parametrize(
    ("fields", "single"), [({}, True), ({"n": 2}, False), ({"repeat": 2}, False), ({"reduce": "pca"}, True)]
)
def test_one_member_once_is_single(fields, single):
    assert RepresentationSpec("mixture/*@last:features", **fields).is_single == single


def test_the_source_of_a_pattern():
    assert source_of("direct-a.b/*@last:features") == "direct-a.b"


@pytest.mark.parametrize(
    ("members", "fields", "key"),
    [
        ("mixture/9@last:features", {}, "members"),
        ("mixture/*@101:features", {}, "members"),
        ("mixture/*@5/4:features", {}, "members"),
        ("mixture/*@last:features", {"n": 6}, "n"),
        ("mixture/1@last:features", {"n": 2}, "n"),
    ],
)
def test_sets_refused(members, fields, key):
    with pytest.raises(UserError, match=f"^representations.r.{key}="):
        listed(members, **fields)


@pytest.mark.parametrize(
    "members",
    [
        "mixture",
        "mixture/*",
        "mixture/*@last",
        "mixture/x@last:features",
        "mixture/*@-1:features",
        "mixture/*@first:features",
        "mixture/*@1/0:features",
        "a b/*@last:features",
        "mixture/*@last:features\n",
    ],
)
def test_spelling_refused(members):
    with pytest.raises(UserError, match="members=.*expected source/seed@step:layer"):
        configs.build(RepresentationSpec, {"members": members}, "representations.r")


@pytest.mark.parametrize("field", ["n", "repeat"])
def test_counts_refused(field):
    with pytest.raises(UserError, match=f"^representations.r.{field}=0: expected at least 1"):
        configs.build(RepresentationSpec, {"members": "mixture/*@last:features", field: 0}, "representations.r")


# Controls


def controls(**declared):
    return derived({name: RepresentationSpec(**fields) for name, fields in declared.items()})


CAT3 = dict(members="mixture/*@last:features", n=3)


def test_a_concatenation_brings_its_controls_along():
    made = controls(cat3=CAT3)
    assert set(made) == {f"cat3-{kind}" for kind in (*CONTROLS, "first2")}
    assert {each.of for each in made.values()} == {"cat3"}
    assert {kind: made[f"cat3-{kind}"].spec.reduce for kind in REDUCTIONS} == {kind: kind for kind in REDUCTIONS}
    assert made["cat3-averaged"].spec.combine == "average"
    taken = {each.kind: each.take(("a", "b", "c")) for each in made.values()}
    assert taken.pop("repeated") == ("a", "a", "a") and taken.pop("first2") == ("a", "b")
    assert set(taken.values()) == {("a", "b", "c")}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"n": 1, "repeat": 2},
        {"n": 2, "repeat": 2},
        {"n": 2, "combine": "average"},
        {"n": 2, "reduce": "pca"},
        {"n": 2, "controls": False, "prefixes": False},
    ],
)
def test_what_is_a_control_itself_brings_none(fields):
    assert not controls(r={**CAT3, **fields})


def test_layers_snapshots_and_sources_are_concatenations_too():
    patterns = ("mixture/*@1/2:features", "mixture/*@last:layer1", "wide/*@last:features")
    made = controls(snaps=dict(members=patterns))
    assert made["snaps-first2"].take((1, 2, 3)) == (1, 2) and made["snaps-repeated"].take((1, 2, 3)) == (1, 1, 1)


def test_first_members_are_read_of_ten_at_most():
    assert "cat10-first9" in controls(cat10={**CAT3, "n": 10})
    assert not [name for name in controls(cat11={**CAT3, "n": 11}) if "first" in name]
    assert not [name for name in controls(cat3={**CAT3, "prefixes": False}) if "first" in name]


def test_a_control_that_is_declared_keeps_its_name():
    made = controls(cat3=CAT3, mean3={**CAT3, "combine": "average"}, other={**CAT3, "n": 2, "reduce": "pca"})
    assert made["mean3"].kind == "averaged" and made["mean3"].of == "cat3" and "cat3-averaged" not in made
    assert "cat3-pca" in made  # the one declared is of other sets


def test_a_name_that_is_taken_is_refused():
    taken = {"cat3": CAT3, "cat3-pca": {**CAT3, "n": 2}}
    with pytest.raises(UserError, match="representations.cat3-pca=.*another name"):
        controls(**taken)
    assert controls(**{**taken, "cat3-pca": {**CAT3, "reduce": "pca"}})["cat3-pca"].kind == "pca"
