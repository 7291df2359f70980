"""Members side by side, and their principal components."""

import types

import numpy as np

from bottleneck.features import join
from bottleneck.features.source import SPLITS, Member, Pixels

SIZES = {"probe": 200, "val": 7, "test": 9}


def store(features):
    """A store that knows the features of sources, by name."""
    return types.SimpleNamespace(features=lambda source, layer, component: features[source.name])


def members(*names):
    return tuple(Member(Pixels(name)) for name in names)


def test_members_stand_side_by_side_in_their_order():
    features = {
        name: {s: np.full((4, width), width, np.float32) for s in SPLITS} for name, width in (("a", 2), ("b", 3))
    }
    joined = join.collect(store(features), members("a", "b"), None)
    assert tuple(joined) == SPLITS and all(x.shape == (4, 5) for x in joined.values())
    np.testing.assert_array_equal(joined["val"][0], [2, 2, 3, 3, 3])
    assert joined["val"].dtype == np.float32
    assert join.collect(store(features), members("b"), None) is features["b"]
    assert join.collect(store(features), members("a", "a", "b"), None)["test"].shape == (4, 7)


def planted():
    """Two directions in six units of very different scales, and a dead unit."""
    rng = np.random.default_rng(0)
    mixing, scale = rng.normal(size=(2, 6)), np.array([1, 10, 100, 1, 1, 0.1])
    plain = {s: (rng.normal(size=(n, 2)) @ mixing * scale + 5).astype(np.float32) for s, n in SIZES.items()}
    return {s: np.column_stack([x, np.ones(len(x), np.float32)]) for s, x in plain.items()}


def test_principal_components_are_those_of_the_standardised_probe_split():
    features = planted()
    reduced = join.principal(features, 2)
    probe = features["probe"][:, :6].astype(float)
    mean, deviation = probe.mean(0), probe.std(0)
    values = np.linalg.eigvalsh(np.cov(((probe - mean) / deviation).T, bias=True))[::-1]
    assert {split: x.shape for split, x in reduced.items()} == {split: (n, 2) for split, n in SIZES.items()}
    np.testing.assert_allclose(np.cov(reduced["probe"].T, bias=True), np.diag(values[:2]), atol=1e-4)
    np.testing.assert_allclose(reduced["probe"].mean(0), 0, atol=1e-6)
    # All there is in six units lies in two directions, on other splits too: their distances survive.
    whole = (features["test"][:, :6] - mean) / deviation
    np.testing.assert_allclose(np.linalg.norm(reduced["test"], axis=1), np.linalg.norm(whole, axis=1), rtol=1e-3)


def test_a_reduction_has_as_many_dimensions_as_one_member():
    features = {"a": planted(), "b": {s: x[:, :3] * 2 for s, x in planted().items()}}
    reduced = join.collect(store(features), members("a", "b"), None, reduce=True)
    assert reduced["test"].shape == (9, 7)
    single = join.collect(store(features), members("a"), None, reduce=True)
    assert single["test"].shape == (9, 7)
