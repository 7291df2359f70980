"""The answer from planted outcomes: verdicts, parts of gaps, causes, bounds and gains, as rows."""

import numpy as np
import pytest

from bottleneck import study
from bottleneck.analysis import intervals
from bottleneck.arms import ARMS, CAUSES
from bottleneck.items import Items
from bottleneck.planning import plan as plans
from bottleneck.rows import row as finding_row
from bottleneck.rows import select
from tests.planted import Held, bits, outcome

ALL = {
    "seeds": "4",
    "arms": ",".join(ARMS),
    "arms_for": "all",
    "mixture.competitor": "colour",
    "mixture.weights": "{'first': 0.8, 'second': 0.2}",
    "representations": "{'cat2': {'members': 'mixture/*@last:features', 'n': 2}}",
}
READ = {
    "mixture": 0.2,
    "direct": 0.9,
    "alone": 0.5,
    "balanced": 0.3,
    "scarce": 0.85,
    "longer": 0.21,
    "longest": 0.22,
    "direct_half": 0.9,
    "heads": 0.8,
    "randomised": 0.1,
    "wider": 0.75,
    "wider_untrained": 0.6,
    "random": 0.0,
    "pixels": 0.3,
    "cat2": 0.4,
    "cat2|direct": 0.95,
    "cat2-repeated": 0.2,
    "cat2-pca": 0.31,
    "cat2-whitened": 0.32,
    "cat2-random": 0.25,
    "cat2-averaged": 0.35,
}
VARIANT = {"mixture": 0.1, "direct": 0.8, "alone": 0.6, "randomised": 0.7}  # the competitor says nothing
ADAPTED = {"mixture": 0.6, "direct": 0.9, "alone": 0.8}  # with BatchNorm statistics of the component
HEAD = {"first": 0.15, "second": -0.2}


def value(probe):
    """The planted mean of a probe's information."""
    if probe.factor:
        return VARIANT[probe.arm]
    if probe.protocol == "head":
        return HEAD[probe.target]
    return (ADAPTED if probe.protocol == "linear_probe_bn" else READ)[probe.arm]


def answered(tiny, workdir, overrides=ALL, arms=None):
    """The rows of the answer of a plan whose probes read what is planted; of `arms` alone, where given."""
    answer, store = plans.plan(study.spec(tiny(overrides))).answer, Held(workdir)
    for probe in answer.probes:
        if arms is None or probe.arm in arms:
            information = bits(value(probe), probe.seed)
            outcome(store, probe, information, information > 0.3 if probe.component.num_classes else None)
        else:
            store.leave_empty(probe, "nobody asked")
    for decider in answer.subjects[0].deciders:
        decider.run(store)
    answer.run(store)
    tables = {}
    for probe in answer.probes:
        if store.present(probe):
            place = probe.arm, probe.target, probe.protocol, probe.factor
            tables.setdefault(place, []).append(store.items(probe)["information"].mean(0))
    return store.rows(answer), {place: np.stack(each) for place, each in tables.items()}


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
    """(rows, (arm, target, protocol, factor) -> [S, N])."""
    return answered(tiny, tmp_path_factory.mktemp("answer"))


@pytest.fixture(scope="module")
def rows(found):
    return found[0]


def one(rows, **where):
    (row,) = select(rows, **where)
    return row


def mean(found, arm, target="first", protocol="linear_probe", factor=None):
    return found[1][arm, target, protocol, factor].mean()


def test_means_are_over_seeds_and_items(found):
    for (arm, target, protocol, factor), table in found[1].items():
        row = one(found[0], arm=arm, target=target, protocol=protocol, factor=factor, metric="information")
        assert row["value"] == pytest.approx(table.mean(), abs=1e-12) and row["seed"] == "all"
        assert (row["n_seeds"], row["n_examples"]) == table.shape and row["ci95"] is not None


