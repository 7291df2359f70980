"""A study that starts from converted weights: what starts from them, what must not, and what they have to fit."""

import shutil

import jax
import numpy as np
import pytest

from bottleneck import checkpoint, converted, execute, models
from bottleneck import config as configs
from bottleneck import study as studies
from bottleneck.errors import UserError
from bottleneck.models import state_dict
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.probing import Probe
from bottleneck.report import methods
from bottleneck.signals import Stopped
from bottleneck.store import Store
from bottleneck.tasks import STAGES
from tests import state_dicts

MODEL = {"model": "{'name': 'resnet', 'width': 0.25}", "train.steps": "6", "train.save_every": "2"}
ANALYSED = {
    "analysis": "{'kinds': ('ladder', 'steps', 'seeds', 'cka'), 'halvings': 1}",
    "probe.protocols": "head,linear_probe,finetune",
    "probe.arms": "mixture,random",
    "probe.finetune": "{'steps': 2}",
}


def write(directory, state):
    state = state_dict.unwrapped(state)
    network = state_dict.network(state)
    source = {"name": "weights.pt", "sha256": "0"}
    return converted.write(directory, network, state_dict.variables(state, network), source)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write(tmp_path_factory.mktemp("converted") / "net", state_dicts.resnet(20, 0.25, classes=9))


@pytest.fixture(scope="module")
def planned(tiny, weights):
    """planned({"a.b": "text"}) -> the plan of the tiny study from the weights, with overrides."""

    def make(overrides=None, **others):
        given = {"init": str(weights.directory), **MODEL, **(overrides or {}), **others}
        return plans.plan(studies.spec(tiny(given)))

    return make


def runs(plan):
    return [task.episode for task in plan.graph.of(Train)]


def keys(plan):
    return sorted(task.key for task in plan.graph)


def test_every_arm_starts_from_the_weights_and_says_so(planned, weights):
    plan = planned({"arms": "mixture,direct,alone,balanced,longer,heads", **ANALYSED})
    for task in plan.graph.of(Train):
        run = task.episode
        if run.name == "random":
            assert (run.init, run.steps, task.start, 0 in task.keep) == ("", 1, None, True)
        elif task.continues:
            assert run.init.partition("@")[0] in {other.key for other in runs(plan)}
        else:
            assert run.init == f"weights:{weights.weights}" and run.pretrained
            assert task.start.converted.weights == weights.weights and task.start.parents == ()
    names = {run.name for run in runs(plan)}
    assert names >= {"mixture", "random", "direct-first", "alone-second", "finetune-random-first"}


def test_what_is_called_untrained_never_saw_data(planned):
    plan = planned({**ANALYSED, "seeds": "(1, 2)", "analysis.kinds": "ladder,seeds,cka,steps"})
    floors = [probe for probe in plan.graph.of(Probe) if probe.arm == "random" and probe.protocol == "linear_probe"]
    assert {probe.seed for probe in floors} == {0, 1}
    for probe in floors:
        (member,) = probe.members
        assert (member.source.run.name, member.source.run.init, member.source.step) == ("random", "", 0)
        assert bool(probe.asks) == (probe.seed == 1)  # as the mixture of a later look
    for task in plan.graph:
        if (cast := getattr(task, "cast", None)) is not None:
            assert all(not m.source.run.pretrained for layer in cast.layers for m in cast.untrained(layer))
            assert all(m.source.run.pretrained for m in cast.at(0)) and cast.at(0) and cast.untrained()
            if task.KIND in ("ladder", "seeds", "cka"):
                assert set(cast.untrained()) <= {member for member, _ in task.members}
            if task.KIND == "steps":  # a trajectory starts at the weights
                assert not set(cast.untrained()) & {member for member, _ in task.members}


def test_untrained_teachers_are_untrained(planned):
    recipe = "{'half': {'teachers': 'mixture/*@last', 'n': 2, 'untrained': 1}}"
    (student,) = [task for task in planned(recipes=recipe).graph.of(Train) if task.teachers]
    assert student.episode.pretrained and student.start.converted is not None
    assert [teacher.run.name for teacher in student.teachers] == ["mixture", "random"]


def test_without_init_step_0_is_the_untrained_network(tiny):
    plan = plans.plan(studies.spec(tiny({**MODEL, **ANALYSED})))
    assert "random" not in {run.name for run in runs(plan)} and not any(run.pretrained for run in runs(plan))
    casts = [task.cast for task in plan.graph if getattr(task, "cast", None)]
    assert casts and all(cast.untrained(layer) == cast.at(0, layer) for cast in casts for layer in cast.layers)


