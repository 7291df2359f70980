import dataclasses

import numpy as np
import pytest

from bottleneck.analysis import eigenbasis, information, logistic, probes, ridge
from bottleneck.errors import UserError

SIZES = {"probe": 300, "val": 200, "test": 250}


def split(x, y):
    edges = np.cumsum([0, *SIZES.values()])
    parts = {name: slice(a, b) for name, a, b in zip(SIZES, edges[:-1], edges[1:])}
    return {name: x[part] for name, part in parts.items()}, {name: y[part] for name, part in parts.items()}


def planted(strength, classes=2, p=20, seed=0):
    """Label direction of a given strength in a random rotation of standard normal features."""
    rng = np.random.default_rng(seed)
    n = sum(SIZES.values())
    labels = rng.integers(0, classes, n)
    x = rng.normal(size=(n, p))
    x[:, :classes] += strength * np.eye(classes)[labels]
    return split(x @ np.linalg.qr(rng.normal(size=(p, p)))[0], labels)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_clean_label_is_read_and_the_probe_maps_back_to_the_features(classes):
    x, y = planted(8.0, classes)
    probe = probes.linear_probe(x, y, classes)
    assert probe.accuracy > 0.98
    assert probe.bits.mean() > 0.95 * np.log2(classes) - 0.1
    assert probe.bits.mean() <= probe.entropy + 0.1
    assert probe.grad_norm < 1e-6
    assert set(probe.scalings) == {"raw", "standardised", "whitened"}
    logits = x["test"] @ probe.weights + probe.intercept
    assert (logits.argmax(1) == probe.predicted).all()
    log_q = information.apply(probe.calibration, logits)
    np.testing.assert_allclose(information.bits(log_q, y["test"], probe.prior), probe.bits, atol=1e-8)
    assert probe.log_loss == pytest.approx(information.log_loss(log_q, y["test"]))
    best = min(probe.scalings.values(), key=lambda condition: condition.val_loss)
    assert (probe.lam, probe.accuracy) == (best.lam, best.accuracy)


def test_an_absent_label_reads_nothing():
    x, y = planted(0.0)
    probe = probes.linear_probe(x, y, 2)
    assert abs(probe.bits.mean()) < 0.03
    assert 0.4 < probe.accuracy < 0.6


def test_the_chosen_penalty_beats_its_neighbours_on_validation():
    x, y = planted(1.5)
    probe = probes.linear_probe(x, y, 2, scalings=("raw",))
    space = probes.basis(x["probe"])
    val = space.project(x["val"])
    losses = {}
    for lam in probes.GRID[::2]:
        fit = probes.logistic(space, y["probe"], lam, num_classes=2)
        losses[lam] = information.log_loss(information.log_softmax(val @ fit.weights + fit.intercept), y["val"])
    assert losses[probe.lam] <= min(losses.values()) + 2 * probes.FLAT
    assert probe.at_edge == ""


def test_an_optimum_on_the_edge_of_the_grid_is_flagged():
    x, y = planted(1.5)
    assert probes.linear_probe(x, y, 2, scalings=("raw",), lambdas=(1.0, 10.0, 100.0)).at_edge == "weak"
    assert probes.linear_probe(x, y, 2, scalings=("raw",), lambdas=(1e-6, 1e-5, 1e-4)).at_edge == "strong"


def test_scalings_that_val_did_not_choose_need_not_be_read():
    x, y = planted(1.0)
    whole, chosen = (probes.linear_probe(x, y, 2, rejected=rejected) for rejected in (True, False))
    assert list(chosen.scalings) == [whole.scaling] and len(whole.scalings) == 3
    assert chosen.scalings[chosen.scaling] == whole.scalings[whole.scaling]
    np.testing.assert_array_equal(chosen.bits, whole.bits)


@pytest.mark.parametrize("scaling", probes.SCALINGS)
def test_guard_of_chunks_is_that_of_all_items(scaling, monkeypatch):
    x, y = planted(1.0, 3)
    probe = probes.linear_probe(x, y, 3, scalings=(scaling,))
    kernel = np.random.default_rng(0).normal(size=(20, 3))
    whole = probes.guard(probe, x["probe"], y["probe"], kernel)
    monkeypatch.setattr(eigenbasis, "CHUNK", 500)
    pieces = probes.guard(probe, x["probe"], y["probe"], kernel)
    assert (pieces.probe, pieces.head) == pytest.approx((whole.probe, whole.head), rel=1e-12)


def test_the_test_split_decides_nothing():
    x, y = planted(1.0)
    probe = probes.linear_probe(x, y, 2)
    other = probes.linear_probe(x | {"test": x["test"][::-1] * 3}, y | {"test": 1 - y["test"]}, 2)
    assert (probe.scaling, probe.lam) == (other.scaling, other.lam)
    np.testing.assert_array_equal(probe.weights, other.weights)
    assert probe.calibration.temperature == other.calibration.temperature


def test_a_tiny_rotated_direction_is_found():
    """Finding 6 of the measuring literature: a badly conditioned probe would invent a lost feature here."""
    rng = np.random.default_rng(0)
    n, p = sum(SIZES.values()), 30
    labels = rng.integers(0, 2, n)
    z = rng.normal(size=(n, p)) / np.arange(1, p + 1)
    z[:, -1] = 1e-3 * ((2 * labels - 1) + 0.3 * rng.normal(size=n))
    x, y = split(z @ np.linalg.qr(rng.normal(size=(p, p)))[0], labels)
    probe = probes.linear_probe(x, y, 2)
    assert probe.accuracy > 0.98 and probe.scalings["whitened"].accuracy > 0.98


