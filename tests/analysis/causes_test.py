import numpy as np
import pytest

from bottleneck.analysis import causes, gap

N = 500


def arm(mean, seeds=5, noise=0.05, seed=None):
    rng = np.random.default_rng(int(1e6 * mean) + 17 if seed is None else seed)
    return mean + 0.2 * noise * rng.normal(size=(seeds, 1)) + noise * rng.normal(size=(seeds, N))


def arms(**means):
    return {name: arm(value) for name, value in (dict(direct=0.9, mixture=0.1) | means).items()}


def statuses(tables):
    return {cause.arm: cause.status for cause in causes.causes(tables)}


def test_causes_are_named_and_ruled_out():
    found = arms(heads=0.88, longer=0.12, matched=0.87, randomised=0.3, wider=0.15)
    assert statuses(found) == {
        "heads": "named",
        "longer": "ruled out",
        "matched": "ruled out",
        "randomised": "ruled out",
        "wider": "ruled out",
    }
    shares = {cause.arm: cause.share for cause in causes.causes(found)}
    assert shares["heads"] == pytest.approx(0.78 / 0.8, abs=0.03)
    assert shares["matched"] == pytest.approx(0.03 / 0.8, abs=0.03)  # direct - matched, not matched - mixture


def test_dilution_is_what_fewer_examples_alone_cost():
    assert statuses(arms(matched=0.15)) == {"matched": "named"}
    cost = causes.interference(arms(matched=0.15))
    assert cost.value == pytest.approx(0.05, abs=0.03)
    assert causes.interference(arms()) is None


def test_several_causes_may_be_named_and_noise_leaves_them_undecided():
    assert statuses(arms(longer=0.8, wider=0.7)) == {"longer": "named", "wider": "named"}
    tables = arms() | {"wider": arm(0.45, noise=4.0)}
    assert statuses(tables) == {"wider": "undecided"}
    assert statuses({"direct": arm(0.1), "mixture": arm(0.5), "wider": arm(0.9)}) == {"wider": "undecided"}


def test_arms_with_fewer_seeds_are_compared_unpaired():
    found = causes.causes(arms() | {"heads": arm(0.88, seeds=3)})
    assert found[0].status == "named" and found[0].numerator.n_seeds == 3


def test_saturated_needs_all_three_conditions():
    def said(**means):
        tables = arms(**means)
        return causes.saturated(causes.causes(tables), causes.interference(tables))

    assert said(matched=0.85, longer=0.12, randomised=0.85)
    assert not said(matched=0.10, longer=0.12, randomised=0.85)  # no interference
    assert not said(matched=0.85, longer=0.80, randomised=0.85)  # merely unfinished
    assert not said(matched=0.85, longer=0.12, randomised=0.15)  # not the competitor
    assert not said(longer=0.12, randomised=0.85)


def test_the_sentence_says_verdict_size_and_causes():
    tables = arms(heads=0.88, longer=0.12, matched=0.87) | {"wider": arm(0.45, noise=4.0)}
    verdict = gap.judge({"shape": (tables["direct"], tables["mixture"], 1.0)})["shape"]
    points = gap.two_way(50 * (tables["direct"] - tables["mixture"]))
    text = causes.sentence("shape", verdict, causes.causes(tables), points, causes.interference(tables))
    assert text.startswith("shape is lost: ") and text.endswith(".") and ". " not in text
    for part in (
        f"gap of {verdict.gap.value:.2f} bits",
        "95% interval",
        f"{points.value:.1f} accuracy points",
        "5 seeds",
        "cause: label conflict",
        "undecided: capacity",
        "ruled out: dilution and unfinished training",
    ):
        assert part in text, (part, text)
    assert "saturated" not in text
    bare = causes.sentence("shape", verdict, causes.causes(arms(longer=0.12)))
    assert "no cause is established" in bare
    full = arms(matched=0.85, longer=0.12, randomised=0.85)
    assert "saturated" in causes.sentence("shape", verdict, causes.causes(full), None, causes.interference(full))
    kept = gap.judge({"shape": (tables["direct"], tables["direct"], 1.0)})["shape"]
    assert "cause" not in causes.sentence("shape", kept, causes.causes(tables))


def test_concatenation_is_a_difference_of_differences():
    members, cat = arm(0.5, seed=1), arm(0.7, seed=2)
    direct_members, direct_cat = arm(0.8, seed=3), arm(0.85, seed=4)
    found = causes.concatenation_gain(cat, members, direct_cat, direct_members, direct=direct_members, entropy=1.0)
    assert found.gain.value == pytest.approx(0.2, abs=0.03)
    assert found.excess.value == pytest.approx(found.gain.value - found.control.value)
    assert found.verdict == "gain" and found.note == "" and found.excess.unit == "member sets and items"
    few = causes.concatenation_gain(cat[:3], members[:3], direct_cat, direct_members, direct=0.96, entropy=1.0)
    assert few.verdict == "" and "3 member sets" in few.note and "direct at ceiling" in few.note
    lone = causes.concatenation_gain(cat[:1], members[:1], direct_cat[:1], direct_members[:1])
    assert lone.excess.unit == "items" and "1 member set:" in lone.note
    nothing = causes.concatenation_gain(members, members, direct_members, direct_members)
    assert nothing.verdict == "no difference shown"
