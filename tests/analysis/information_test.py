import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from bottleneck.analysis import information


def test_bits_of_a_perfect_a_useless_and_a_wrong_probe():
    p = np.array([0.25, 0.75])
    labels = np.array([0, 1, 0])
    log_q = np.log(np.array([[1.0, 1e-300], [0.25, 0.75], [0.125, 0.875]]))
    np.testing.assert_allclose(information.bits(log_q, labels, p), [2.0, 0.0, -1.0], atol=1e-12)


def test_prior_is_exact_unless_a_class_is_absent():
    np.testing.assert_allclose(information.prior([0, 0, 1, 2], 3), [0.5, 0.25, 0.25])
    np.testing.assert_allclose(information.prior([0, 0, 1], 3), [2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5])
    assert information.entropy([0.5, 0.5]) == pytest.approx(1.0)
    assert information.entropy([1.0, 0.0]) == 0.0


def test_null_is_the_best_tempering_of_the_frequencies():
    y = {"probe": np.repeat([0, 1, 2], [70, 20, 10]), "val": np.repeat([0, 1, 2], [500, 300, 200])}
    p, frequencies = information.null(y, 3), np.array([70.5, 20.5, 10.5]) / 101.5

    def loss(inverse):
        q = frequencies**inverse / (frequencies**inverse).sum()
        return -np.log(q[y["val"]]).sum() - frequencies @ np.log(q), q

    grid = np.linspace(0.2, 2, 20_001)
    best = grid[np.argmin([loss(inverse)[0] for inverse in grid])]
    np.testing.assert_allclose(p, loss(best)[1], atol=1e-4)
    assert 0 < best < 1  # flattened
    train = np.repeat([0, 1, 2], [500, 300, 200])
    np.testing.assert_allclose(information.null(y, 3, train), np.bincount(train) / 1000, atol=0.01)


def test_null_of_corner_cases():
    y = {"probe": np.array([0, 0, 1]), "val": np.array([0])}
    assert (information.null(y, 3) > 0).all()
    np.testing.assert_allclose(information.null({"probe": np.arange(4), "val": np.zeros(9, int)}, 4), 0.25)
    # val of one class sharpens, but no class becomes impossible: as the rule of succession has it
    y = {"probe": np.repeat([0, 1], [90, 10]), "val": np.zeros(50, int)}
    assert 0.001 < information.null(y, 2)[1] < 0.02
    assert information.entropy(information.null({"probe": np.zeros(50, int), "val": np.zeros(9, int)}, 1)) == 0.0


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_null_is_a_distribution_in_the_order_of_the_frequencies(probe, val):
    p, counts = information.null({"probe": probe, "val": val}, 5), np.bincount(probe, minlength=5)
    assert p.sum() == pytest.approx(1) and (p > 0).all()
    order = np.argsort(counts)
    assert (np.diff(p[order]) >= -1e-12).all()


def test_a_probe_of_useless_features_does_not_beat_the_null():
    """100 items of 10 classes: the raw frequencies lose .05 to .1 bits to a probe that flattens them."""
    rng = np.random.default_rng(0)
    gained = {"raw": [], "null": []}
    for _ in range(200):
        y = {split: rng.integers(0, 10, n) for split, n in (("probe", 100), ("val", 100), ("test", 1000))}
        raw = information.prior(y["probe"], 10)
        for name, p in (("raw", raw), ("null", information.null(y, 10))):
            calibration = information.calibrate(np.tile(np.log(raw), (100, 1)), y["val"], p)
            log_q = information.apply(calibration, np.tile(np.log(raw), (1000, 1)))
            gained[name].append(information.bits(log_q, y["test"], p).mean())
    assert np.mean(gained["raw"]) > 0.03 and abs(np.mean(gained["null"])) < 0.003


