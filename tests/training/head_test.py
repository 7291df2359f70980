"""Training the head alone: the trunk stays as it was given, to the bit, and a run that was cut goes on to the same."""

import dataclasses

import jax
import numpy as np
import pytest

from bottleneck import checkpoint, models
from bottleneck.models import joined
from bottleneck.training import loop
from bottleneck.training import step as steps

JOINED = {"train.batch": "8", "train.steps": "8", "train.save_every": "3", "train.log_every": "4"}
VARIANTS = {
    "sgd": {"optimizer.momentum": "0.9", "optimizer.clip": "1.0"},
    "adamw": {"optimizer.name": "adamw", "optimizer.lr": "0.01"},
    "schedule_free": {"optimizer.name": "schedule_free", "optimizer.lr": "0.01", "augment.crop": "1"},
}


class Killed(Exception):
    pass


def killed_after(steps):
    def report(count):
        report.left -= count
        if report.left <= 0:
            raise Killed

    report.left = steps
    return report


@pytest.fixture(scope="module")
def frozen(episode):
    """frozen(variant, **fields) -> (episode of a joined ResNet and MLP that trains its head alone, its start)."""

    def make(variant, **fields):
        members = episode({"model": "convolutional"}).run.model, episode().run.model
        spec = joined.JoinedSpec("joined", members)
        made = episode({**JOINED, **VARIANTS[variant]}, model=spec, init="a@1,b@1", trained="head", **fields)
        x = np.zeros((1, 8, 8, 3), np.float32)
        start = jax.device_get(jax.jit(models.build(spec, made.run.outputs).init)(jax.random.key(7), x))
        start["batch_stats"] = jax.tree.map(lambda leaf: leaf + np.float32(0.25), start["batch_stats"])
        return made, start

    return make


@pytest.mark.parametrize(
    "variant", ["schedule_free", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sgd", "adamw"))]
)
def test_the_trunk_stays_and_a_cut_changes_nothing(variant, frozen, tmp_path, same, metrics):
    made, start = frozen(variant, keep=(0,))
    kept = made.train(tmp_path / "whole", initial=start)
    for leaf, given in zip(jax.tree.leaves(kept[0]), jax.tree.leaves(start), strict=True):
        np.testing.assert_allclose(leaf, given, rtol=1e-6)  # schedule_free's averaged point is a sum
    for name in joined.names(2):
        same(kept[8]["params"][name], start["params"][name])
    same(kept[8]["batch_stats"], start["batch_stats"])
    for leaf in ("kernel", "bias"):
        assert not np.array_equal(kept[8]["params"]["head"][leaf], start["params"]["head"][leaf])
    for after in (1, 4):
        with pytest.raises(Killed):
            made.train(tmp_path / "cut", initial=start, on_progress=killed_after(after))
    assert checkpoint.steps(tmp_path / "cut" / "resume")
    same(made.train(tmp_path / "cut", initial=start), kept)
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_the_optimiser_holds_and_differentiates_nothing_of_the_trunk(episode):
    """Its state is of the head's size, and nothing goes backward through the trunk."""
    made = episode({"optimizer.name": "adamw", "model.width": "64", "model.depth": "4"}, trained="head")
    code = loop.program(made.run, made.mesh)
    state = steps.create(code, np.int32(0), (8, 8, 3))
    head = models.count(state.params["head"])
    assert models.count(state.opt_state) <= 2 * head + 3 < models.count(state.params)
    feed = loop.Feed((made.run,), code, made.components, made.data, made.pool())
    whole = dataclasses.replace(code, trained="all")
    flops = {}
    for program in (code, whole):
        given = (state if program is code else steps.create(whole, np.int32(0), (8, 8, 3)), feed.zeros, feed.given)
        lowered = steps.one.lower(program, *given).compile().cost_analysis()
        flops[program.trained] = lowered["flops"]
    assert flops["head"] < 0.6 * flops["all"]  # forward is a third of it


def test_it_is_another_run_and_the_default_is_as_ever(frozen, episode):
    made, _ = frozen("sgd")
    assert made.run.identity["trained"] == "head" and "trained" not in episode().run.identity
    assert made.run.key != dataclasses.replace(made.run, trained="all").key
