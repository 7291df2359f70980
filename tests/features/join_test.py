"""Members side by side, and their reductions."""

import tracemalloc
import types

import numpy as np

from bottleneck.analysis import eigenbasis
from bottleneck.features import join
from bottleneck.features.source import SPLITS, Arrays, Member

SIZES = {"probe": 200, "val": 7, "test": 9}


def store(features):
    """A store that knows the features of sources, by name, and counts what it had to compute."""
    held, known = {}, types.SimpleNamespace(features=lambda source, layer, component: features[source.name], made=0)

    def remember(key, compute):
        if key not in held:
            held[key], known.made = compute(), known.made + 1
        return held[key]

    known.remember = remember
    return known


def members(*names):
    return tuple(Member(Arrays(name, "nowhere", name)) for name in names)


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


COMPONENT = types.SimpleNamespace(fingerprints={"probe": "items"})


def planted(seed=0, scale=(1, 10, 100, 1, 1, 0.1)):
    """Two directions in six units of very different scales, and a dead unit."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, 6))
    plain = {s: (rng.normal(size=(n, 2)) @ mixing * np.array(scale) + 5) for s, n in SIZES.items()}
    return {s: np.column_stack([x, np.ones(len(x))]) for s, x in plain.items()}


def test_principal_components_are_those_of_standardised_members():
    """Of the probe split; a member of more units does not weigh more."""
    narrow, wide = planted(0), planted(1)
    wide = {s: np.tile(x[:, :6], 3) * 1000 for s, x in wide.items()}
    reduced = join.collect(store({"a": narrow, "b": wide}), members("a", "b"), COMPONENT, "pca")
    whole = [join.standardised(block) for block in (narrow, wide)]
    spread = [(block["probe"] ** 2).sum(1).mean() for block in whole]
    np.testing.assert_allclose(spread, [6 / 7, 1.0])  # of the narrow one a unit is dead
    both = np.concatenate([block["probe"] for block in whole], axis=1)
    values = np.linalg.eigvalsh(np.cov(both.T, bias=True))[::-1][:4]
    assert {split: x.shape for split, x in reduced.items()} == {split: (n, 4) for split, n in SIZES.items()}
    np.testing.assert_allclose(np.cov(reduced["probe"].T, bias=True), np.diag(values), atol=1e-9)
    # All there is in 24 units lies in four directions, on other splits too: distances survive.
    test = np.concatenate([block["test"] for block in whole], axis=1)
    np.testing.assert_allclose(np.linalg.norm(reduced["test"], axis=1), np.linalg.norm(test, axis=1))


def test_standardised_members_are_made_by_chunks_in_one_array(monkeypatch):
    """To the bits of whole copies where all fits into a chunk."""
    blocks = [{s: x.astype(np.float32) for s, x in planted(seed).items()} for seed in (0, 1)]
    whole = []
    for block in blocks:
        probe = block["probe"].astype(np.float64)
        mean = probe.mean(0)
        scale = join.inverse_spread(((probe - mean) ** 2).mean(0), mean) / np.sqrt(probe.shape[1])
        whole.append({split: (x - mean) * scale for split, x in block.items()})
    expected = join.joined(whole)
    made = join.standardised(*blocks)
    for split in SPLITS:
        np.testing.assert_array_equal(made[split], expected[split])
    monkeypatch.setattr(eigenbasis, "CHUNK", 50)
    for split, x in join.standardised(*blocks).items():
        np.testing.assert_allclose(x, expected[split], rtol=1e-9, atol=1e-9)


def test_of_large_members_no_copies_are_held():
    blocks = [{s: np.ones((60_000 if s == "probe" else 5, 64), np.float32) for s in SPLITS} for _ in range(4)]
    tracemalloc.start()
    made = join.standardised(*blocks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made["probe"].nbytes <= peak < 1.6 * made["probe"].nbytes


def test_whitened_components_are_the_same_of_variance_1():
    given = store({"a": planted(0), "b": planted(1)})
    pca, whitened = (join.collect(given, members("a", "b"), COMPONENT, kind) for kind in ("pca", "whitened"))
    np.testing.assert_allclose(np.cov(whitened["probe"].T, bias=True), np.eye(4), atol=1e-9)
    for split in SPLITS:
        np.testing.assert_allclose(pca[split] / pca["probe"].std(0), whitened[split])
    assert given.made == 1  # one decomposition for both


def test_more_units_than_items_reduce_alike():
    """Through the items' products or the units': the same components."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 80))
    directions, variances = join.principal(x, 5)
    _, values, right = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(variances, values[:5] ** 2 / 30)
    np.testing.assert_allclose(np.abs(directions.T @ right[:5].T), np.eye(5), atol=1e-8)


def test_a_random_projection_is_its_sets_own():
    given = store({"a": planted(0), "b": planted(1)})
    first, again, other = (join.collect(given, members("a", "b"), COMPONENT, "random", seed) for seed in (0, 0, 1))
    assert first["val"].shape == (7, 7)
    np.testing.assert_array_equal(first["val"], again["val"])
    assert np.abs(first["val"] - other["val"]).max() > 0.1


def test_a_reduction_has_at_most_as_many_dimensions_as_one_member():
    rng = np.random.default_rng(0)
    wide = {s: rng.normal(size=(n, 9)) for s, n in SIZES.items()}
    features = {"a": {s: x[:, :3] for s, x in wide.items()}, "b": wide}
    for kind in ("pca", "whitened", "random"):
        assert join.collect(store(features), members("a", "b"), COMPONENT, kind)["test"].shape == (9, 3)
        assert join.collect(store(features), members("a"), COMPONENT, kind)["test"].shape == (9, 3)
        assert join.collect(store(features), members("a", "b"), COMPONENT, f"{kind}@2")["test"].shape == (9, 2)


def test_as_many_components_as_items_reduce_nothing():
    """Why a reduction may be asked to stay below a share of the items: all of them keep every probe item apart."""
    rng = np.random.default_rng(0)
    wide = {s: rng.normal(size=(n, 300)) for s, n in SIZES.items()}
    features = {"a": wide, "b": {s: rng.normal(size=x.shape) for s, x in wide.items()}}
    whole = join.standardised(*features.values())["probe"]
    kept, few = (join.collect(store(features), members("a", "b"), COMPONENT, how)["probe"] for how in ("pca", "pca@50"))
    np.testing.assert_allclose(kept @ kept.T, whole @ whole.T, atol=1e-9)
    assert few.shape == (200, 50) and np.trace(few @ few.T) < 0.7 * np.trace(whole @ whole.T)


def test_equal_dimensions_are_no_more_than_the_first_alone_can_fill():
    """Constant units and copies of units are no dimensions: with itself, or beside another, the first has as many."""
    rng = np.random.default_rng(0)
    wide = {s: rng.normal(size=(n, 40)) for s, n in SIZES.items()}
    dead = {s: np.concatenate([x[:, :5], x[:, :5], np.zeros((len(x), 30))], axis=1) for s, x in wide.items()}
    given = store({"a": dead, "b": wide})
    for names, dim in ((("a", "b"), 5), (("a", "a"), 5), (("b", "a"), 20), (("b", "b"), 20)):
        for kind in ("pca@20", "whitened@20"):
            assert join.collect(given, members(*names), COMPONENT, kind)["test"].shape == (9, dim)
