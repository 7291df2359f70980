import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
    result = intervals.two_way(d)
    variance = max(a + b - e, a, b) / 6
    assert result.se == pytest.approx(np.sqrt(variance))
    assert result.dof == pytest.approx((6 * variance) ** 2 / (a**2 / 1 + b**2 / 2 + e**2 / 2))
    assert result.high - result.value == pytest.approx(stats.t.ppf(0.975, result.dof) * result.se)
    assert result.p(3.5) == pytest.approx(1.0)
    assert result.estimates == ((pytest.approx(a / 6), 1), (pytest.approx(variance - a / 6), 2))
    assert (result.n_seeds, result.n_examples, result.unit) == (2, 3, "seeds and items")


def interval(difference, seeds, items):
    """An Interval with these two estimates of its variance."""
    se = np.sqrt(seeds[0] + items[0])
    return intervals.Interval(difference, 0, 0, se, 9, "seeds and items", 5, 99, estimates=(seeds, items))


@pytest.mark.parametrize("dof", [1, 2, 4, 9, 499, 3.7])
@pytest.mark.parametrize("t", [0.0, 0.5, 2.0, 5.0, 30.0])
def test_p_of_one_source_alone_is_students(dof, t):
    expected = pytest.approx(2 * stats.t.sf(t, dof), rel=1e-4, abs=1e-12)
    assert interval(3 * t, (9.0, dof), (0.0, 99)).p() == expected
    assert interval(3 * t, (0.0, 4), (9.0, dof)).p() == expected
    # nearly alone: as if the other were known
    assert interval(3 * t, (9.0, dof), (1e-9, 99)).p() == pytest.approx(2 * stats.t.sf(t, dof), rel=1e-3, abs=1e-12)


def test_p_of_two_sources_by_simulation():
    """Every true variance that the estimates leave possible, drawn and weighted instead of integrated."""
    rng = np.random.default_rng(0)
    p, q = rng.chisquare(4, 10**6) / 4, rng.chisquare(30, 10**6) / 30
    a, b = 2.0, 1.0
    weights = p / a + q / b
    tails = 2 * special.ndtr(-4.0 / np.sqrt(a / p + b / q))
    assert interval(4.0, (a, 4), (b, 30)).p() == pytest.approx((weights * tails).sum() / weights.sum(), rel=0.01)


@given(st.floats(0, 50), st.floats(0, 50), st.floats(1e-6, 10), st.floats(1e-6, 10), st.integers(1, 30))
def test_p_falls_with_the_difference_and_lies_between_the_two_t_tests(x, y, a, b, dof):
    near, far = sorted((x, y))
    assert 1.0 + 1e-9 >= interval(near, (a, dof), (b, 99)).p() >= interval(far, (a, dof), (b, 99)).p() >= 0.0
    t = x / np.sqrt(a + b)
    assert 2 * stats.norm.sf(t) - 1e-3 <= interval(x, (a, dof), (b, 99)).p() <= 2 * stats.t.sf(t, dof) + 1e-3


@pytest.mark.parametrize("shares", [(0.8, 0.1), (0.5, 0.4), (0.3, 0.6), (0.0, 0.5)])
def test_p_keeps_its_level_in_the_tails(shares):
    """5 seeds and 500 items, 4,000 true nulls by their mean squares. Satterthwaite's t rejects at .005 up to .011."""
    rng, s, n, count, alpha = np.random.default_rng(0), 5, 500, 4000, 0.005
    seed, item = shares
    residual = 1.0 - seed - item
    a = (seed + residual) * rng.chisquare(s - 1, count) / (s - 1)
    b = (item + residual) * rng.chisquare(n - 1, count) / (n - 1)
    e = residual * rng.chisquare((s - 1) * (n - 1), count) / ((s - 1) * (n - 1))
    variance = np.maximum(np.maximum(a + b - e, a), b)
    made = [interval(d, (x, s - 1), (v - x, n - 1)) for d, x, v in zip(rng.normal(size=count), a, variance)]
    about, most = (np.mean([each.p(conservative=c) < alpha for each in made]) for c in (False, True))
    assert about < 1.4 * alpha + 2 * np.sqrt(alpha / count) and most < alpha + 2 * np.sqrt(alpha / count)
    assert most <= about


