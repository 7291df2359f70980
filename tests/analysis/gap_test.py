import numpy as np
import pytest

from bottleneck.analysis import gap as gaps
from bottleneck.errors import UserError

N = 400


def table(mean, seeds=5, items=N, noise=0.1, seed=0):
    rng = np.random.default_rng([seed, int(1000 * abs(mean)), seeds])
    return (
        mean
        + 0.1 * noise * rng.normal(size=(seeds, 1))
        + noise * rng.normal(size=(1, items))
        + noise * rng.normal(size=(seeds, items))
    )


def test_judge_gives_all_four_verdicts():
    verdicts = gaps.judge(
        {
            "lost": (table(0.9), table(0.2), 1.0),
            "kept": (table(0.9), table(0.89), 1.0),
            "close": (table(0.9), table(0.81, noise=0.3), 1.0),
            "absent": (table(0.0), table(0.0, seed=1), 1.0),
        }
    )
    assert {name: v.verdict for name, v in verdicts.items()} == {
        "lost": "lost",
        "kept": "retained",
        "close": "inconclusive",
        "absent": "untestable",
    }
    lost = verdicts["lost"]
    assert lost.gap.value == pytest.approx(0.7, abs=0.05) and lost.gap.low < 0.7 < lost.gap.high
    assert lost.margin.value == pytest.approx(0.9 * lost.direct.value - lost.mixture.value)
    assert not lost.provisional and lost.scope == "this recipe"
    assert np.isnan(verdicts["absent"].adjusted_p)
    # three testable targets: the smallest p is tripled
    assert lost.adjusted_p == pytest.approx(min(3 * lost.p, 1.0))


def test_holm_counts_testable_targets_only():
    base = {"a": (table(0.9), table(0.7), 1.0)}
    crowd = base | {f"noise{i}": (table(0.0, seed=i), table(0.0, seed=i + 9), 1.0) for i in range(5)}
    assert gaps.judge(base)["a"].adjusted_p == gaps.judge(crowd)["a"].adjusted_p


def test_untestable_comes_first_and_uses_two_percent_of_the_entropy():
    weak = table(0.03, noise=0.001)
    assert gaps.judge({"a": (weak, weak * 0, 1.0)})["a"].verdict == "lost"
    assert gaps.judge({"a": (weak, weak * 0, 2.0)})["a"].verdict == "untestable"


def test_seed_counts_set_the_wording():
    one = gaps.judge({"a": (table(0.9, 1), table(0.2, 1), 1.0)})["a"]
    assert one.scope == "this checkpoint" and one.provisional and one.gap.unit == "items"
    assert "this checkpoint" in gaps.describe("a", one) and "seeds" not in gaps.describe("a", one)
    three = gaps.judge({"a": (table(0.9, 3), table(0.2, 3), 1.0)})["a"]
    assert three.provisional and "provisional" in gaps.describe("a", three)
    unequal = gaps.judge({"a": (table(0.9, 5), table(0.2, 4), 1.0)})["a"]
    assert unequal.verdict == "lost" and "4 and 5 seeds" in gaps.describe("a", unequal)


def test_what_would_decide_names_the_dominant_source():
    rng = np.random.default_rng(0)
    items = rng.normal(size=(1, N))
    items -= items.mean()
    noisy_items = 0.3 * items + rng.normal(size=(5, N)) * 1e-3
    direct = np.ones((5, N)) + rng.normal(size=(5, N)) * 1e-3
    verdict = gaps.judge({"a": (direct, 0.88 + noisy_items, 1.0)})["a"]
    assert verdict.verdict == "inconclusive" and verdict.needs.startswith("test items dominate")
    d = verdict.margin
    assert verdict.needs_examples == pytest.approx(N * (1.966 * d.se / d.value) ** 2, rel=0.02)
    assert gaps.describe("a", verdict).endswith(verdict.needs)

    seeds = np.array([-0.06, 0.05, 0.02, -0.03, 0.02])[:, None]
    verdict = gaps.judge({"a": (direct, 0.88 + seeds + 0.01 * items, 1.0)})["a"]
    assert verdict.verdict == "inconclusive" and verdict.needs.startswith("seeds dominate")
    # D = 0.02 and a standard deviation of 0.043 over seeds: n = (t 0.043 / 0.02)^2
    assert 19 <= verdict.needs_seeds <= 23
    centred = gaps.judge({"a": (direct, 0.9 * direct.mean() + seeds + 0.01 * items, 1.0)})["a"]
    assert centred.needs_seeds is None and "no realistic number" in centred.needs


def planted(seeds=(0, 1, 2, 3), strength=3.0, classes=3, n=600):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)

    def features(seed, signal):
        own = np.random.default_rng([seed, int(10 * signal)])
        x = own.normal(size=(n, 6))
        x[:, :classes] += signal * np.eye(classes)[labels]
        return x @ np.linalg.qr(own.normal(size=(6, 6)))[0]

    mixture = [features(s, 0.5) for s in seeds]
    direct = [features(s, strength) for s in seeds]
    return mixture, direct, labels, gaps.split_items(labels)


