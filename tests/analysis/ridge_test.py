import numpy as np
import pytest

from bottleneck.analysis import eigenbasis, ridge
from tests.analysis.eigenbasis_test import features


@pytest.mark.parametrize("n, p", [(200, 20), (30, 60)])
def test_ridge_equals_sklearn(n, p):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, labels = features(n, p, 3)
    targets = np.eye(3)[labels]
    space = eigenbasis.basis(x)
    grid = (1e-3, 0.1, 10.0)
    weights, intercept = ridge.ridge(space, targets, grid)
    for lam, weight in zip(grid, weights):
        reference = linear_model.Ridge(alpha=lam * n, solver="svd").fit(x, targets)
        kernel, bias = space.to_input(weight, intercept)
        np.testing.assert_allclose(x @ kernel + bias, reference.predict(x), atol=1e-8)


def test_whitened_ridge_solves_its_normal_equations():
    x, labels = features(100, 10, 2)
    targets = np.eye(2)[labels]
    space = eigenbasis.basis(x, "standardised")
    shrinkage = 0.3
    weights, intercept = ridge.ridge(space, targets, (shrinkage,), whitened=True)
    whitened = space.coordinates / np.sqrt(space.variances + shrinkage)
    gram = whitened.T @ whitened / 100 + ridge.WHITENED_PENALTY * np.eye(len(space.variances))
    expected = np.linalg.solve(gram, whitened.T @ (targets - targets.mean(0)) / 100)
    np.testing.assert_allclose(weights[0] * np.sqrt(space.variances + shrinkage)[:, None], expected, atol=1e-10)


def test_labels_stand_for_their_one_hots():
    rng = np.random.default_rng(4)
    space, labels = eigenbasis.basis(rng.normal(size=(60, 5)), "standardised"), rng.integers(4, size=60)
    for whitened in (False, True):
        by_labels = ridge.ridge(space, labels, (0.01, 1.0), whitened=whitened, classes=4)
        by_one_hots = ridge.ridge(space, np.eye(4)[labels], (0.01, 1.0), whitened=whitened)
        for ours, theirs in zip(by_labels, by_one_hots, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