def test_regression_is_read_by_ridge():
    x, _ = planted(8.0, 3)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(20, 2))
    targets = {name: values @ kernel + 0.1 * rng.normal(size=(len(values), 2)) for name, values in x.items()}
    probe = probes.linear_probe(x, targets, task="regression")
    assert probe.accuracy is None and probe.correct is None and probe.entropy == 1.0
    assert probe.bits.mean() > 0.99
    np.testing.assert_allclose(x["test"] @ probe.weights + probe.intercept, probe.predicted, atol=1e-8)
    shuffled = {name: rng.permutation(values) for name, values in targets.items()}
    assert abs(probes.linear_probe(x, shuffled, task="regression").bits.mean()) < 0.1


def test_more_features_than_items():
    x, y = planted(6.0, 3, p=700)
    probe = probes.linear_probe(x, y, 3)
    assert probe.accuracy > 0.8 and probe.weights.shape == (700, 3)


@pytest.mark.parametrize("scaling", probes.SCALINGS)
def test_guard_passes_a_solved_probe_and_catches_a_broken_one(scaling):
    x, y = planted(3.0, 3)
    probe = probes.linear_probe(x, y, 3, scalings=(scaling,))
    rng = np.random.default_rng(0)
    result = probes.guard(probe, x["probe"], y["probe"], rng.normal(size=(20, 3)), rng.normal(size=3))
    assert result.holds and result.probe < result.head
    # what the solver minimised, computed anew from the weights on raw features
    space = eigenbasis.basis(x["probe"], "raw" if scaling == "raw" else "standardised")
    shrunk = scaling == "whitened"
    lam, shrinkage = (ridge.WHITENED_PENALTY, probe.lam) if shrunk else (probe.lam, None)
    fit = logistic.logistic(space, y["probe"], lam, num_classes=3, shrinkage=shrinkage)
    assert result.probe == pytest.approx(fit.objective, rel=1e-6)
    # its own weights are a head with exactly the probe's objective, whatever is added to all classes
    same = probes.guard(probe, x["probe"], y["probe"], probe.weights + 7.0, probe.intercept)
    assert same.holds and same.head == pytest.approx(same.probe, rel=1e-6)
    broken = dataclasses.replace(probe, weights=0.8 * probe.weights)
    assert not probes.guard(broken, x["probe"], y["probe"], probe.weights, probe.intercept).holds


def test_guard_compares_like_with_like():
    x, y = planted(3.0, 3)
    probe = probes.linear_probe(x, y, 3)
    for kernel, items in (
        (np.zeros((20, 6)), x["probe"]),  # the head of two components side by side
        (np.zeros((40, 3)), x["probe"]),  # the features of two networks
        (np.zeros((20, 3)), x["probe"][:, :7]),  # reduced features
    ):
        with pytest.raises(UserError, match="kernel"):
            probes.guard(probe, items, y["probe"], kernel)


def test_k_shot_takes_k_of_every_class_and_is_keyed_by_seed_and_draw():
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    chosen = probes.k_shot(labels, 5, 0)
    assert (np.bincount(labels[chosen]) == 5).all() and len(set(chosen)) == 15
    np.testing.assert_array_equal(chosen, probes.k_shot(labels, 5, 0, 0))
    keys = {tuple(probes.k_shot(labels, 5, seed, draw)) for seed in range(4) for draw in range(4)}
    assert len(keys) == 16  # no draw of one seed is a draw of another
    assert set(probes.k_shot(labels, 2, 3, 1)) < set(probes.k_shot(labels, 5, 3, 1))
    with pytest.raises(UserError, match="k_shot"):
        probes.k_shot(labels, 11, 0)


def test_the_null_is_the_prior_unless_another_is_given():
    x, y = planted(1.0, 3)
    probe, p = probes.linear_probe(x, y, 3), information.null(y, 3)
    np.testing.assert_array_equal(probe.prior, p)
    np.testing.assert_array_equal(probe.calibration.prior, p)  # the mixing partner too
    assert probe.entropy == information.entropy(p)


def test_a_few_shot_probe_uses_the_prior_it_is_given():
    x, y = planted(4.0)
    chosen = probes.k_shot(y["probe"], 5, 0)
    few = probes.linear_probe(x | {"probe": x["probe"][chosen]}, y | {"probe": y["probe"][chosen]}, 2, prior=[0.3, 0.7])
    assert few.entropy == pytest.approx(information.entropy([0.3, 0.7]))
    assert few.accuracy > 0.7


def test_majority():
    assert probes.majority([0, 1, 1], [1, 1, 0, 1]) == 0.75


def test_pool_pixels_averages_windows_also_uneven_ones():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3)).astype(np.uint8)
    pooled = probes.pool_pixels(images)
    assert pooled.shape == (3, 14 * 14 * 3)
    np.testing.assert_allclose(pooled[0].reshape(14, 14, 3)[2, 3], images[0, 4:6, 6:8].mean((0, 1)) / 255)
    uneven = probes.pool_pixels(images[:, :5, :7], limit=6 * 3)
    assert uneven.shape == (3, 2 * 3 * 3)
    np.testing.assert_allclose(uneven[0].reshape(2, 3, 3)[1, 2], images[0, 3:5, 6:7].mean((0, 1)) / 255)
    assert probes.pool_pixels(images[:, :4, :4]).shape == (3, 48)


def test_a_grid_may_have_one_penalty():
    rng = np.random.default_rng(0)
    x = {split: rng.normal(size=(40, 3)) for split in ("probe", "val", "test")}
    y = {split: (x[split][:, 0] > 0).astype(int) for split in x}
    assert probes.linear_probe(x, y, 2, scalings=("raw",), lambdas=(0.01,)).lam == 0.01
