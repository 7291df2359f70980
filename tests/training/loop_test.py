"""Training to sealed checkpoints: resumed, interrupted and damaged runs end in the same bits as undisturbed ones."""

import dataclasses
import json

import numpy as np
import pytest

from bottleneck import checkpoint
from bottleneck.errors import UserError
from bottleneck.training import loop

RESNET = {
    "model": "{'name': 'resnet', 'width': 0.125}",
    "train.batch": "8",
    "train.steps": "8",
    "train.save_every": "3",
    "train.log_every": "4",
}
VARIANTS = {
    "sgd": {"optimizer.schedule": "cosine"},
    "adamw": {
        "optimizer.name": "adamw",
        "optimizer.lr": "0.01",
        "train.sampling": "stratified",
        "objective.dropout": "0.2",
    },
    "schedule_free resnet": {**RESNET, "optimizer.name": "schedule_free", "optimizer.lr": "0.01", "augment.crop": "1"},
    "streamed": {"train.feed": "stream"},
}


class Killed(Exception):
    pass


def stop_after(steps):
    """A progress callback that ends the run once that many steps are made."""
    made = 0

    def report(count):
        nonlocal made
        made += count
        if made >= steps:
            raise Killed

    return report


def flip(path, bit=0):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << bit
    path.write_bytes(bytes(data))


