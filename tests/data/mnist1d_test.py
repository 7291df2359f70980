"""MNIST-1D against the published steps written one item at a time."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bottleneck.data import component, mnist1d
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec

DATA = DataSpec(train=3000, probe=20, val=10, test=30)


def load(data=DATA, **fields):
    train = mnist1d.load(mnist1d.Mnist1dSpec(**fields), data).splits["train"]
    return train.labels, train.fetch(np.arange(len(train)))


def one(curve, rng):
    """An item by the steps of the paper, with NumPy's own interpolation."""
    x = np.concatenate([curve + 1e-8, np.zeros(rng.integers(36, 61))])
    x = np.interp(np.linspace(0, 1, 72), np.linspace(0, 1, len(x)), x) * (1 + 0.4 * (rng.random() - 0.5))
    x = np.roll(x, rng.integers(48))
    x = np.where(x != 0, x, gaussian_filter(0.25 * rng.standard_normal(72), 2)) + 0.02 * rng.standard_normal(72)
    x = x - 0.75 * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, 72)
    return np.interp(np.linspace(0, 1, 40), np.linspace(0, 1, 72), x)


def test_items_are_distributed_as_the_published_ones():
    labels, x = load()
    rng = np.random.default_rng(0)
    expected = np.stack([one(mnist1d.curves()[label], rng) for label in labels])
    expected = (expected - expected.mean()) / expected.std()
    assert x.dtype == np.float32 and abs(x.mean()) < 0.03 and x.std() == pytest.approx(1, abs=0.03)
    for digit in range(10):
        ours, theirs = x[labels == digit], expected[labels == digit]
        np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.3)
        np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), atol=0.3)
        changes = [np.quantile(np.diff(z), np.linspace(0.05, 0.95, 10)) for z in (ours, theirs)]
        np.testing.assert_allclose(*changes, atol=0.06)


def test_without_chance_an_item_is_its_curve(monkeypatch):
    for name, value in (("_PADDING", (60, 60)), ("_SCALE", 0), ("_SHEAR", 0), ("_SHIFT", 1), ("_SMOOTH_NOISE", 0),
                        ("_NOISE", 0), ("_MEAN", 0), ("_STD", 1)):  # fmt: skip
        monkeypatch.setattr(mnist1d, name, value)
    labels, x = load(dataclasses.replace(DATA, train=10))
    expected = [np.concatenate([curve, np.zeros(60)]) for curve in mnist1d.curves()[labels]]
    at = np.linspace(0, 71, 40)
    np.testing.assert_allclose(x, [np.interp(at, np.arange(72), row) for row in expected], atol=1e-6)


def test_shuffling_is_one_permutation_of_the_samples():
    (labels, x), (again, shuffled) = load(), load(shuffled=True)
    np.testing.assert_array_equal(labels, again)
    np.testing.assert_array_equal(np.sort(x, axis=1), np.sort(shuffled, axis=1))
    order = [int(np.flatnonzero((x == column[:, None]).all(axis=0))[0]) for column in shuffled.T]
    assert sorted(order) == list(range(40)) and order != list(range(40))
    assert not np.array_equal(load(seed=1)[1], x)


def test_classes_are_balanced_and_items_depend_on_their_id_alone():
    labels, x = load()
    assert set(np.bincount(labels)) == {300}
    np.testing.assert_array_equal(load(dataclasses.replace(DATA, train=40))[1], x[:40])
    made = component.load("c", ComponentSpec({"name": "mnist1d"}), DATA)
    assert made.num_classes == 10 and made.shape == (40,)