def test_the_digest_is_the_identity_and_the_place_is_not(planned, weights, tmp_path):
    shutil.copytree(weights.directory, tmp_path / "moved")
    assert keys(planned(init=str(tmp_path / "moved"))) == keys(planned())
    other = write(tmp_path / "other", state_dicts.resnet(20, 0.25, seed=1))
    assert other.weights != weights.weights
    assert not {run.key for run in runs(planned(init=str(other.directory))) if run.pretrained} & {
        run.key for run in runs(planned())
    }
    assert {run.key for run in runs(planned(init=str(other.directory))) if run.name == "random"} == {
        run.key for run in runs(planned()) if run.name == "random"
    }


def test_width_is_not_asked_about(planned):
    plan = planned({"arms": "mixture,direct,wider"})
    assert not [run for run in runs(plan) if run.name == "wider"]
    assert plan.answer.not_asked["wider", "first"] == "the weights that runs start from (init) are of one width"


MISTAKES = {
    "model.depth=32: expected 20, as the weights in init=": {"model": "{'name': 'resnet', 'depth': 32}"},
    "model.width=1.0: expected 0.25, as the weights in": {"model": "{'name': 'resnet'}"},
    "model.name='mlp': expected 'resnet', of which the weights in init=": {"model": "{'name': 'mlp'}"},
    "init='nowhere': expected a directory that `python -m bottleneck.convert` has written": {"init": "nowhere"},
    "recipes.wide.width=2.0: expected the study's own model, of which": {"recipes": "{'wide': {'width': 2}}"},
    "recipes.deep.model={'depth': 32}: expected the study's own model": {
        "recipes": "{'deep': {'model': {'depth': 32}}}"
    },
    "representations.two.members='random/*@0:features': expected sources among": {
        "representations": "{'two': {'members': 'random/*@0:features'}}"
    },
}


@pytest.mark.parametrize("said", MISTAKES)
def test_what_does_not_fit_is_refused_in_one_line(said, planned):
    with pytest.raises(UserError) as error:
        planned(MISTAKES[said])
    assert str(error.value).startswith(said)


def test_a_vit_has_to_see_images_of_its_size(planned, tmp_path):
    vit = write(tmp_path / "vit", state_dicts.vit("tiny", 4, 16))
    given = {"init": str(vit.directory), "model": "{'name': 'vit', 'gelu': 'erf'}"}
    with pytest.raises(UserError, match=r"^data.image_size=\[8, 8\]: expected images of 16 x 16 pixels, for which"):
        planned(given)
    with pytest.raises(UserError, match="^model.gelu='tanh': expected 'erf', as the weights in init="):
        planned({**given, "model": "{'name': 'vit'}"})
    assert planned({**given, "data.image_size": "16"}).graph


def test_a_path_holds_from_anywhere(tmp_path):
    given = {"init": "nets/a", "model": {"name": "mlp", "init": "xavier"}, "sweep": {"points": ({"init": "nets/b"},)}}
    found = configs.absolute(given, tmp_path)
    assert found["init"] == str(tmp_path / "nets/a") and found["model"]["init"] == "xavier"
    assert found["sweep"]["points"][0]["init"] == str(tmp_path / "nets/b")
    assert configs.absolute({"init": ""}, tmp_path) == {"init": ""}


# Carried out


def variables(workdir, run, step):
    return checkpoint.load(workdir / "runs" / run.folder / "checkpoints" / str(step))


@pytest.fixture(scope="module")
def carried(planned, tmp_path_factory):
    """The plan of one seed, and the work directory in which it was carried out."""
    workdir, plan = tmp_path_factory.mktemp("work"), planned({"seeds": "1", "keep": "(0,)"})
    execute.carry_out(plan.graph, Store(workdir), STAGES)
    return plan, workdir


def named(plan, name):
    (run,) = [run for run in runs(plan) if run.name == name]
    return run


def trunk(tree):
    return {**tree, "params": {name: leaves for name, leaves in tree["params"].items() if name != "head"}}


