"""Choices that later tasks depend on, from planted outcomes: both answers of every question, over looks."""

import numpy as np
import pytest

from bottleneck.analysis import causes
from bottleneck.choose import Compete, Decide, Expose, Rise, Tune, entropy
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.items import ADAPTED, PROTOCOL, Items
from bottleneck.probing import Probe
from bottleneck.rows import Finding
from tests.planted import Held, bits, member, outcome

DATA = DataSpec(image_size=8, train=8, probe=8, val=8, test=37)
NAMES = ("a", "b")


@pytest.fixture(scope="module")
def targets():
    return {n: components.load(n, ComponentSpec({"name": "factors", "seed": i}), DATA) for i, n in enumerate(NAMES)}


@pytest.fixture
def planted(targets, tmp_path):
    """(store, plant({(arm, target): mean bits}, seeds) -> probes with such outcomes)."""
    store = Held(tmp_path)

    def plant(means, seeds, **options):
        made = []
        for (arm, name), mean in means.items():
            for seed in seeds:
                probe = Probe(arm, seed, name, targets[name], (member(f"{arm}/{name}/{seed}"),), **options)
                outcome(store, probe, bits(mean, seed))
                made.append(probe)
        return tuple(made)

    return store, plant


def answers(store, chooser):
    """choice -> whether it was answered yes."""
    chooser.run(store)
    return {r["extra"]["choice"]: bool(r["value"]) for r in store.rows(chooser) if r["metric"] == "choice"}


FAMILIES = (NAMES,)


def test_lost_and_undecided_targets(planted):
    store, plant = planted
    means = {("direct", "a"): 0.9, ("mixture", "a"): 0.2, ("direct", "b"): 0.9, ("mixture", "b"): 0.9}
    decide = Decide(FAMILIES, plant(means, range(5)), 0.9, 0, 1)
    assert answers(store, decide) == {
        "lost a 0": True,
        "undecided a 1": False,
        "lost b 0": False,
        "undecided b 1": False,
    }
    verdicts = {r["target"]: r["extra"]["reason"] for r in store.rows(decide)}
    assert verdicts == {"a": "lost", "b": "retained"}
    assert store.choices(decide.output) == {"lost a 0"}


def looks(store, plant):
    """Two looks: `a` is lost at once; `b` is lost only once four seeds were read."""
    early = plant({("direct", "a"): 0.9, ("mixture", "a"): 0.1, ("direct", "b"): 0.9}, (0, 1, 2))
    early += plant({("mixture", "b"): 0.81}, (0, 1, 2))
    late = plant({("direct", "b"): 0.9, ("mixture", "b"): 0.1}, (3, 4, 5, 6, 7, 8))
    first = Decide(FAMILIES, early, 0.9, 0, 2)
    return first, Decide(FAMILIES, early + late, 0.9, 1, 2, (first,))


def test_a_decided_target_is_not_asked_again(planted):
    store, plant = planted
    first, second = looks(store, plant)
    assert answers(store, first) == {
        "lost a 0": True,
        "undecided a 1": False,
        "lost b 0": False,
        "undecided b 1": True,
    }
    later = answers(store, second)
    assert not any(choice.split()[1] == "a" for choice in later)
    assert {choice.split()[1] for choice in later} == {"b"} and {"lost b 0", "lost b 1"} <= set(later)
    assert first.output in second.needs  # it depends on what was decided


def test_looks_share_the_error(planted, monkeypatch):
    from bottleneck.analysis import gap

    store, plant = planted
    given = []
    judge = gap.judge
    monkeypatch.setattr(
        gap,
        "judge",
        lambda tables, margin, looks=1: (
            given.append((set(tables), margin, looks)) or judge(tables, margin, looks=looks)
        ),
    )
    first, second = looks(store, plant)
    answers(store, first), answers(store, second)
    assert given == [({"a", "b"}, 0.9, 2), ({"b"}, 0.9, 2)]


def test_families_are_judged_by_themselves_and_sources_by_their_reference(planted):
    store, plant = planted
    means = {("theirs", "a"): 0.2, ("better", "a"): 0.9, ("theirs", "b"): 0.9, ("direct", "b"): 0.9}
    probes = plant(means, range(4))
    decide = Decide((("a",), ("b",)), probes, 0.9, 0, 1, (), "theirs", (("a", "better"),))
    assert answers(store, decide)["lost a 0"] and not answers(store, decide)["lost b 0"]


def test_a_target_of_which_one_side_is_missing_is_not_judged(planted):
    store, plant = planted
    probes = plant({("direct", "a"): 0.9, ("mixture", "a"): 0.2, ("direct", "b"): 0.9}, range(4))
    assert {choice.split()[1] for choice in answers(store, Decide(FAMILIES, probes, 0.9, 0, 1))} == {"a"}


SPLIT = {("direct", "a"): 0.9, ("alone", "a"): 0.3, ("mixture", "a"): 0.2}


@pytest.fixture(params=[(0.2, 0.95, 0.65), (0.1, 0.3, 0.2)])
def remeasured(request, planted):
    """(store, probes) of the arms of the split, as they are and re-measured."""
    store, plant = planted
    first = plant({(arm, "a"): mean for arm, mean in zip(causes.SPLIT, (0.4, 0.9, 0.8))}, range(5))
    again = {(arm, "a"): mean for arm, mean in zip(causes.SPLIT, request.param)}
    return store, first + plant(again, range(5), protocol=ADAPTED)


def test_scarcity_is_asked_where_exposure_is_not_ruled_out(planted):
    store, plant = planted
    interfered = {("direct", "b"): 0.9, ("alone", "b"): 0.9, ("mixture", "b"): 0.2}
    expose = Expose(NAMES, plant({**SPLIT, **interfered}, range(5)), (5,))
    assert answers(store, expose) == {"exposed a 0": True, "exposed b 0": False}


