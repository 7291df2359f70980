"""Which runs and tasks a config means, and which of them wait for a choice: before anything is trained."""

import dataclasses

import numpy as np
import pytest

from bottleneck import study as studies
from bottleneck.answer import Answer
from bottleneck.arms import ARMS
from bottleneck.choose import Compete, Decide, Expose, Rise, Tune
from bottleneck.data import mixture
from bottleneck.errors import UserError
from bottleneck.features.extract import Extract
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.price import price
from bottleneck.probing import Probe
from bottleneck.representations import REDUCTIONS

ALL = {
    "components.second.source.reliability": "{'background': 1.0, 'colour': 0.9}",  # so that the competitor is in both
    "arms": ",".join(ARMS),
    "mixture.competitor": "colour",
    "mixture.weights": "{'first': 0.8, 'second': 0.2}",
}
OTHER = "{'other': {'source': {'name': 'factors', 'reliability': {'shape': 1.0}, 'seed': 9}}}"


@pytest.fixture(scope="module")
def planned(tiny):
    """planned({"a.b": "text"}) -> the plan of the tiny study with overrides."""

    def make(overrides=None):
        return plans.plan(studies.spec(tiny(overrides)))

    return make


def trains(plan):
    """(name, seed) -> task."""
    return {(task.episode.name, task.episode.seed): task for task in plan.graph.of(Train)}


def runs(plan, seed=0):
    """name -> run."""
    return {name: task.episode for (name, s), task in trains(plan).items() if s == seed}


def questions(task):
    """What has to be answered yes for a task to be wanted: {(kind of chooser's key, choice)} without the kind."""
    return {ask.choice for ask in task.asks}


def probes(plan, **where):
    return [p for p in plan.graph.of(Probe) if all(getattr(p, key) == value for key, value in where.items())]


def test_every_arm_is_one_change_of_the_mixture(planned):
    plan = planned(ALL)
    by_name, base = runs(plan, seed=1), runs(plan, seed=1)["mixture"]
    per_component = [name for name, arm in ARMS.items() if arm.per_component]
    expected = {name for name in ARMS if name not in per_component}
    expected |= {f"{name}-{target}" for name in per_component for target in ("first", "second")}
    assert set(by_name) == expected

    def changed(name):
        """The fields in which a run differs from the mixture's."""
        run = by_name[name]
        fields = [f.name for f in dataclasses.fields(run) if f.name not in ("name", "keep", "sizes")]
        return {field for field in fields if getattr(run, field) != getattr(base, field)}

    one_hot = ((0, (0.0, 1.0)),)
    assert changed("direct-second") == {"schedule"} and by_name["direct-second"].schedule == one_hot
    assert changed("alone-second") == {"only"} and by_name["alone-second"].only == "second"
    assert changed("balanced") == {"schedule"} and by_name["balanced"].schedule == ((0, (1.0, 1.0)),)
    assert changed("scarce-second") == {"schedule", "unique"} and by_name["scarce-second"].schedule == one_hot
    for name, factor in (("longer", 2), ("longest", 8)):
        assert changed(name) == {"train"}
        assert by_name[name].train == dataclasses.replace(base.train, steps=factor * base.steps)
    assert changed("direct_half-second") == {"schedule", "train"} and by_name["direct_half-second"].schedule == one_hot
    assert by_name["direct_half-second"].steps == base.steps / 2
    assert changed("heads") == {"label_space", "offset", "outputs"} and by_name["heads"].outputs == 2 * base.outputs
    assert changed("randomised-second") == {"data"}
    moved = [a != b for a, b in zip(by_name["randomised-second"].data, base.data, strict=True)]
    assert moved == [False, True]  # the factor says nothing in this component alone
    wide = dataclasses.replace(base.model, width=4 * base.model.width)
    assert changed("wider") == {"model"} and by_name["wider"].model == wide


def test_scarce_is_restricted_to_what_the_mixture_draws(planned):
    plan = planned(ALL)
    by_name, base = runs(plan, seed=1), runs(plan, seed=1)["mixture"]
    drawn, tables = set(), mixture.tables(base.components, base.sizes, base.schedule, base.train.batch)
    for step in range(base.steps):
        component, index = map(np.asarray, mixture.draw(tables, 1, step, base.train.batch, base.train.sampling))
        drawn |= set(index[component == 1].tolist())
    assert sorted(drawn) == by_name["scarce-second"].unique.examples(1).tolist()


