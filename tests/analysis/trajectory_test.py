"""Verdicts over steps: each one planted, forgetting without bias, and the corner cases of the rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bottleneck.analysis.trajectory import learning, log_steps
from bottleneck.errors import UserError

STEPS = (0, 125, 250, 500, 1000)
S, N = 5, 400


def tables(means, seeds=S, noise=0.2, seed=0):
    """Bits around `means` [T]: test [T, S, N] with noise of seeds and items, and val [T, S]."""
    rng = np.random.default_rng(seed)
    centre = np.asarray(means)[:, None] + 0.01 * rng.normal(size=(len(means), seeds))
    return centre[:, :, None] + noise * rng.normal(size=(len(means), seeds, N)), centre


def planted(means, reference=1.0, seeds=S, steps=STEPS, noise=0.2, seed=0):
    test, val = tables(means, seeds, noise, seed)
    direct = tables([reference], S, noise, seed + 1)[0][0]
    return learning(steps, test, val, direct, entropy=1.0)


@pytest.mark.parametrize(
    "verdict, means, reference",
    [
        ("untestable", (0, 0.2, 0.5, 0.9, 1.0), -0.05),
        ("undecided", (0, 0.2, 0.5, 0.9, 1.0), 0.02),  # nor is it clear that direct training reads anything
        ("learned", (0, 0.5, 0.9, 0.97, 0.99), 1.0),
        ("still rising", (0, 0.05, 0.1, 0.3, 0.6), 1.0),
        ("learned then lost", (0, 0.4, 0.9, 0.3, 0.1), 1.0),
        ("never learned", (0, 0.01, 0.0, 0.02, 0.01), 1.0),
        ("learned in part", (0, 0.4, 0.5, 0.52, 0.53), 1.0),
        ("undecided", (0, 0.85, 0.88, 0.9, 0.9), 1.0),  # the end sits on the margin
        # corners
        ("learned", (0, 0.1, 0.2, 0.5, 0.98), 1.0),  # late, but there
        ("learned", (0, 0.9, 1.4, 1.2, 1.1), 1.0),  # falls from above the reference and still reads it
        ("learned", (0, 0.95, 0.2, 0.95, 0.97), 1.0),  # a dip on the way
        ("learned", (0.97, 0.97, 0.98, 0.98, 0.97), 1.0),  # the untrained network reads it too: `init` says so
        ("still rising", (0, 0.8, 0.5, 0.2, 0.5), 1.0),  # lost, and coming back
        ("learned then lost", (0.8, 0.6, 0.4, 0.3, 0.25), 1.0),  # there before training: peak 0
        ("never learned", (0.5, 0.52, 0.5, 0.51, 0.5), 1.0),  # what the untrained network offers, and no more
        ("never learned", (0.5, 0.48, 0.46, 0.45, 0.45), 1.0),  # loses less than the share of it
        ("undecided", (0, 0.06, 0.08, 0.1, 0.1), 1.0),  # what it added sits on the share
        ("learned", (0, 0.3, 0.4, 0.48, 0.5), 0.5),  # shares are of the reference, whatever its size
        ("learned in part", (0, 0.9, 1.0, 1.0, 1.0), 2.0),
        ("still rising", (0, 0.1, 0.15, 0.2, 0.3), 0.5),
        ("learned then lost", (0, 0.2, 0.3, 0.25, 0.2), 0.5),
    ],
)
def test_each_verdict_planted(verdict, means, reference):
    result = planted(means, reference)
    assert result.verdict == verdict
    assert result.peak == STEPS[int(np.argmax(np.round(means, 1)))] or max(means) - sorted(means)[-2] < 0.05
    assert (result.last, result.since) == (1000, 500)
    for interval, expected in (
        (result.init, means[0]),
        (result.end, means[-1]),
        (result.best, max(means)),
        (result.rise, means[-1] - means[-2]),
        (result.forgetting, max(means) - means[-1]),
    ):
        assert interval.value == pytest.approx(expected, abs=0.04)
    assert result.reference.value == pytest.approx(reference, abs=0.03)


def test_noise_makes_it_undecided_not_another_verdict():
    """Each verdict's means, the reference certain, the mixture's items so noisy that 5 x 400 of them show nothing.

    Every interval is several bits wide; a verdict then comes up in a few of 100 runs, as 95 % intervals have it.
    """
    for means in (
        (0, 0.5, 0.9, 0.97, 0.99),
        (0, 0.05, 0.1, 0.3, 0.6),
        (0, 0.4, 0.9, 0.3, 0.1),
        (0, 0.01, 0.0, 0.02, 0.01),
    ):
        result = [
            learning(STEPS, *tables(means, noise=100.0, seed=seed), np.ones((S, N)), entropy=1.0).verdict
            for seed in range(100)
        ]
        assert result.count("undecided") > 85


def test_forgetting_is_unbiased_where_peak_minus_last_is_not():
    """20 checkpoints with no forgetting and a standard error of 1 point: 1.87 points naively, 0.00 here.

    The mean of 2000 simulations has a standard error of about 0.03 points.
    """
    rng = np.random.default_rng(0)
    naive, ours, covered = [], [], []
    for _ in range(2000):
        test, val = 80 + 5 * rng.normal(size=(20, 1, 25)), 80 + rng.normal(size=(20, 1))
        result = learning(range(20), test, val, np.full((1, 25), 80.0), entropy=100)
        naive.append(test.mean((1, 2)).max() - test[-1].mean())
        ours.append(result.forgetting.value)
        covered.append(result.forgetting.low <= 0 <= result.forgetting.high)
    assert np.mean(naive) == pytest.approx(1.87, abs=0.12)
    assert np.mean(ours) == pytest.approx(0.0, abs=0.12)
    assert 0.93 <= np.mean(covered) <= 0.98


def test_peak_is_chosen_on_validation_alone_and_for_all_seeds_at_once():
    test, val = tables((0, 0.5, 0.9, 0.3, 0.1))
    val = np.array([[0, 0], [5, 0], [3, 3], [0, 5], [0, 0]], float)
    result = learning(STEPS, test[:, :2], val, np.ones((2, N)), entropy=1.0)
    assert result.peak == 250  # neither seed's own peak
    assert result.best.value == test[2, :2].mean()
    assert result.forgetting.value == pytest.approx((test[2, :2] - test[4, :2]).mean())
    test, val = tables((0, 0.5, 0.9, 0.3, 0.1))
    val[:] = 1.0
    result = learning(STEPS, test, val, np.ones((S, N)), entropy=1.0)
    assert result.peak == 1000  # of equal steps the last
    assert (result.forgetting.value, result.forgetting.low, result.forgetting.high) == (0, 0, 0)


@pytest.mark.parametrize(
    "steps, since",
    [
        ((0, 1000), None),
        ((0, 200, 1000), None),
        ((0, 251, 499, 501, 1000), 499),
        ((0, 250, 1000), 250),
        ((0, 500, 1000), 500),
        ((0, 600, 1000), None),
    ],
)
def test_the_rise_needs_a_step_about_one_doubling_back(steps, since):
    result = planted(np.linspace(0, 0.6, len(steps)), steps=steps)
    assert result.since == since and (result.rise is None) == (since is None)
    assert result.verdict == ("learned in part" if since is None else "still rising")


def test_one_seed_speaks_of_items_and_other_seed_counts_are_not_paired():
    result = planted((0, 0.4, 0.9, 0.3, 0.1), seeds=1)
    assert result.verdict == "learned then lost" and result.forgetting.unit == "items"
    for seeds in (2, 8):
        result = planted((0, 0.4, 0.9, 0.3, 0.1), seeds=seeds)
        assert result.verdict == "learned then lost" and result.forgetting.n_seeds == seeds


def test_pairing_with_the_reference_over_seeds_and_items_decides():
    """Items 20 times as far apart as the mixture falls short: a verdict if the reference has its items and seeds."""
    rng = np.random.default_rng(6)
    difficulty = 1 + 4 * rng.normal(size=(S, N))
    test = np.stack([0.1 * difficulty, 0.8 * difficulty])
    paired = learning((0, 9), test, test.mean(2), difficulty, entropy=1.0)
    assert paired.verdict == "learned in part"
    for reference in (difficulty[:, ::-1], difficulty[::-1]):
        assert learning((0, 9), test, test.mean(2), reference, entropy=1.0).verdict == "undecided"


def test_a_margin_of_its_own():
    test, val = tables((0, 0.5, 0.6, 0.6, 0.6))
    direct = np.ones((S, N))
    assert learning(STEPS, test, val, direct, entropy=1.0).verdict == "learned in part"
    assert learning(STEPS, test, val, direct, entropy=1.0, margin=0.5).verdict == "learned"
    wide, narrow = (learning(STEPS, test, val, direct, entropy=1.0, level=level).end for level in (0.99, 0.5))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    "steps, shape, key",
    [
        ((0,), (1, 2, 5), "steps"),
        ((1, 2), (2, 2, 5), "steps"),
        ((0, 2, 2), (3, 2, 5), "steps"),
        ((0, 2, 1), (3, 2, 5), "steps"),
        ((0, 1), (3, 2, 5), "test"),
        ((0, 1), (2, 5), "test"),
    ],
)
def test_steps_and_shapes_are_checked(steps, shape, key):
    with pytest.raises(UserError) as error:
        learning(steps, np.zeros(shape), np.zeros(shape[:2]), np.zeros((2, 5)), entropy=1.0)
    assert error.value.key == key
    with pytest.raises(UserError, match="same test items"):
        learning((0, 1), np.zeros((2, 2, 5)), np.zeros((2, 2)), np.zeros((2, 6)), entropy=1.0)
    with pytest.raises(UserError, match="val"):
        learning((0, 1), np.zeros((2, 2, 5)), np.zeros((2, 3)), np.zeros((2, 5)), entropy=1.0)


def test_log_steps():
    assert log_steps(1000, 4) == (0, 62, 125, 250, 500, 1000)
    assert log_steps(5, 10) == (0, 1, 2, 5)
    assert log_steps(7, 0) == (0, 7)
    for bad in ((0, 3), (5, -1)):
        with pytest.raises(UserError):
            log_steps(*bad)


@given(st.integers(2, 10**7), st.integers(1, 30))
def test_log_steps_ascend_and_always_allow_the_rise(total, halvings):
    steps = log_steps(total, halvings)
    assert steps[0] == 0 and steps[-1] == total and list(steps) == sorted(set(steps)) and len(steps) <= halvings + 2
    assert any(total <= 4 * step <= 2 * total for step in steps)


def test_verdicts_partition_what_is_known():
    """Without noise every course gets one of the words, "undecided" only where something is exactly on its limit."""
    rng = np.random.default_rng(3)
    words = set()
    for _ in range(300):
        means = np.round(rng.uniform(0, 1.2, 5), 3) + 1e-4
        result = learning(
            STEPS,
            np.broadcast_to(means[:, None, None], (5, 2, 3)),
            np.tile(means[:, None], 2),
            np.ones((2, 3)),
            entropy=1.0,
        )
        words.add(result.verdict)
        last, peak = means[-1], means.max()
        expected = (
            "learned"
            if last > 0.9
            else "still rising"
            if last - means[-2] > 0.1
            else "learned then lost"
            if peak - last > 0.1
            else "never learned"
            if peak - means[0] < 0.1
            else "learned in part"
        )
        assert result.verdict == expected
    assert words == {"learned", "still rising", "learned then lost", "never learned", "learned in part"}
