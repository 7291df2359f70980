"""Fleets: members train as they would alone, are saved together, and are never regrouped."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from bottleneck import checkpoint
from bottleneck.errors import UserError
from bottleneck.models import resnet, vit
from bottleneck.signals import Stop, Stopped
from bottleneck.training import fleet, loop
from bottleneck.training import mesh as meshes
from bottleneck.training.resume import Member

SMALL_STEPS = {"train.steps": "12", "train.save_every": "5"}
RESNET = {"model": "convolutional", "train.steps": "5", "optimizer.name": "schedule_free", "optimizer.lr": "0.01"}
# In a process of four devices: two members on two of them each, or four on one each.
CHILD = """
import ast, pathlib, runpy, sys, jax
conftest, directory, overrides, count = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(conftest).parent))
import fleet_test
assert jax.device_count() == 4
made = runpy.run_path(conftest)["make"](ast.literal_eval(overrides))
fleet_test.together(made, pathlib.Path(directory), fleet_test.seeds(made, int(count)))
"""


def seeds(made, count, keep=()):
    return [dataclasses.replace(made.run, seed=seed, keep=keep) for seed in range(count)]


def together(made, directory, runs, **options):
    """Trains `runs` as a fleet; a list of step -> kept variables."""
    members = [Member(run, directory / run.key) for run in runs]
    mesh = meshes.make(made.run.train.batch, len(runs), made.run.train.accumulate)
    pool = None if made.run.train.feed == "stream" else made.pool()
    loop.train(members, made.components, made.data, mesh, pool=pool, **options)
    return [kept(directory / run.key) for run in runs]


def kept(directory):
    folder = directory / "checkpoints"
    return {step: checkpoint.load(folder / str(step)) for step in checkpoint.steps(folder)}


def alone(made, directory, run):
    return together(made, directory, [run])[0]


def close(a, b, rtol=2e-4, atol=1e-5):
    assert a.keys() == b.keys()
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "overrides", [SMALL_STEPS, pytest.param(RESNET, marks=pytest.mark.slow)], ids=["vmapped", "unrolled"]
)
def test_members_are_what_they_are_alone(episode, tmp_path, overrides):
    made = episode(overrides)
    runs = seeds(made, 2)
    runs.append(dataclasses.replace(made.run, seed=1, only="second"))  # another arm of the same program
    for run, found in zip(runs, together(made, tmp_path / "fleet", runs), strict=True):
        close(found, alone(made, tmp_path / "alone", run))
    assert fleet.how(made.run.module()) == ("unrolled" if overrides is RESNET else "vmapped")


def test_members_differ_in_what_they_keep_and_log_the_speed_of_all(episode, tmp_path, metrics):
    made = episode(SMALL_STEPS)
    runs = [dataclasses.replace(run, keep=keep) for run, keep in zip(seeds(made, 2), [(0, 3), (7,)], strict=True)]
    found = together(made, tmp_path, runs)
    assert [sorted(each) for each in found] == [[0, 3, 12], [7, 12]]
    assert all(loop.is_done(run, tmp_path / run.key) for run in runs)
    one, other = (metrics(tmp_path / run.key) for run in runs)
    assert [line["step"] for line in one] == [line["step"] for line in other] and one != other
    close(found[0], alone(made, tmp_path / "alone", runs[0]))


def test_what_is_streamed_is_fetched_once(episode, tmp_path, monkeypatch):
    made = episode({**SMALL_STEPS, "train.feed": "stream", "train.steps": "4"})
    runs = [dataclasses.replace(made.run, init_seed=seed) for seed in range(3)]
    fetched, part = [], made.components[0].splits["train"]
    whole = dataclasses.replace(part, fetch=lambda rows: fetched.append(len(rows)) or part.fetch(rows))
    component = dataclasses.replace(made.components[0], splits={**made.components[0].splits, "train": whole})
    made.components = (component, *made.components[1:])
    found = together(made, tmp_path / "fleet", runs)
    count, fetched[:] = sum(fetched), []
    close(found[1], alone(made, tmp_path / "alone", runs[1]))
    assert count == sum(fetched)


def test_a_fleet_goes_on_to_the_same_bits(episode, tmp_path, same):
    made = episode(SMALL_STEPS)
    runs = seeds(made, 2, keep=(6,))
    whole = together(made, tmp_path / "whole", runs)
    stop, done = Stop(), []

    def progress(count):
        done.append(count)
        if sum(done) >= 8:
            stop.ask(15)

    with pytest.raises(Stopped, match="and 1 more are saved at step"):
        together(made, tmp_path / "killed", runs, on_progress=progress, stop=stop)
    newest = [checkpoint.steps(tmp_path / "killed" / run.key / "resume")[-1] for run in runs]
    assert newest[0] == newest[1] > 5
    # the newest is missing for one of them: both go on from the one before
    checkpoint.remove(tmp_path / "killed" / runs[1].key / "resume" / str(newest[1]))
    same(together(made, tmp_path / "killed", runs), whole)
    recorded = json.loads((tmp_path / "killed" / runs[0].key / "provenance.json").read_text())
    assert recorded["members"] == [run.key for run in runs] and recorded["fleet"] == "2 runs, vmapped"


def test_what_had_begun_in_another_fleet_begins_again(episode, tmp_path, capsys, same):
    made = episode(SMALL_STEPS)
    runs = seeds(made, 2)
    stop = Stop()
    with pytest.raises(Stopped):
        together(made, tmp_path, runs, on_progress=lambda count: stop.ask(15), stop=stop)
    found = together(made, tmp_path, runs[:1])[0]
    assert "begins again" in capsys.readouterr().out
    same(found, alone(made, tmp_path / "alone", runs[0]))


def test_a_finished_member_that_lacks_a_step_is_not_trained_alone(episode, tmp_path, capsys):
    """Its step would be of other bits than those that were read of it."""
    made = episode(SMALL_STEPS)
    runs = seeds(made, 2)
    whole = together(made, tmp_path, runs)
    checkpoint.remove(tmp_path / runs[0].key / "checkpoints" / "12")
    with pytest.raises(UserError, match="trained beside 1 other runs"):
        together(made, tmp_path, runs[:1])
    found = together(made, tmp_path, runs)  # with its fellow it is what it was
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        assert np.array_equal(a, b)


def test_members_that_are_sealed_need_no_further_step(episode, tmp_path, same):
    """Killed between two members' last words, the others are only finished."""
    made = episode(SMALL_STEPS)
    runs = seeds(made, 2)
    whole = together(made, tmp_path, runs)
    (tmp_path / runs[1].key / "done").unlink()
    progress = []
    same(together(made, tmp_path, runs[1:], on_progress=progress.append)[0], whole[1])
    assert loop.is_done(runs[1], tmp_path / runs[1].key) and not progress