def test_a_disjoint_space_gives_every_component_arm_the_block_of_its_component(planned):
    by_name = runs(planned({**ALL, "mixture.label_space": "disjoint"}))
    assert by_name["mixture"].outputs == by_name["alone-second"].outputs == 4
    assert by_name["alone-second"].label_space == by_name["heads"].label_space == "per_component"
    for arm in ("direct", "direct_half", "scarce"):
        assert by_name[f"{arm}-second"].components == ("second",) and by_name[f"{arm}-second"].outputs == 2


def test_heads_are_not_asked_where_there_are_heads_already(planned):
    plan = planned({**ALL, "mixture.label_space": "per_component"})
    assert "heads" not in runs(plan) and not probes(plan, arm="heads")
    assert "head per component already" in plan.answer.not_asked["heads", "first"]


def test_balanced_is_asked_where_it_doubles_the_weight(planned):
    plan = planned(ALL)
    assert {p.target for p in probes(plan, arm="balanced")} == {"second"}
    assert "double" in plan.answer.not_asked["balanced", "first"]
    assert "balanced" not in runs(planned({**ALL, "mixture.weights": "{'first': 0.7, 'second': 0.3}"}))


def test_scarcity_is_ruled_out_without_a_run_where_the_mixture_draws_nearly_all(planned):
    plan = planned({**ALL, "train.steps": "300"})
    assert not any(name.startswith("scarce") for name in runs(plan))
    assert all(share >= 0.99 for share in plan.answer.drawn.values())
    assert ("scarce", "first") not in plan.answer.not_asked  # asked and answered, in closed form


def test_a_component_that_is_never_drawn_is_not_alone(planned):
    plan = planned({**ALL, "mixture.weights": "{'first': 1.0, 'second': 0.0}"})
    assert {"alone-second", "scarce-second", "randomised-second"}.isdisjoint(runs(plan))
    assert {"never draws" in plan.answer.not_asked[arm, "second"] for arm in ("balanced", "scarce", "randomised")} == {
        True
    }


def test_targets_outside_the_mixture_have_their_own_direct_runs_and_no_split(planned):
    plan = planned({**ALL, "targets": OTHER})
    assert runs(plan)["direct-other"].components == ("other",)
    read = {p.arm for p in probes(plan, target="other", protocol="linear_probe", factor=None)}
    floors = {"random", "pixels", "wider_untrained"}
    assert read == floors | {"mixture", "direct", "longer", "longest", "direct_half", "heads", "wider"}
    (decide,) = plan.graph.of(Decide)
    assert decide.families == (("first", "second"), ("other",))


def test_fine_tuned_networks_are_no_members(planned):
    finetuned = {"both": {"members": "finetune-mixture-first/*@last:features", "n": 2}}
    with pytest.raises(UserError, match=r"representations.both.members=.*sources among .*direct-first, .*mixture"):
        planned({"probe.protocols": "linear_probe,finetune", "representations": str(finetuned)})


def test_on_demand_interventions_wait_for_the_verdict_on_their_targets(planned):
    plan = planned(ALL)
    tasks = trains(plan)
    assert tasks["mixture", 0].asks == tasks["direct-first", 1].asks == ()
    assert questions(tasks["alone-second", 0]) == {"lost second 0"}
    assert questions(tasks["balanced", 0]) == {"lost second 0"}  # it says nothing of the other
    assert questions(tasks["heads", 1]) == questions(tasks["longer", 0]) == {"lost first 0", "lost second 0"}
    assert questions(tasks["scarce-second", 0]) == {"exposed second 0"}
    assert questions(tasks["longest", 0]) == {"rising first 0", "rising second 0"}
    assert questions(tasks["randomised-second", 0]) == {"competes second 0"}
    for task in (*plan.graph.of(Probe), *plan.graph.of(Extract)):
        named = {ask.choice.split()[1] for ask in task.asks}
        assert not isinstance(task, Probe) or named <= {task.target}
    (unconditional,) = probes(plan, arm="pixels", target="first")
    assert unconditional.asks == ()


def test_what_somebody_wants_anyway_does_not_wait(planned):
    """A run that a representation lists is trained though an intervention would have waited for a verdict."""
    both = "{'heads2': {'members': 'heads/*@last:features', 'n': 2}}"
    assert trains(planned({**ALL, "representations": both}))["heads", 0].asks == ()


@pytest.mark.parametrize("arms_for, targets", [("all", {"first", "second"}), ("second,", {"second"})])
def test_arms_for_all_or_for_names(arms_for, targets, planned):
    plan = planned({**ALL, "arms_for": arms_for})
    assert {p.target for p in probes(plan, arm="longer")} == targets == {p.target for p in probes(plan, arm="alone")}
    waiting = {name for (name, _), task in trains(plan).items() if task.asks}
    asked = {f"{arm}-{target}" for arm in ("scarce", "randomised") for target in targets}
    assert waiting == {"longest", *asked}  # each hangs on a question of its own
    names = {name for name, _ in trains(plan)}
    assert {"alone-first", "direct_half-first"} & names == (
        {"alone-first", "direct_half-first"} if len(targets) > 1 else set()
    )


