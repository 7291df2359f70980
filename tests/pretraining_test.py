"""The task that trains, around the training: what is taken over from a candidate, and what looking at it leaves."""

import shutil

import pytest

from bottleneck import study
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.seal import Damaged
from bottleneck.store import Store
from bottleneck.training import loop


class Trained(Exception):
    """Raised instead of training."""


@pytest.fixture
def tuned(tiny, tmp_path, monkeypatch):
    """(a run whose learning rate is chosen, the candidate that was chosen, the store); the candidate is on disk."""
    graph = plans.plan(study.spec(tiny({"grid": "{'lr': (0.02, 0.05)}"}))).graph
    task = next(train for train in graph.of(Train) if train.chooser and train.episode.seed == 0)
    store = Store(tmp_path)
    monkeypatch.setattr(
        store, "settings", lambda output: {"lr": 0.05, "weight_decay": task.episode.optimizer.weight_decay}
    )
    candidate = task.resolved(store)
    assert any(train.episode.key == candidate.key for train in graph.of(Train))
    place = store.place_of(candidate) / "checkpoints" / "20"
    place.mkdir(parents=True)
    (place / "array").write_text("weights")
    monkeypatch.setattr(loop, "is_done", lambda run, directory: (directory / "checkpoints" / "20").is_dir())
    monkeypatch.setattr(loop, "train", lambda *args, **kwargs: (_ for _ in ()).throw(Trained))
    return task, candidate, store


def test_the_chosen_candidate_is_taken_over(tuned):
    task, candidate, store = tuned
    assert not task.done(store)
    task.run(store)
    assert task.done(store) and store.place_of(task.episode) != store.place_of(candidate)
    assert (store.place_of(task.episode) / "checkpoints" / "20" / "array").read_text() == "weights"


def test_a_kill_while_the_candidate_is_copied_leaves_no_run(tuned, monkeypatch):
    task, candidate, store = tuned
    whole = shutil.copytree

    def killed(source, target, *args, **kwargs):
        whole(source, target, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copytree", killed)
        task.run(store)
    assert not task.done(store) and not store.run_directory(task.key).exists()
    task.run(store)
    assert task.done(store) and store.run_directory(task.key).name == task.episode.folder
    assert {path.name for path in store.workdir.glob("runs/*")} == {task.episode.folder, candidate.folder}


def test_a_damaged_candidate_is_not_taken_over_and_stays(tuned, monkeypatch, capsys):
    task, candidate, store = tuned

    def damaged(run, directory):
        raise Damaged(directory / "checkpoints" / "20", "array")

    monkeypatch.setattr(loop, "is_done", damaged)
    for _ in range(2):
        assert not task.done(store)
        with pytest.raises(Trained):
            task.run(store)
    assert (store.place_of(candidate) / "checkpoints" / "20").is_dir()
    assert capsys.readouterr().out.count("is damaged") == 2  # of each of the two once