def test_calibration_recovers_a_planted_temperature_and_mix():
    rng = np.random.default_rng(0)
    n, p = 40_000, np.array([0.2, 0.3, 0.5])
    logits = rng.normal(size=(n, 3)) * 2
    q = 0.8 * np.exp(information.log_softmax(logits)) + 0.2 * p
    labels = (rng.random((n, 1)) > q.cumsum(1)).sum(1)
    result = information.calibrate(3.0 * logits, labels, p)
    assert result.temperature == pytest.approx(3.0, rel=0.1)
    assert result.mix == pytest.approx(0.2, abs=0.03)
    assert result.val_log_loss < information.log_loss(information.log_softmax(3.0 * logits), labels) - 0.1
    np.testing.assert_allclose(np.exp(information.apply(result, logits)).sum(1), 1.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("useful", [True, False])
def test_calibration_is_never_worse_than_its_stated_bound(scale, useful):
    rng = np.random.default_rng(1)
    n, p = 300, np.full(4, 0.25)
    labels = rng.integers(0, 4, n)
    logits = scale * (np.eye(4)[labels] * useful + rng.normal(size=(n, 4)))
    result = information.calibrate(logits, labels, p)
    uncalibrated = information.log_loss(information.log_softmax(logits), labels)
    assert result.val_log_loss <= uncalibrated + (1 + np.log(n + 1)) / n
    assert result.val_log_loss <= np.log(4) + 1e-6 + (1 + np.log(n + 1)) / n
    assert 0 <= result.mix < 1 and 0.01 <= result.temperature <= 100
    assert result == result and information.calibrate(logits, labels, p).temperature == result.temperature


@pytest.mark.parametrize("scale", [1e-2, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("classes, n", [(2, 20), (2, 400), (5, 400)])
def test_no_point_of_a_grid_calibrates_better(classes, n, scale):
    for seed in range(5):
        rng = np.random.default_rng([classes, n, seed])
        labels, p = rng.integers(classes, size=n), rng.dirichlet(np.full(classes, 5.0))
        logits = scale * (seed * np.eye(classes)[labels] / 2 + rng.normal(size=(n, classes)))
        wrong, base = information.against(logits, labels), p[labels]
        grid = itertools.product(np.logspace(-2, 2, 40), np.append(np.logspace(-np.log10(n + 1), -0.1, 20), 0.999))
        least = min(information._succession(wrong, base, point)[0] for point in grid)
        found = information.calibrate(logits, labels, p)
        ours, _, _ = information._succession(wrong, base, (1.0 / found.temperature, found.mix))
        assert ours <= least + 1e-9
        assert found.mix >= 1.0 / (n + 1.0)


@pytest.mark.parametrize("classes, scale", [(2, 1e-2), (10, 1e-2), (10, 1.0), (3, 30.0)])
def test_every_start_ends_where_the_loss_is_flat(classes, scale):
    """Free of bounds; also where a bound turns a step of Newton's uphill."""
    for seed in range(40):
        rng = np.random.default_rng([classes, seed])
        labels, p = rng.integers(classes, size=20), rng.dirichlet(np.full(classes, 5.0))
        wrong = information.against(scale * rng.normal(size=(20, classes)), labels)
        low, high = np.array([0.01, 1.0 / 21.0]), np.array([100.0, 1.0 - 1e-9])
        for start in ((0.01, 1.0 / 21.0), (1.0, 0.5)):
            objective = functools.partial(information._succession, wrong, p[labels])
            value, at = information.minimum(objective, start, low, high)
            _, gradient, _ = objective(at)
            assert np.abs(at - np.clip(at - gradient, low, high)).max() < 1e-6
            assert value <= objective(np.array(start))[0]


@pytest.mark.parametrize("odd", [-np.inf, np.inf, np.nan, 1e30])
def test_logits_that_are_no_numbers_end(odd):
    labels = np.arange(20) % 2
    logits = np.random.default_rng(0).normal(size=(20, 2))
    logits[3, 0] = odd
    with np.errstate(all="ignore"):
        information.calibrate(logits, labels, np.array([0.5, 0.5]))


def test_the_derivatives_of_the_calibrated_loss():
    rng = np.random.default_rng(0)
    labels, p = rng.integers(3, size=50), np.array([0.2, 0.3, 0.5])
    wrong, base = information.against(rng.normal(size=(50, 3)), labels), p[labels]
    at, step = np.array([0.7, 0.3]), 1e-5
    _, gradient, hessian = information._succession(wrong, base, at)
    ends = [[information._succession(wrong, base, at + sign * step * axis) for sign in (1, -1)] for axis in np.eye(2)]
    np.testing.assert_allclose(gradient, [(up[0] - down[0]) / (2 * step) for up, down in ends], rtol=1e-6)
    np.testing.assert_allclose(hessian, [(up[1] - down[1]) / (2 * step) for up, down in ends], rtol=1e-6)


def test_a_flawless_validation_split_does_not_make_one_mistake_ruinous():
    labels = np.arange(100) % 2
    result = information.calibrate(1e4 * np.eye(2)[labels], labels, np.array([0.5, 0.5]))
    worst = information.bits(information.apply(result, [[1e4, 0.0]]), [1], [0.5, 0.5])
    assert -np.log2(101) - 0.1 < worst[0] < -3
    assert result.val_log_loss < 0.01


def test_useless_logits_give_no_information():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 2000)
    p = information.prior(labels, 2)
    result = information.calibrate(rng.normal(size=(2000, 2)), labels, p)
    fresh = information.bits(information.apply(result, rng.normal(size=(2000, 2))), rng.integers(0, 2, 2000), p)
    assert abs(fresh.mean()) < 0.005


def test_r2_items_average_to_r2():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    y = rng.normal(size=(50, 3)) * [1, 2, 3]
    predicted = y + rng.normal(size=(50, 3))
    expected = metrics.r2_score(y, predicted, multioutput="variance_weighted")
    assert information.r2_items(y, predicted).mean() == pytest.approx(expected, abs=1e-12)
    assert information.r2_items(y[:, 0], predicted[:, 0]).mean() == pytest.approx(
        metrics.r2_score(y[:, 0], predicted[:, 0]), abs=1e-12
    )
    assert (information.r2_items(np.ones(4), np.zeros(4)) == 0).all()


@pytest.mark.parametrize("classes", [2, 4])
def test_against_is_what_wrong_classes_are_ahead_by(classes):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, classes)), rng.integers(classes, size=30)
    ahead = information.against(logits, labels)
    assert ahead.shape == (classes - 1, 30)
    expected = -np.log1p(np.exp(ahead).sum(0))
    right = information.log_softmax(logits)[np.arange(30), labels]
    np.testing.assert_allclose(expected, right, atol=1e-12)
    np.testing.assert_allclose(right, special.log_softmax(logits, axis=1)[np.arange(30), labels], atol=1e-12)