def test_gap_margin_and_verdict(found):
    for target in ("first", "second"):
        direct, mixture = (mean(found, arm, target) for arm in ("direct", "mixture"))
        row = one(found[0], metric="gap", unit="bits", target=target)
        assert row["value"] == pytest.approx(direct - mixture, abs=1e-12)
        assert (row["arm"], row["reference"], row["protocol"], row["look"]) == ("mixture", "direct", "linear_probe", 1)
        extra = row["extra"]
        assert extra["verdict"] == "lost" and extra["family"] == 2 and not extra["outside"] and not extra["provisional"]
        assert extra["sentence"].startswith(f"{target} is lost") and extra["adjusted_p"] < 0.05
        margin = one(found[0], metric="margin", target=target)
        assert margin["value"] == pytest.approx(0.9 * direct - mixture, abs=1e-12)
        points = one(found[0], metric="gap", unit="points", target=target)
        table = {arm: found[1][arm, target, "linear_probe", None] > 0.3 for arm in ("direct", "mixture")}
        assert points["value"] == pytest.approx(100 * (table["direct"].mean() - table["mixture"].mean()), abs=1e-9)


def test_exposure_and_interference_add_up(found):
    for target in ("first", "second"):
        exposure, interference = (
            one(found[0], metric=metric, unit="bits", target=target) for metric in ("exposure", "interference")
        )
        assert exposure["value"] == pytest.approx(
            mean(found, "direct", target) - mean(found, "alone", target), abs=1e-12
        )
        assert (exposure["arm"], exposure["reference"]) == ("alone", "direct")
        assert exposure["extra"]["holds"].startswith("Exposure holds what few draws of the component cost")
        assert (interference["arm"], interference["reference"]) == ("mixture", "alone")
        gap = one(found[0], metric="gap", unit="bits", target=target)["value"]
        assert exposure["value"] + interference["value"] == pytest.approx(gap, abs=1e-12)


def test_every_cause_is_one_row_that_says_what_its_arm_did(found):
    restored = {r["extra"]["cause"]: r for r in select(found[0], metric="restored", target="second")}
    assert list(restored) == list(CAUSES)
    gap = mean(found, "direct", "second") - mean(found, "mixture", "second")
    heads = restored["label conflict"]
    difference = mean(found, "heads", "second") - mean(found, "mixture", "second")
    assert heads["value"] == pytest.approx(difference, abs=1e-12)
    assert heads["extra"]["share"] == pytest.approx(difference / gap, abs=1e-12)
    assert heads["extra"]["status"] == "named" and "a head per component" in heads["extra"]["evidence"]
    assert heads["extra"]["half"][0] > 0 and heads["reference"] == "mixture"
    scarce = restored["scarcity"]
    assert scarce["reference"] == "direct" and scarce["extra"]["status"] == "ruled out"
    assert scarce["value"] == pytest.approx(
        mean(found, "direct", "second") - mean(found, "scarce", "second"), abs=1e-12
    )
    assert restored["unfinished training"]["arm"] == "longest"  # which settles it
    assert restored["dilution"]["extra"]["status"] == "ruled out"
    assert "from 0.20 to 0.50" in restored["dilution"]["extra"]["evidence"]
    capacity = restored["capacity"]["extra"]
    assert capacity["status"] == "undecided" and "width alone" in capacity["reason"]


def test_competition_is_of_the_variant(found):
    row = one(found[0], metric="restored", arm="randomised", target="first")
    variant = {arm: mean(found, arm, "first", factor="colour") for arm in VARIANT}
    assert row["factor"] == "colour" and row["extra"]["status"] == "named"
    assert row["value"] == pytest.approx(variant["randomised"] - variant["mixture"], abs=1e-12)
    gap = one(found[0], metric="gap", unit="bits", target="first")["extra"]
    assert gap["saturated"] and "saturated" in gap["sentence"]
    assert gap["causes"] == ["label conflict", "competition"]


def test_what_is_not_asked_says_why(rows):
    row = one(rows, metric="restored", arm="balanced", target="first")
    assert row["value"] is None and row["extra"]["status"] == "not asked" and "double" in row["extra"]["reason"]


def test_the_bound_says_nothing_where_the_head_reads_nothing(found):
    first, second = (one(found[0], metric="bound", target=target) for target in ("first", "second"))
    head = mean(found, "mixture", "first", "head")
    assert first["value"] == pytest.approx(mean(found, "direct", "first") - head, abs=1e-12)
    assert first["extra"]["reason"] == "" and first["protocol"] == "head"
    assert second["value"] is None and second["extra"]["reason"]


