"""The slab source: what each coordinate says, in what share, and what randomising a block leaves as it was."""

import dataclasses

import numpy as np
import pytest

from bottleneck.data import component, slabs
from bottleneck.data.component import ComponentSpec
from bottleneck.data.slabs import SlabsSpec
from bottleneck.data.source import SPLITS, DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(train=4000, probe=20, val=10, test=30)
ALL = dict(linear=2, slabs3=1, slabs5=2, slabs7=2)


def load(randomise=(), data=DATA, **fields):
    """(train labels, coordinates before the rotation [n, dim], factors)"""
    spec = SlabsSpec(**{**ALL, **fields})
    train = slabs.load(spec, data, randomise).splits["train"]
    x = train.fetch(np.arange(len(train)))
    assert x.dtype == np.float32 and x.shape == (len(train), spec.dim)
    return train.labels, x @ slabs.rotation(spec).T, train.factors


def slab_of(x, count, margin=0.1):
    """The slab from the left, by definition: k of equal width, 2 margin apart, that fill [-1, 1]."""
    width = (2 - (count - 1) * 2 * margin) / count
    where, rest = np.divmod(x + 1, width + 2 * margin)
    assert np.all(rest <= width + 1e-5)  # nothing lies between the slabs
    return where.astype(int)


def test_every_coordinate_alone_says_the_label():
    labels, x, factors = load()
    assert np.abs(x).max() <= 1 + 1e-6 and np.mean(labels) == pytest.approx(0.5, abs=0.03)
    for column in (0, 1):
        np.testing.assert_array_equal(x[:, column] > 0, labels)
        assert np.abs(x[:, column]).min() >= 0.1 - 1e-6
    for column, count in ((2, 3), (3, 5), (4, 5), (5, 7), (6, 7)):
        slab = slab_of(x[:, column], count)
        np.testing.assert_array_equal((slab - (count - 1) // 2) % 2, labels)
        assert len(np.unique(slab)) == count
        assert np.corrcoef(x[:, column], labels)[0, 1] == pytest.approx(0, abs=0.06)  # none is linear
    np.testing.assert_array_equal(factors["slab"], slab_of(x[:, 2], 3))


def test_masses_of_the_slabs_are_the_published_ones():
    labels, x, _ = load(data=dataclasses.replace(DATA, train=20_000), slabs3=0)
    five, seven = slab_of(x[:, 2], 5), slab_of(x[:, 4], 7)
    masses = [
        np.bincount(slab[labels == label], minlength=7) / np.sum(labels == label)
        for slab, label in ((five, 0), (five, 1), (seven, 0), (seven, 1))
    ]
    expected = [
        [1 / 8, 0, 3 / 4, 0, 1 / 8, 0, 0],
        [0, 1 / 2, 0, 1 / 2, 0, 0, 0],
        [0, 1 / 4, 0, 1 / 2, 0, 1 / 4, 0],
        [1 / 16, 0, 7 / 16, 0, 7 / 16, 0, 1 / 16],
    ]
    np.testing.assert_allclose(masses, expected, atol=0.02)


def test_coordinates_are_independent_given_the_label():
    labels, x, _ = load(data=dataclasses.replace(DATA, train=20_000))
    for label in (0, 1):
        correlations = np.corrcoef(x[labels == label].T)
        assert np.abs(correlations - np.eye(7)).max() < 0.05


@pytest.mark.parametrize(
    "randomise, free",
    [(("linear",), (0, 1)), (("slabs",), (2, 3, 4, 5, 6)), (("slabs5",), (3, 4)), (("linear", "slabs7"), (0, 1, 5, 6))],
)
def test_a_randomised_block_says_nothing_and_keeps_its_own_law(randomise, free):
    labels, x, factors = load(randomise)
    plain_labels, plain, _ = load()
    np.testing.assert_array_equal(labels, plain_labels)
    kept = [column for column in range(7) if column not in free]
    np.testing.assert_allclose(x[:, kept], plain[:, kept], atol=1e-5)
    blocks = dict(zip(range(7), ("linear", "linear", "slabs3", "slabs5", "slabs5", "slabs7", "slabs7"), strict=True))
    for column in free:
        count = {"linear": 0, "slabs3": 3, "slabs5": 5, "slabs7": 7}[blocks[column]]
        said = (slab_of(x[:, column], count) - (count - 1) // 2) % 2 if count else x[:, column] > 0
        np.testing.assert_array_equal(said, factors[blocks[column]])  # the whole block is drawn for one label
        assert np.mean(said == labels) == pytest.approx(0.5, abs=0.04)
        for moment in (np.mean, np.std):
            assert moment(x[:, column]) == pytest.approx(moment(plain[:, column]), abs=0.05)


def test_noise_leaves_linear_values_within_the_margin():
    labels, x, _ = load(noise=0.1, linear=1)
    silent = np.abs(x[:, 0]) < 0.1 - 1e-6
    assert silent.mean() == pytest.approx(0.1, abs=0.02)
    assert np.mean((x[silent, 0] > 0) == labels[silent]) == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal((x[:, 0] > 0)[~silent], labels[~silent])


def test_the_rotation_is_one_for_all_splits_and_hides_the_coordinates():
    w = slabs.rotation(SlabsSpec(seed=3))
    np.testing.assert_allclose(w @ w.T, np.eye(50), atol=1e-12)
    assert np.abs(w).max() < 0.9
    np.testing.assert_array_equal(slabs.rotation(SlabsSpec(rotate=False)), np.eye(50))
    assert not np.array_equal(w, slabs.rotation(SlabsSpec(seed=4)))


def test_items_depend_on_their_id_alone():
    spec = SlabsSpec(**ALL)
    short, long = (slabs.load(spec, dataclasses.replace(DATA, train=n)).splits["train"] for n in (40, 60))
    np.testing.assert_array_equal(long.fetch(np.array([39, 3])), short.fetch(np.array([39, 3])))
    parts = slabs.load(spec, DATA).splits
    items = np.concatenate([parts[split].fetch(np.arange(10)) for split in SPLITS])
    assert len(np.unique(items, axis=0)) == 40


def test_as_a_component_it_has_classes_and_vectors():
    made = component.load("c", ComponentSpec({"name": "slabs", "slabs5": 3}, randomise=("linear",)), DATA)
    assert made.num_classes == 2 and made.shape == (4,) and made.reading.shape == ()
    other = component.load("c", ComponentSpec({"name": "slabs", "slabs5": 3}), dataclasses.replace(DATA, image_size=64))
    plain = component.load("c", ComponentSpec({"name": "slabs", "slabs5": 3}), DATA)
    assert made.fingerprints["train"] != plain.fingerprints["train"] == other.fingerprints["train"]


@pytest.mark.parametrize(
    "fields, key",
    [
        ({"slabs5": -1}, "slabs5"),
        ({"linear": 0, "slabs5": 0}, "linear"),
        ({"margin": 0.2}, "margin"),
        ({"noise": 2.0}, "noise"),
    ],
)
def test_mistakes(fields, key):
    with pytest.raises(UserError, match=f"source.{key}"):
        component.load("c", ComponentSpec({"name": "slabs", **fields}), DATA)
