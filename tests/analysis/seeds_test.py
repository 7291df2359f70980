"""All, some, none or undecided, with the uncertainty of items in it; the spread between seeds; concatenation."""

import numpy as np
import pytest
from scipy import stats

from bottleneck.analysis import intervals
from bottleneck.analysis.seeds import concatenation, evidence, ratio, spread
from bottleneck.errors import UserError

N = 300


def bits(means, noise=0.3, seed=0):
    return np.asarray(means)[:, None] + noise * np.random.default_rng(seed).normal(size=(len(means), N))


@pytest.mark.parametrize(
    "verdict, means, counts",
    [
        ("all", (1.0, 0.98, 1.02, 1.0, 0.99), (5, 0, 0)),
        ("none", (0.1, 0.0, 0.2, 0.1, 0.0), (0, 5, 0)),
        ("some", (1.0, 0.0, 1.0, 0.0, 0.9), (2, 2, 1)),
        ("undecided", (1.0, 1.0, 0.9, 0.9, 1.0), (3, 0, 2)),
        ("undecided", (0.1, 0.0, 0.9, 0.1, 0.0), (0, 4, 1)),
    ],
)
def test_classes(verdict, means, counts):
    result = evidence(bits(means), np.ones((5, N)))
    assert (result.verdict, result.retained, result.lost, result.undecided) == (verdict, *counts)
    for interval, mean in zip(result.seeds, means, strict=True):
        assert interval.value == pytest.approx(mean - 0.9, abs=0.06) and interval.unit == "items"
    assert result.mean.value == pytest.approx(np.mean(means) - 0.9, abs=0.03)
    assert result.mean.unit == "seeds and items"


def test_evidence_is_paired_with_the_reference_of_the_same_seed_and_items():
    difficulty = 5 * np.random.default_rng(1).normal(size=(3, N))
    result = evidence(difficulty + 1, difficulty, margin=1.0)
    assert result.verdict == "all" and result.seeds[0].se == pytest.approx(0, abs=1e-12)
    assert evidence(difficulty + 1, difficulty[[1, 2, 0]], margin=1.0).seeds[0].se > 0.3
    with pytest.raises(UserError, match="seeds and items"):
        evidence(difficulty, difficulty[:2])


def test_seeds_of_an_untestable_feature_have_no_other_word():
    reference = bits([0.0] * 5, noise=0.1)
    for testable, verdict in (
        (reference - 0.1, "untestable"),
        (reference + 0.02, "undecided"),
        (reference + 1, "none"),
    ):
        assert evidence(bits([-2.0] * 5), testable, entropy=1.0).verdict == verdict
    assert evidence(bits([-2.0] * 5), reference - 0.1).verdict == "none"


def test_bonferroni_intervals_hold_jointly():
    """Under the border case D = 0 in every seed, a word other than undecided comes up in at most 5 %."""
    rng = np.random.default_rng(2)
    result = [evidence(rng.normal(size=(5, 40)), np.zeros((5, 40))) for _ in range(1000)]
    wrong = np.mean([f.retained + f.lost > 0 for f in result])
    assert 0.03 < wrong < 0.07  # binomial standard error 0.007
    assert {f.verdict for f in result} == {"undecided"}
    assert result[0].seeds[0].level == pytest.approx(0.99)
    half = result[0].seeds[0].high - result[0].seeds[0].value
    assert half == pytest.approx(stats.t.ppf(0.995, 39) * result[0].seeds[0].se)


def test_one_seed_has_a_word_and_no_spread():
    result = evidence(bits([1.0]), np.ones((1, N)))
    assert result.verdict == "all" and result.spread is None and result.seeds[0].level == pytest.approx(0.95)
    assert evidence([[1.0], [1.0]], [[1.0], [1.0]]).spread is None


def test_spread_by_hand_and_floored():
    table = bits((0.2, 0.5, 0.8), noise=0.1)
    a, _, e = intervals.mean_squares(table)
    result = spread(table)
    assert result.sd == pytest.approx(np.sqrt((a - e) / N)) and result.low < result.sd < result.high
    high = 2 * (a - e * stats.f.ppf(0.025, 2, 2 * (N - 1))) / (N * stats.chi2.ppf(0.025, 2))
    assert result.high == pytest.approx(np.sqrt(high))
    rng = np.random.default_rng(0)
    none = [spread(rng.normal(size=(5, 50))) for _ in range(200)]
    assert min(f.sd for f in none) == 0 and np.mean([f.low == 0 for f in none]) > 0.95
    same = spread(np.tile(rng.normal(size=50), (5, 1)))
    assert (same.sd, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize("sd", [0.05, 0.2, 1.0])
def test_spread_covers(sd):
    """Item difficulty shared by the seeds, an interaction of 1 bit, 5 seeds: 95 % of intervals hold the truth.

    1500 simulations: a standard error of 0.6 points.
    """
    rng = np.random.default_rng(4)
    result = [
        spread(sd * rng.normal(size=(5, 1)) + 2 * rng.normal(size=N) + rng.normal(size=(5, N))) for _ in range(1500)
    ]
    assert 0.93 <= np.mean([f.low <= sd <= f.high for f in result]) <= 0.97
    if sd > 0.1:  # else flooring at 0 adds to the mean
        assert np.mean([f.sd**2 for f in result]) == pytest.approx(sd**2, rel=0.1)


def test_concatenation_gains_over_the_mean_and_the_best_member():
    rng = np.random.default_rng(5)
    difficulty = rng.normal(size=N)
    members = difficulty + np.array([0.1, 0.4, 0.1])[:, None] + 0.1 * rng.normal(size=(3, N))
    result = concatenation(difficulty + 0.5, members, best=1)
    assert result.over_mean.value == pytest.approx(0.3, abs=0.02) and result.over_mean.low > 0.27
    assert result.over_best.value == pytest.approx(0.1, abs=0.02) and result.over_best.unit == "items"
    assert result.joined.value == pytest.approx(difficulty.mean() + 0.5) and result.joined.se > 5 * result.over_best.se
    for joined, best in ((difficulty[1:], 1), (difficulty, 3), (difficulty, -1)):
        with pytest.raises(UserError):
            concatenation(joined, members, best)


def test_the_ratio_of_variances_covers():
    """Twice the spread, 6 seeds each: 95 % of Fisher's intervals hold 4; shared item difficulty plays no part."""
    rng = np.random.default_rng(8)
    difficulty = rng.normal(size=30)
    tables = [[sd * rng.normal(size=(6, 1)) + difficulty for sd in (0.2, 0.1)] for _ in range(1500)]
    found = [ratio(*pair) for pair in tables]
    assert 0.935 <= np.mean([f.low <= 4.0 <= f.high for f in found]) <= 0.965
    first = found[0]
    a, b = (np.var(table.mean(1), ddof=1) for table in tables[0])
    assert first.value == pytest.approx(a / b) and (first.n_seeds, first.n_examples) == (6, 30)
    swapped = ratio(*tables[0][::-1])
    assert (swapped.low, swapped.high) == pytest.approx((1 / first.high, 1 / first.low))


def test_no_ratio_of_one_seed_or_without_variance():
    for a, b in ((np.ones((1, 3)), np.ones((5, 3))), (np.random.default_rng(0).normal(size=(5, 3)), np.ones((5, 3)))):
        found = ratio(a, b)
        assert np.isnan(found.value) and (found.low, found.high) == (0.0, np.inf)