def test_gains_are_over_the_mean_of_the_members_beside_those_of_direct_runs(found):
    for target in ("first", "second"):
        where = dict(arm="cat2", target=target)
        plain, control = (
            mean(found, cat, target) - mean(found, arm, target)
            for cat, arm in (("cat2", "mixture"), ("cat2|direct", "direct"))
        )
        assert one(found[0], metric="gain", **where)["value"] == pytest.approx(plain, abs=1e-12)
        assert one(found[0], metric="control_gain", **where)["value"] == pytest.approx(control, abs=1e-12)
        assert one(found[0], metric="excess_gain", **where)["value"] == pytest.approx(plain - control, abs=1e-12)
        assert one(found[0], metric="over_single", **where)["value"] == pytest.approx(plain, abs=1e-12)
        assert one(found[0], metric="gain", **where)["n_seeds"] == 2


def test_floors_and_ceilings(rows):
    majority = {r["target"]: r["value"] for r in select(rows, arm="majority")}
    assert set(majority) == {"first", "second"} and all(0.3 < value < 0.7 for value in majority.values())
    assert {r["reference"] for r in select(rows, arm="bayes", target="first")} == {"direct", "shared", "heads"}


def test_with_batch_norm_what_its_statistics_close_is_normalisation(tiny, tmp_path):
    resnet = {**ALL, "model": "{'name': 'resnet', 'width': 0.125}"}
    found = answered(tiny, tmp_path, resnet)
    for unit, tolerance in (("bits", 1e-12), ("points", 1e-9)):
        gap, normalisation, exposure, interference = (
            one(found[0], metric=metric, unit=unit, target="first")
            for metric in ("gap", "normalisation", "exposure", "interference")
        )
        parts = (normalisation, exposure, interference)
        assert gap["value"] == pytest.approx(sum(part["value"] for part in parts), abs=tolerance)
        assert {part["protocol"] for part in parts} == {"linear_probe_bn"}
        assert (normalisation["arm"], normalisation["reference"]) == ("mixture", "direct")
    exposure = one(found[0], metric="exposure", unit="bits", target="first")["value"]
    adapted = {arm: mean(found, arm, "first", "linear_probe_bn") for arm in ADAPTED}
    assert exposure == pytest.approx(adapted["direct"] - adapted["alone"], abs=1e-12)


def test_without_interventions_a_gap_has_no_parts_and_no_cause(tiny, tmp_path):
    rows, _ = answered(tiny, tmp_path, arms=("mixture", "direct"))
    assert one(rows, metric="gap", unit="bits", target="first")["extra"]["causes"] == []
    assert not select(rows, metric="exposure") and not select(rows, metric="interference")
    statuses = {r["extra"]["cause"]: r["extra"]["status"] for r in select(rows, metric="restored", target="second")}
    assert statuses.pop("scarcity") in ("not asked", "ruled out") and set(statuses.values()) == {"not asked"}


def test_targets_outside_the_mixture_are_a_family_of_their_own(tiny, tmp_path):
    other = "{'other': {'source': {'name': 'factors', 'reliability': {'shape': 1.0}, 'seed': 9}}}"
    HEAD["other"] = 0.1
    rows, _ = answered(tiny, tmp_path, {**ALL, "targets": other, "representations": "{}"})
    row = one(rows, metric="gap", unit="bits", target="other")
    assert row["extra"]["outside"] and row["extra"]["family"] == 1
    assert not select(rows, target="other", metric="bound") and not select(rows, target="other", metric="exposure")
    statuses = {r["extra"]["cause"]: r["extra"] for r in select(rows, metric="restored", target="other")}
    for cause in ("dilution", "scarcity"):
        assert statuses[cause]["status"] == "not asked" and "outside" in statuses[cause]["reason"]


def test_vectors_are_answered_in_r2(tiny, tmp_path):
    vectors = {"source": {"name": "gaussian", "dim": 4, "outputs": 2}}
    components = {name: {"source": {**vectors["source"], "index": i}} for i, name in enumerate(("first", "second"))}
    regression = {"seeds": "4", "components": str(components), "objective.name": "regression", "arms": "mixture,direct"}
    rows, _ = answered(tiny, tmp_path, regression)
    assert {r["unit"] for r in rows if r["metric"] in ("gap", "margin", "information")} == {"r2"}
    assert not select(rows, metric="accuracy") and not select(rows, metric="bound")
    assert "R2" in one(rows, metric="gap", target="first")["extra"]["sentence"]


