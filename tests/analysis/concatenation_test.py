import numpy as np
import pytest

from bottleneck.analysis import information, probes
from bottleneck.analysis.concatenation import concatenation_gain, without


def table(mean, seed, sets=5, items=500):
    rng = np.random.default_rng(seed)
    return mean + 0.01 * rng.normal(size=(sets, 1)) + 0.05 * rng.normal(size=(sets, items))


def test_the_excess_is_a_difference_of_differences():
    members, cat = table(0.5, 1), table(0.7, 2)
    direct_members, direct_cat = table(0.8, 3), table(0.85, 4)
    gain = concatenation_gain(cat, members, direct_cat, direct_members, direct=direct_members, entropy=1.0)
    assert gain.gain.value == pytest.approx(0.2, abs=0.03)
    assert gain.excess.value == pytest.approx(gain.gain.value - gain.control.value)
    assert gain.verdict == "gain" and gain.note == "" and gain.excess.unit == "member sets and items"
    reverse = concatenation_gain(direct_cat, direct_members, cat, members)
    assert reverse.verdict == "loss" and reverse.excess.value == pytest.approx(-gain.excess.value)
    same = concatenation_gain(members, members, direct_members, direct_members)
    assert same.verdict == "no difference shown" and same.excess.value == 0.0


def test_few_sets_give_an_interval_and_no_verdict():
    members, cat, direct_members, direct_cat = table(0.5, 1), table(0.7, 2), table(0.8, 3), table(0.85, 4)
    few = concatenation_gain(cat[:3], members[:3], direct_cat, direct_members, direct=0.96, entropy=1.0)
    assert few.verdict == "" and "3 member sets" in few.note and "direct at ceiling" in few.note
    lone = concatenation_gain(cat[:1], members[:1], direct_cat[:1], direct_members[:1])
    assert lone.excess.unit == "items" and "1 member set:" in lone.note


SIZES = {"probe": 800, "val": 400, "test": 2000}


def test_a_member_that_says_nothing_takes_what_it_carried():
    """About what a probe of the other members lacks, where members are independent given the label: a little more, as
    nothing is fitted again. A member of noise carries nothing."""
    rng = np.random.default_rng(0)
    y = {split: rng.integers(0, 3, n) for split, n in SIZES.items()}
    strength = {0: 1.5, 1: 2.5, 2: 0.0}
    blocks = [
        {s: k * np.eye(3)[labels] + rng.normal(size=(len(labels), 3)) + 7.0 for s, labels in y.items()}
        for k in strength.values()
    ]
    joined = {s: np.concatenate([block[s] for block in blocks], axis=1) for s in SIZES}
    whole = probes.linear_probe(joined, y, 3)
    first, second, noise = without(whole, joined, y, [3, 3, 3])
    rest = probes.linear_probe({s: np.concatenate([blocks[0][s], blocks[2][s]], axis=1) for s in SIZES}, y, 3)
    assert 0 < second.information.mean() - (whole.bits.mean() - rest.bits.mean()) < 0.08
    assert second.correct.mean() == pytest.approx(whole.accuracy - rest.accuracy, abs=0.03)
    assert set(np.unique(second.correct)) == {-1, 0, 1}
    assert abs(noise.information.mean()) < 0.01 and abs(noise.correct.mean()) < 0.01
    assert second.weight > first.weight > noise.weight > 0


def test_what_members_carry_of_numbers_is_in_r2():
    rng = np.random.default_rng(1)
    x = {s: rng.normal(size=(n, 4)) for s, n in SIZES.items()}
    y = {s: (each @ [1.0, 0.0, 2.0, 0.0])[:, None] + 5.0 for s, each in x.items()}
    first, second = without(probes.linear_probe(x, y, task="regression"), x, y, [2, 2])
    assert first.information.mean() == pytest.approx(1 / 5, abs=0.02) and first.correct is None
    assert second.information.mean() == pytest.approx(4 / 5, abs=0.05)


def test_nothing_is_lost_by_calibration():
    """Of features that say nothing to begin with, an overconfident rest is not charged to the member."""
    rng = np.random.default_rng(2)
    y = {s: rng.integers(0, 2, n) for s, n in SIZES.items()}
    x = {s: np.column_stack([3.0 * labels, rng.normal(size=(len(labels), 30))]) for s, labels in y.items()}
    x = {s: each + rng.normal(size=each.shape) for s, each in x.items()}
    whole = probes.linear_probe(x, y, 2)
    (signal, _) = without(whole, x, y, [1, 30])
    left = whole.bits.mean() - signal.information.mean()
    assert abs(left) < 0.01 and information.entropy(whole.prior) == pytest.approx(1.0, abs=0.02)