def test_one_seed_is_an_item_interval_and_one_item_a_seed_interval():
    d = np.random.default_rng(0).normal(size=40)
    items = intervals.two_way(d)
    low, high = stats.t.interval(0.95, 39, d.mean(), stats.sem(d))
    assert (items.low, items.high) == pytest.approx((low, high)) and items.unit == "items"
    seeds = intervals.two_way(d[:, None])
    assert (seeds.low, seeds.high) == pytest.approx((low, high)) and seeds.unit == "seeds"
    narrow = intervals.two_way(d, level=0.5)
    assert narrow.high - narrow.value < (items.high - items.value) / 2


@pytest.mark.parametrize("hit", [0, 1])
@pytest.mark.parametrize("seeds", [1, 3])
def test_hits_that_are_all_alike_have_the_exact_interval_of_their_items(hit, seeds):
    exact = stats.binomtest(12 * hit, 12).proportion_ci(0.95, "exact")
    found = intervals.proportion(np.full((seeds, 12), float(hit)))
    assert (found.value, found.low, found.high) == pytest.approx((hit, exact.low, exact.high), abs=1e-12)
    hits = np.random.default_rng(0).integers(0, 2, (seeds, 90))
    assert intervals.proportion(hits) == intervals.two_way(hits)
    assert intervals.proportion(hits[:, None]) == intervals.few_shot([(1.0, hits[:, None])])
    apart = intervals.proportion(np.eye(2)[[hit, 1 - hit], :1] + np.zeros((2, 12)))  # two seeds that disagree
    assert (apart.value, apart.low, apart.high) == (0.5, 0.0, 1.0)


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
    result = intervals.welch([(1.0, x + np.zeros((1, 500))), (-1.0, y + np.zeros((1, 500)))])
    reference = stats.ttest_ind(x[:, 0], y[:, 0], equal_var=False)
    assert result.p() == pytest.approx(reference.pvalue)
    assert result.dof == pytest.approx(reference.df)


def test_welch_lends_a_lone_seed_the_spread_of_the_other_arm():
    rng = np.random.default_rng(2)
    many = rng.normal(size=(6, 1)) + 0.01 * rng.normal(size=(6, 200))
    result = intervals.welch([(1.0, many), (-1.0, many[:1])])
    sd = many.mean(1).std(ddof=1)
    assert result.se == pytest.approx(sd * np.sqrt(1 / 6 + 1), rel=0.05)
    assert result.dof < 7


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


def test_draws_are_nested_in_seeds_or_take_their_place():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 4, 3, 30))
    result = intervals.few_shot([(1, a), (-1, b)])
    means = intervals.two_way((a - b).mean(1))
    assert (result.value, result.se, result.dof) == pytest.approx((means.value, means.se, means.dof))
    assert (result.unit, result.n_seeds) == ("seeds and items", 4)
    one = intervals.few_shot([(1, a[:1]), (-1, b[:1])])
    draws = intervals.two_way((a - b)[0])
    assert (one.value, one.low, one.high) == (draws.value, draws.low, draws.high)
    assert (one.unit, one.n_seeds) == ("draws and items", 1)
    assert intervals.few_shot([(1, a), (-1, b[:3])]).n_seeds == 3  # other seeds: Welch


def points(slope, seeds=5, items=60, x=(0, 1, 2, 3), bend=0.0, rng=None):
    rng = np.random.default_rng(6) if rng is None else rng
    difficulty, shared = 0.5 * rng.normal(size=items), 0.05 * rng.normal(size=(seeds, 1))

    def noise():
        return 0.02 * rng.normal(size=(seeds, 1)) + 0.2 * rng.normal(size=(seeds, items))

    return [1 + slope * at + bend * at**2 + difficulty + shared + noise() for at in x]


def test_slope_is_least_squares_and_a_contrast():
    x, tables = [0, 1, 2, 3], points(0.3)
    result = intervals.slope(tables, x, paired=True)
    fit = np.polyfit(x, [table.mean() for table in tables], 1)
    residual = np.array([table.mean() for table in tables]) - np.polyval(fit, x)
    assert result.interval.value == pytest.approx(fit[0])
    assert result.misfit == pytest.approx(np.sqrt((residual**2).mean()))
    assert result.interval == intervals.two_way(sum(c * t for c, t in zip([-0.3, -0.1, 0.1, 0.3], tables)))
    assert result.misfit_p > 0.05
    unpaired = intervals.slope([*tables[:3], tables[3][:4]], x, paired=True)  # another number of seeds: Welch
    assert unpaired.interval.n_seeds == 4
    two = intervals.slope(tables[:2], [0, 1], paired=True)
    difference = intervals.two_way(tables[1] - tables[0])
    assert (two.interval.low, two.interval.high) == pytest.approx((difference.low, difference.high))
    assert two.misfit == pytest.approx(0, abs=1e-12) and two.misfit_p is None