def test_step_0_is_the_converted_network(carried, weights, same):
    plan, workdir = carried
    mixture = named(plan, "mixture")
    start, end = (variables(workdir, mixture, step) for step in (0, mixture.steps))
    same(trunk(start), weights.trunk())
    assert start["params"]["head"]["kernel"].shape[1] == mixture.outputs != weights.network.classes
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), trunk(start), trunk(end))
    assert min(jax.tree.leaves(moved)) > 0

    (probe,) = [p for p in plan.probes_of("random") if p.target == "first"]
    (member,) = [p.members[0] for p in plan.probes_of("mixture") if p.target == "first"]
    component, data = plan.targets["first"], plan.study.data
    source = type(member.source)("mixture/0@0", mixture, 0, data)
    features = Store(workdir).extract(source, component, ("features",), ("test",))["features", "test"]
    x = component.splits["test"].fetch(np.arange(len(component.splits["test"])))
    module = models.build(weights.network.spec, 9)
    held = checkpoint.load(weights.directory / "checkpoint")
    images = (np.float32(x) / 255 - np.float32(data.mean)) / np.float32(data.std)
    _, taps = module.apply(held, images)
    np.testing.assert_allclose(features, taps["features"], rtol=1e-4, atol=1e-5)

    floor = Store(workdir).features(probe.members[0].source, "features", component)["test"]
    assert np.abs(floor - features).max() > 0.1 * np.abs(features).max()


def test_the_untrained_network_is_that_of_a_study_without_weights(carried, tiny, tmp_path, same):
    plan, workdir = carried
    plain = plans.plan(studies.spec(tiny({**MODEL, "seeds": "1", "keep": "(0,)", "train.steps": "1"})))
    mixture = named(plain, "mixture")
    execute.carry_out(plain.graph, Store(tmp_path), STAGES[:1])
    same(variables(workdir, named(plan, "random"), 0), variables(tmp_path, mixture, 0))


def test_resumed_it_ends_in_the_same_bits(carried, planned, weights, tmp_path, same):
    plan, workdir = carried
    store, mixture = Store(tmp_path), named(plan, "mixture")
    (task,) = [task for task in plan.graph.of(Train) if task.episode.name == "mixture"]

    def stop(steps):
        store.stop.asked, store.stop.name = True, "test"

    with pytest.raises(Stopped):
        task.run(store, stop)
    assert checkpoint.steps(tmp_path / "runs" / mixture.folder / "resume")
    store = Store(tmp_path)
    task.run(store)
    for step in task.keep:
        same(variables(tmp_path, mixture, step), variables(workdir, mixture, step))


def test_rows_and_methods_say_where_runs_began(carried, weights):
    plan, workdir = carried
    store = Store(workdir)
    linear = [probe for probe in plan.graph.of(Probe) if probe.is_plain]
    read = [row for probe in linear for row in store.rows(probe) if row["metric"] == "information"]
    began = {
        arm: {row["extra"].get("init") for row in read if row["arm"] == arm} - {None} for arm in ("mixture", "random")
    }
    assert began == {"mixture": {f"weights:{weights.weights}"}, "random": set()}
    assert f"trained elsewhere (weights:{weights.weights}), with a fresh" in " ".join(methods.training(read, []))
    floor = [row for row in read if row["arm"] == "random"]
    assert "trained elsewhere" not in " ".join(methods.training(floor, []))


def test_weights_that_were_changed_since_are_refused(planned, weights, tmp_path):
    shutil.copytree(weights.directory, tmp_path / "net")
    plan = planned(init=str(tmp_path / "net"))
    (task, *_) = [task for task in plan.graph.of(Train) if task.episode.name == "mixture"]
    write(tmp_path / "net", state_dicts.resnet(20, 0.25, seed=1))
    with pytest.raises(UserError, match="^init=.*the weights [0-9a-f]{16}, which the study has begun with"):
        task.start.variables(None)
    file = next(
        path for path in (tmp_path / "net" / "checkpoint").rglob("*") if path.is_file() and path.stat().st_size > 999
    )
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="^init=.*an intact checkpoint"):
        task.start.variables(None)


def test_schedule_free_starts_from_the_same_numbers(planned, weights, tmp_path):
    plan = planned({"seeds": "1", "optimizer.name": "schedule_free", "keep": "(0,)", "train.steps": "2"})
    (task,) = [task for task in plan.graph.of(Train) if task.episode.name == "mixture"]
    task.run(Store(tmp_path))
    found = trunk(variables(tmp_path, task.episode, 0))
    jax.tree.map(np.testing.assert_array_equal, found, weights.trunk())  # BatchNorm's statistics are not re-measured
