"""Budgets by hand, and bounds that stay bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bottleneck.analysis.recovery import budget, savings
from bottleneck.errors import UserError

LEVELS = (0, 10, 20, 40, 80)


def curve(*seeds):
    """Seeds' mean bits at every level -> [B, S, 2], items around the mean."""
    means = np.array(seeds, float).T
    return means[:, :, None] + np.array([-0.5, 0.5])


def test_budget_by_hand():
    result = budget(
        LEVELS,
        curve(
            (0, 0.1, 0.4, 0.6, 0.9),  # half way between 20 and 40 in log
            (0, 0.1, 0.2, 0.5, 0.6),  # exactly at 40
            (0, 0.1, 0.2, 0.3, 0.4),  # never
            (0, 0.7, 0.8, 0.8, 0.8),  # somewhere between 0 and 10
            (0.6, 0.7, 0.8, 0.8, 0.8),  # needs nothing
            (0, 0.1, 0.7, 0.2, 0.9),
        ),
        0.5,
    )  # the first crossing counts
    np.testing.assert_allclose(result.low, [20 * 2**0.5, 40, 80, 0, 0, 10 * 2 ** (2 / 3)])
    np.testing.assert_allclose(result.high, [20 * 2**0.5, 40, np.inf, 10, 0, 10 * 2 ** (2 / 3)])
    assert result.censored == 1 and result.median == pytest.approx((10 * 2 ** (2 / 3) + 20 * 2**0.5) / 2)
    never = budget(LEVELS, curve(*[(0, 0, 0, 0, 0)] * 2, (0, 0, 0, 0, 1)), 0.5)
    assert never.median == np.inf and never.censored == 2


def test_without_a_zero_level_the_first_is_a_bound():
    result = budget((10, 20), curve((0.6, 0.7), (0.4, 0.6)), 0.5)
    np.testing.assert_allclose(result.low, [0, 10 * 2**0.5])
    np.testing.assert_allclose(result.high, [10, 10 * 2**0.5])


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_bounds_are_in_order_and_grow_with_the_target(means, a, b):
    easy, hard = (budget(LEVELS, curve(means), target) for target in sorted((a, b)))
    assert easy.low <= easy.high and easy.low <= hard.low + 1e-9 and easy.high <= hard.high + 1e-9
    assert np.isinf(hard.high) == (curve(means).mean(2).max() < hard.target) and 0 <= hard.low <= 80


def test_savings_are_log2_of_the_ratio_with_a_t_interval_over_seeds():
    start = curve((0, 0.5, 1, 1, 1), (0, 0.2, 0.8, 1, 1), (0, 0, 0.7, 1, 1))
    random = curve((0, 0, 0, 0.5, 1), (0, 0, 0.2, 0.7, 1), (0, 0, 0, 0.3, 1))
    result = savings(start, random, LEVELS, np.full((3, 7), 0.5), margin=0.9)
    assert result.target == pytest.approx(0.45)
    np.testing.assert_array_equal(result.random.low, result.random.high)
    assert result.floored == 1 and result.censored == 0  # the first seed's 0 to 10 counts as 10
    each = np.log2(result.random.low / np.maximum(result.start.high, 10))
    assert result.value == result.at_least == result.at_most == pytest.approx(each.mean())
    expected = stats.t.interval(0.95, 2, each.mean(), stats.sem(each))
    assert (result.low, result.high) == pytest.approx(expected)
    assert (result.n_seeds, result.faster, result.slower) == (3, 3, 0)


def test_a_plain_doubling():
    fast, slow = curve(*[(0, 0, 1, 1, 1)] * 3), curve(*[(0, 0, 0, 1, 1)] * 3)
    ones = np.ones((3, 4))
    assert savings(fast, slow, LEVELS, ones).value == pytest.approx(1)
    back = savings(slow, fast, LEVELS, ones)
    assert back.value == pytest.approx(-1) and (back.faster, back.slower) == (0, 3)
    assert savings(fast, fast, LEVELS, ones).value == 0


def test_censored_seeds_give_bounds_and_no_value():
    start, never = curve((0, 0, 1, 1, 1), (0, 0, 0.95, 1, 1)), curve((0, 0, 0, 0, 0.2), (0, 0, 0, 0, 0))
    result = savings(start, never, LEVELS, np.ones((2, 4)))
    assert result.value is None and result.censored == 2 and result.faster == 2
    least = np.log2(80 / result.start.high)
    assert result.at_least == pytest.approx(least.mean()) and result.at_most == np.inf
    assert result.low < result.at_least and result.high == np.inf
    assert result.low == pytest.approx(stats.t.interval(0.95, 1, least.mean(), stats.sem(least))[0])
    lost = savings(never, start, LEVELS, np.ones((2, 4)))
    assert (lost.at_least, lost.low, lost.slower) == (-np.inf, -np.inf, 2) and lost.at_most == pytest.approx(
        -least.mean()
    )
    neither = savings(never, never, LEVELS, np.ones((2, 4)))
    assert (neither.at_least, neither.at_most, neither.faster, neither.slower) == (-np.inf, np.inf, 0, 0)
    one = savings(start, np.concatenate([never[:, :1], start[:, 1:]], 1), LEVELS, np.ones((2, 4)))
    assert one.value is None and (one.censored, one.faster) == (1, 1)


def test_levels_do_not_resolve_below_the_first_positive_one():
    at_once, soon = curve(*[(1, 1, 1, 1, 1)] * 2), curve(*[(0, 1, 1, 1, 1)] * 2)
    result = savings(at_once, soon, LEVELS, np.ones((2, 4)))
    assert (result.value, result.floored, result.start.median, result.random.median) == (0, 2, 0, 10)


def test_one_seed_has_no_interval():
    result = savings(curve((0, 0, 1, 1, 1)), curve((0, 0, 0, 1, 1)), LEVELS, np.ones((1, 4)))
    assert result.value == pytest.approx(1) and (result.low, result.high) == (-np.inf, np.inf)


@pytest.mark.parametrize("levels", [(0,), (), (0, 10, 10), (10, 5), (-1, 2)])
def test_levels_are_checked(levels):
    with pytest.raises(UserError, match="levels"):
        budget(levels, np.zeros((len(levels), 2, 3)), 0.5)


def test_shapes_are_checked():
    with pytest.raises(UserError, match="curve"):
        budget(LEVELS, np.zeros((4, 2, 3)), 0.5)
    with pytest.raises(UserError, match="same 2 seeds"):
        savings(np.zeros((5, 2, 3)), np.zeros((5, 3, 3)), LEVELS, np.ones((2, 3)))
