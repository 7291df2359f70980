"""What a plan refuses, in one line, before anything is written; and that it is made of plain data."""

import numpy as np
import pytest
from PIL import Image

from bottleneck import dryrun, execute
from bottleneck import study as studies
from bottleneck.errors import UserError
from bottleneck.features import foreign
from bottleneck.planning import plan as plans


@pytest.fixture(scope="module")
def planned(tiny):
    def make(overrides=None):
        return plans.plan(studies.spec(tiny(overrides)))

    return make


FINETUNE = {"probe.protocols": "linear_probe,finetune"}
MISTAKES = [
    ("mixture.weights", {"mixture.weights.first": "-1"}),
    ("mixture.weights", {"mixture.weights": "{'first': 0, 'second': 0}"}),
    ("mixture.weights", {"mixture.weights": "{'first': 1}"}),
    ("arms", {"arms": "direct,"}),
    ("arms", {"arms": "mixture,direct,scarce"}),
    ("arms", {"arms": "mixture,direct,longest"}),
    ("arms_for", {"arms_for": "nobody,"}),
    ("mixture.competitor", {"mixture.competitor": "colour"}),
    ("mixture.competitor", {"mixture.competitor": "smell", "arms": "mixture,direct,randomised"}),
    ("keep", {"keep": "3/2,"}),
    ("keep", {"keep": "21,"}),
    ("margin", {"margin": "0"}),
    ("seeds", {"seeds": "4,2"}),
    ("seeds", {"seeds": "0"}),
    ("train.steps", {"train.steps": "0"}),
    ("augment.crop", {"augment.crop": "9"}),
    ("representations.r.members", {"representations": "{'r': {'members': 'nobody/*@last:features'}}"}),
    ("representations.r.members", {"representations": "{'r': {'members': 'mixture'}}"}),
    ("representations.r.members", {"representations": "{'r': {'members': 'mixture/*@last:attic'}}"}),
    ("representations.r.n", {"representations": "{'r': {'members': 'mixture/*@last:features', 'n': 3}}"}),
    ("representations", {"representations": "{'direct': {'members': 'mixture/*@last:features'}}"}),
    ("objective.name", {"objective.name": "regression"}),
    ("targets", {"targets": "{'first': {'source': {'name': 'factors'}}}"}),
    ("name", {"name": "a/b"}),
    ("model.name", {"model.name": "transformer"}),
    ("probe.layer", {"probe.layer": "attic"}),
    ("probe.protocols", {"probe.protocols": "head,"}),
    ("probe.arms", {"probe.arms": "sideways,"}),
    ("probe.shots", {"probe.protocols": "linear_probe,k_shot", "probe.shots": "25,"}),
    ("probe.finetune.shots", {**FINETUNE, "probe.finetune": "{'steps': 4, 'shots': (1000,)}"}),
    ("probe.finetune.steps", {**FINETUNE, "probe.finetune": "{'steps': '0 epochs'}"}),
    ("model.use_bias", {"probe.protocols": "linear_probe,probe_finetune", "model.use_bias": "False"}),
    ("analysis.kinds", {"data.test": "10", "analysis": "{'kinds': ('cka',)}"}),
    ("analysis.kinds", {"analysis": "{'kinds': ('depth',)}"}),
    ("analysis.kinds", {"analysis": "{'kinds': ('recovery',)}"}),
    ("analysis.layers", {"analysis": "{'kinds': ('ladder',), 'layers': ('block9',)}"}),
    ("analysis.layers", {"analysis": "{'kinds': ('ladder',), 'layers': ('layer1.squeezed',)}"}),
    ("analysis.layers", {"analysis": "{'kinds': ('cka',), 'layers': ('layer1', 'features.positions')}"}),
    ("analysis.batch", {"analysis": "{'kinds': ('cka',), 'batch': 3}"}),
    ("analysis.halvings", {"analysis": "{'halvings': -1}"}),
    ("sources.theirs.reference", {"sources": "{'theirs': {'arrays': '/nowhere', 'reference': 'mine'}}"}),
    ("sources.theirs", {"sources": "{'theirs': {'arrays': '/nowhere'}}"}),
]