@pytest.mark.parametrize("seeds, unit", [("1", "draws and items"), ("3", "seeds and items")])
def test_with_one_network_the_draws_of_few_shots_take_the_place_of_seeds(seeds, unit, tiny, tmp_path):
    """Or the interval would say that another draw of the shots could not have read anything else."""
    few = {"seeds": seeds, "probe.protocols": "linear_probe,k_shot", "probe.shots": "4,", "probe.draws": "3"}
    answer, store = plans.plan(study.spec(tiny(few))).answer, Held(tmp_path)
    read = {}
    for probe in answer.probes:
        draws = 3 if probe.protocol == "k_shot" else 1
        information = np.stack([bits(0.5, 10 * probe.seed + draw) for draw in range(draws)])
        outcome(store, probe, information, information > 0.5)
        read.setdefault((probe.arm, probe.target, probe.protocol), []).append(information)
    found = [finding_row(finding, "answer", 1) for finding in answer.means(store, Items(store, answer.probes))]
    for (arm, target, protocol), tables in read.items():
        at = dict(arm=arm, target=target, protocol=protocol)
        for metric, table in (("information", np.stack(tables)), ("accuracy", np.stack(tables) > 0.5)):
            row, expected = one(found, metric=metric, **at), intervals.few_shot([(1.0, table)])
            assert (row["value"], *row["ci95"]) == pytest.approx((expected.value, expected.low, expected.high))
            of_whole = "items" if len(tables) == 1 else "seeds and items"
            assert row["ci_unit"] == (unit if protocol == "k_shot" else of_whole) and row["n_seeds"] == len(tables)


LOOKS = {"seeds": "3,9", "arms": "mixture,direct"}


@pytest.fixture(scope="module")
def looked(tiny, tmp_path_factory):
    """(rows of the answer, of each decision, the answer, its store): `second` is lost, but only at the second look."""
    answer, store = plans.plan(study.spec(tiny(LOOKS))).answer, Held(tmp_path_factory.mktemp("looks"))
    unclear = {0: 0.3, 1: 0.8, 2: 1.3}  # seeds that do not agree
    asked = {"first", "second"}
    for look, decider in enumerate(answer.subjects[0].deciders):
        for probe in answer.probes:
            if probe.target in asked and (probe.seed >= 3) == bool(look):
                swings = probe.arm == "mixture" and probe.target == "second" and probe.protocol == "linear_probe"
                information = bits(unclear.get(probe.seed, 0.1) if swings else value(probe), probe.seed)
                outcome(store, probe, information, information > 0.3)
        decider.run(store)
        asked = {name for name in asked if f"undecided {name} {look + 1}" in store.choices(decider.output)}
    answer.run(store)
    return store.rows(answer), [store.rows(decider) for decider in answer.subjects[0].deciders], answer, store


@pytest.mark.parametrize("target, look, seeds", [("first", 1, 3), ("second", 2, 9)])
def test_a_target_is_answered_once_by_the_look_that_decided_it(target, look, seeds, looked):
    for metric in ("margin", "bound"):
        assert one(looked[0], metric=metric, target=target)["look"] == look
    row = one(looked[0], metric="gap", unit="bits", target=target)
    assert (row["look"], row["n_seeds"], row["extra"]["verdict"]) == (look, seeds, "lost")
    chosen = [r for r in looked[1][look - 1] if r["target"] == target and r["extra"]["choice"].startswith("lost")]
    assert chosen and {r["extra"]["reason"] for r in chosen} == {row["extra"]["verdict"]}


def test_a_look_is_judged_on_its_own_probes_whoever_asks(looked):
    """Its p values are of a family at its own seeds, of those that were read then."""
    _, decisions, answer, store = looked
    for decider, rows in zip(answer.subjects[0].deciders, decisions, strict=True):
        verdicts = decider.verdicts(store)
        assert {r["target"]: r["extra"]["reason"] for r in rows} == {n: v.verdict for n, v in verdicts.items()}
        assert {v.gap.n_seeds for v in verdicts.values()} == {decider.look * 6 + 3}
    first, second = (one(looked[0], metric="gap", unit="bits", target=name)["extra"] for name in ("first", "second"))
    before, after = (decider.verdicts(store) for decider in answer.subjects[0].deciders)
    assert first["adjusted_p"] == before["first"].adjusted_p and set(after) == {"second"}
    assert second["adjusted_p"] == after["second"].adjusted_p
