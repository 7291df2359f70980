import numpy as np
import pytest

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


def test_calibration_recovers_a_planted_temperature_and_mix():
    rng = np.random.default_rng(0)
    n, p = 40_000, np.array([0.2, 0.3, 0.5])
    logits = rng.normal(size=(n, 3)) * 2
    q = 0.8 * np.exp(information.log_softmax(logits)) + 0.2 * p
    labels = (rng.random((n, 1)) > q.cumsum(1)).sum(1)
    found = information.calibrate(3.0 * logits, labels, p)
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.mix == pytest.approx(0.2, abs=0.03)
    assert found.val_log_loss < information.log_loss(information.log_softmax(3.0 * logits), labels) - 0.1
    np.testing.assert_allclose(np.exp(information.apply(found, logits)).sum(1), 1.0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("useful", [True, False])
def test_calibration_is_never_worse_than_its_stated_bound(scale, useful):
    rng = np.random.default_rng(1)
    n, p = 300, np.full(4, 0.25)
    labels = rng.integers(0, 4, n)
    logits = scale * (np.eye(4)[labels] * useful + rng.normal(size=(n, 4)))
    found = information.calibrate(logits, labels, p)
    uncalibrated = information.log_loss(information.log_softmax(logits), labels)
    assert found.val_log_loss <= uncalibrated + (1 + np.log(n + 1)) / n
    assert found.val_log_loss <= np.log(4) + 1e-6 + (1 + np.log(n + 1)) / n
    assert 0 <= found.mix < 1 and 0.01 <= found.temperature <= 100
    assert found == found and information.calibrate(logits, labels, p).temperature == found.temperature


def test_a_flawless_validation_split_does_not_make_one_mistake_ruinous():
    labels = np.arange(100) % 2
    found = information.calibrate(1e4 * np.eye(2)[labels], labels, np.array([0.5, 0.5]))
    worst = information.bits(information.apply(found, [[1e4, 0.0]]), [1], [0.5, 0.5])
    assert -np.log2(101) - 0.1 < worst[0] < -3
    assert found.val_log_loss < 0.01


def test_useless_logits_give_no_information():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 2000)
    p = information.prior(labels, 2)
    found = information.calibrate(rng.normal(size=(2000, 2)), labels, p)
    fresh = information.bits(information.apply(found, rng.normal(size=(2000, 2))), rng.integers(0, 2, 2000), p)
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