def test_with_batch_norm_scarcity_is_asked_by_the_rule_of_the_answer(remeasured):
    """Exposure of the re-measured reading against half of the gap as it was read at first."""
    store, probes = remeasured
    tables, adapted = (Items(store, probes).tables(causes.SPLIT, "a", protocol=p) for p in (PROTOCOL, ADAPTED))
    expected = causes.exposed(causes.split(**tables, adapted=adapted))
    assert expected != causes.exposed(causes.split(**adapted))  # half of what re-measuring leaves is another rule
    assert answers(store, Expose(NAMES, probes, (5,))) == {"exposed a 0": expected}


def test_a_question_is_answered_for_the_looks_whose_seeds_were_read(planted):
    store, plant = planted
    both = {("direct", "b"): 0.9, ("alone", "b"): 0.3, ("mixture", "b"): 0.2}
    probes = plant(SPLIT, range(2)) + plant(both, range(4))
    assert set(answers(store, Expose(NAMES, probes, (2, 4)))) == {"exposed a 0", "exposed b 0", "exposed b 1"}


def test_what_was_not_read_is_not_answered(planted):
    store, plant = planted
    without = {place: mean for place, mean in SPLIT.items() if place[0] != "alone"}
    assert answers(store, Expose(NAMES, plant(without, range(3)), (3,))) == {}


def test_competition_is_asked_where_the_variant_misses_a_feature_of_its_own(planted):
    store, plant = planted
    missing = {("direct", "a"): 0.9, ("mixture", "a"): 0.2}
    nothing = {("direct", "b"): 0.0, ("mixture", "b"): 0.0}
    compete = Compete(NAMES, plant({**missing, **nothing}, range(5), factor="colour"), (5,), "colour")
    assert answers(store, compete) == {"competes a 0": True, "competes b 0": False}
    reasons = {r["target"]: r["extra"]["reason"] for r in store.rows(compete)}
    assert reasons["a"] == "" and "feature of its own" in reasons["b"]


def test_the_longest_run_is_asked_where_training_may_still_rise(planted):
    store, plant = planted
    settled = {("mixture", "a"): 0.2, ("longer", "a"): 0.2, ("direct", "a"): 0.9, ("direct_half", "a"): 0.9}
    rising = {("mixture", "b"): 0.2, ("longer", "b"): 0.6, ("direct", "b"): 0.9, ("direct_half", "b"): 0.9}
    rise = Rise(NAMES, plant({**settled, **rising}, range(5)), (5,), 0.9)
    assert answers(store, rise) == {"rising a 0": False, "rising b 0": True}


def test_the_settings_of_the_least_weighted_validation_loss_are_taken(planted, targets):
    store, _ = planted
    grid, losses = ((0.1, 0.0), (0.2, 0.0), (0.3, 0.0)), {"a": (0.5, 0.4, 0.1), "b": (0.2, 0.4, 0.9)}
    probes = []
    for index in range(3):
        for name in NAMES:
            probe = Probe(str(index), 0, name, targets[name], (member(f"{index}/{name}"),), "tuning")
            rows = [
                Finding("log_loss", losses[name][index], "nats", {"split": "val"}),
                Finding("information", 9.0, "bits"),
            ]
            store.write(probe, rows)
            probes.append(probe)
    for weights, best in (((("a", 0.8), ("b", 0.2)), 0.3), ((("a", 0.2), ("b", 0.8)), 0.1)):
        tune = Tune(grid, tuple(probes), weights)
        tune.run(store)
        assert store.settings(tune.output) == {"lr": best, "weight_decay": 0.0}
        rows = store.rows(tune)
        assert [r["split"] for r in rows] == ["val"] * 3 and sum(r["extra"]["chosen"] for r in rows) == 1


def test_settings_at_which_training_diverged_are_not_taken(planted, targets):
    store, _ = planted
    probes = tuple(Probe(str(i), 0, "a", targets["a"], (member(f"{i}/a"),), "tuning") for i in range(3))
    store.leave_empty(probes[0], "the loss is not finite")
    for probe, loss in zip(probes[1:], (0.9, 0.8), strict=True):
        store.write(probe, [Finding("log_loss", loss, "nats", {"split": "val"})])
    tune = Tune(((10.0, 0.0), (0.2, 0.0), (0.1, 0.0)), probes, (("a", 1.0),))
    tune.run(store)
    assert store.settings(tune.output) == {"lr": 0.1, "weight_decay": 0.0}
    rows = store.rows(tune)
    assert [r["value"] for r in rows] == [None, 0.9, 0.8]
    assert [r["extra"]["diverged"] for r in rows] == [True, False, False]


def test_the_key_of_a_choice_is_what_it_reads(planted):
    _, plant = planted
    few, more = plant({("direct", "a"): 0.9}, range(2)), plant({("direct", "a"): 0.9}, range(3))
    keys = {Decide(FAMILIES, probes, margin, 0, 1).key for probes in (few, more) for margin in (0.9, 0.8)}
    assert len(keys) == 4


def test_entropy_is_that_of_the_probe_of_no_features(targets):
    assert 0.9 < entropy(targets["a"]) <= 1.0
    vectors = components.load("v", ComponentSpec({"name": "gaussian", "dim": 4, "outputs": 2}), DATA)
    assert entropy(vectors) == 1.0


def test_tables_are_float64(planted):
    store, plant = planted
    (probe,) = plant({("direct", "a"): 0.9}, (0,))
    assert store.items(probe)["information"].dtype == np.float64
