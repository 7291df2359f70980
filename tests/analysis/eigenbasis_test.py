import numpy as np
import pytest

from bottleneck.analysis import eigenbasis, logistic
from bottleneck.errors import UserError


def features(n, p, classes, seed=0, rank=None):
    """Correlated features with widely different variances, one constant column, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, rank or p))
    mixing = rng.normal(size=(rank or p, p)) * np.logspace(0, -2, p)
    x = latent @ mixing / np.sqrt(p) + 3.0
    x[:, 0] = 5.0
    score = latent[:, :classes] * 1.5 + rng.gumbel(size=(n, classes))
    return x, score.argmax(1)


@pytest.mark.parametrize("scaling", ["raw", "standardised"])
@pytest.mark.parametrize("n, p", [(200, 20), (30, 60)])
def test_basis_reconstructs_the_scaled_features(scaling, n, p):
    x, _ = features(n, p, 2)
    space = eigenbasis.basis(x, scaling)
    z = (x - x.mean(0)) * space.inverse_scale
    r = len(space.variances)
    assert r == min(n, p) - 1
    np.testing.assert_allclose(space.vectors.T @ space.vectors, np.eye(r), atol=1e-8)
    np.testing.assert_allclose(space.coordinates @ space.vectors.T, z, atol=1e-8)
    np.testing.assert_allclose(space.coordinates.T @ space.coordinates / n, np.diag(space.variances), atol=1e-9)
    assert (np.diff(space.variances) <= 1e-12).all()
    np.testing.assert_allclose(space.project(x), space.coordinates, atol=1e-12)
    if scaling == "standardised":
        assert space.inverse_scale[0] == 0.0
        np.testing.assert_allclose(z[:, 1:].std(0), 1.0)


def test_basis_refuses_an_unknown_scaling_and_survives_constant_features():
    with pytest.raises(UserError, match="scaling"):
        eigenbasis.basis(np.ones((4, 2)), "whitened")
    space = eigenbasis.basis(np.ones((10, 3)), "standardised")
    fit = logistic.logistic(space, np.arange(10) % 2, 1.0, num_classes=2)
    assert fit.weights.shape == (0, 2) and fit.objective == pytest.approx(np.log(2))


@pytest.mark.parametrize("scaling", ["raw", "standardised"])
def test_outputs_are_those_in_the_coordinates(scaling, monkeypatch):
    x, labels = features(90, 8, 3)
    fresh, _ = features(70, 8, 3, seed=1)
    space = eigenbasis.basis(x, scaling)
    fit = logistic.logistic(space, labels, 1e-2, num_classes=3)
    monkeypatch.setattr(eigenbasis, "CHUNK", 100)  # 12 items
    expected = space.project(fresh) @ fit.weights + fit.intercept
    np.testing.assert_allclose(space.outputs(fresh, fit.weights, fit.intercept), expected, atol=1e-10)
    assert space.outputs(fresh[:0], fit.weights, fit.intercept).shape == (0, 3)
