"""Fine-tuning of single and concatenated representations: which runs a study asks for, and what they start from."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from bottleneck import study as studies
from bottleneck.analysis import information
from bottleneck.analysis import probes as solved
from bottleneck.errors import UserError
from bottleneck.features.layers import LOGITS
from bottleneck.planning import finetuning
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import START, TUNED, Probe, null
from bottleneck.store import Store

ASKED = tuple(protocol for protocol in TUNED if protocol != "warm_start")  # that one is for other targets
CAT = {"cat": {"members": "mixture/*@last:features", "n": 2}, "short": {"members": "mixture/*@1/2:features"}}
STUDY = {
    "representations": str(CAT),
    "probe.protocols": "linear_probe,finetune,probe_finetune,dropout_finetune,two_stage",
    "probe.arms": "mixture,cat",
    "probe.finetune": "{'steps': 6, 'head_steps': 4}",
}


@pytest.fixture(scope="module")
def planned(tiny):
    def make(overrides=None):
        return plans.plan(studies.spec(tiny({**STUDY, **(overrides or {})})))

    return make


@pytest.fixture(scope="module")
def plan(planned):
    return planned()


def trains(plan, prefix=""):
    return {t.episode.folder: t for t in plan.graph.of(Train) if t.episode.name.startswith(prefix)}


def probes_of(plan, arm, protocol, target="first", seed=0):
    return [p for p in plan.graph.of(Probe) if (p.arm, p.protocol, p.target, p.seed) == (arm, protocol, target, seed)]


def tuned(plan, arm, protocol, **where):
    """The fine-tuned network that the rows of an arm read."""
    ((member,),) = [probe.members for probe in probes_of(plan, arm, protocol, **where)]
    return member.source


def test_every_protocol_is_a_run_of_the_graph_with_a_start(plan):
    runs = {protocol: tuned(plan, "mixture", protocol).run for protocol in ASKED}
    assert {run.trained for name, run in runs.items() if name != "two_stage"} == {"all"}
    assert runs["two_stage"].trained == "head" and runs["two_stage"].steps == 4
    assert runs["two_stage"].optimizer.lr == pytest.approx(runs["finetune"].optimizer.lr / 10)
    assert runs["dropout_finetune"].objective.dropout == 0.9 and runs["finetune"].objective.dropout == 0.0
    heads = {name: run.head for name, run in runs.items()}
    fresh = dict.fromkeys(("finetune", "dropout_finetune"), "fresh")
    assert heads.pop("probe_finetune").startswith("probe:raw,standardised on ")
    assert heads == {**fresh, "two_stage": "mean"}
    assert runs["two_stage"].init == f"{runs['finetune'].key}@6"
    mixed = next(t.episode for t in trains(plan, "mixture").values() if t.episode.seed == 0)
    assert runs["finetune"].init == runs["probe_finetune"].init == f"{mixed.key}@20"


def test_a_concatenation_is_one_joined_network_and_shares_its_members_first_stage(plan):
    members = [t.episode for t in trains(plan, "mixture").values()]
    joint = tuned(plan, "cat", "finetune").run
    assert joint.init == ",".join(f"{run.key}@20" for run in members) and len(joint.model.members) == 2
    second = tuned(plan, "cat", "two_stage").run
    alone = [tuned(plan, "mixture", "finetune", seed=seed).run for seed in (0, 1)]
    assert second.init == ",".join(f"{run.key}@6" for run in alone)
    named = {task.episode.name for task in trains(plan).values()}
    assert {f"{protocol}-cat-first" for protocol in ASKED} <= named
    assert len(trains(plan, "finetune-mixture-first")) == 2  # of the arm and of the concatenation's first stage


def test_a_row_costs_all_it_stands_on(plan):
    def cost(arm, protocol):
        return sum(tuned(plan, arm, protocol).ancestry.values())

    assert cost("mixture", "finetune") == 20 + 6 and cost("mixture", "two_stage") == 20 + 6 + 4
    assert cost("cat", "finetune") == 2 * 20 + 6 and cost("cat", "two_stage") == 2 * (20 + 6) + 4


def test_steps_of_one_run_cost_one_run(planned):
    both = {"both": {"members": ("mixture/*@1/2:features", "mixture/*@last:features")}}
    plan = planned({"representations": str(both), "probe.arms": "both,", "probe.protocols": "linear_probe,finetune"})
    source = tuned(plan, "both", "finetune")
    assert sum(source.ancestry.values()) == 20 + 6
    assert source.run.init.count("@10") == source.run.init.count("@20") == 1


def test_adding_a_protocol_or_a_representation_trains_only_what_is_new(planned, plan):
    before = planned({"probe.protocols": "linear_probe,finetune", "probe.arms": "mixture,"})
    with_two_stage = planned({"probe.protocols": "linear_probe,finetune,two_stage", "probe.arms": "mixture,"})
    with_cat = planned({"probe.protocols": "linear_probe,finetune,two_stage"})
    keys = [{task.key for task in each.graph.of(Train)} for each in (before, with_two_stage, with_cat, plan)]
    assert keys[0] < keys[1] < keys[2] < keys[3]
    assert {t.episode.name.partition("-")[0] for t in with_two_stage.graph.of(Train) if t.key not in keys[0]} == {
        "two_stage"
    }
    new = [t.episode.name for t in with_cat.graph.of(Train) if t.key not in keys[1]]
    assert sorted(new) == ["finetune-cat-first", "finetune-cat-second", "two_stage-cat-first", "two_stage-cat-second"]


def test_a_representation_of_one_member_is_tuned_as_that_network(planned):
    plan = planned({"probe.protocols": "linear_probe,finetune,two_stage", "probe.arms": "short,"})
    source = tuned(plan, "short", "two_stage", seed=1)
    assert source.run.model.name == "mlp" and source.run.seed == 1 and sum(source.ancestry.values()) == 10 + 6 + 4


@pytest.mark.parametrize("split, redone", [("probe", {"probe_finetune"}), ("val", {"probe_finetune"}), ("test", set())])
def test_a_start_from_a_probe_is_of_the_items_that_probe_saw(split, redone, planned, plan):
    """The training items are the same: other probe or val items make another head to start from, and no other run."""
    other = planned({f"data.{split}": "20"})
    for protocol in ASKED:
        same = tuned(plan, "cat", protocol).run.key == tuned(other, "cat", protocol).run.key
        assert same is (protocol not in redone)


def test_recovery_is_of_arms_alone(planned):
    more = {"probe.protocols": "linear_probe,finetune", "probe.arms": "mixture,random,cat"}
    plan = planned({**more, "analysis": "{'kinds': ('recovery',)}"})
    (task,) = [t for t in plan.graph if t.KIND == "recovery" and t.subject == "first"]
    assert {arm for (arm, _, _), _ in task.curves} == {"mixture", "random"}
    assert {len(members) for _, members in task.curves} == {2}


@pytest.mark.parametrize(
    "overrides, key",
    [
        ({"probe.arms": "dog,"}, "probe.arms"),
        ({"representations": str({"cat": {**CAT["cat"], "combine": "average"}})}, "probe.arms"),
        ({"representations": str({"cat": {**CAT["cat"], "reduce": "pca"}})}, "probe.arms"),
        ({"representations": str({"cat": {**CAT["cat"], "members": "mixture/*@last:layer1"}})}, "probe.arms"),
        ({"probe.finetune": "{'dropout': 1.0}"}, "probe.finetune.dropout"),
        ({"probe.finetune": "{'head_lr': -0.1}"}, "probe.finetune.head_lr"),
        ({"probe.finetune": "{'head_steps': '0 epochs'}"}, "probe.finetune.head_steps"),
    ],
)
def test_mistakes_are_one_line(overrides, key, planned):
    with pytest.raises(UserError) as error:
        planned(overrides)
    assert error.value.key == key and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def carried_out(planned, tmp_path_factory):
    """(plan, store) of all that the rows of the concatenation and of its members on one target stand on."""
    plan, store = planned(), Store(tmp_path_factory.mktemp("tuned"))
    wanted = set()

    def want(task):
        if task.key not in wanted:
            wanted.add(task.key)
            for parent in plan.graph.parents(task):
                want(parent)

    for probe in plan.graph.of(Probe):
        if probe.arm in ("cat", "mixture") and probe.target == "first" and probe.protocol in (*ASKED, START):
            want(probe)
    for task in plan.graph:
        if task.key in wanted:
            task.run(store)
    return plan, store


def applied(plan, store, source, start=None):
    """The test logits of a fine-tuned run at its step 0."""
    task = plan.graph.tasks[source.run.key]
    x = task.components[0].splits["test"].fetch(np.arange(37))
    scaled = (x.astype(np.float32) / 255 - np.float32(source.data.mean)) / np.float32(source.data.std)
    return np.asarray(source.run.module().apply((start or task.start).variables(store), scaled)[0])


@pytest.mark.parametrize("arm, seeds", [("cat", (0, 1)), ("mixture", (0,))])
def test_the_second_stage_starts_from_the_mean_of_its_members_logits(arm, seeds, carried_out):
    plan, store = carried_out
    found, component = applied(plan, store, tuned(plan, arm, "two_stage")), plan.targets["first"]
    each = [tuned(plan, "mixture", "finetune", seed=seed) for seed in seeds]
    mean = np.mean([store.features(source, LOGITS, component)["test"] for source in each], axis=0)
    assert np.abs(mean).max() > 0.1
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-5 * np.abs(mean).max())


def test_what_it_starts_from_is_read_as_well_at_the_price_of_the_members(carried_out):
    plan, store = carried_out
    (start,), (end,) = probes_of(plan, "cat", START), probes_of(plan, "cat", "two_stage")
    assert not probes_of(plan, "mixture", START)  # of one network it is plain fine-tuning
    (row,) = [r for r in store.rows(start) if r["metric"] == "accuracy"]
    each = [tuned(plan, "mixture", "finetune", seed=seed) for seed in (0, 1)]
    mean = np.mean([store.features(source, LOGITS, start.component)["test"] for source in each], axis=0)
    assert row["value"] == pytest.approx((mean.argmax(1) == start.labels["test"]).mean(), abs=1.5 / 37)
    assert row["train_steps"] == 2 * (20 + 6) and row["step"] == 0
    assert sum(end.members[0].source.ancestry.values()) == row["train_steps"] + 4


def test_the_second_stage_trains_the_head_and_nothing_else(carried_out):
    plan, store = carried_out
    source = tuned(plan, "cat", "two_stage")
    start = plan.graph.tasks[source.run.key].start.variables(store)["params"]
    end = store.variables(source.run, 4)["params"]
    for name, trunk in start.items():
        for layer, leaves in trunk.items() if name != "head" else ():
            for leaf in leaves:
                assert np.array_equal(leaves[leaf], end[name][layer][leaf])
    assert not np.array_equal(start["head"]["kernel"], end["head"]["kernel"])


@pytest.mark.parametrize("scaling", ["raw", "standardised", "whitened"])
@pytest.mark.parametrize("arm", ["cat", "mixture"])
def test_a_probes_scaling_is_folded_into_the_head_it_starts_from(arm, scaling, carried_out):
    """The network's logits at step 0 say of every item what the probe says of it in its own scaled coordinates."""
    plan, store = carried_out
    (probe,) = probes_of(plan, arm, "linear_probe")
    start = dataclasses.replace(
        plan.graph.tasks[tuned(plan, arm, "probe_finetune").run.key].start,
        head=partial(finetuning.solved_head, probe.members, probe.component, (scaling,)),
    )
    found = applied(plan, store, tuned(plan, arm, "probe_finetune"), start)
    blocks = [store.features(member.source, member.layer, probe.component) for member in probe.members]
    x = {split: np.concatenate([block[split] for block in blocks], axis=1) for split in ("probe", "val", "test")}
    prior = null(probe.component)
    fitted = solved.linear_probe(x, probe.labels, len(prior), scalings=(scaling,), prior=prior)
    bits = information.bits(information.apply(fitted.calibration, found), probe.labels["test"], prior)
    np.testing.assert_allclose(bits, fitted.bits, rtol=1e-3, atol=1e-4)
    said = x["test"] @ fitted.weights + fitted.intercept
    np.testing.assert_allclose(found, said, rtol=1e-4, atol=1e-5 * np.abs(said).max())


