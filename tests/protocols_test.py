"""Whole studies by the protocols of others: vectors, full batches, one output for two classes."""

import numpy as np
import pytest

from bottleneck import execute, study
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train

MOONS = {
    "components": str(
        {name: {"source": {"name": "moons", "margin": m}} for name, m in (("open", 0.1), ("shut", -0.1))}
    ),
    "mixture.weights": str({"open": 0.5, "shut": 0.5}),
    "targets": str({"free": {"source": {"name": "moons"}, "randomise": ("separating",)}}),
    "data.train": "60",
    "train.sampling": "full",
    "train.steps": "150",
    "objective.loss": "softplus",
    "model.init": "xavier",
    "arms": "('mixture', 'direct', 'alone')",
    "arms_for": "all",
    "train.stop_at_accuracy": "0.9",
}


@pytest.fixture(scope="module")
def rows(tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("moons")
    assert execute.study(tiny(MOONS), workdir) == execute.DONE
    return row_files.read(workdir / "results.jsonl")


def test_full_batches_are_of_all_items_that_a_run_draws(tiny):
    plan = plans.plan(study.spec(tiny(MOONS)))
    batches = {task.episode.name: task.episode.train.batch for task in plan.graph.of(Train)}
    assert batches == {"mixture": 120, "direct-open": 60, "direct-shut": 60, "direct-free": 60, "alone-open": 120,
                       "alone-shut": 120}  # fmt: skip


def test_their_price_is_every_item_at_every_step_that_was_made(rows):
    for arm, batch in (("mixture", 120), ("direct", 60)):
        stopped = row_files.select(rows, arm=arm, target="open", metric="stopped_at", protocol="head")
        steps = {r["seed"]: r["value"] for r in stopped}
        assert len(steps) == 2 and all(0 < step < 150 for step in steps.values()) and stopped[0]["unit"] == "steps"
        for row in row_files.select(rows, arm=arm, target="open", metric="information", protocol="linear_probe"):
            if row["seed"] != "all":
                made = steps[row["seed"]]
                assert (row["train_steps"], row["component_examples"]) == (made, 60 * made)
                assert row["image_forwards"] == batch * made + 48 + 31 + 37


def test_one_output_is_read_as_two_classes(rows):
    heads = list(row_files.select(rows, arm="direct", target="open", metric="accuracy", protocol="head"))
    assert heads and all(r["value"] > 0.8 for r in heads)
    probes = [r for r in rows if r["arm"] == "direct" and r["protocol"] == "linear_probe" and r["target"] == "open"]
    guards = [r["extra"]["guard"] for r in probes if r["seed"] != "all" and "guard" in (r["extra"] or {})]
    assert guards and all(guard["holds"] for guard in guards)
    free = row_files.select(rows, arm="mixture", target="free", metric="accuracy", protocol="head")
    assert all(np.isfinite(r["value"]) for r in free)


@pytest.mark.parametrize(
    "changes, key",
    [
        ({"mixture.label_space": "disjoint"}, "mixture.label_space"),
        ({"components.open.source": str({"name": "mnist1d"}), "targets": "{}"}, "objective.loss"),
        ({"probe.protocols": "('linear_probe', 'probe_finetune')"}, "objective.loss"),
        ({"train.feed": "stream"}, "train.feed"),
        ({"train.stop_window": "2 weeks"}, "train.stop_window"),
        ({"optimizer.decay": "coupled_all", "optimizer.name": "adamw"}, "optimizer.decay"),
        ({"model": str({"name": "resnet"})}, "model.name"),
        ({"mixture.schedule": str({"late": {"start": 9, "weights": {"open": 1.0, "shut": 0.0}}})}, "mixture.schedule"),
    ],
)
def test_mistakes_are_one_line(changes, key, tiny):
    with pytest.raises(UserError) as caught:
        plans.plan(study.spec(tiny({**MOONS, **changes})))
    assert caught.value.key == key and "\n" not in str(caught.value)
