"""Two moons against scikit-learn's, put through the published construction."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import make_moons

from bottleneck.data import component, moons
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(train=20_000, probe=20, val=10, test=30)


def load(randomise=(), data=DATA, **fields):
    train = moons.load(moons.MoonsSpec(**fields), data, randomise).splits["train"]
    return train.labels, train.fetch(np.arange(len(train))), train.factors


def published(margin):
    """The construction of the released code, on scikit-learn's moons."""
    x, y = make_moons(20_000, noise=0.1, random_state=0)
    sign = 2 * y - 1
    height = x[:, 1] - 0.3 * sign
    height = height - height.mean()
    return y, np.stack([-sign * (np.abs(height) + margin), x[:, 0] - 0.5], axis=1)


@pytest.mark.parametrize("margin", [-0.1, 0.1])
def test_they_are_distributed_as_the_published_ones(margin):
    (labels, x, _), (y, expected) = load(margin=margin), published(margin)
    assert labels.mean() == 0.5 and x.dtype == np.float32
    for label in (0, 1):
        ours, theirs = x[labels == label], expected[y == label]
        at = np.linspace(0.05, 0.95, 10)
        np.testing.assert_allclose(np.quantile(ours, at, axis=0), np.quantile(theirs, at, axis=0), atol=0.05)
        np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.02)


def test_with_a_margin_one_coordinate_says_the_label_and_without_it_does_not():
    labels, x, _ = load(margin=0.1)
    np.testing.assert_array_equal(x[:, 0] < 0, labels)
    labels, x, _ = load(margin=-0.1)
    assert 0.8 < np.mean((x[:, 0] < 0) == labels) < 0.97


@pytest.mark.parametrize("name, column", [("separating", 0), ("along", 1)])
def test_a_randomised_coordinate_is_independent_of_all_else(name, column):
    labels, x, factors = load((name,))
    plain_labels, plain, _ = load()
    np.testing.assert_array_equal(labels, plain_labels)
    np.testing.assert_array_equal(x[:, 1 - column], plain[:, 1 - column])
    assert abs(np.corrcoef(x[:, column], labels)[0, 1]) < 0.03 and abs(np.corrcoef(np.abs(x).T)[0, 1]) < 0.03
    np.testing.assert_allclose(*(np.quantile(z[:, column], np.linspace(0.05, 0.4, 8)) for z in (x, plain)), atol=0.05)
    assert np.mean(factors[name] == labels) == pytest.approx(0.5, abs=0.02)


def test_items_depend_on_their_id_alone():
    short, long = (load(data=dataclasses.replace(DATA, train=n))[1] for n in (40, 60))
    np.testing.assert_array_equal(long[:40], short)
    assert not np.array_equal(load(data=dataclasses.replace(DATA, train=40), seed=1)[1], short)


def test_mistakes():
    with pytest.raises(UserError, match="source.noise"):
        component.load("c", ComponentSpec({"name": "moons", "noise": -1.0}), DATA)
