import dataclasses

import numpy as np
import pytest

from bottleneck.data import factors
from bottleneck.data.source import SPLITS, DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=16, train=400, probe=50, val=30, test=60)


def load(data=DATA, randomise=(), **fields):
    return factors.load(factors.FactorsSpec(**fields), data, randomise)


@pytest.mark.parametrize("values, reliability", [(2, 1.0), (2, 0.0), (2, 0.9), (8, 0.5), (8, 0.125)])
def test_reliability_is_the_probability_of_the_label(values, reliability):
    data = dataclasses.replace(DATA, train=20_000)
    train = load(data, values=values, reliability={"shape": reliability}).splits["train"]
    assert np.mean(train.factors["shape"] == train.labels) == pytest.approx(reliability, abs=0.015)
    wrong = train.factors["shape"] != train.labels
    others = np.bincount((train.factors["shape"] - train.labels)[wrong] % values, minlength=values)[1:]
    if 0 < reliability < 1:
        np.testing.assert_allclose(others / others.sum(), 1 / (values - 1), atol=0.03)
    for free in ("colour", "texture", "background"):  # no reliability: independent of the label
        assert np.mean(train.factors[free] == train.labels) == pytest.approx(1 / values, abs=0.015)
    np.testing.assert_allclose(np.bincount(train.labels) / 20_000, 1 / values, atol=0.015)


def test_images_do_not_depend_on_the_order_or_size_of_a_fetch():
    train = load(values=8, reliability={"shape": 1.0}).splits["train"]
    every = train.fetch(np.arange(400))
    assert every.shape == (400, 16, 16, 3) and every.dtype == np.uint8
    rows = np.random.default_rng(0).permutation(400)[:70]
    np.testing.assert_array_equal(train.fetch(rows), every[rows])
    np.testing.assert_array_equal(train.fetch(rows[:1]), every[rows[:1]])
    longer = load(dataclasses.replace(DATA, train=500), values=8, reliability={"shape": 1.0}).splits["train"]
    np.testing.assert_array_equal(longer.fetch(np.arange(400)), every)


def test_splits_and_seeds_share_no_image():
    first, second = load(), load(seed=1)
    other = load(dataclasses.replace(DATA, split_seed=1))
    ids = np.concatenate([first.splits[split].ids for split in SPLITS])
    assert len(np.unique(ids)) == len(ids) == 540
    images = [
        source.splits[split].fetch(np.arange(30)).reshape(30, -1)
        for source in (first, second, other)
        for split in SPLITS
    ]
    assert len(np.unique(np.concatenate(images), axis=0)) == 3 * 4 * 30


def test_randomising_a_factor_changes_nothing_else():
    reliability = {"colour": 0.9, "texture": 1.0}
    kept = load(reliability=reliability).splits["train"]
    redrawn = load(reliability=reliability, randomise=("colour",)).splits["train"]
    assert np.mean(redrawn.factors["colour"] == redrawn.labels) == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(kept.labels, redrawn.labels)
    for factor in ("shape", "texture", "background"):
        np.testing.assert_array_equal(kept.factors[factor], redrawn.factors[factor])
    same = kept.factors["colour"] == redrawn.factors["colour"]
    images, images_ = kept.fetch(np.arange(400)), redrawn.fetch(np.arange(400))
    np.testing.assert_array_equal(images[same], images_[same])
    assert all(np.any(a != b) for a, b in zip(images[~same], images_[~same]))


@pytest.mark.parametrize("size", [16, 32, (24, 40)])
@pytest.mark.parametrize("factor", factors.FACTORS)
def test_every_value_of_every_factor_can_be_seen(factor, size):
    """Without nuisance the eight values of a factor give clearly different images, all else being equal."""
    spec = factors.FactorsSpec(values=8, noise=0, position=0, size=(0.55, 0.55), orientation=0, shading=0.1)
    data = dataclasses.replace(DATA, image_size=size)
    codes = {name: np.full(8, 3, np.int32) for name in factors.FACTORS}
    codes[factor] = np.arange(8, dtype=np.int32)
    images = factors._render(spec, ("k",), data.shape, np.zeros(8, np.int32), codes).astype(float)
    differences = np.abs(images[:, None] - images[None]).mean(axis=(2, 3, 4)) + 255 * np.eye(8)
    assert differences.min() > 1.5