def test_later_looks_wait_for_what_was_not_decided(planned):
    plan = planned({**ALL, "seeds": "2,4"})
    first, second = sorted(plan.graph.of(Decide), key=lambda d: d.look)
    assert second.earlier == (first,) and first.looks == second.looks == 2
    tasks = trains(plan)
    assert {seed for _, seed in tasks} == {0, 1, 2, 3}
    assert tasks["mixture", 1].asks == () and tasks["direct-first", 1].asks == ()
    late = tasks["mixture", 2]
    assert questions(late) == {"undecided first 1", "undecided second 1"}
    assert {ask.chooser for ask in late.asks} == {first.output}
    assert questions(tasks["direct-first", 3]) == {"undecided first 1"}
    early, later = tasks["alone-second", 0], tasks["alone-second", 2]
    assert {(a.chooser, a.choice) for a in early.asks} == {(d.output, "lost second 0") for d in (first, second)}
    assert {(a.chooser, a.choice) for a in later.asks} == {(second.output, "lost second 1")}
    assert questions(tasks["scarce-second", 3]) == {"exposed second 1"}


def test_arms_for_all_have_no_more_seeds_than_what_they_are_compared_with(planned):
    tasks = trains(planned({**ALL, "seeds": "2,4", "arms_for": "all"}))
    assert tasks["alone-first", 0].asks == () and questions(tasks["alone-first", 2]) == {"undecided first 1"}


def test_competition_is_read_on_variants_and_trains_nothing_more(planned):
    plan, without = (
        planned(ALL),
        planned(
            {k: v for k, v in ALL.items() if "competitor" not in k} | {"arms": ",".join(set(ARMS) - {"randomised"})}
        ),
    )
    assert set(runs(plan)) - set(runs(without)) == {"randomised-first", "randomised-second"}
    read = [p for p in plan.graph.of(Probe) if p.factor == "colour"]
    assert {p.arm for p in read} == {"mixture", "direct", "alone", "randomised"}
    for p in read:
        assert p.component is plan.episodes.variants[p.target] and p.component is not plan.targets[p.target]
        asked = "lost" if p.arm in ("mixture", "direct") else "competes"
        assert questions(p) == {f"{asked} {p.target} 0"}
    (compete,) = plan.graph.of(Compete)
    assert {p.arm for p in compete.probes} == {"mixture", "direct"} and all(
        p.factor == "colour" for p in compete.probes
    )
    own = probes(plan, arm="randomised", factor=None)
    assert {p.target for p in own} == {"first", "second"}


def test_choosers_read_what_they_choose_by(planned):
    plan = planned(ALL)
    (decide,), (expose,), (rise,) = (plan.graph.of(kind) for kind in (Decide, Expose, Rise))
    arms = [{p.arm for p in chooser.probes} for chooser in (decide, expose, rise)]
    assert arms[0] == {"mixture", "direct"} and arms[1] == {"mixture", "direct", "alone"}
    assert arms[2] == {"mixture", "direct", "longer", "direct_half"}
    assert all(p.protocol == "linear_probe" and p.factor is None for c in (decide, expose, rise) for p in c.probes)


def test_a_direct_run_does_not_depend_on_other_components(planned, tiny):
    config = tiny()
    before = runs(plans.plan(studies.spec(config)))["direct-first"].key
    with config.unlocked():
        config.components.third = {"source": {"name": "factors", "reliability": {"shape": 1.0}, "seed": 7}}
        config.mixture.weights.third = 0.5
    assert runs(plans.plan(studies.spec(config)))["direct-first"].key == before


@pytest.mark.parametrize(
    "added",
    [
        {"arms": "mixture,direct,alone,heads"},
        {"targets": OTHER},
        {"representations": "{'cat2': {'members': 'mixture/*@1/2:features', 'n': 2}}"},
        {"seeds": "3"},
        {"keep": "1/2,"},
        {"probe.protocols": "head,linear_probe,k_shot"},
        {"analysis": "{'kinds': ('ladder', 'steps', 'seeds')}"},
    ],
    ids=lambda added: next(iter(added)),
)
def test_adding_something_changes_no_key_of_what_was_there(added, planned):
    kinds = (Train, Extract, Probe)
    before, after = ({t.key for t in plan.graph if isinstance(t, kinds)} for plan in (planned(), planned(added)))
    assert before <= after