def test_who_trains_together(episode):
    made = episode()
    runs = seeds(made, 5)
    other = dataclasses.replace(made.run, train=dataclasses.replace(made.run.train, batch=8), seed=9)
    stopping = dataclasses.replace(made.run, train=dataclasses.replace(made.run.train, stop_at_loss=0.1), seed=9)
    every = [*runs, other, stopping]
    name = {run.key: index for index, run in enumerate(every)} | {"done": "done"}

    def groups(begun=(), most=3, among=every):
        known = {run.key: () for run in every} | dict(begun)
        made = fleet.grouped(among, [most] * len(among), known)
        return [[name[key] for key in group] for group in made]

    assert groups() == [[0, 1, 2], [3, 4], [5], [6]]
    assert groups(most=1) == [[i] for i in range(7)]
    keys = (runs[4].key, runs[0].key)
    together = [(key, keys) for key in keys]
    assert groups(together) == [[4, 0], [1, 2, 3], [5], [6]]
    # one of them is done: it comes along; nobody trains with those whose fellows are not there, or no more the same
    keys = ("done", runs[0].key)
    assert groups([(key, keys) for key in keys]) == [["done", 0], [1, 2, 3], [4], [5], [6]]
    assert groups([(runs[0].key, keys)]) == [[0], [1, 2, 3], [4], [5], [6]]
    assert groups([*together, (runs[0].key, (runs[0].key,))]) == [[0], [1, 2, 3], [4], [5], [6]]
    assert groups([(runs[1].key, (runs[1].key,))]) == [[0, 2, 3], [4], [1], [5], [6]]
    # fewer are asked for than have begun: they begin again
    fewer = [dataclasses.replace(run, train=dataclasses.replace(run.train, fleet=1)) for run in runs]
    assert groups(together, most=1, among=fewer) == [[0], [1], [2], [3], [4]]


