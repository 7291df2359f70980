"""Training to sealed checkpoints: resumed, interrupted and damaged runs end in the same bits as undisturbed ones."""

import dataclasses
import json
import signal

import jax
import numpy as np
import pytest

from bottleneck import checkpoint, models, seal
from bottleneck.data import resident
from bottleneck.errors import UserError
from bottleneck.signals import Stop, Stopped
from bottleneck.training import loop, provenance
from bottleneck.training.resume import Member

RESNET = {
    "model": "convolutional",
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


@pytest.fixture(scope="module")
def plain(episode, tmp_path_factory):
    """An undisturbed run of 20 steps that keeps 0, 5 and 20: (episode, directory, kept)."""
    made, directory = episode(keep=(0, 5)), tmp_path_factory.mktemp("plain")
    return made, directory, made.train(directory)


def test_what_a_finished_run_leaves(plain, metrics):
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
    recorded = provenance.read(directory / "provenance.json")
    assert {"jax", "flax", "optax", "orbax-checkpoint"} <= recorded["versions"].keys() and recorded["history"] == []
    assert recorded["model"] == "mlp width=8"


def test_training_moves_the_parameters_and_kept_steps_differ(plain):
    _, _, kept = plain
    kernels = [kept[step]["params"]["layer1"]["kernel"] for step in (0, 5, 20)]
    assert not np.array_equal(kernels[0], kernels[1]) and not np.array_equal(kernels[1], kernels[2])


def test_loss_falls(plain, metrics):
    found = metrics(plain[1])
    assert found[-1]["loss"] < found[0]["loss"]


@pytest.mark.parametrize("name", VARIANTS)
def test_resume_is_bitwise(name, episode, tmp_path, same, metrics):
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
    spoil(tmp_path / "checkpoints" / "20")
    with pytest.raises(RuntimeError, match="other bits in .*head.*bias"):
        episode(keep=(5,)).train(tmp_path)


def test_metrics_are_cut_to_the_step_resumed_from(plain, episode, tmp_path, metrics):
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


def test_initial_variables_are_got_when_they_are_needed(plain, episode, tmp_path, same):
    calls = []

    def initial():
        calls.append(None)
        return plain[2][20]

    made = episode({"optimizer.lr": "0.01"})
    with pytest.raises(Killed):
        made.train(tmp_path / "run", initial=initial, on_progress=stop_after(8))
    killed = made.train(tmp_path / "run", initial=initial)
    same(killed, made.train(tmp_path / "whole", initial=plain[2][20]))
    assert len(calls) == 1  # not when going on from a resume point


def test_zero_weight_component_changes_no_bit(episode, tmp_path, same):
    """Neither its name nor its images, where the classifier is shared."""
    made = episode({"weights": "(1.0, 0.0)"})
    other = episode({"weights": "(1.0, 0.0)"}, name="direct-first", components=("first", "third"), data=("a", "b"))
    other.components = (made.components[0], dataclasses.replace(made.components[0], name="third"))
    same(made.train(tmp_path / "second"), other.train(tmp_path / "third"))


def test_mistakes_are_met_before_anything_is_written(episode, tmp_path):
    made = episode(model=models.spec({"name": "vit", "patch": 3}))
    with pytest.raises(UserError, match="model.patch=3"):
        made.train(tmp_path / "run")
    made = episode()
    pool = resident.pool(made.components[:1], made.data)
    with pytest.raises(ValueError, match="a pool of 100 examples, for components of 200"):
        loop.train([Member(made.run, tmp_path / "run")], made.components, made.data, made.mesh, pool=pool)
    assert not (tmp_path / "run").exists()


class Scripted:
    """A pace of given numbers of steps, one after the other and then again."""

    def __init__(self, counts):
        self.counts, self.calls = counts, 0

    def called(self, count, made):
        self.calls += 1

    def pause(self):
        pass

    @property
    def count(self):
        return self.counts[self.calls % len(self.counts)]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("counts", [(1,), (3, 1, 2), (1000,)], ids=str)
def test_how_steps_are_grouped_changes_no_bit(name, counts, episode, tmp_path, same, metrics, monkeypatch):
    made = episode(VARIANTS[name], keep=(0, 5))
    expected = made.train(tmp_path / "measured")
    monkeypatch.setattr(loop, "Pace", lambda: Scripted(counts))
    same(made.train(tmp_path / "scripted"), expected)
    assert metrics(tmp_path / "scripted") == metrics(tmp_path / "measured")


class Asking:
    """A progress callback that asks for an end, twice, once that many steps are made; counts the steps after that."""

    def __init__(self, after):
        self.left, self.stop, self.later = after, Stop(), 0

    def __call__(self, count):
        self.later += count if self.stop.asked else 0
        self.left -= count
        if self.left <= 0:
            self.stop.ask(signal.SIGTERM)
            self.stop.ask(signal.SIGINT)


@pytest.mark.parametrize("name", VARIANTS)
def test_stopped_runs_are_saved_where_they_are_and_go_on_bitwise(name, episode, tmp_path, same, metrics, monkeypatch):
    made = episode(VARIANTS[name], keep=(0, 5))
    expected = made.train(tmp_path / "whole")
    monkeypatch.setattr(loop, "Pace", lambda: Scripted((1, 2)))
    at = []
    for after in (1, 3, 2):
        asking = Asking(after)
        with pytest.raises(Stopped, match=f"SIGTERM: {made.run.folder} is saved at step"):
            made.train(tmp_path / "stopped", on_progress=asking, stop=asking.stop)
        assert asking.later == 0 and not loop.is_done(made.run, tmp_path / "stopped")
        at.append(checkpoint.steps(tmp_path / "stopped" / "resume")[-1])
    assert at == sorted(set(at)) and at[0] == 1  # far from any multiple of save_every
    same(made.train(tmp_path / "stopped", stop=Stop()), expected)
    assert metrics(tmp_path / "stopped") == metrics(tmp_path / "whole")


def test_a_stop_before_the_first_step_writes_no_resume_point(episode, tmp_path):
    stop = Stop()
    stop.ask(signal.SIGINT)
    with pytest.raises(Stopped, match="SIGINT"):
        episode(keep=(0,)).train(tmp_path, stop=stop)
    assert checkpoint.steps(tmp_path / "resume") == [] and checkpoint.steps(tmp_path / "checkpoints") == [0]


def test_a_stop_at_a_loss_that_is_not_finite_saves_nothing(episode, tmp_path):
    made, asking = episode({"optimizer.lr": "1e30", "train.log_every": "1000"}), Asking(3)
    with pytest.raises(UserError, match="optimizer.lr"):
        made.train(tmp_path, on_progress=asking, stop=asking.stop)
    assert checkpoint.steps(tmp_path / "resume") == []


def elsewhere(monkeypatch):
    """From here on, training is said to happen with another version of JAX."""
    before = provenance.current

    def current(mesh):
        now = before(mesh)
        return {**now, "versions": {**now["versions"], "jax": "0.0.1"}}

    monkeypatch.setattr(provenance, "current", current)


def test_going_on_elsewhere_is_said_and_recorded(episode, tmp_path, monkeypatch, capfd):
    made = episode()
    with pytest.raises(Killed):
        made.train(tmp_path, on_progress=stop_after(8))
    first = provenance.read(tmp_path / "provenance.json")
    assert "goes on" not in capfd.readouterr().out
    elsewhere(monkeypatch)
    made.train(tmp_path)
    said = f"{tmp_path.name}: goes on from step 6 with jax {jax.__version__} -> 0.0.1"
    assert said in capfd.readouterr().out
    recorded = provenance.read(tmp_path / "provenance.json")
    (later,) = recorded.pop("history")
    assert recorded == {k: v for k, v in first.items() if k != "history"}
    assert later["step"] == 6 and later["versions"]["jax"] == "0.0.1"
    now = {**provenance.current(made.mesh), "model": recorded["model"]}
    assert provenance.record(tmp_path / "provenance.json", now, 7) == []
    assert len(provenance.read(tmp_path / "provenance.json")["history"]) == 1


def spoil(path):
    """Other bits in a kept step, sealed."""
    variables = checkpoint.load(path)
    variables["params"]["head"]["bias"] = np.nextafter(variables["params"]["head"]["bias"], np.float32(np.inf))
    writer = checkpoint.Writer()
    writer.save(path, variables)
    writer.close()


def test_a_later_step_is_refused_where_other_versions_give_other_bits(plain, episode, tmp_path, same, monkeypatch):
    made, later = episode(), episode(keep=(5,))
    made.train(tmp_path)
    spoil(tmp_path / "checkpoints" / "20")
    elsewhere(monkeypatch)
    for _ in range(2):
        with pytest.raises(UserError, match="^keep=20: .*head.*jax .* -> 0.0.1.*--retrain") as error:
            later.train(tmp_path)
        assert "\n" not in str(error.value)
        assert checkpoint.steps(tmp_path / "checkpoints") == [20]  # not a mixture of two versions' steps
        assert loop.is_done(made.run, tmp_path) and not loop.is_done(later.run, tmp_path)
    loop.forget(tmp_path)
    assert not tmp_path.exists() and not loop.is_done(later.run, tmp_path)
    found = later.train(tmp_path)
    same(found, {step: plain[2][step] for step in (5, 20)})
    assert loop.is_done(later.run, tmp_path) and provenance.read(tmp_path / "provenance.json")["history"] == []


def test_a_step_that_was_never_verified_is_not_done(episode, tmp_path):
    """A kill after a later step is sealed and before the finished run's own last step is compared with it."""
    episode().train(tmp_path)
    later = episode(keep=(5,))
    with pytest.raises(Killed):
        later.train(tmp_path, on_progress=stop_after(12))
    assert checkpoint.steps(tmp_path / "checkpoints") == [5, 20] and not loop.is_done(later.run, tmp_path)
    later.train(tmp_path)
    assert loop.is_done(later.run, tmp_path)


def test_a_seal_of_nothing_is_named_and_trained_again(plain, episode, tmp_path, same, capfd):
    """What a full disk used to leave: a manifest without files, valid by itself."""
    made = episode(keep=(0, 5))
    made.train(tmp_path)
    checkpoint.remove(tmp_path / "checkpoints" / "20")
    empty = {"files": {}, "step": 20}
    (tmp_path / "checkpoints" / "20").mkdir()
    manifest = json.dumps({**empty, "seal": seal.digest_of(empty)})
    (tmp_path / "checkpoints" / "20" / checkpoint.MANIFEST).write_text(manifest)
    with pytest.raises(checkpoint.Damaged, match="checkpoints/20"):
        loop.is_done(made.run, tmp_path)
    same(made.train(tmp_path), plain[2])
    assert "checkpoints/20 is damaged" in capfd.readouterr().out