def test_seed_offset_moves_runs_and_data(planned):
    first, second = planned(), planned({"seed_offset": "100"})
    assert {seed for _, seed in trains(second)} == {100, 101}
    a, b = (plan.targets["first"].splits["train"] for plan in (first, second))
    assert not np.array_equal(a.fetch(np.arange(5)), b.fetch(np.arange(5)))


def test_schedule_and_durations(tiny):
    config = tiny({"train.steps": "64 examples", "arms": "mixture,direct,longer", "arms_for": "all"})
    with config.unlocked():
        config.mixture.schedule = {"second_half": {"start": "1/2", "weights": {"first": 0.0, "second": 1.0}}}
    by_name = runs(plans.plan(studies.spec(config)))
    assert by_name["mixture"].steps == 4 and by_name["mixture"].schedule == ((0, (0.7, 0.3)), (2, (0.0, 1.0)))
    assert by_name["longer"].schedule == ((0, (0.7, 0.3)), (4, (0.0, 1.0)))


def test_representations_come_in_disjoint_sets_beside_direct_ones(planned):
    plan = planned({"representations": "{'cat2': {'members': 'mixture/*@1/2:features', 'n': 2}}"})
    read = [p for p in plan.graph.of(Probe) if p.arm.split("|")[0] == "cat2"]
    assert {(p.arm, p.target, tuple(map(str, p.members))) for p in read} == {
        (arm, target, tuple(f"{run}/{s}@10:features" for s in (0, 1)))
        for target in ("first", "second")
        for arm, run in (("cat2", "mixture"), ("cat2|direct", f"direct-{target}"))
    }
    assert all(10 in trains(plan)["mixture", s].keep for s in (0, 1))
    alone = {m for p in plan.graph.of(Probe) if p.arm.split("|")[0] == "cat2-member" for m in p.members}
    assert alone == {m for p in read for m in p.members}  # what a gain is measured from is probed too


def test_members_of_other_architectures_have_layers_of_their_own(planned):
    recipes = "{'other': {'model': {'name': 'resnet', 'depth': 20, 'width': 0.25}}}"
    both = {"arch": {"members": ("mixture/*@last:layer1", "other/*@last:stage2")}}
    plan = planned({"recipes": recipes, "representations": str(both)})
    layers = {tuple(m.layer for m in p.members) for p in probes(plan, arm="arch")}
    assert layers == {("layer1", "stage2")}
    assert {p.arm for p in probes(plan, target="first") if p.reduce} == {f"arch-{kind}" for kind in REDUCTIONS}
    both["arch"]["members"] = ("mixture/*@last:layer1", "other/*@last:layer1")
    with pytest.raises(UserError, match="representations.arch.members='layer1'.*stem, stage1"):
        planned({"recipes": recipes, "representations": str(both)})


def test_time_cat_costs_the_budget_that_it_claims(planned):
    """Two runs to their half are one run; two kept steps of one run are one run; their controls cost what they read."""
    half, two = "mixture/*@1/2:features", ("mixture/*@1/2:features", "mixture/*@last:features")
    declared = {
        "timecat2": {"members": half, "n": 2},
        "snapshots": {"members": two},
        "whole2": {"members": two[1], "n": 2},
    }
    plan = planned({"representations": str(declared)})
    whole = probes(plan, arm="mixture", protocol="linear_probe")[0].members[0].source.run.steps
    steps = {p.arm: price(p)["train_steps"] for p in plan.graph.of(Probe) if p.target == "first"}
    assert steps["timecat2"] == steps["snapshots"] == steps["timecat2-averaged"] == steps["mixture"] == whole
    assert steps["whole2"] == steps["whole2-pca"] == 2 * whole and steps["timecat2-repeated"] == whole / 2
    assert steps["snapshots-member1"] == whole / 2 and "snapshots-member2" not in steps  # that one is the arm


def test_a_concatenation_s_controls_are_of_its_own_sets(planned):
    plan = planned({"seeds": "4", "representations": "{'cat2': {'members': 'mixture/*@last:features', 'n': 2}}"})
    sets = [tuple(map(str, p.members)) for p in probes(plan, arm="cat2", target="first")]
    for kind in ("pca", "whitened", "random", "averaged"):
        assert [tuple(map(str, p.members)) for p in probes(plan, arm=f"cat2-{kind}", target="first")] == sets
    repeated = [tuple(map(str, p.members)) for p in probes(plan, arm="cat2-repeated", target="first")]
    assert repeated == [(first, first) for first, _ in sets]
    assert not [p.arm for p in plan.graph.of(Probe) if p.arm.startswith("cat2-member")]  # they are the arm
    off = "{'cat2': {'members': 'mixture/*@last:features', 'n': 2, 'controls': False}}"
    assert {p.arm for p in planned({"representations": off}).graph.of(Probe) if "cat2" in p.arm} == {
        "cat2",
        "cat2|direct",
    }


