import warnings

import numpy as np
import pytest

from bottleneck.analysis import alignment
from bottleneck.analysis.ridge import GRID
from bottleneck.errors import UserError


def test_s10_procrustes_of_independent_representations():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000, 100))
    assert alignment.procrustes(x, y) == pytest.approx(8 / (3 * np.pi) * np.sqrt(0.1), abs=0.01)
    assert alignment.procrustes(x, y, folds=5) == pytest.approx(0.0, abs=0.02)


def test_procrustes_ignores_rotation_shift_and_scale_and_sees_everything_else():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 12)) * np.arange(1, 13)
    y = 7.0 * x @ np.linalg.qr(rng.normal(size=(12, 12)))[0] - 3.0
    assert alignment.procrustes(x, y) == pytest.approx(1.0, abs=1e-12)
    assert alignment.procrustes(x, y, folds=5) == pytest.approx(1.0, abs=1e-12)
    assert alignment.procrustes(x, np.hstack([y, 5 * np.ones((200, 3))]), folds=5) == pytest.approx(1.0, abs=1e-12)
    assert alignment.procrustes(x, x / np.arange(1, 13)) < 0.95
    # the cosine of variances (4, 1) and (1, 1) with axes in common: 3 / sqrt(5 * 2)
    z = np.linalg.qr(rng.normal(size=(200, 3)) - 0.0)[0][:, 1:]
    z = np.linalg.qr(z - z.mean(0))[0]
    assert alignment.procrustes(z * [2, 1], z) == pytest.approx(3 / np.sqrt(10), abs=1e-12)


def test_s4_s8_mean_squared_canonical_correlation():
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    assert alignment.mean_cca2(x, state.randn(100, 10) + x) == pytest.approx(0.54540, abs=5e-6)
    rng = np.random.default_rng(2)
    null = [alignment.mean_cca2(rng.normal(size=(1000, 64)), rng.normal(size=(1000, 127))) for _ in range(4)]
    assert np.mean(null) == pytest.approx(127 / 999, abs=0.003)
    single = [alignment.mean_cca2(rng.normal(size=(200, 20)), rng.normal(size=(200, 1))) for _ in range(200)]
    assert np.mean(single) == pytest.approx(20 / 199, abs=0.008)
    x, y = rng.normal(size=(200, 20)), rng.normal(size=(200, 1))
    design = np.column_stack([np.ones(200), x])
    residual = y - design @ np.linalg.lstsq(design, y)[0]
    assert alignment.mean_cca2(x, y) == pytest.approx(1.0 - residual.var() / y.var(), abs=1e-12)
    assert alignment.mean_cca2(x, x @ rng.normal(size=(20, 20))) == pytest.approx(1.0, abs=1e-10)
    for n in (20, 40):
        with pytest.raises(UserError, match="more examples than the 40 units"):
            alignment.mean_cca2(x[:n], x[:n])


def test_cross_validation_from_moments_is_cross_validation_from_items():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 20)) * np.logspace(0, -1.5, 20) + 3.0
    y = x @ rng.normal(size=(20, 7)) + 0.5 * rng.normal(size=(120, 7)) - 2.0
    error = total_y = total_x = aligned = 0.0
    for test in np.array_split(np.random.default_rng(0).permutation(120), 5):
        train = np.setdiff1d(np.arange(120), test)
        mx, my = x[train].mean(0), y[train].mean(0)
        a, b, c, d = x[train] - mx, y[train] - my, x[test] - mx, y[test] - my
        scores = {}
        for lam in np.array(GRID) * (a**2).mean():
            hat = a @ np.linalg.solve(a.T @ a + lam * len(a) * np.eye(20), a.T)
            scores[lam] = ((b - hat @ b) ** 2).sum() / (len(a) - 1 - np.trace(hat)) ** 2
        lam = min(scores, key=scores.get)
        kernel = np.linalg.solve(a.T @ a + lam * len(a) * np.eye(20), a.T @ b)
        u, _, v = np.linalg.svd(a.T @ b, full_matrices=False)
        error, total_y, total_x = error + ((d - c @ kernel) ** 2).sum(), total_y + (d**2).sum(), total_x + (c**2).sum()
        aligned += ((c @ u @ v) * d).sum()
    found = alignment.companions(x, y)
    assert found.r2_xy == pytest.approx(1.0 - error / total_y, abs=1e-9) == alignment.ridge_r2(x, y)
    assert found.procrustes == pytest.approx(aligned / np.sqrt(total_x * total_y), abs=1e-9)
    other = alignment.companions(y, x)
    assert (found.r2_xy, found.procrustes) == pytest.approx((other.r2_yx, other.procrustes), abs=1e-9)


def test_ridge_r2_is_directed_held_out_and_known():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2000, 10))
    noisy = x @ rng.normal(size=(10, 5))
    noisy = noisy + rng.normal(size=noisy.shape) * noisy.std(0)
    assert alignment.ridge_r2(x, noisy) == pytest.approx(0.5, abs=0.02)
    found = alignment.companions(x, x[:, :5] * 1e-3)
    assert found.r2_xy == pytest.approx(1.0, abs=1e-6) and found.r2_yx == pytest.approx(0.5, abs=0.03)
    assert abs(alignment.ridge_r2(x, rng.normal(size=(2000, 5)))) < 0.01
    wide = rng.normal(size=(60, 300))  # p > n: in sample this would be 1
    assert abs(alignment.ridge_r2(wide, rng.normal(size=(60, 5)))) < 0.1
    assert alignment.ridge_r2(wide @ rng.normal(size=(300, 400)), wide) < 0.5
    hidden = rng.normal(size=(60, 2))
    assert alignment.ridge_r2(hidden @ rng.normal(size=(2, 400)), hidden) == pytest.approx(1.0, abs=1e-6)


def test_component_means_can_be_taken_out():
    rng = np.random.default_rng(5)
    groups = np.arange(1000) % 2
    x, y = (10.0 * groups[:, None] + rng.normal(size=(1000, 6)) for _ in range(2))
    pooled, within = alignment.companions(x, y), alignment.companions(x, y, groups=groups)
    assert min(pooled.r2_xy, pooled.r2_yx, pooled.procrustes) > 0.9
    assert max(abs(within.r2_xy), abs(within.r2_yx), abs(within.procrustes)) < 0.03


def test_nothing_to_align_is_nan_and_mistakes_are_named():
    rng = np.random.default_rng(6)
    y = rng.normal(size=(30, 3))
    spike = np.zeros((30, 2))
    spike[4, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = np.full((30, 2), 0.1)
        for value in (
            alignment.procrustes(flat, y),
            alignment.procrustes(y, flat, folds=5),
            alignment.mean_cca2(flat, y),
            alignment.ridge_r2(flat, y),
            alignment.ridge_r2(y, flat),
        ):
            assert np.isnan(value)
        assert np.isfinite(alignment.ridge_r2(spike, y))  # varies in one example, which no other fold has
    for measure in (alignment.procrustes, alignment.ridge_r2, alignment.mean_cca2):
        with pytest.raises(UserError, match="30 rows"):
            measure(y, y[:29])
        with pytest.raises(UserError, match="at least 4"):
            measure(y[:3], y[:3])
        with pytest.raises(UserError, match="NaN"):
            measure(y, np.where(y > 1, np.nan, y))
    with pytest.raises(UserError, match="folds=1"):
        alignment.ridge_r2(y, y, folds=1)
