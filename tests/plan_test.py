"""The plan: which runs and evaluations a config means, before anything is trained."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from bottleneck.planning import plan as plans
from bottleneck import study as studies
from bottleneck.data import mixture
from bottleneck.errors import UserError

ALL_ARMS = "mixture,direct,matched,longer,heads,randomised,wider"


def planned(tiny, **overrides):
    return plans.plan(studies.spec(tiny({k.replace("__", "."): v for k, v in overrides.items()})))


def test_every_arm_is_one_change_of_the_mixture(tiny):
    found = planned(tiny, arms=ALL_ARMS.join(("('", "')")).replace(",", "','"), mixture__competitor="colour")
    runs = {run.name: run for run in found.runs if run.seed == 1}
    base = runs["mixture"]
    assert sorted(runs) == [
        "direct-first",
        "direct-second",
        "heads",
        "longer",
        "matched-first",
        "matched-second",
        "mixture",
        "randomised",
        "wider",
    ]
    assert {r.seed for r in found.runs} == {0, 1}
    assert runs["direct-second"].schedule == ((0, (0.0, 1.0)),) and runs["direct-second"].steps == base.steps
    assert runs["longer"].steps == 2 * base.steps and runs["longer"].schedule == base.schedule
    assert runs["heads"].label_space == "per_component" and runs["heads"].outputs == 2 * base.outputs
    assert runs["wider"].model["width"] == 4 * base.model["width"]
    assert runs["randomised"].data != base.data and runs["randomised"].model == base.model
    same = dataclasses.replace(runs["randomised"], data=base.data, name="mixture", keep=base.keep)
    assert same == base


def test_matched_sees_as_many_examples_as_the_mixture_drew(tiny):
    found = planned(tiny, arms="('mixture','direct','matched')", train__steps="200")
    base = found.run("mixture", 0)
    sizes = [len(c.splits["train"]) for c in found.pool_of(base)]
    drawn = mixture.drawn(
        mixture.tables(base.components, sizes, base.schedule, base.train.batch), base.steps, base.train.batch
    )
    for j, name in enumerate(base.components):
        matched = found.run(f"matched-{name}", 0)
        assert 0 <= drawn[j] - matched.steps * base.train.batch < base.train.batch


def test_a_direct_run_does_not_depend_on_the_other_components(tiny):
    config = tiny()
    before = plans.plan(studies.spec(config)).run("direct-first", 0).hash
    with config.unlocked():
        config.components.third = {"source": {"name": "factors", "reliability": {"shape": 1.0}, "seed": 7}}
        config.mixture.weights.third = 0.5
    assert plans.plan(studies.spec(config)).run("direct-first", 0).hash == before


def test_seed_offset_moves_runs_and_data(tiny):
    first, second = planned(tiny), planned(tiny, seed_offset="100")
    assert {r.seed for r in second.runs} == {100, 101}
    a, b = (p.targets["first"].splits["train"] for p in (first, second))
    assert not np.array_equal(a.fetch(np.arange(5)), b.fetch(np.arange(5)))


def test_schedule_and_durations(tiny):
    config = tiny({"train.steps": "64 examples"})
    with config.unlocked():
        config.mixture.schedule = {"second_half": {"start": "1/2", "weights": {"first": 0.0, "second": 1.0}}}
    run = plans.plan(studies.spec(config)).run("mixture", 0)
    assert run.steps == 4 and run.schedule == ((0, (0.7, 0.3)), (2, (0.0, 1.0)))


def test_representations_come_in_disjoint_sets_beside_direct_ones(tiny):
    found = planned(tiny, representations="{'cat2': {'members': 'mixture/*@1/2:features', 'n': 2}}")
    cats = [e for e in found.evaluations if e.arm.split("|")[0] == "cat2"]
    assert {(e.arm, e.target, tuple(map(str, e.members))) for e in cats} == {
        (arm, target, tuple(f"{run}/{s}@10:features" for s in (0, 1)))
        for target in ("first", "second")
        for arm, run in (("cat2", "mixture"), ("cat2|direct", f"direct-{target}"))
    }
    assert all(10 in found.run("mixture", s).keep for s in (0, 1))
    alone = {m for e in found.evaluations if e.arm.split("|")[0] == "cat2-member" for m in e.members}
    assert alone == {m for e in cats for m in e.members}  # what a gain is measured from is probed too


def test_targets_outside_the_mixture_have_their_own_direct_runs(tiny):
    found = planned(
        tiny, targets="{'other': {'source': {'name': 'factors', 'reliability': {'shape': 1.0}, 'seed': 9}}}"
    )
    run = found.run("direct-other", 0)
    assert run.components == ("other",)
    assert {e.arm for e in found.evaluations if e.target == "other"} == {"mixture", "direct", "random", "pixels"}


@pytest.mark.parametrize(
    "key, value",
    [
        ("mixture.weights.first", "-1"),
        ("mixture.weights", "{'first': 0, 'second': 0}"),
        ("mixture.weights", "{'first': 1}"),
        ("arms", "('direct',)"),
        ("mixture.competitor", "colour"),
        ("keep", "('3/2',)"),
        ("keep", "(21,)"),
        ("margin", "0"),
        ("representations", "{'r': {'members': 'nobody/*@last:features'}}"),
        ("representations", "{'r': {'members': 'mixture'}}"),
        ("representations", "{'r': {'members': 'mixture/*@last:features', 'n': 3}}"),
        ("objective.name", "regression"),
        ("targets", "{'first': {'source': {'name': 'factors'}}}"),
        ("name", "a/b"),
        ("model.name", "transformer"),
    ],
)
def test_mistakes_are_named(tiny, key, value):
    with pytest.raises(UserError) as error:
        plans.plan(studies.spec(tiny({key: value})))
    assert key.split(".")[0] in str(error.value) and "\n" not in str(error.value)


def images(folder, classes):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                    folder / split / name / f"{i}.png"
                )
    return {"source": {"name": "folder", "path": str(folder)}}


def test_shared_labels_must_mean_the_same(tiny, tmp_path):
    first, second = images(tmp_path / "a", ("cat", "dog", "emu")), images(tmp_path / "b", ("cat", "emu"))
    over = {
        "components": str({"first": first, "second": second}),
        "data.train": "None",
        "data.test": "None",
        "data.probe": "6",
        "data.val": "6",
    }
    with pytest.raises(UserError, match="mixture.label_space"):
        studies_plan(tiny, over)
    assert studies_plan(tiny, {**over, "mixture.label_space": "disjoint"}).run("mixture", 0).outputs == 5


def test_no_component_trains_on_what_another_probes(tiny, tmp_path):
    both = images(tmp_path / "a", ("cat", "dog", "emu"))
    subset = {**both, "transforms": {"classes": {"keep": ("cat", "dog")}}}
    over = {
        "components": str({"first": both, "second": subset}),
        "data.train": "None",
        "data.test": "None",
        "data.probe": "6",
        "data.val": "6",
    }
    with pytest.raises(UserError, match="does not train on"):
        studies_plan(tiny, over)
    assert studies_plan(
        tiny, {**over, "components": str({"first": both, "second": {**both, "transforms": {"tint": {}}}})}
    )


def studies_plan(tiny, overrides):
    return plans.plan(studies.spec(tiny(overrides)))
