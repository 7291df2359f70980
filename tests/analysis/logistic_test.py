import dataclasses

import numpy as np
import pytest

from bottleneck import workers
from bottleneck.analysis import accelerator, eigenbasis, information, logistic, ridge
from tests.analysis.eigenbasis_test import features


def objective(coordinates, labels, weights, intercept, penalties):
    log_q = information.log_softmax(coordinates @ weights + intercept)
    return information.log_loss(log_q, labels) + 0.5 * (penalties[:, None] * weights**2).sum()


@pytest.mark.parametrize("classes, n, p", [(2, 300, 30), (5, 300, 30), (2, 40, 80), (3, 40, 80)])
@pytest.mark.parametrize("scaling", ["raw", "standardised", "whitened"])
@pytest.mark.parametrize("lam", [1e-5, 1e-3, 1.0])
def test_logistic_is_no_worse_than_sklearn(classes, n, p, scaling, lam):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, labels = features(n, p, classes)
    fresh, fresh_labels = features(500, p, classes, seed=1)
    space = eigenbasis.basis(x, "raw" if scaling == "raw" else "standardised")
    shrinkage = 0.1 if scaling == "whitened" else None
    fit = logistic.logistic(space, labels, lam, num_classes=classes, shrinkage=shrinkage)
    assert fit.grad_norm < logistic.TOLERANCE

    scale = 1.0 if shrinkage is None else 1.0 / np.sqrt(space.variances + shrinkage)
    # sklearn: C * sum of losses + |w|^2 / 2; with two classes one sigmoid, |W|^2 = |w|^2 / 2
    strength = (2.0 if classes == 2 else 1.0) / (lam * n)
    reference = linear_model.LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    reference.fit(space.coordinates * scale, labels)
    weights, bias = reference.coef_.T, reference.intercept_
    if classes == 2:
        weights, bias = weights * [[-0.5, 0.5]], bias * np.array([-0.5, 0.5])
    weights = weights * np.reshape(scale, (-1, 1))
    penalties = space.penalties(lam, shrinkage)
    expected = objective(space.coordinates, labels, weights, bias, penalties)
    ours = objective(space.coordinates, labels, fit.weights, fit.intercept, penalties)
    assert ours == pytest.approx(fit.objective, rel=1e-9)
    assert ours <= expected * (1 + 1e-6)
    hits = ((space.project(fresh) @ fit.weights + fit.intercept).argmax(1) == fresh_labels).sum()
    reference_hits = ((space.project(fresh) @ weights + bias).argmax(1) == fresh_labels).sum()
    assert abs(hits - reference_hits) <= 1


def test_warm_start_reaches_the_same_optimum_in_fewer_iterations():
    x, labels = features(400, 20, 4)
    space = eigenbasis.basis(x, "standardised")
    cold = logistic.logistic(space, labels, 1e-3, num_classes=4)
    near = logistic.logistic(space, labels, 1.2e-3, num_classes=4)
    warm = logistic.logistic(space, labels, 1e-3, num_classes=4, start=near)
    assert warm.objective == pytest.approx(cold.objective, abs=1e-9)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.weights.sum(1), 0, atol=1e-6)