@pytest.mark.parametrize("key, overrides", MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_mistakes_are_named_in_one_line_before_anything_is_written(key, overrides, tiny, tmp_path):
    with pytest.raises(UserError) as error:
        execute.study(tiny(overrides), tmp_path / "none")
    assert error.value.key.startswith(key), error.value
    assert "\n" not in str(error.value) and error.value.expected and not (tmp_path / "none").exists()


def test_a_competitor_without_its_arm_is_told_how_it_is_unset(planned):
    with pytest.raises(UserError, match="'colour': expected None .--config.mixture.competitor=None. where the arm"):
        planned({"mixture.competitor": "colour"})


def test_vectors_have_cka_alone(planned):
    regression = {
        "components": "{'m': {'source': {'name': 'gaussian', 'index': 0, 'dim': 4, 'outputs': 1}}}",
        "mixture.weights": "{'m': 1.0}",
        "objective.name": "regression",
        "analysis": "{'kinds': ('ladder',)}",
    }
    with pytest.raises(UserError) as error:
        planned(regression)
    assert error.value.key == "analysis.kinds"
    assert planned({**regression, "analysis": "{'kinds': ('cka',)}"}).answer.unit == "r2"


def images(folder, classes):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return {"source": {"name": "folder", "path": str(folder)}}


SPLITS = {"data.train": "None", "data.test": "None", "data.probe": "6", "data.val": "6"}


def test_shared_labels_must_mean_the_same(planned, tmp_path):
    first, second = images(tmp_path / "a", ("cat", "dog", "emu")), images(tmp_path / "b", ("cat", "emu"))
    over = {"components": str({"first": first, "second": second}), **SPLITS}
    with pytest.raises(UserError, match="mixture.label_space"):
        planned(over)
    (run,) = {
        t.episode.outputs
        for t in planned({**over, "mixture.label_space": "disjoint"}).graph
        if t.KIND == "train" and t.episode.name == "mixture"
    }
    assert run == 5


@pytest.mark.parametrize("first, second, agree", [((0, 1, 2), (1, 2), False), ((0, 1, 2, 3), (0, 1), True)])
def test_numbers_are_names_of_classes_like_any_other(first, second, agree, planned, tmp_path):
    """A class "1" that became output 0 would be taught as another component's class "0"."""
    components = {}
    for seed, (name, classes) in enumerate({"first": first, "second": second}.items()):
        rng, held = np.random.default_rng(seed), {}
        for split in ("train", "test"):
            held[f"x_{split}"] = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
            held[f"y_{split}"] = np.resize(classes, 40)
        np.savez(tmp_path / f"{name}.npz", **held)
        components[name] = {"source": {"name": "arrays", "path": str(tmp_path / f"{name}.npz")}}
    over = {"components": str(components), **SPLITS}
    if agree:
        assert planned(over)
    else:
        with pytest.raises(UserError, match="mixture.label_space"):
            planned(over)
    components["second"]["transforms"] = {"labels": {"map": {str(name): i for i, name in enumerate(second)}}}
    assert planned({**over, "components": str(components)})  # the config says which belong together


def test_no_component_trains_on_what_another_probes(planned, tmp_path):
    both = images(tmp_path / "a", ("cat", "dog", "emu"))
    subset = {**both, "transforms": {"classes": {"keep": ("cat", "dog")}}}
    with pytest.raises(UserError, match="does not train on"):
        planned({"components": str({"first": both, "second": subset}), **SPLITS})
    tinted = {**both, "transforms": {"tint": {}}}
    assert planned({"components": str({"first": both, "second": tinted}), **SPLITS})


def test_foreign_features_of_other_items_are_named(planned, tmp_path):
    for target in ("first", "second"):
        for split in foreign.SPLITS:
            foreign.save(tmp_path, target, split, np.random.default_rng(0).normal(size=(5, 3)), np.arange(5))
    with pytest.raises(UserError) as error:
        planned({"sources": str({"theirs": {"arrays": str(tmp_path)}})})
    assert error.value.key == "sources.theirs" and "missing" in str(error.value)


def test_a_plan_says_what_was_read(planned):
    reading = planned().reading
    assert set(reading) == {"first", "second"} and "100 train" in reading["first"][0]


def test_hours_are_at_the_speed_of_the_lines_that_are_whole(planned, tmp_path):
    metrics = tmp_path / "runs" / "one" / "metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    assert "hours" not in dryrun.describe(planned(), tmp_path)
    metrics.write_text('{"images_per_second": 1}\n{"images_per_second": 500}\n{"images_per')  # a full disk cut it
    assert "hours at the speed of the runs here" in dryrun.describe(planned(), tmp_path)


def test_planning_is_repeatable(planned):
    overrides = {"arms": "mixture,direct,alone,heads", "probe.protocols": "head,linear_probe,finetune"}
    first, second = (list(planned(overrides).graph.tasks) for _ in range(2))
    assert first == second
