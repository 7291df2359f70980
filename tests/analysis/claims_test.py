"""The rule by which a published result is judged, and the area under the ROC curve as a mean over items."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from bottleneck.analysis import claims, intervals
from bottleneck.analysis.claims import AGAINST, MEASURED, OTHER, REPRODUCED, SAME, UNDECIDED, band

numbers = st.floats(-50, 150)
sds = st.none() | st.floats(0, 20)


def status(held, low, high):
    return claims.judge(dataclasses.replace(intervals.two_way(np.zeros((2, 2))), low=low, high=high), held)


@given(published=numbers, sd=sds, low=numbers, width=st.floats(0, 60))
def test_reproduced_inside_against_when_disjoint_else_undecided(published, sd, low, width):
    held, high = band(published, sd, None, None, False), low + width
    assert held.high - published == pytest.approx(max(2 * (sd or 0), 2.0))
    assert published - held.low == pytest.approx(held.high - published)
    inside, apart = held.low <= low and high <= held.high, high < held.low or low > held.high
    assert status(held, low, high) == (REPRODUCED if inside else AGAINST if apart else UNDECIDED)


@given(published=numbers, sd=sds, low=numbers, width=st.floats(0, 60), wider=st.floats(0, 60))
def test_less_precision_never_decides_what_was_open(published, sd, low, width, wider):
    held = band(published, sd, None, None, False)
    before, after = status(held, low, low + width), status(held, low - wider, low + width + wider)
    assert after in (before, UNDECIDED)


@given(published=st.none() | numbers, sd=sds, threshold=numbers, low=numbers, width=st.floats(0, 60))
def test_a_reduced_protocol_and_a_picture_have_at_best_the_same_direction(published, sd, threshold, low, width):
    high = low + width
    upward, downward = (band(published, sd, *ends, True) for ends in ((threshold, None), (None, threshold)))
    assert status(upward, low, high) == (SAME if low >= threshold else OTHER if high < threshold else UNDECIDED)
    assert status(downward, low, high) == (SAME if high <= threshold else OTHER if low > threshold else UNDECIDED)


@given(low=numbers, width=st.floats(0, 60))
def test_without_an_expectation_it_is_measured(low, width):
    assert status(band(None, None, None, None, True), low, low + width) == MEASURED


def test_one_network_decides_nothing():
    one = dataclasses.replace(intervals.two_way(np.full((1, 9), 70.0)), low=69.9, high=70.1)
    assert claims.judge(one, band(70.0, None, None, None, False)) == UNDECIDED


def test_an_interval_without_ends_is_undecided():
    one = intervals.two_way(np.array([[70.0]]))
    assert claims.judge(one, band(70.0, None, None, None, False)) == UNDECIDED
    assert claims.judge(one, band(None, None, 50.0, None, False)) == UNDECIDED


scores = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=4, max_size=60)


@given(scores)
def test_the_mean_over_items_is_the_area_with_ties(pairs):
    score, positive = np.array([s for s, _ in pairs]), np.array([p for _, p in pairs])
    assume(positive.any() and not positive.all())
    items = claims.auc_items(score, positive)
    assert items.mean() == pytest.approx(roc_auc_score(positive, score))
    np.testing.assert_allclose(claims.auc_items(np.exp(score / 3.0), positive), items, atol=1e-12)
    assert claims.auc_items(-score, positive).mean() == pytest.approx(1 - items.mean())


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6), share=st.sampled_from((0.2, 0.5)))
def test_the_variance_of_the_items_mean_is_that_of_the_area(seed, share):
    rng, n = np.random.default_rng(seed), 400
    positive = np.arange(n) < share * n
    areas, variances = [], []
    for _ in range(300):
        items = claims.auc_items(rng.normal(positive * 1.0), positive)
        areas.append(items.mean())
        variances.append(items.var(ddof=1) / n)
    assert np.mean(variances) == pytest.approx(np.var(areas), rel=0.35)


def test_a_class_without_items_has_no_area():
    with pytest.raises(ValueError, match="both classes"):
        claims.auc_items([1.0, 2.0], [True, True])


def test_a_difference_pairs_items_where_they_are_shared_and_seeds_always():
    rng = np.random.default_rng(0)
    seeds, items = rng.normal(0, 5, (4, 1)), rng.normal(0, 20, (1, 300))
    a = 70 + seeds + items + rng.normal(0, 1, (4, 300))
    b = 60 + seeds + items + rng.normal(0, 1, (4, 300))
    paired, apart = claims.difference(a, b, True), claims.difference(a, b, False)
    assert paired.value == pytest.approx(apart.value) and paired.se < 0.1 and apart.se > 1
    assert claims.difference(a, None, True).value == pytest.approx(a.mean())
    assert claims.difference(a, b[:2], True).value == pytest.approx(a.mean() - b[:2].mean())
    with pytest.raises(ValueError, match="4 and 2 seeds"):
        claims.difference(a, b[:2], False)
