"""What others offer, an exact p value, and an honest prediction error."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bottleneck.analysis.relatedness import BEST, WEIGHTED, predict, spearman
from bottleneck.errors import UserError


def test_offers_by_hand():
    matrix = np.array([[2.0, 0.5, 0.1, 0.0], [1.0, 1.0, 0.2, 0.3], [0.4, 0.1, 0.5, 0.6], [0.2, 0.0, 0.3, 3.0]])
    result = predict(matrix, gaps=[0.2, 0.5, 0.25, 1.5], weights=[4, 3, 2, 1])
    np.testing.assert_allclose(result.shares.diagonal(), 1)
    assert result.shares[1, 0] == 0.5  # features of 1 on target 0, as a share of 0's own
    np.testing.assert_allclose(result.gaps, [0.1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(result.weighted.offers[:2], [(3 * 0.5 + 2 * 0.2 + 0.1) / 6, (4 * 0.5 + 2 * 0.1) / 7])
    np.testing.assert_allclose(result.best.offers, [0.5, 0.5, 0.6, 0.2])
    assert (result.weighted.predictor, result.best.predictor, result.weighted.n) == (WEIGHTED, BEST, 4)
    assert result.weighted.spearman == pytest.approx(stats.spearmanr(result.weighted.offers, result.gaps).statistic)


def related(count, noise=0.0, seed=0):
    """Targets whose gap is 1 - what the others offer."""
    rng = np.random.default_rng(seed)
    offer = np.linspace(0.1, 0.9, count)
    own = rng.uniform(0.5, 3, count)
    matrix = np.where(np.eye(count, dtype=bool), own, own * offer)
    return matrix, own * (1 - offer + noise * rng.normal(size=count)), np.ones(count)


@pytest.mark.parametrize("count", [4, 6, 8, 10])
def test_a_planted_relation_is_found(count):
    result = predict(*related(count))
    for prediction in (result.weighted, result.best):
        assert prediction.spearman == pytest.approx(-1)
        assert prediction.error == pytest.approx(0, abs=1e-9) and prediction.baseline > 0.2
        if count <= 8:
            assert prediction.p == pytest.approx(2 / np.prod(np.arange(1, count + 1)))
        else:
            assert prediction.p < 1e-3 and prediction.p > 0


def test_without_a_relation_the_error_is_no_better_than_the_mean():
    better = []
    for seed in range(60):
        matrix, _, weights = related(6)
        result = predict(matrix, np.random.default_rng(seed).normal(size=6), weights).weighted
        better.append(result.error < result.baseline)
    assert np.mean(better) < 0.5


def test_leave_one_out_by_hand():
    matrix, gaps, weights = related(5, noise=0.3)
    result = predict(matrix, gaps, weights).weighted
    relative = gaps / matrix.diagonal()
    errors = []
    for j in range(5):
        keep = np.arange(5) != j
        slope, intercept = np.polyfit(result.offers[keep], relative[keep], 1)
        errors.append(intercept + slope * result.offers[j] - relative[j])
    assert result.error == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_permutation_p_is_exact_with_ties_and_agrees_with_scipy_for_many():
    x, y = np.array([1, 2, 2, 4, 5.0]), np.array([3, 1, 1, 0, 2.0])
    rho, p = spearman(x, y)
    null = [abs(stats.spearmanr(x, y[list(order)]).statistic) for order in itertools.permutations(range(5))]
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert p == pytest.approx(np.mean(np.array(null) >= abs(rho) - 1e-9))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=30), rng.normal(size=30)
    y = y + 0.3 * x
    assert spearman(x, y)[1] == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.01)
    assert spearman(x, y) == spearman(x, y)


def test_p_values_are_uniform_without_a_relation():
    rng = np.random.default_rng(1)
    p = np.array([spearman(rng.normal(size=5), rng.normal(size=5))[1] for _ in range(400)])
    assert (p <= 0.1).mean() < 0.14 and p.min() >= 2 / 120


def test_what_cannot_be_said_has_a_reason():
    matrix, gaps, weights = related(3)
    few = predict(matrix, gaps, weights).best
    assert (few.spearman, few.p, few.error, few.baseline) == (None,) * 4 and "3 targets" in few.reason
    matrix, gaps, weights = related(5)
    matrix[2, 2] = 0.0  # an untestable target leaves, as a source it stays
    result = predict(matrix, gaps, weights)
    assert result.targets.tolist() == [0, 1, 3, 4] and result.weighted.n == 4 and result.weighted.p is not None
    assert np.isnan(result.shares[:, 2]).all() and np.isfinite(result.shares[2, [0, 1, 3, 4]]).all()
    matrix[3, 3] = -0.1
    assert predict(matrix, gaps, weights).weighted.reason.startswith("3 targets")
    matrix, _, weights = related(5)
    assert "same gap" in predict(matrix, matrix.diagonal() * 0.5, weights).weighted.reason
    matrix = np.full((5, 5), 0.5) + 0.5 * np.eye(5)
    assert "same offer" in predict(matrix, np.arange(5.0), weights).best.reason


def test_a_component_outside_the_mixture_offers_nothing():
    matrix, gaps, _ = related(5)
    matrix[4, :4] = 10.0
    inside = predict(matrix, gaps, [1, 1, 1, 1, 0])
    assert (inside.best.offers < 1).all() and (inside.weighted.offers < 1).all()
    assert (predict(matrix, gaps, [1, 1, 1, 1, 1]).best.offers[:4] > 1).all()
    for weights in ([1, 0, 0, 0, 0], [1, 1, 1, 1, -1], [1, 1, 1]):
        with pytest.raises(UserError):
            predict(matrix, gaps, weights)