def test_slope_sees_a_bend():
    assert intervals.slope(points(0.3, bend=0.1), [0, 1, 2, 3], paired=True).misfit_p < 0.01
    many = points(0.3, x=range(12), bend=0.05)
    assert intervals.slope(many, range(12), paired=False).misfit_p < 1e-4


@pytest.mark.parametrize("paired", [True, False])
def test_slope_covers_and_its_misfit_keeps_its_level(paired):
    rng, covered, bent = np.random.default_rng(7), [], []
    for _ in range(400):
        result = intervals.slope(points(0.1, rng=rng), [0, 1, 2, 3], paired)
        covered.append(result.interval.low <= 0.1 <= result.interval.high)
        bent.append(result.misfit_p < 0.05)
    assert np.mean(covered) > 0.92 and np.mean(bent) < 0.07


@pytest.mark.parametrize("x", [(1, 1, 1), (1, 2), (1, 2, np.nan), (1, 2, -np.inf)])
def test_slope_needs_an_axis(x):
    with pytest.raises(UserError, match="x="):
        intervals.slope(points(0.1)[:3], x, paired=True)
    with pytest.raises(UserError, match="same test items"):
        intervals.slope([np.zeros((2, 5)), np.zeros((2, 6))], (0, 1), paired=True)


@pytest.mark.parametrize("common", [True, False])
def test_over_points_covers_what_splits_add(common):
    """8 split seeds that move the mean by .1: the intervals of single points miss the truth, the joint one holds it."""
    rng, joint, single = np.random.default_rng(8), [], []
    for _ in range(400):
        items = rng.normal(size=(8, 40))
        items[:] = items[0] if common else items
        tables = [0.1 * rng.normal() + 0.3 * of + 0.1 * rng.normal(size=(3, 40)) for of in items]
        interval = intervals.over_points(tables, common)
        joint.append(interval.low <= 0 <= interval.high)
        single.append(intervals.two_way(tables[0]).low <= 0 <= intervals.two_way(tables[0]).high)
    assert 0.92 <= np.mean(joint) <= 0.985 and np.mean(single) < 0.9
    assert interval.unit == ("split seeds and items" if common else "split seeds")
    assert (interval.n_seeds, interval.n_examples) == (3, 40 if common else 320)


def test_over_points_by_hand():
    tables = [np.full((2, 5), value) for value in (0.1, 0.2, 0.6)]
    interval = intervals.over_points(tables, common_items=False)
    assert interval.value == pytest.approx(0.3)
    assert interval.se == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)) and interval.dof == 2
    with pytest.raises(UserError, match="two points"):
        intervals.over_points(tables[:1], common_items=True)


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


def test_a_slope_within_groups_compares_no_others():
    """Groups of other levels: the slope is that of each, however these lie along x; what lies alone says nothing."""
    x, groups = [0, 1, 2, 5, 6, 9], ["a", "a", "a", "b", "b", "alone"]
    tables = [t + dict(a=0.0, b=-7.0, alone=50.0)[g] for t, g in zip(points(0.4, x=x), groups)]
    result = intervals.slope(tables, x, paired=True, groups=groups)
    assert result.interval.value == pytest.approx(0.4, abs=0.05) and result.interval.low < 0.4 < result.interval.high
    assert result.misfit < 0.1 and result.misfit_p > 0.01
    shifted = intervals.slope([*tables[:5], tables[5] + 1000], x, paired=True, groups=groups)
    assert shifted.interval == result.interval
    with pytest.raises(UserError):
        intervals.slope(tables, x, paired=True, groups="abcdef")


def test_a_balanced_design_has_the_slope_that_it_has_without_groups():
    x, groups = [0, 1, 3] * 2, ["a"] * 3 + ["b"] * 3
    tables = points(0.2, x=x)
    whole, within = (intervals.slope(tables, x, paired=True, groups=g) for g in (None, groups))
    assert within.interval.value == pytest.approx(whole.interval.value)
    assert within.misfit_p == pytest.approx(whole.misfit_p)
