import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bottleneck.analysis import hsic
from bottleneck.errors import UserError

few = hypothesis.settings(max_examples=40, deadline=None)
sizes = st.tuples(st.integers(5, 40), st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31 - 1))


def draw(n, p, q, seed):
    """Representations [n, p], [n, q] that share something, with an offset."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 2.0
    return x, 0.5 * x @ rng.normal(size=(p, q)) / np.sqrt(p) + rng.normal(size=(n, q)) - 1.0


def song(x, y):
    """Unbiased HSIC of Song et al. 2012, equation 5, as it stands."""
    k, m, n = x @ x.T, y @ y.T, len(x)
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(m, 0.0)
    one = np.ones(n)
    return (
        np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2.0 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def u_centred(x, y):
    n = len(x)
    return (hsic.u_centre(x @ x.T) * hsic.u_centre(y @ y.T)).sum() / (n * (n - 3))


def cosine(product, x, y):
    return product(x, y) / np.sqrt(product(x, x) * product(y, y))


def test_s1_s2_s3_published_values():
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    y = state.randn(100, 10) + x
    assert hsic.linear_cka(x, y, debiased=False) == pytest.approx(0.5576132566, abs=1e-10)
    assert hsic.linear_cka(x, y) == pytest.approx(0.5134564895, abs=1e-10)
    assert hsic.rbf_cka(x, y, debiased=False) == pytest.approx(0.6548311823, abs=1e-10)
    assert hsic.rbf_cka(x, x + 3.0) == pytest.approx(1.0, abs=1e-10)
    assert abs(hsic.rbf_cka(x, state.randn(100, 10), bandwidth=2.0)) < 0.05  # biased: 0.15 at this bandwidth


@few
@hypothesis.given(sizes)
def test_s17_u_centring_song_and_products_of_units_agree(size):
    x, y = draw(*size)
    assert u_centred(x, y) == pytest.approx(song(x, y), rel=1e-6, abs=1e-9)
    assert hsic.linear_cka(x, y) == pytest.approx(cosine(u_centred, x, y), abs=1e-7)
    centred = hsic.u_centre(x @ x.T)
    assert (np.diag(centred) == 0.0).all()
    np.testing.assert_allclose(centred.sum(1), 0.0, atol=1e-9 * np.abs(centred).max() * len(x) + 1e-12)


@few
@hypothesis.given(sizes)
def test_s14_hsic_of_a_concatenation_is_the_sum(size):
    x, y = draw(*size)
    z = np.random.default_rng(size[-1] + 1).normal(size=(len(x), 3)) * 2.0

    def unnormalised(a, b):  # HSIC(a, b), from public cosines and the norms of the U-centred Grams
        return hsic.linear_cka(a, b) * np.sqrt(u_centred(a, a) * u_centred(b, b))

    both = unnormalised(np.hstack([x, z]), y)
    assert both == pytest.approx(unnormalised(x, y) + unnormalised(z, y), rel=1e-6, abs=1e-6 * (1 + abs(both)))


def test_s14_an_independent_half_of_equal_norm_leaves_one_over_root_two():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 2000, 30))
    assert hsic.linear_cka(x, np.hstack([x, z])) == pytest.approx(1 / np.sqrt(2), abs=0.01)


@few
@hypothesis.given(sizes, st.floats(-20, 20), st.floats(-3, 3))
def test_s15_rotations_scales_and_shifts_change_nothing(size, log_scale, shift):
    x, y = draw(*size)
    rng = np.random.default_rng(size[-1])
    rotation = np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]
    moved = 10.0**log_scale * (x @ rotation + shift)
    for debiased in (True, False):
        value = hsic.linear_cka(x, y, debiased=debiased)
        assert hsic.linear_cka(moved, y, debiased=debiased) == pytest.approx(value, abs=1e-8)
        assert hsic.linear_cka(y, x, debiased=debiased) == pytest.approx(value, abs=1e-12)
        assert hsic.linear_cka(x, moved, debiased=debiased) == pytest.approx(1.0, abs=1e-8)
    order = rng.permutation(len(x))
    assert hsic.linear_cka(x[order], y[order]) == pytest.approx(hsic.linear_cka(x, y), abs=1e-9)


def test_s15_an_invertible_map_that_is_no_rotation_changes_it():
    x, _ = draw(200, 10, 1, 0)
    assert hsic.linear_cka(x, x * np.arange(1, 11)) < 0.9


@pytest.mark.parametrize("n, p, q, expected", [(64, 64, 64, 0.5), (128, 512, 512, 0.8), (256, 64, 2048, 0.4216)])
def test_s6_s7_independent_representations(n, p, q, expected):
    rng = np.random.default_rng(1)
    pairs = [(rng.normal(size=(n, p)), rng.normal(size=(n, q))) for _ in range(40 if q < 2048 else 12)]
    biased = [hsic.linear_cka(x, y, debiased=False) for x, y in pairs]
    assert np.mean(biased) == pytest.approx(expected, abs=0.006)
    assert expected == pytest.approx(np.sqrt(p * q / ((n + p) * (n + q))), abs=1e-4)
    debiased = np.array([hsic.linear_cka(x, y) for x, y in pairs])
    sd = np.sqrt(2.0 / (n * (n - 3)))
    assert abs(debiased.mean()) < 4 * sd / np.sqrt(len(pairs))
    assert 0.55 * sd < np.sqrt((debiased**2).mean()) < 1.6 * sd


@pytest.mark.parametrize("k, p, variance, expected", [(4, 16, 1, 0.25), (8, 64, 1, 0.125), (8, 64, 4, 0.6957)])
def test_s11_planted_shared_units(k, p, variance, expected):
    rng = np.random.default_rng(2)

    def pair(n):
        shared = rng.normal(size=(n, k)) * np.sqrt(variance)
        return [np.hstack([shared, rng.normal(size=(n, p - k))]) for _ in range(2)]

    assert np.mean([hsic.linear_cka(*pair(256)) for _ in range(60)]) == pytest.approx(expected, abs=0.01)
    if expected == 0.125:
        assert np.mean([hsic.linear_cka(*pair(32), debiased=False) for _ in range(60)]) == pytest.approx(0.71, abs=0.02)


def test_s12_a_dropped_feature_costs_what_its_variance_says():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(4000, 10))
    columns = np.linalg.qr(z - z.mean(0))[0] * np.sqrt(4000)  # uncorrelated in the sample too
    for variances in (np.arange(1, 11.0), np.append(np.ones(9), 0.01)):
        x = columns * np.sqrt(variances)
        for j in (0, 9):
            expected = np.sqrt(1.0 - variances[j] ** 2 / (variances**2).sum())
            rest = np.delete(x, j, 1)
            assert hsic.linear_cka(x, rest, debiased=False) == pytest.approx(expected, abs=1e-6)
            assert hsic.linear_cka(x, rest) == pytest.approx(expected, abs=2e-3)
    assert expected == pytest.approx(0.999994, abs=1e-6)  # nine equal features, and one that a probe needs


def test_s13_a_few_shifted_points():
    rng = np.random.default_rng(4)
    p, share, distance = 64, 0.01, 100.0
    x = rng.normal(size=(4000, p))
    moved = x.copy()
    moved[:40, 0] += distance
    spread = distance**2 * share * (1 - share)
    assert np.sqrt(p / (p - 1 + (1 + spread) ** 2)) == pytest.approx(0.080, abs=1e-3)
    assert hsic.linear_cka(x, moved) == pytest.approx(0.080, abs=0.012)


@pytest.mark.parametrize("offset", [0.0, 5.0, 100.0, 1000.0])
def test_float32_with_an_offset_is_within_1e_4_of_float64(offset):
    x, y = draw(600, 40, 30, 5)
    x, y = (offset * z.std(0) + z - z.mean(0) for z in (x, y))
    expected = hsic.linear_cka(x, y)
    narrow = x.astype(np.float32), y.astype(np.float32)
    assert hsic.linear_cka(*narrow) == pytest.approx(expected, abs=1e-4)
    assert hsic.pairwise(dict(zip("xy", narrow)))[0, 1] == pytest.approx(expected, abs=1e-4)
    assert hsic.rbf_cka(*narrow) == pytest.approx(hsic.rbf_cka(x, y), abs=1e-4)


def representations(n, widths, dtype, seed=0):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 8))
    return {
        f"r{i}": (latent @ rng.normal(size=(8, p)) + rng.normal(size=(n, p)) + 3.0).astype(dtype)
        for i, p in enumerate(widths)
    }


@pytest.mark.parametrize("n, widths", [(300, (5, 40, 17, 8)), (40, (70, 3, 200)), (300, (900, 20))])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("chunk, width", [(2**22, 2048), (2000, 30)])
def test_pairwise_is_every_cell_whatever_the_chunks(monkeypatch, n, widths, dtype, chunk, width):
    monkeypatch.setattr(hsic, "CHUNK", chunk)
    monkeypatch.setattr(hsic, "WIDTH", width)
    found = representations(n, widths, dtype)
    table = hsic.pairwise(found)
    tolerance = 1e-10 if dtype == np.float64 else 1e-6
    for i, x in enumerate(found.values()):
        for j, y in enumerate(found.values()):
            x64, y64 = np.float64(x), np.float64(y)
            assert table[i, j] == pytest.approx(cosine(u_centred, x64, y64), abs=tolerance)
    np.testing.assert_array_equal(table, table.T)
    assert (np.diag(table) == 1.0).all()
    biased = hsic.pairwise(found, debiased=False)
    x, y = (np.float64(found[k]) - np.float64(found[k]).mean(0) for k in ("r0", "r1"))
    assert biased[0, 1] == pytest.approx(
        ((x.T @ y) ** 2).sum() / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y), abs=tolerance
    )


def test_float32_products_are_not_trusted_where_the_bias_is_nearly_everything():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(50, 30_000)).astype(np.float32)
    y = (x + rng.normal(size=x.shape)).astype(np.float32)
    assert hsic.pairwise({"x": x, "y": y})[0, 1] == pytest.approx(
        cosine(u_centred, np.float64(x), np.float64(y)), abs=1e-9
    )


@pytest.mark.parametrize("flat", [np.full((9, 3), 0.1), np.full((9, 3), 1e6, np.float32), np.eye(9)[:, :1]])
def test_what_does_not_vary_has_no_similarity(flat):
    y = np.random.default_rng(7).normal(size=(9, 2))
    assert np.isnan(hsic.linear_cka(flat, y)) and np.isnan(hsic.linear_cka(y, flat))
    table = hsic.pairwise({"flat": flat, "y": y})
    assert np.isnan(table[0]).all() and table[1, 1] == 1.0
    if len(np.unique(flat)) == 1:
        assert np.isnan(hsic.rbf_cka(flat, y)) and np.isnan(hsic.linear_cka(flat, y, debiased=False))


def test_mistakes_are_named():
    x = np.random.default_rng(8).normal(size=(20, 3))
    broken = x.copy()
    broken[3, 1], broken[5, 0] = np.nan, np.inf
    for measure in (hsic.linear_cka, hsic.rbf_cka, lambda x, y: hsic.pairwise({"x": x, "y": y})):
        with pytest.raises(UserError, match="at least 4 examples"):
            measure(x[:3], x[:3])
        with pytest.raises(UserError, match="y=.*20 rows"):
            measure(x, x[:19])
        with pytest.raises(UserError, match="y='2 of 20 rows with NaN"):
            measure(x, broken)
        with pytest.raises(UserError, match=r"x=.*\[n, p\]"):
            measure(x[:, 0], x)
    with pytest.raises(UserError, match="bandwidth"):
        hsic.rbf_cka(x, x, bandwidth=0.0)
    with pytest.raises(UserError, match="representations"):
        hsic.pairwise({})
