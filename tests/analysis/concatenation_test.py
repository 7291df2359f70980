import numpy as np
import pytest

from bottleneck.analysis.concatenation import concatenation_gain


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
