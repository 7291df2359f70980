"""Member sets, and what is made of their features."""

import numpy as np
import pytest

from bottleneck import config as configs
from bottleneck.errors import UserError
from bottleneck.representations.members import Member, RepresentationSpec, join, principal, sets

LENGTHS = {"mixture": 100, "direct-a.b": 40}


def found(members, seeds=(0, 1, 2, 3, 4), **fields):
    return sets(RepresentationSpec(members, **fields), seeds, LENGTHS.__getitem__, "representations.r")


@pytest.mark.parametrize(
    ("step", "expected"), [("last", 100), ("0", 0), ("7", 7), ("100", 100), ("1/4", 25), ("1/3", 33), ("4/4", 100)]
)
def test_steps(step, expected):
    assert found(f"mixture/3@{step}:features") == [(Member("mixture", 3, expected, "features"),)]


def test_seeds_are_taken_n_at_a_time_in_disjoint_sets():
    assert [[m.seed for m in group] for group in found("mixture/*@last:stage1", n=2)] == [[0, 1], [2, 3]]
    assert [[m.seed for m in group] for group in found("mixture/*@last:stage1", seeds=(7, 8, 9), n=3)] == [[7, 8, 9]]
    assert len(found("direct-a.b/*@1/2:features")) == 5


def test_a_member_repeated():
    (group,) = found("mixture/1@last:features", repeat=3)
    assert group == (Member("mixture", 1, 100, "features"),) * 3
    assert [[m.seed for m in group] for group in found("mixture/*@last:features", n=2, repeat=2)] == [
        [0, 1, 0, 1],
        [2, 3, 2, 3],
    ]


def test_member_is_written_as_it_is_read():
    member = Member("direct-a.b", 4, 10, "stage1")
    assert found(str(member)) == [(member,)]


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
        found(members, **fields)


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
    with pytest.raises(UserError, match="members=.*expected run/seed@step:layer"):
        configs.build(RepresentationSpec, {"members": members}, "representations.r")


@pytest.mark.parametrize("field", ["n", "repeat"])
def test_counts_refused(field):
    with pytest.raises(UserError, match=f"^representations.r.{field}=0: expected at least 1"):
        configs.build(RepresentationSpec, {"members": "mixture/*@last:features", field: 0}, "representations.r")


def test_join():
    blocks = [np.full((4, width), width, np.float32) for width in (2, 3)]
    assert join(blocks).shape == (4, 5) and join(blocks).dtype == np.float32
    np.testing.assert_array_equal(join(blocks)[0], [2, 2, 3, 3, 3])


def test_principal_components_are_those_of_the_standardised_probe_split():
    rng = np.random.default_rng(0)
    mixing, scale = rng.normal(size=(2, 6)), np.array([1, 10, 100, 1, 1, 0.1])
    features = {
        split: (rng.normal(size=(n, 2)) @ mixing * scale + 5).astype(np.float32)
        for split, n in (("probe", 200), ("val", 7), ("test", 9))
    }
    features = {
        split: np.column_stack([x, np.ones(len(x), np.float32)]) for split, x in features.items()
    }  # and a dead unit
    reduced = principal(features, 2)
    standardised = (features["probe"][:, :6].astype(float) - features["probe"][:, :6].mean(0, dtype=float)) / features[
        "probe"
    ][:, :6].std(0, dtype=float)
    values = np.linalg.eigvalsh(np.cov(standardised.T, bias=True))[::-1]
    assert {split: x.shape for split, x in reduced.items()} == {"probe": (200, 2), "val": (7, 2), "test": (9, 2)}
    np.testing.assert_allclose(np.cov(reduced["probe"].T, bias=True), np.diag(values[:2]), atol=1e-4)
    np.testing.assert_allclose(reduced["probe"].mean(0), 0, atol=1e-6)
    # All there is in six units lies in two directions, on other splits too: their distances survive.
    whole = (features["test"][:, :6] - features["probe"][:, :6].mean(0, dtype=float)) / features["probe"][:, :6].std(
        0, dtype=float
    )
    np.testing.assert_allclose(np.linalg.norm(reduced["test"], axis=1), np.linalg.norm(whole, axis=1), rtol=1e-3)