def test_the_rule(episode, monkeypatch):
    made = episode()
    shape = (8, 8, 3)
    assert fleet.most(made.run, shape) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert fleet.most(made.run, shape) == fleet.MOST
    monkeypatch.setattr(fleet, "SMALL", 1)
    assert fleet.most(made.run, shape) == 1
    asked = dataclasses.replace(made.run, train=dataclasses.replace(made.run.train, fleet=3))
    assert fleet.most(asked, shape) == 3


def test_members_are_spread_over_devices_first(monkeypatch):
    def shape(devices, members, batch=24):
        monkeypatch.setattr(meshes.jax, "devices", lambda: list(range(devices)))
        monkeypatch.setattr(meshes.jax, "make_mesh", lambda shape, *args, **kwargs: shape)
        return meshes.make(batch, members)

    assert [shape(8, m) for m in (1, 2, 3, 4, 6, 8, 12)] == [(1, 8), (2, 4), (1, 8), (4, 2), (2, 4), (8, 1), (4, 2)]
    assert shape(8, 8, batch=7) == (8, 1)
    with pytest.raises(UserError, match="^train.batch=7: expected a multiple of the 4 devices"):
        shape(8, 2, batch=7)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.slow
@pytest.mark.parametrize("overrides", [{}, {"model": "convolutional", "optimizer.lr": "0.01"}], ids=["mlp", "resnet"])
def test_on_four_devices_members_are_what_they_are_on_one(episode, tmp_path, overrides, count):
    overrides = {**overrides, "train.steps": "10", "train.dtype": "float64"}
    conftest = pathlib.Path(__file__).with_name("conftest.py")
    for devices in (1, 4):
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_ENABLE_X64": "1"}
        code = CHILD if devices == 4 else CHILD.replace("== 4", "== 1")
        arguments = [conftest, tmp_path / str(devices), overrides, count]
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    for run in (tmp_path / "1").iterdir():
        close(kept(run), kept(tmp_path / "4" / run.name), rtol=1e-9, atol=1e-12)


# Memory: parts of a batch, and blocks computed again


def test_parts_of_a_batch_give_its_gradient(episode, tmp_path):
    parts = episode({"train.accumulate": "4", "objective.label_smoothing": "0.1"})
    whole = episode({"objective.label_smoothing": "0.1"})
    close(parts.train(tmp_path / "parts"), whole.train(tmp_path / "whole"), rtol=1e-3, atol=1e-5)
    assert parts.run.key != whole.run.key  # BatchNorm sees parts, and rounding differs


@pytest.mark.slow
def test_parts_have_their_own_batch_statistics(episode, tmp_path):
    overrides = {**RESNET, "train.steps": "2", "optimizer.name": "sgd"}
    parts, whole = (episode({**overrides, "train.accumulate": str(n)}).train(tmp_path / str(n))[2] for n in (2, 1))
    assert jax.tree.structure(parts) == jax.tree.structure(whole)
    leaves = zip(jax.tree.leaves(parts["batch_stats"]), jax.tree.leaves(whole["batch_stats"]), strict=True)
    assert not all(np.allclose(a, b, rtol=1e-3) for a, b in leaves)


def test_parts_must_share_the_batch_equally(episode):
    with pytest.raises(
        UserError, match="train.batch=16: expected a multiple of the 1 devices times train.accumulate=3"
    ):
        episode({"train.accumulate": "3"})
    with pytest.raises(UserError, match="train.accumulate=2: expected 1 where a loss is of the batch as a whole"):
        episode({"train.accumulate": "2", "objective.spread": "0.1"})


NETWORKS = {
    "resnet": resnet.ResNetSpec("resnet", depth=8, width=0.0625, stem="small"),
    "vit": vit.ViTSpec("vit", width=0.5, patch=4),
}


@pytest.mark.parametrize("name", ["resnet", pytest.param("vit", marks=pytest.mark.slow)])
def test_blocks_computed_again_change_no_number(episode, tmp_path, name):
    steps = {"train.steps": "2", "optimizer.lr": "0.01"}
    plain, again = (episode({**steps, "train.remat": str(on)}, model=NETWORKS[name]) for on in (False, True))
    assert plain.run.key == again.run.key
    close(plain.train(tmp_path / "plain"), again.train(tmp_path / "again"))


def test_only_networks_of_blocks_compute_them_again(episode):
    with pytest.raises(UserError, match="train.remat=True: expected False for mlp"):
        episode({"train.remat": "True"}).run.module()