def test_whitened_logistic_converges_fast_on_an_ill_conditioned_rotated_problem():
    """Plain L-BFGS needs hundreds of iterations when the label sits in a rotated direction of tiny variance."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    z = rng.normal(size=(1000, 50)) / np.arange(1, 51) ** 0.5
    z[:, 30] = 0.01 * ((2 * labels - 1) + 0.3 * rng.normal(size=1000))
    x = z @ np.linalg.qr(rng.normal(size=(50, 50)))[0]
    space = eigenbasis.basis(x, "standardised")
    fit = logistic.logistic(space, labels, ridge.WHITENED_PENALTY, num_classes=2, shrinkage=1e-5)
    assert fit.iterations < 60
    assert ((space.coordinates @ fit.weights + fit.intercept).argmax(1) == labels).mean() > 0.99


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scaling", ["raw", "standardised"])
def test_chunks_of_items_change_nothing(scaling, classes, monkeypatch):
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(83, 7)) * np.arange(1, 8) + 3, rng.integers(classes, size=83)
    fits = []
    for chunk in (eigenbasis.CHUNK, 50):
        monkeypatch.setattr(eigenbasis, "CHUNK", chunk)
        space = eigenbasis.basis(x, scaling)
        weights, intercept = ridge.ridge(space, labels, (0.1,), classes=classes)
        fit = logistic.logistic(space, labels, 0.1, num_classes=classes)
        kernel, bias = space.to_input(fit.weights, fit.intercept)
        fits.append((space.variances, space.to_input(weights[0], intercept)[0], kernel, bias, fit.objective))
    for whole, pieces in zip(*fits, strict=True):
        np.testing.assert_allclose(pieces, whole, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n, p", [(200, 20), (12, 40)])
@pytest.mark.parametrize("lam", [1e-6, 1e-2, 10.0])
def test_newton_and_lbfgs_find_the_same_probe(n, p, lam, monkeypatch):
    x, labels = features(n, p, 2)
    space, fits = eigenbasis.basis(x, "standardised"), []
    for cheap in (2**40, 0):
        monkeypatch.setattr(logistic, "CHEAP_HESSIAN", cheap)
        fits.append(logistic.logistic(space, labels, lam, num_classes=2))
    newton, lbfgs = fits
    assert max(newton.grad_norm, lbfgs.grad_norm) < logistic.TOLERANCE
    assert newton.objective == pytest.approx(lbfgs.objective, abs=1e-9)
    assert newton.iterations < lbfgs.iterations or lbfgs.iterations < 5
    np.testing.assert_allclose(newton.weights.sum(1), 0, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_loss_of_items_held_out(classes, monkeypatch):
    x, labels = features(90, 8, max(classes, 3))
    labels %= classes
    space = eigenbasis.basis(x[:60], "standardised")
    fit, others = logistic.logistic(space, labels[:60], 1e-2, num_classes=classes), space.project(x[60:])
    log_q = information.log_softmax(others @ fit.weights + fit.intercept)
    expected = information.log_loss(log_q, labels[60:])
    for chunk in (eigenbasis.CHUNK, 20):
        monkeypatch.setattr(eigenbasis, "CHUNK", chunk)
        assert logistic.held_out(others, labels[60:], classes)(fit) == pytest.approx(expected, rel=1e-12)


def test_newton_goes_on_from_a_probe_that_is_sure_of_everything():
    x, labels = features(50, 5, 2)
    space = eigenbasis.basis(x, "standardised")
    cold = logistic.logistic(space, labels, 1e-2, num_classes=2)
    sure = dataclasses.replace(cold, weights=1e4 * cold.weights)  # every probability is 0 or 1: no curvature is left
    warm = logistic.logistic(space, labels, 1e-2, num_classes=2, start=sure)
    assert warm.grad_norm < logistic.TOLERANCE and warm.objective == pytest.approx(cold.objective, abs=1e-9)


def test_class_sums_that_are_known_are_not_made_again(monkeypatch):
    x, labels = features(100, 6, 3)
    space = eigenbasis.basis(x)
    sums, alone = eigenbasis.class_sums(space.items, labels, 3), logistic.logistic(space, labels, 0.1, num_classes=3)
    np.testing.assert_array_equal(sums[:, -1], np.bincount(labels))
    monkeypatch.setattr(logistic, "class_sums", None)
    given = logistic.logistic(space, labels, 0.1, num_classes=3, sums=sums)
    np.testing.assert_array_equal(given.weights, alone.weights)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("memory", [2**30, 1], ids=["held", "sent"])
def test_what_begins_on_an_accelerator_ends_where_the_host_does(classes, memory, monkeypatch):
    x, labels = features(400, 30, classes)
    space = eigenbasis.basis(x, "standardised")
    host = logistic.logistic(space, labels, 1e-3, num_classes=classes)
    monkeypatch.setattr(accelerator, "there", lambda: True)
    monkeypatch.setattr(logistic, "LARGE", 1)
    monkeypatch.setattr(logistic, "HEAVY", 1)
    monkeypatch.setattr(accelerator, "memory", lambda: memory)
    monkeypatch.setattr(eigenbasis, "CHUNK", 31 * 150)  # three parts
    device = logistic.logistic(space, labels, 1e-3, num_classes=classes)
    assert device.objective == pytest.approx(host.objective, abs=1e-10) and device.grad_norm <= logistic.TOLERANCE
    np.testing.assert_allclose(device.weights, host.weights, atol=1e-4)


def test_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr(logistic, "LARGE", 1)
    monkeypatch.setattr(logistic, "HEAVY", 1)
    monkeypatch.setattr(accelerator, "Objective", lambda *args: pytest.fail("there is no accelerator"))
    x, labels = features(60, 5, 3)
    assert logistic.logistic(eigenbasis.basis(x), labels, 1e-2, num_classes=3).grad_norm <= logistic.TOLERANCE


def test_no_accelerator_is_asked_for_what_workers_may_solve(monkeypatch):
    """Where it is solved, by a thread or by a worker, must not change its bits."""
    monkeypatch.setattr(logistic, "LARGE", 1)
    monkeypatch.setattr(accelerator, "there", lambda: pytest.fail("an accelerator was asked"))
    rng = np.random.default_rng(0)
    space = eigenbasis.basis(rng.normal(size=(60, 5)).astype(np.float32))
    assert logistic.HEAVY >= 2 * workers.MANY  # coordinates are float64
    logistic.logistic(space, rng.integers(3, size=60), 1.0, num_classes=3)
