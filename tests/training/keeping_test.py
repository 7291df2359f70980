"""Penalties that ask features for more than labels need: what they are 0 at, that they are traced and in the step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.analysis import cka
from bottleneck.errors import UserError
from bottleneck.training import keeping
from bottleneck.training.objectives import ObjectiveSpec


def misalignment(a, b):
    return keeping.misalignment(a, b, jnp.ones(len(a)))


def unspread(a):
    return keeping.unspread(a, jnp.ones(len(a)))


def features(seed, n=24, p=5):
    return np.random.default_rng(seed).normal(size=(n, p)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.1, 10), shift=st.floats(-3, 3))
def test_misalignment_is_one_less_cka_and_blind_to_rotation_scale_and_shift(seed, scale, shift):
    x, y = features(seed), features(seed + 1000, p=9)
    a, b = x - x.mean(0), y - y.mean(0)
    expected = 1 - np.square(a.T @ b).sum() / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    assert float(misalignment(x, y)) == pytest.approx(expected, abs=1e-5)
    rotation, _ = np.linalg.qr(features(seed + 2000, 5, 5))
    moved = scale * x @ rotation + shift
    assert float(misalignment(moved, x)) == pytest.approx(0, abs=1e-4)


def test_spread_is_zero_at_independent_directions_of_variance_one():
    x = features(0, 64, 4)
    x = np.linalg.qr(x - x.mean(0))[0] * 8.0  # orthogonal columns of variance 1
    assert float(unspread(x)) == pytest.approx(0, abs=1e-3)
    collapsed = np.repeat(x[:, :1], 4, axis=1)  # all variances 1, every covariance 1
    assert float(unspread(collapsed)) == pytest.approx(12 / 4 / 25, rel=1e-3)
    assert float(unspread(np.zeros_like(x))) == pytest.approx(0.99, abs=1e-3)


def test_large_images_are_pooled_and_others_stay():
    images = np.arange(2 * 64 * 64 * 3, dtype=np.float32).reshape(2, 64, 64, 3)
    pooled = keeping.pooled(images)
    assert pooled.shape == (2, 32 * 32 * 3)
    np.testing.assert_allclose(pooled.reshape(2, 32, 32, 3)[0, 0, 0], images[0, :2, :2].mean((0, 1)), rtol=1e-6)
    assert keeping.pooled(images[:, :9, :9]).shape == (2, 9 * 9 * 3) and keeping.pooled(features(0)).shape == (24, 5)


def test_gradients_are_finite_where_features_are_all_alike():
    for of in (unspread, lambda h: misalignment(h, features(1))):
        assert np.isfinite(jax.grad(of)(jnp.zeros((24, 5)))).all()


@pytest.mark.parametrize("hyper", [dict(alignment=2.0), dict(spread=3.0), dict(alignment=2.0, spread=3.0)])
def test_examples_whose_loss_does_not_count_have_no_say(hyper):
    """So that `alone` is shaped by its own component."""
    counted = (np.arange(24) % 3 > 0).astype(np.float32)
    h, x, some = features(0), features(1, p=7), counted > 0
    part = keeping.penalty(h[some], x[some], np.ones(some.sum(), np.float32), hyper)
    for other in (h, np.where(some[:, None], h, 9.0)):
        assert float(keeping.penalty(other, x, counted, hyper)) == pytest.approx(float(part), rel=1e-5)
    assert np.isfinite(float(keeping.penalty(h, x, np.zeros(24, np.float32), hyper)))


@pytest.mark.parametrize("field", ["alignment", "spread"])
def test_it_is_part_of_the_step_and_of_the_identity(field, episode, tmp_path):
    plain, asked = (episode({f"objective.{field}": value}) for value in ("0.0", "5.0"))
    assert plain.run.key == episode().run.key != asked.run.key
    kept = [made.train(tmp_path / str(i))[20]["params"]["layer1"]["kernel"] for i, made in enumerate((plain, asked))]
    assert not np.array_equal(*kept)
    with pytest.raises(UserError, match=field):
        ObjectiveSpec(**{field: -1.0})


def test_alignment_is_cka_as_the_analysis_has_it_but_for_its_bias():
    x, y = features(0, 400), features(0, 400) @ features(3, 5, 7)
    assert 1 - float(misalignment(x, y)) == pytest.approx(cka.linear_cka(x, y), abs=0.02)
