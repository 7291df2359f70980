"""Spectra of known matrices, what limits them, and a class separation without bias."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottleneck.analysis.spectrum import class_separation, spectrum
from bottleneck.errors import UserError


def orthonormal(n, p, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, p)))[0]


def rankme(x):
    """Of RankMe's paper: singular values of uncentred features."""
    shares = np.linalg.svd(x, compute_uv=False)
    shares = shares / shares.sum()
    return np.exp(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize("n, p, expected", [(100, 100, 49.5), (256, 2048, 226.67)])
def test_participation_ratio_of_noise_is_limited_by_n(n, p, expected):
    """(n-1)p/(n+p), within 2 %, where p independent units have p equal eigenvalues."""
    assert (n - 1) * p / (n + p) == pytest.approx(expected, abs=0.01)
    draws = [spectrum(np.random.default_rng(seed).normal(size=(n, p))) for seed in range(4)]
    assert np.mean([d.participation_ratio for d in draws]) == pytest.approx(expected, rel=0.02)
    assert all(d.participation_ratio < d.effective_rank <= min(n - 1, p) + 1e-9 for d in draws)
    assert (draws[0].n, draws[0].p) == (n, p)


def test_orthonormal_columns_read_their_number():
    """RankMe of 32 orthonormal columns is 32; ours too up to what centring takes, and 31 when n = 32."""
    x = orthonormal(1000, 32)
    assert rankme(x) == pytest.approx(32, abs=1e-9)
    assert spectrum(x).effective_rank == pytest.approx(32, abs=0.01)
    square = spectrum(orthonormal(32, 32))
    assert square.effective_rank == pytest.approx(31, abs=1e-6)
    assert square.participation_ratio == pytest.approx(31, abs=1e-6)
    assert square.top_share == pytest.approx(1 / 31, abs=1e-9)


def test_known_eigenvalues_on_either_side_of_n():
    values = np.array([8.0, 4.0, 2.0, 1.0])
    left = orthonormal(60, 5)
    left = np.linalg.qr(np.column_stack([np.ones(60), left]))[0][:, 1:5]  # orthogonal to the mean
    shares = values / values.sum()
    for p in (4, 200):
        found = spectrum(left * np.sqrt(values) @ orthonormal(p, 4, 1).T)
        assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
        assert found.participation_ratio == pytest.approx(225 / 85, rel=1e-9)
        assert found.top_share == pytest.approx(8 / 15, rel=1e-9)


def test_an_offset_has_no_effect_where_rankme_collapses():
    x = np.random.default_rng(2).normal(size=(2000, 100))
    assert rankme(x) == pytest.approx(99.7, abs=0.5) and rankme(x + 30) == pytest.approx(5.5, abs=0.5)
    plain, moved = spectrum(x), spectrum((x + 1000).astype(np.float64))
    assert moved.effective_rank == pytest.approx(plain.effective_rank, rel=1e-9)
    assert moved.participation_ratio == pytest.approx(plain.participation_ratio, rel=1e-9)


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 5))
def test_spectrum_is_invariant_and_bounded(n, p, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * rng.exponential(size=p)
    found, turned = spectrum(x), spectrum(3.0 * x @ orthonormal(p, p, seed) + rng.normal(size=p))
    assert 1 - 1e-9 <= found.participation_ratio <= found.effective_rank + 1e-9 <= min(n - 1, p) + 1e-8
    assert turned.effective_rank == pytest.approx(found.effective_rank, rel=1e-6)
    assert turned.top_share == pytest.approx(found.top_share, rel=1e-6)


def test_constant_features_have_no_spectrum():
    dead = np.full((7, 3), 0.1)
    assert all(
        np.isnan(v)
        for v in (
            spectrum(dead).participation_ratio,
            spectrum(dead).effective_rank,
            spectrum(dead).top_share,
            class_separation(dead, [0, 1, 0, 1, 0, 1, 0]),
        )
    )
    alive = dead.copy()
    alive[:, 0] = np.arange(7)
    assert spectrum(alive).effective_rank == pytest.approx(1.0)
    with pytest.raises(UserError):
        spectrum(np.ones((1, 3)))


def test_class_separation_is_exactly_zero_over_all_permutations():
    x = np.random.default_rng(3).normal(size=(6, 4)) * [1, 5, 1, 0.1] + 100
    labels = [0, 0, 0, 1, 1, 2]
    values = [class_separation(x, order) for order in set(itertools.permutations(labels))]
    assert len(values) == 60 and np.mean(values) == pytest.approx(0.0, abs=1e-12)
    assert min(values) >= -2 / 3 - 1e-9 and np.std(values) > 0.1


def test_class_separation_of_points_and_of_a_planted_share():
    rng = np.random.default_rng(4)
    y = np.repeat(["a", "b", "c", "d"], 250)
    centres = rng.normal(size=(4, 20))
    where = np.repeat(np.arange(4), 250)
    assert class_separation(centres[where], y) == pytest.approx(1.0)
    between = (centres - centres.mean(0)).var(0).sum()
    noisy = centres[where] + np.sqrt(between / 20) * rng.normal(size=(1000, 20))
    assert class_separation(noisy, y) == pytest.approx(0.5, abs=0.02)
    assert class_separation(noisy * 7 + 1000, y) == pytest.approx(class_separation(noisy, y), rel=1e-9)
    few = np.repeat(np.arange(100), 2)  # 100 classes of 2: the plain share reads 0.5 on noise
    assert class_separation(rng.normal(size=(200, 50)), few) == pytest.approx(0.0, abs=0.05)
    for bad in (np.zeros(1000), np.arange(1000), y[:-1]):
        with pytest.raises(UserError):
            class_separation(noisy, bad)