def test_gap_from_plain_arrays():
    mixture, direct, labels, splits = planted()
    groups = np.where(np.arange(len(labels)) % 3 == 0, "rare", "common")
    found = gaps.gap(mixture, direct, np.array(["x", "y", "z"])[labels], splits, groups=groups)
    assert found.verdict.verdict == "lost" and found.paired
    assert found.points.low > 20
    assert {row["group"] for row in found.table()} == {"all", "common", "rare"}
    assert found.table()[0]["verdict"] == "lost" and found.table()[0]["n_seeds"] == 4
    assert sum(subset.n_examples for subset in found.groups) == found.everything.n_examples == (splits == "test").sum()
    assert found.worst.mixture_accuracy.value == min(s.mixture_accuracy.value for s in found.groups)
    assert found.sentence.startswith("The target is lost") and "worst group" in found.sentence
    assert found.sentence.count(". ") == 0 and found.sentence.endswith(".")
    assert len(found.probes["direct"]) == 4
    # mixture against itself: nothing is missing
    same = gaps.gap(direct, direct, labels, splits)
    assert same.verdict.verdict == "retained" and same.verdict.gap.value == 0 and same.worst is None


def test_gap_pairs_by_name_and_falls_back_to_welch():
    mixture, direct, labels, splits = planted()
    names = ["a", "b", "c", "d"]
    paired = gaps.gap(mixture, direct, labels, splits, seeds=names)
    shuffled = gaps.gap(mixture, direct[::-1], labels, splits, seeds=(names, names[::-1]))
    assert shuffled.paired and shuffled.verdict.gap == paired.verdict.gap
    others = gaps.gap(mixture, direct, labels, splits, seeds=(names, ["e", "f", "g", "h"]))
    assert not others.paired and others.verdict.gap.value == pytest.approx(paired.verdict.gap.value)
    fewer = gaps.gap(mixture[:2], direct, labels, splits)
    assert not fewer.paired and fewer.verdict.gap.n_seeds == 2
    single = gaps.gap(mixture[0], direct[0], labels, splits)
    assert single.verdict.scope == "this checkpoint"


def test_gap_of_a_regression_is_in_r2():
    mixture, direct, _, splits = planted()
    target = np.stack([direct[0][:, 0], direct[0][:, 1]], 1)
    found = gaps.gap([mixture[0]], [direct[0]], target, splits)
    assert found.unit == "R2" and found.verdict.direct.value > 0.99 and found.points is None
    assert "R2" in found.sentence


@pytest.mark.parametrize(
    "change, key",
    [
        (dict(mixture=[]), "mixture"),
        (dict(direct=[np.zeros((599, 3))]), "direct"),
        (dict(direct=[np.full((600, 3), np.nan)]), "direct"),
        (dict(direct=[np.zeros(600)]), "direct"),
        (dict(labels=np.zeros(600, int)), "labels"),
        (dict(labels=np.full(600, np.nan)), "labels"),
        (dict(labels=np.array([None] * 600)), "labels"),
        (dict(splits=np.full(600, "train")), "splits"),
        (dict(splits=np.full(600, "probe")), "splits"),
        (dict(splits=np.full(10, "probe")), "splits"),
        (dict(groups=np.zeros(5)), "groups"),
        (dict(seeds=["a"]), "seeds"),
        (dict(seeds=["a", "a", "b", "c"]), "seeds"),
    ],
)
def test_gap_refuses_inconsistent_input(change, key):
    mixture, direct, labels, splits = planted()
    arguments = dict(mixture=mixture, direct=direct, labels=labels, splits=splits) | change
    with pytest.raises(UserError) as error:
        gaps.gap(**arguments)
    assert error.value.key == key


def test_gap_refuses_a_class_without_probe_items():
    mixture, direct, labels, splits = planted()
    splits = np.where((labels == 2) & (splits == "probe"), "val", splits)
    with pytest.raises(UserError, match=r"labels=\[2\].*probe split"):
        gaps.gap(mixture, direct, labels, splits)


def test_split_items_is_stratified_and_follows_its_seed():
    labels = np.repeat([0, 1, 2], [100, 200, 700])
    splits = gaps.split_items(labels)
    for label, count in ((0, 100), (1, 200), (2, 700)):
        for split, share in (("probe", 0.5), ("val", 0.2), ("test", 0.3)):
            assert abs((splits[labels == label] == split).sum() - share * count) <= 3
    assert (splits == gaps.split_items(labels)).all() and (splits != gaps.split_items(labels, seed=1)).any()
    assert set(gaps.split_items(np.random.default_rng(0).normal(size=50))) == set(gaps.SPLITS)


def test_population_bound_by_hand():
    bound = gaps.population_bound({"a": 0.5, "b": 0.3}, {"a": 0.1, "b": 0.4}, {"a": 3.0, "b": 1.0})
    # L_mix = 0.45, best = 0.75 * 0.1 + 0.25 * 0.3 = 0.15
    assert bound["a"].value == pytest.approx(0.3 / 0.75)
    assert bound["b"].value == pytest.approx(0.3 / 0.25)
    assert np.isnan(bound["a"].low)
    assert set(gaps.population_bound({"a": 0.5, "b": 0.3}, {"a": 0.1, "b": 0.4}, {"a": 1.0, "b": 0.0})) == {"a"}
    rng = np.random.default_rng(0)
    head, direct = rng.normal(1.0, 0.1, size=(5, 300)), rng.normal(0.4, 0.1, size=(5, 300))
    found = gaps.population_bound({"a": head}, {"a": direct}, {"a": 2.0})["a"]
    assert found.value == pytest.approx(0.6, abs=0.02) and found.low < 0.6 < found.high
    assert gaps.population_bound({"a": head}, {"a": direct[:3]}, {"a": 2.0})["a"].value == pytest.approx(0.6, abs=0.02)