def test_rows_say_which_representation_by_which_protocol(carried_out):
    plan, store = carried_out
    for arm in ("cat", "mixture"):
        for protocol in ASKED:
            (probe,) = probes_of(plan, arm, protocol)
            rows = [r for r in store.rows(probe) if r["metric"] == "information"]
            assert [(r["representation"], r["protocol"]) for r in rows] == [(arm, protocol)]
            assert rows[0]["train_steps"] == sum(probe.members[0].source.ancestry.values())


def test_a_warm_start_goes_on_with_the_whole_network_where_it_was_not_trained(planned, tmp_path):
    target = {"more": {"source": {"name": "factors", "reliability": {"colour": 1.0}, "seed": 7}}}
    asked = {"probe.protocols": "linear_probe,warm_start", "probe.arms": "mixture,cat", "targets": str(target)}
    plan, store = planned(asked), Store(tmp_path)
    warm = {train.episode.name for train in trains(plan, "warm_start").values()}
    assert warm == {"warm_start-mixture-more", "warm_start-cat-more"}  # none on what the networks were trained on
    source = tuned(plan, "mixture", "warm_start", target="more")
    assert source.run.head == "mean" and source.run.trained == "all" and sum(source.ancestry.values()) == 20 + 6
    parent = plan.graph.tasks[source.run.init.partition("@")[0]]
    parent.run(store)
    start = plan.graph.tasks[source.run.key].start.variables(store)["params"]
    kept = store.variables(parent.episode, 20)["params"]
    for layer, leaves in kept.items():
        for name, leaf in leaves.items():
            assert np.array_equal(start[layer][name], leaf)
