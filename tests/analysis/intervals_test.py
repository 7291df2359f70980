import numpy as np
import pytest
from scipy import special, stats

from bottleneck.analysis import intervals
from bottleneck.errors import UserError


def test_two_way_by_hand():
    d = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 9.0]])
    # seeds 2, 5; items 1.5, 3, 6; grand 3.5
    a, b, e = intervals.mean_squares(d)
    assert a == pytest.approx(3 * (1.5**2 + 1.5**2))
    assert b == pytest.approx(2 * (2.0**2 + 0.5**2 + 2.5**2) / 2)
    residual = d - [[2], [5]] - np.array([1.5, 3, 6]) + 3.5
    assert e == pytest.approx((residual**2).sum() / 2)
    found = intervals.two_way(d)
    variance = max(a + b - e, a, b) / 6
    assert found.se == pytest.approx(np.sqrt(variance))
    assert found.dof == pytest.approx((6 * variance) ** 2 / (a**2 / 1 + b**2 / 2 + e**2 / 2))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, found.dof) * found.se)
    assert found.p(3.5) == 1.0
    assert found.p() == pytest.approx(2 * stats.t.sf(3.5 / found.se, found.dof))
    assert (found.n_seeds, found.n_examples, found.unit) == (2, 3, "seeds and items")


def test_one_seed_is_an_item_interval_and_one_item_a_seed_interval():
    d = np.random.default_rng(0).normal(size=40)
    items = intervals.two_way(d)
    low, high = stats.t.interval(0.95, 39, d.mean(), stats.sem(d))
    assert (items.low, items.high) == pytest.approx((low, high)) and items.unit == "items"
    seeds = intervals.two_way(d[:, None])
    assert (seeds.low, seeds.high) == pytest.approx((low, high)) and seeds.unit == "seeds"
    narrow = intervals.two_way(d, level=0.5)
    assert narrow.high - narrow.value < (items.high - items.value) / 2


def test_constant_tables_do_not_divide_by_zero():
    zero = intervals.two_way(np.zeros((5, 10)))
    assert (zero.value, zero.low, zero.high, zero.p(), zero.p(1.0)) == (0, 0, 0, 1, 0)
    assert intervals.welch([(1, np.ones((2, 3))), (-1, np.ones((4, 3)))]).p() == 1.0
    single = intervals.two_way([[3.0]])
    assert np.isinf(single.high) and single.p() == 1.0


def test_welch_of_one_arm_is_two_way_and_of_many_items_is_welchs_t():
    rng = np.random.default_rng(1)
    d = rng.normal(size=(5, 30)) + rng.normal(size=(5, 1))
    one, other = intervals.welch([(1.0, d)]), intervals.two_way(d)
    assert (one.value, one.se, one.dof) == pytest.approx((other.value, other.se, other.dof))
    # seed effects only: the classical test on the seed means
    x, y = rng.normal(size=(4, 1)), rng.normal(size=(7, 1)) * 3
    found = intervals.welch([(1.0, x + np.zeros((1, 500))), (-1.0, y + np.zeros((1, 500)))])
    reference = stats.ttest_ind(x[:, 0], y[:, 0], equal_var=False)
    assert found.p() == pytest.approx(reference.pvalue)
    assert found.dof == pytest.approx(reference.df)


def test_welch_lends_a_lone_seed_the_spread_of_the_other_arm():
    rng = np.random.default_rng(2)
    many = rng.normal(size=(6, 1)) + 0.01 * rng.normal(size=(6, 200))
    found = intervals.welch([(1.0, many), (-1.0, many[:1])])
    sd = many.mean(1).std(ddof=1)
    assert found.se == pytest.approx(sd * np.sqrt(1 / 6 + 1), rel=0.05)
    assert found.dof < 7


def test_contrast_pairs_only_equal_counts():
    rng = np.random.default_rng(3)
    seeds = rng.normal(size=(5, 1))
    a, b = seeds + rng.normal(size=(5, 50)) * 0.1 + 1, seeds + rng.normal(size=(5, 50)) * 0.1
    paired = intervals.contrast([(1, a), (-1, b)])
    unpaired = intervals.contrast([(1, a), (-1, b)], paired=False)
    assert paired.value == pytest.approx(unpaired.value) and paired.se < unpaired.se / 5
    assert intervals.contrast([(1, a), (-1, b[:4])]).n_seeds == 4
    with pytest.raises(UserError, match="same test items"):
        intervals.contrast([(1, a), (-1, b[:, :1])])


def test_across_one_item_set_is_two_way_and_adds_independent_sets():
    rng = np.random.default_rng(4)
    d = rng.normal(size=(4, 30)) + rng.normal(size=(1, 30))
    one, other = intervals.across([(1.0, d)]), intervals.two_way(d)
    assert (one.value, one.se, one.dof) == pytest.approx((other.value, other.se, other.dof))
    two = intervals.across([(0.5, d[:1]), (0.5, rng.normal(size=(1, 20)))])
    assert two.unit == "items" and two.n_examples == 50


def test_holm():
    np.testing.assert_allclose(intervals.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(intervals.holm([0.9, 0.8]), [1.0, 1.0])
    assert intervals.holm([]).shape == (0,)


SEEDS, ITEMS, REPLICATES = 5, 500, 1000
REGIMES = {  # shares of the variance of the mean that come from seeds, items, residual
    "seeds dominant": (0.8, 0.1, 0.1),
    "items dominant": (0.1, 0.8, 0.1),
    "residual dominant": (0.1, 0.1, 0.8),
    "no seed variance": (0.0, 0.5, 0.5),
}


@pytest.mark.parametrize("shares", REGIMES.values(), ids=REGIMES.keys())
def test_coverage_width_and_error_rates(shares):
    """1,000 studies of 5 seeds and 500 items with skewed (exponential) effects; the mean's true standard error is 1.

    The known-variance interval at the same degrees of freedom is t(dof of the replicate) times that 1.
    """
    rng = np.random.default_rng(0)
    seed, item, residual = shares
    shape = (REPLICATES, SEEDS, ITEMS)
    d = (
        np.sqrt(seed * SEEDS) * rng.normal(size=(REPLICATES, SEEDS, 1))
        + np.sqrt(item * ITEMS) * (rng.exponential(size=(REPLICATES, 1, ITEMS)) - 1)
        + np.sqrt(residual * SEEDS * ITEMS) * (rng.exponential(size=shape) - 1)
    )
    value, variance, dof = intervals.crossed(d)
    t, se = special.stdtrit(dof, 0.975), np.sqrt(variance)
    coverage = (np.abs(value) <= t * se).mean()
    width = (t * se).mean() / t.mean()

    def lost(contrast):
        return ((2 * special.stdtr(dof, -np.abs(contrast) / se) < 0.05) & (contrast > 0)).mean()

    print(f"coverage {coverage:.3f} width {width:.3f} lost at 0: {lost(value):.3f} at 5 se: {lost(value + 5):.3f}")
    assert 0.93 <= coverage <= 0.99
    assert width <= 1.3
    assert lost(value) <= 0.05
    assert lost(value + 5.0) >= 0.80
    # the scalar function is the same computation
    single = intervals.two_way(d[0])
    assert (single.value, single.se, single.dof) == pytest.approx((value[0], se[0], dof[0]))