@pytest.mark.parametrize("other, known", [("cat2", "mixture"), ("nobody", "mixture")])
def test_controls_that_are_declared_must_be_read(other, known, planned):
    declared = {"cat2": {"members": "mixture/*@last:features", "n": 2, "against": (other,)}}
    with pytest.raises(UserError, match=f"representations.cat2.against='{other}': expected .*{known}"):
        planned({"representations": str(declared)})


def test_a_reduced_member_is_no_plain_one(planned):
    """A gain is measured from the plain member even where a reduction of one member is declared."""
    half = {"members": "mixture/*@1/2:features"}
    declared = {"cat2": {**half, "n": 2}, "pca": {**half, "reduce": "pca"}}
    assert probes(planned({"representations": str(declared)}), arm="cat2-member", reduce="")


GRID = {
    "grid": "{'lr': (0.02, 0.05), 'weight_decay': (0.0, 0.01)}",
    "arms": ",".join(set(ARMS) - {"randomised"}),
    "arms_for": "all",
}


def test_a_grid_is_chosen_by_the_first_seed_and_taken_by_the_others(planned):
    plan = planned(GRID)
    choosers = {frozenset(dict(task.weights)): task for task in plan.graph.of(Tune)}
    mixed, direct = choosers[frozenset({"first", "second"})], choosers[frozenset({"first"})]
    tuned = [task for task in plan.graph.of(Train) if task.chooser]
    candidates = [task for task in plan.graph.of(Train) if not task.chooser]
    assert {task.episode.seed for task in candidates} == {0} and {task.episode.seed for task in tuned} == {0, 1}
    for task in tuned:
        assert task.chooser in task.needs and task.episode.tuned and f"rows/{task.episode.tuned}" == task.chooser
    of_mixture = [t for t in tuned if t.episode.name == "mixture"]
    assert len({t.chooser for t in of_mixture}) == 1 and len(of_mixture) == 2
    settings = [
        (t.episode.optimizer.lr, t.episode.optimizer.weight_decay) for t in candidates if t.episode.name == "mixture"
    ]
    assert sorted(settings) == [(lr, decay) for lr in (0.02, 0.05) for decay in (0.0, 0.01)]
    assert {p.target for p in direct.probes} == {"first"} and direct.weights == (("first", 1.0),)
    assert {p.protocol for p in (*mixed.probes, *direct.probes)} == {"tuning"}


def test_alone_and_scarce_take_the_mixtures_settings(planned):
    plan = planned(GRID)
    chooser = {task.episode.name: task.chooser for task in plan.graph.of(Train) if task.chooser}
    assert chooser["alone-first"] == chooser["scarce-second"] == chooser["mixture"]
    others = [name for name in chooser if not name.startswith(("alone", "scarce", "mixture"))]
    assert len({chooser[name] for name in others} | {chooser["mixture"]}) == len(others) + 1  # tuned by themselves


def test_candidates_leave_what_the_chosen_one_is_to_leave(planned):
    """Or it would have to be trained again: step 0 of the mixture's run is read, too."""
    tasks = [
        task for task in planned(GRID).graph.of(Train) if task.episode.name == "mixture" and task.episode.seed == 0
    ]
    assert {task.keep for task in tasks} == {(0, 20)}


def test_candidates_are_no_arms_of_the_answer(planned):
    (answer,) = planned(GRID).graph.of(Answer)
    assert "tuning" not in {probe.protocol for probe in answer.probes}


def test_one_pair_is_no_grid(planned):
    assert not planned({"grid": "{'lr': (0.02,)}"}).graph.of(Tune)


def test_a_factor_that_says_nothing_of_the_label_competes_with_nothing(planned):
    without = {**ALL, "components.second.source.reliability": "{'background': 1.0}"}
    plan = planned(without)
    assert "randomised-first" in runs(plan) and "randomised-second" not in runs(plan)
    assert "competes" in plan.answer.not_asked["randomised", "second"]


def test_what_is_asked_for_is_part_of_what_joins_it(planned):
    """The same probes under other conditions are other answers: nothing stale is served when `arms_for` changes."""
    lost, every = planned(ALL), planned({**ALL, "arms_for": "all"})
    assert lost.answer.key != every.answer.key
    kept = {p.key for p in lost.probes_of("mixture", "direct")}
    assert kept == {p.key for p in every.probes_of("mixture", "direct")}