def largest(directory):
    """The biggest file of a checkpoint: where the arrays are."""
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def metrics(directory):
    return [
        {k: v for k, v in json.loads(line).items() if k != "images_per_second"}
        for line in (directory / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def plain(episode, tmp_path_factory):
    """An undisturbed run of 20 steps that keeps 0, 5 and 20: (episode, directory, kept)."""
    made, directory = episode(keep=(0, 5)), tmp_path_factory.mktemp("plain")
    return made, directory, made.train(directory)


def test_what_a_finished_run_leaves(plain):
    made, directory, kept = plain
    assert sorted(kept) == [0, 5, 20] and loop.is_done(made.run, directory)
    assert sorted(p.name for p in directory.iterdir()) == [
        "checkpoints",
        "done",
        "metrics.jsonl",
        "provenance.json",
        "run.json",
    ]
    assert [m["step"] for m in metrics(directory)] == [4, 5, 6, 8, 12, 16, 18, 20]
    assert all(m["score"].keys() == {"first", "second"} and m["grad_norm"] > 0 for m in metrics(directory))
    stated = json.loads((directory / "run.json").read_text())
    assert stated.pop("name") == "mixture" and stated == json.loads(json.dumps(made.run.identity))
    versions = json.loads((directory / "provenance.json").read_text())["versions"]
    assert {"jax", "flax", "optax", "orbax-checkpoint"} <= versions.keys()


def test_training_moves_the_parameters_and_kept_steps_differ(plain):
    _, _, kept = plain
    kernels = [kept[step]["params"]["layer1"]["kernel"] for step in (0, 5, 20)]
    assert not np.array_equal(kernels[0], kernels[1]) and not np.array_equal(kernels[1], kernels[2])


def test_loss_falls(plain):
    found = metrics(plain[1])
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.parametrize("name", VARIANTS)
def test_resume_is_bitwise(name, episode, tmp_path, same):
    made = episode(VARIANTS[name])
    whole = made.train(tmp_path / "whole")
    for steps in (1, 7, 1):  # before the first resume point, after it, and just after resuming
        with pytest.raises(Killed):
            made.train(tmp_path / "killed", on_progress=stop_after(steps))
        assert not loop.is_done(made.run, tmp_path / "killed")
    assert checkpoint.steps(tmp_path / "killed" / "resume")
    same(made.train(tmp_path / "killed"), whole)
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")


@pytest.mark.parametrize("overrides", [{}, VARIANTS["schedule_free resnet"]], ids=["mlp", "resnet"])
def test_streamed_batches_give_the_same_bits_as_resident_ones(overrides, episode, tmp_path, same):
    kept = [episode({**overrides, "train.feed": feed}).train(tmp_path / feed) for feed in ("resident", "stream")]
    same(*kept)


def test_how_often_to_save_and_log_changes_no_bit(plain, episode, tmp_path, same):
    same(episode({"train.save_every": "7", "train.log_every": "3"}, keep=(0, 5)).train(tmp_path), plain[2])


def test_two_resume_points_are_kept_while_a_third_is_written(episode, tmp_path):
    made = episode({"train.save_every": "2"})
    with pytest.raises(Killed):
        made.train(tmp_path, on_progress=stop_after(15))
    assert checkpoint.steps(tmp_path / "resume") == [10, 12, 14]


@pytest.mark.parametrize("damaged", [(12,), (6, 12)], ids=["newest", "both"])
def test_damaged_resume_point_falls_back(damaged, plain, episode, tmp_path, same, capfd):
    made = episode(keep=(0, 5))
    with pytest.raises(Killed):
        made.train(tmp_path, on_progress=stop_after(16))
    assert checkpoint.steps(tmp_path / "resume") == [6, 12]
    files = [largest(tmp_path / "resume" / str(step)) for step in damaged]
    for file in files:
        flip(file)
    same(made.train(tmp_path), plain[2])
    shown = capfd.readouterr().out
    assert all(file.name in shown for file in files)


def test_damaged_kept_steps_are_named_and_trained_again(plain, episode, tmp_path, same, capfd):
    made = episode(keep=(0, 5))
    made.train(tmp_path)
    for step in (0, 20):
        flip(largest(tmp_path / "checkpoints" / str(step)))
    with pytest.raises(checkpoint.Damaged, match="checkpoints/0"):
        loop.is_done(made.run, tmp_path)
    same(made.train(tmp_path), plain[2])
    assert loop.is_done(made.run, tmp_path)
    shown = capfd.readouterr().out
    assert "checkpoints/0 is damaged" in shown and "checkpoints/20 is damaged" in shown


def test_step_asked_for_later_is_trained_and_the_others_verified(plain, episode, tmp_path, same):
    episode(keep=(20,)).train(tmp_path)
    again = episode(keep=(0, 5))
    assert not loop.is_done(again.run, tmp_path)
    same(again.train(tmp_path), plain[2])


def test_kept_step_of_other_bits_is_not_accepted(episode, tmp_path):
    episode().train(tmp_path)
    path = tmp_path / "checkpoints" / "20"
    variables = checkpoint.load(path)
    variables["params"]["head"]["bias"] = np.nextafter(variables["params"]["head"]["bias"], np.float32(np.inf))
    writer = checkpoint.Writer()
    writer.save(path, variables, step=20)
    writer.close()
    with pytest.raises(RuntimeError, match="other bits in .*head.*bias"):
        episode(keep=(5,)).train(tmp_path)


def test_metrics_are_cut_to_the_step_resumed_from(plain, episode, tmp_path):
    made = episode(keep=(0, 5))
    with pytest.raises(Killed):
        made.train(tmp_path, on_progress=stop_after(12))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 19, "loss": 9.0}\n{"step": 13, "lo')  # past the resume point, and cut short
    made.train(tmp_path)
    assert metrics(tmp_path) == metrics(plain[1])


def test_interrupted_writes_are_removed(plain, episode, tmp_path, same):
    for name in ("checkpoints/5", "resume/12", "resume/6.orbax-checkpoint-tmp"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "half").write_text("x")
    same(episode(keep=(0, 5)).train(tmp_path), plain[2])


@pytest.mark.parametrize("log_every", ["4", "1000"])
def test_loss_that_is_not_finite_is_the_users_mistake_and_keeps_nothing(log_every, episode, tmp_path):
    made = episode({"optimizer.lr": "1e30", "train.log_every": log_every}, keep=(5,))
    for _ in range(2):  # and running it again does not take what is left for a result
        with pytest.raises(UserError, match="optimizer.lr=1e[+]30: expected a rate"):
            made.train(tmp_path)
        assert checkpoint.steps(tmp_path / "checkpoints") == [] and not loop.is_done(made.run, tmp_path)


def test_initial_variables_are_used_and_a_missing_head_is_fresh(plain, episode, tmp_path):
    parent = plain[2][20]
    trunk = {k: v for k, v in parent["params"].items() if k != "head"}
    made = episode({"optimizer.lr": "0.0"}, keep=(0,))
    kept = made.train(tmp_path, initial={"params": trunk})
    np.testing.assert_array_equal(kept[0]["params"]["layer1"]["kernel"], parent["params"]["layer1"]["kernel"])
    np.testing.assert_array_equal(kept[0]["params"]["head"]["kernel"], plain[2][0]["params"]["head"]["kernel"])


def test_zero_weight_component_changes_no_bit(episode, tmp_path, same):
    """The classifier, the batches and the name of the run are the component's own."""
    alone = episode(name="direct-first", keep=()).train(tmp_path / "direct")
    weighted = episode({"mixture.weights": "{'first': 1.0, 'second': 0.0}"}, keep=()).train(tmp_path / "mixture")
    same(alone, weighted)


def test_mistakes_are_met_before_anything_is_written(episode, tmp_path):
    made = episode()
    made.run = dataclasses.replace(made.run, model={"name": "mlp", "width": 0})
    with pytest.raises(UserError, match="model.width=0"):
        made.train(tmp_path / "run")
    assert not (tmp_path / "run").exists()
