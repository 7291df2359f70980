"""What the gap of plain arrays accepts, reads as what, and refuses in one line: every kind of input that misleads."""

import ml_dtypes
import numpy as np
import pytest

from bottleneck.analysis import gap, given
from bottleneck.errors import UserError

N = 90


def arrays(seed=0):
    """Two seeds of two arms [N, 4] that read a label of three classes, the label, splits."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 3
    arms = rng.normal(size=(2, 2, N, 4))
    arms[..., :3] += 3 * np.eye(3)[labels]
    return list(arms[0]), list(arms[1]), labels, given.split_items(labels)


def answer(**changes):
    mixture, direct, labels, splits = arrays()
    return gap.gap(**(dict(mixture=mixture, direct=direct, labels=labels, splits=splits) | changes))


def words(*values):
    return np.array(values * (N // len(values)), dtype=object)


LABELS = arrays()[2]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None],
        LABELS.astype(np.float32),
        LABELS.astype(float)[:, None],
        LABELS.astype(np.uint8),
        LABELS.tolist(),
        LABELS.astype(object),
        LABELS.astype(str),
        LABELS.astype(bytes),
        words("a", "b", "c"),
    ],
    ids=["column", "floats", "column of floats", "uint8", "list", "objects", "strings", "bytes", "objects of strings"],
)
def test_the_same_classes_in_every_form(labels):
    assert answer(labels=labels).verdict == answer().verdict
    np.testing.assert_array_equal(given.split_items(labels), given.split_items(LABELS))


def test_other_numbers_are_a_regression():
    x = arrays()[0][0]
    for labels in (x[:, 0], x[:, :1], x[:, :2]):
        assert answer(labels=labels).unit == "R2"
    assert answer(labels=LABELS.astype(float)).unit == "bits"


def test_forms_of_features_splits_and_groups():
    mixture, direct, labels, splits = arrays()
    same = answer(
        mixture=np.stack(mixture),
        direct=[x.tolist() for x in direct],
        splits=splits.astype(object)[:, None],
        groups=words("x", "y")[:, None],
    )
    assert same.verdict == answer().verdict and [group.group for group in same.groups] == ["x", "y"]
    assert answer(mixture=mixture[0], direct=direct[0]).verdict.scope == "this checkpoint"
    coarse = [x.astype(ml_dtypes.bfloat16) for x in mixture]
    assert answer(mixture=coarse).verdict == answer(mixture=[x.astype(np.float32) for x in coarse]).verdict
    # an arm may be compared with itself
    assert answer(mixture=direct).verdict.gap.value == 0


@pytest.mark.parametrize("scale", [1e-80, 1e-30, 1e-6, 1e6, 1e30, 1e80])
def test_the_scale_of_features_does_not_matter(scale):
    mixture, direct, _, _ = arrays()
    plain, scaled = answer(), answer(mixture=[scale * x for x in mixture], direct=[scale * x for x in direct])
    assert scaled.verdict.gap.value == pytest.approx(plain.verdict.gap.value, abs=0.1)
    assert scaled.verdict.direct.value == pytest.approx(plain.verdict.direct.value, abs=0.1)


def small_signal(dtype):
    x = np.random.default_rng(0).normal(size=(N, 3))
    x[:, 0] = 5 + 0.01 * (LABELS - 1)
    return x.astype(dtype).astype(np.float32)


def with_unit(unit):
    return np.column_stack([arrays()[0][0], unit])


FIRST, SECOND = arrays()[0]
MISSING = LABELS.astype(float)
MISSING[7] = np.nan
UNLABELLED = LABELS.copy()
UNLABELLED[[3, 5]] = -1


@pytest.mark.parametrize(
    "changes, key, says",
    [
        # features
        (dict(mixture=[]), "mixture", "at least one array"),
        (dict(mixture=None), "mixture", "one per seed"),
        (dict(mixture="features.npy"), "mixture", "one per seed"),
        (dict(direct=[FIRST[:-1]]), "direct", "90 rows"),
        (dict(direct=[FIRST[0]]), "direct", "numeric arrays"),
        (dict(direct=[np.zeros((N, 0))]), "direct", "numeric arrays"),
        (dict(direct=[FIRST.astype(str)]), "direct", "numeric arrays"),
        (dict(direct=[FIRST * 1j]), "direct", "numeric arrays"),
        (dict(direct=[[[1.0], [1.0, 2.0]]]), "direct", "one array"),
        (dict(direct=[np.where(FIRST > 3, np.nan, FIRST)]), "direct", "NaN or infinity"),
        (dict(direct=[np.where(FIRST > 3, np.inf, FIRST)]), "direct", "NaN or infinity"),
        (dict(direct=[FIRST, SECOND, FIRST.copy()]), "direct", "arrays 1 and 3 are the same"),
        (dict(mixture=[FIRST, FIRST]), "mixture", "arrays 1 and 2 are the same"),
        (dict(mixture=[small_signal(ml_dtypes.bfloat16)]), "mixture", "8 significant bits"),
        (dict(mixture=[(FIRST + 3000).astype(np.float16)]), "mixture", "11 significant bits"),
        (dict(mixture=[FIRST * 1e160]), "mixture", "float64"),
        (dict(mixture=[FIRST * 1e-160]), "mixture", "float64"),
        (dict(mixture=[with_unit(1e15 * SECOND[:, 0])]), "mixture", "4 of 5 units"),
        (dict(mixture=[with_unit(1e-15 * SECOND[:, 0])]), "mixture", "1 of 5 units"),
        (dict(mixture=[np.full((N, 3), 0.1)]), "mixture", "constant features"),
        # labels
        (dict(labels=5), "labels", "classes"),
        (dict(labels=[]), "labels", "classes"),
        (dict(labels=[[1], [1, 2]]), "labels", "one array"),
        (dict(labels=np.eye(3)[LABELS]), "labels", "argmax"),
        (dict(labels=np.eye(3, dtype=int)[LABELS]), "labels", "argmax"),
        (dict(labels=np.eye(3, dtype=bool)[LABELS]), "labels", "argmax"),
        (dict(labels=np.stack([LABELS, LABELS], 1)), "labels", "classes"),
        (dict(labels=np.zeros(N, int)), "labels", "at least two classes"),
        (dict(labels=MISSING), "labels", "1 NaN"),
        (dict(labels=MISSING[:, None]), "labels", "1 NaN"),
        (dict(labels=MISSING.astype(str)), "labels", "1 NaN"),
        (dict(labels=words("a", "b", "")), "labels", "30 NaN, infinite or empty"),
        (dict(labels=words("a", "b", None)), "labels", "30 None or NaN"),
        (dict(labels=words("a", "b", float("nan"))), "labels", "30 None or NaN"),
        (dict(labels=words("a", 1)), "labels", "one type"),
        (dict(labels=UNLABELLED), "labels", "-1 for 2 of 90"),
        (dict(labels=UNLABELLED.astype(float)), "labels", "-1 for 2 of 90"),
        (dict(labels=FIRST[:, 0] * 1e200), "labels", "size"),
        (dict(labels=np.full(N, 0.5)), "labels", "constant over the items of probe"),
        (dict(labels=np.arange(N)), "labels", "every class"),
        # splits
        (dict(splits=np.full(N, "train")), "splits", "probe, val or test"),
        (dict(splits=np.arange(N) % 3), "splits", "probe, val or test"),
        (dict(splits=np.full(N, "probe")), "splits", "0 items of val"),
        (
            dict(splits=np.where(np.arange(N) == 1, "val", np.where(np.arange(N) % 2, "probe", "test"))),
            "splits",
            "1 it",
        ),
        (dict(splits=np.full(10, "probe")), "splits", "90 entries"),
        (dict(splits=words("probe", None)), "splits", "None or NaN"),
        # groups and seeds
        (dict(groups=np.zeros(5)), "groups", "90 entries"),
        (dict(groups=MISSING), "groups", "1 NaN"),
        (dict(groups=words("a", None)), "groups", "None or NaN"),
        (dict(groups=words("a", "")), "groups", "empty"),
        (dict(seeds=["a"]), "seeds", "2 different names"),
        (dict(seeds=["a", "a"]), "seeds", "2 different names"),
    ],
)
def test_what_would_mislead_is_refused_in_one_line(changes, key, says):
    with pytest.raises(UserError) as error:
        answer(**changes)
    assert error.value.key == key
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_class_without_probe_items_is_named():
    mixture, direct, labels, splits = arrays()
    splits = np.where((labels == 2) & (splits == "probe"), "val", splits)
    with pytest.raises(UserError, match=r"labels=\['c'\].*probe split"):
        answer(labels=np.array(["a", "b", "c"])[labels], splits=splits)


def test_split_items_is_stratified_and_follows_its_seed():
    labels = np.repeat([0, 1, 2], [100, 200, 700])
    splits = given.split_items(labels)
    for label, count in ((0, 100), (1, 200), (2, 700)):
        for split, share in (("probe", 0.5), ("val", 0.2), ("test", 0.3)):
            assert abs((splits[labels == label] == split).sum() - share * count) <= 3
    assert (splits == given.split_items(labels)).all() and (splits != given.split_items(labels, seed=1)).any()
    assert set(given.split_items(np.random.default_rng(0).normal(size=50))) == set(given.SPLITS)
