"""Runs that stop at a loss or an accuracy: where, what is kept of later steps, and what changes no bit."""

import json

import pytest

from bottleneck import checkpoint, config
from bottleneck import study as studies
from bottleneck.errors import UserError
from bottleneck.training import loop
from bottleneck.training.run import TrainSpec

STOP = {"train.steps": "60", "train.stop_window": "5", "train.stop_at_loss": "0.4", "optimizer.lr": "0.02"}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def plain(episode, tmp_path_factory):
    """The same run that goes on to its end, keeping every step at which the other may look."""
    made, directory = (
        episode({**STOP, "train.stop_at_loss": "None", "train.log_every": "5"}, keep=tuple(range(0, 61, 5))),
        tmp_path_factory.mktemp("plain"),
    )
    return made.train(directory), [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def stopped(episode, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stopped")
    made = episode(STOP, keep=(10, 45))
    return made, directory, made.train(directory)


def expected_stop(lines):
    """The first window whose mean loss is below the threshold, from the log of the run that does not stop."""
    means, start, total = {}, 0, 0.0
    for line in lines:
        total += line["loss"] * (line["step"] - start)
        start = line["step"]
        if start % 5 == 0:
            means[start], total = total / 5, 0.0
    return next(step for step, mean in means.items() if mean < 0.4)


def test_it_stops_after_the_first_window_below(plain, stopped):
    made, directory, kept = stopped
    stop = expected_stop(plain[1])
    assert 10 < stop < 45 and loop.stopped_at(directory) == stop
    last = json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == last["stopped_at"] == stop
    assert json.loads((directory / "done").read_text()) == {"steps": 60, "kept": [10, 45, 60], "stopped_at": stop}
    assert loop.is_done(made.run, directory) and not (directory / "resume").exists()


def test_later_steps_are_what_it_stopped_with(plain, stopped, same):
    _, directory, kept = stopped
    stop = loop.stopped_at(directory)
    same(kept[10], plain[0][10])
    for step in (45, 60):
        same(kept[step], plain[0][stop])


@pytest.mark.parametrize(
    "changes", [{"train.save_every": "7", "train.log_every": "3"}, {"train.feed": "stream"}], ids=str
)
def test_how_often_to_save_and_log_changes_no_bit(changes, stopped, episode, tmp_path, same):
    same(episode({**STOP, **changes}, keep=(10, 45)).train(tmp_path), stopped[2])
    assert loop.stopped_at(tmp_path) == loop.stopped_at(stopped[1])


def test_resume_is_bitwise(stopped, episode, tmp_path, same, metrics):
    made, stop = episode(STOP, keep=(10, 45)), loop.stopped_at(stopped[1])
    for limit in (8, stop):  # within a window, and just where it stops, before anything later is kept
        count = 0

        def report(steps):
            nonlocal count
            count += steps
            if count >= limit:  # noqa: B023
                raise Killed

        with pytest.raises(Killed):
            made.train(tmp_path, on_progress=report)
    same(made.train(tmp_path), stopped[2])
    assert metrics(tmp_path) == metrics(stopped[1]) and loop.stopped_at(tmp_path) == stop


def test_a_step_asked_for_later_is_made_by_training_again(stopped, episode, tmp_path, same):
    episode(STOP, keep=(10,)).train(tmp_path)
    same(episode(STOP, keep=(10, 45)).train(tmp_path), stopped[2])


def test_the_progress_of_a_stopped_run_is_complete(episode, tmp_path):
    counts = []
    episode(STOP).train(tmp_path, on_progress=counts.append)
    assert sum(counts) == 60


def test_at_an_accuracy_of_the_components_that_count(episode, tmp_path):
    """`alone` stops by its own component: the losses and scores of others do not enter."""
    asked = {**STOP, "train.stop_at_loss": "None", "train.stop_at_accuracy": "0.9"}
    episode(asked, only="first").train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    stop = lines[-1]["stopped_at"]
    assert stop == loop.stopped_at(tmp_path) < 60 and lines[-1]["score"]["first"] > 0.85


def test_a_run_that_never_gets_there_makes_all_its_steps(episode, tmp_path):
    kept = episode({**STOP, "train.stop_at_loss": "0.0"}).train(tmp_path)
    assert sorted(kept) == [60] and loop.stopped_at(tmp_path) is None
    assert checkpoint.steps(tmp_path / "checkpoints") == [60]


def test_without_a_target_nothing_of_it_is_in_the_key(episode):
    plain, other = (episode({"train.stop_window": window}).run.train for window in ("'1 epoch'", "7"))
    assert not plain.stops and plain != other
    assert plain == config.build(TrainSpec, {"steps": 20, "batch": 16, "log_every": 4, "save_every": 6})
    assert not TrainSpec(stop_at_loss=1.0).reached(float("nan"), 1.0)


def test_mistakes(tiny):
    with pytest.raises(UserError, match="stop_at_accuracy"):
        TrainSpec(stop_at_accuracy=99.0)
    with pytest.raises(UserError, match="stop_at_loss"):
        TrainSpec(stop_at_loss=-0.1)
    asked = tiny({"train.stop_at_loss": "0.1", "arms": "mixture,direct,alone,scarce"})
    with pytest.raises(UserError, match="'scarce' where runs may stop"):
        studies.spec(asked)
