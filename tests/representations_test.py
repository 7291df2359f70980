"""Member sets: which networks a representation lists."""

import pytest

from bottleneck import config as configs
from bottleneck.errors import UserError
from bottleneck.representations import Place, RepresentationSpec, sets, source_of

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