def test_shapes_have_equal_area():
    """So that the object's mass does not announce its shape."""
    grid = (np.arange(400) + 0.5) / 200 - 1
    x, y = (part[None].astype(np.float32) for part in np.meshgrid(grid, grid))
    for shape in factors._SHAPES:
        assert np.mean(shape(x, y) < 0) * 4 == pytest.approx(1, abs=0.02)


def test_noise_has_the_standard_deviation_asked_for():
    quiet, noisy = (load(noise=noise, seed=2).splits["train"].fetch(np.arange(200)) for noise in (0, 0.1))
    change = noisy.astype(float) - quiet
    inside = (quiet > 80) & (quiet < 170)
    assert change[inside].std() == pytest.approx(25.5, rel=0.03)
    assert change[inside].mean() == pytest.approx(0, abs=0.5)


def test_mistakes_are_named():
    for fields, key in (
        ({"reliability": {"hue": 1.0}}, "reliability.hue"),
        ({"values": 9}, "values"),
        ({"reliability": {"shape": 1.1}}, "reliability.shape"),
        ({"noise": -1.0}, "noise"),
        ({"position": 0.7}, "position"),
        ({"size": (0.5, 0.4)}, "size"),
    ):
        with pytest.raises(UserError) as caught:
            factors.FactorsSpec(**fields)
        assert caught.value.key == key
    with pytest.raises(UserError, match="sizes.train"):
        load(DataSpec())


def test_bayes_of_images_that_say_nothing():
    (kinds,) = factors.bayes({"null": {}}, {"null": 1.0}, values=4).values()
    assert set(kinds) == {"direct", "shared", "heads"}
    assert all(kind == {"accuracy": 0.25, "bits": 0.0} for kind in kinds.values())


def test_bayes_of_the_opposed_pair():
    answers = factors.bayes({"p": {"shape": 1.0}, "m": {"shape": 0.0}}, {"p": 0.5, "m": 0.5})
    for name in "pm":
        assert answers[name]["direct"] == answers[name]["heads"] == {"accuracy": 1.0, "bits": 1.0}
        assert answers[name]["shared"] == pytest.approx({"accuracy": 0.5, "bits": 0.0})


def test_bayes_of_competition():
    """Ten classes, a common feature (0.9), three private ones: 0.179 nats, 0.545 without them."""
    private = ("shape", "texture", "background")
    weights = dict.fromkeys(private, 1 / 3)
    with_ = factors.bayes({f: {"colour": 0.9, f: 1.0} for f in private}, weights, values=10)
    lost = [(np.log2(10) - with_[f]["shared"]["bits"]) * np.log(2) for f in private]
    assert np.mean(lost) == pytest.approx(0.179, abs=0.001)
    alone = factors.bayes({"c": {"colour": 0.9}}, {"c": 1.0}, values=10)["c"]["direct"]
    assert (np.log2(10) - alone["bits"]) * np.log(2) == pytest.approx(0.545, abs=0.001)
    assert alone["accuracy"] == pytest.approx(0.9)


def test_bayes_against_simulation():
    reliabilities = {"a": {"shape": 0.8, "colour": 0.6}, "b": {"colour": 0.9}}
    weights, rng = {"a": 0.7, "b": 0.3}, np.random.default_rng(0)
    answer = factors.bayes(reliabilities, weights, values=3)["a"]["shared"]
    labels = rng.integers(3, size=200_000)
    shown = {
        f: np.where(rng.random(200_000) < r, labels, (labels + rng.integers(1, 3, 200_000)) % 3)
        for f, r in reliabilities["a"].items()
    }

    def likelihood(name, label):
        chance = {f: reliabilities[name].get(f, 1 / 3) for f in shown}
        return np.prod([np.where(shown[f] == label, r, (1 - r) / 2) for f, r in chance.items()], axis=0)

    posterior = np.stack([sum(w * likelihood(name, k) for name, w in weights.items()) for k in range(3)])
    posterior /= posterior.sum(axis=0)
    assert np.mean(posterior.argmax(axis=0) == labels) == pytest.approx(answer["accuracy"], abs=0.004)
    bits = np.log2(posterior[labels, np.arange(200_000)] * 3).mean()
    assert bits == pytest.approx(answer["bits"], abs=0.01)


def test_bayes_where_the_mixture_excludes_what_happens():
    answer = factors.bayes({"a": {"shape": 1.0}, "b": {"shape": 0.0}}, {"a": 1.0, "b": 0.0})
    assert answer["b"]["shared"] == {"accuracy": 0.0, "bits": -np.inf}
