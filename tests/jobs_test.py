"""Tasks side by side: all are done once and in order, failures and stops end what has not begun."""

import io
import sys
import threading
import types

import pytest
from threadpoolctl import threadpool_info

from bottleneck import jobs, workers

GROUPS = [[1, 2, 3], [4, 5], [6], []]


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def signals(monkeypatch):
    monkeypatch.setitem(sys.modules, "bottleneck.signals", types.SimpleNamespace(Stopped=Stopped))


class Work:
    """Notes what was done; `at` calls what happens in the middle of a task."""

    def __init__(self, **at):
        self.done, self.lock, self.at = [], threading.Lock(), {int(k[1:]): v for k, v in at.items()}

    def __call__(self, task):
        if task in self.at:
            self.at[task]()
        with self.lock:
            self.done.append(task)


@pytest.mark.parametrize("groups", [GROUPS, [[3, 1, 2]], [], [[]]])
def test_every_task_is_done_once_and_those_of_a_group_in_order(groups):
    work = Work()
    jobs.carry_out("stage", "task", groups, work, types.SimpleNamespace(asked=False))
    assert sorted(work.done) == sorted(sum(groups, []))
    for group in groups:
        assert [task for task in work.done if task in group] == group


@pytest.mark.parametrize("groups", [GROUPS, [[1, 2, 3]]])
def test_a_failure_is_raised_when_the_tasks_in_hand_have_ended(groups):
    def fail():
        raise ValueError("task 2")

    work = Work(t2=fail)
    with pytest.raises(ValueError, match="task 2"):
        jobs.carry_out("stage", "task", groups, work)
    assert 1 in work.done and not {2, 3} & set(work.done)


@pytest.mark.parametrize("groups", [[[1, 2, 3], [4, 5, 6]], [[1, 2, 3, 4, 5, 6]]])
def test_a_stop_lets_the_tasks_in_hand_end_and_begins_no_other(groups):
    stop, inside = types.SimpleNamespace(asked=False), threading.Event()

    def ask():
        if len(groups) > 1:
            assert inside.wait(10)  # task 4 has begun
        stop.asked = True
        after.set()

    def begin():
        inside.set()
        assert len(groups) == 1 or after.wait(10)

    after = threading.Event()
    work = Work(t1=ask, t4=begin)
    with pytest.raises(Stopped):
        jobs.carry_out("stage", "task", groups, work, stop)
    assert sorted(work.done) == [1, 4][: len(groups)]


@pytest.mark.parametrize("how", ["stop", "failure"])
def test_who_waited_for_room_begins_nothing_after_an_end(how, monkeypatch):
    """Six that each want all the room: the first asks for the end, or fails, while the others wait."""
    monkeypatch.setattr(workers, "_room", workers.Room(100.0))
    monkeypatch.setattr(workers, "cores", lambda: 6)
    stop, waiting, done = types.SimpleNamespace(asked=False), threading.Barrier(6, timeout=10), []

    def holds(task):
        waiting.wait()
        return 2 * workers.MANY

    def work(task):
        done.append(task)
        if how == "failure":
            raise ValueError(task)
        stop.asked = True

    with pytest.raises(Stopped if how == "stop" else ValueError):
        jobs.carry_out("stage", "task", [[each] for each in range(6)], work, stop, holds)
    assert len(done) == 1 and workers._room.left == 100.0


def test_a_stop_asked_for_during_the_last_task_leaves_nothing_undone():
    stop = types.SimpleNamespace(asked=False)
    work = Work(t2=lambda: setattr(stop, "asked", True))
    jobs.carry_out("stage", "task", [[1, 2]], work, stop)
    assert work.done == [1, 2]
    with pytest.raises(Stopped):
        jobs.carry_out("stage", "task", [[1], [2]], work, stop)
    jobs.carry_out("stage", "task", [[]], work, stop)


def test_blas_has_one_thread_in_a_task_and_its_own_again_afterwards():
    before, seen = threadpool_info(), []
    jobs.carry_out("stage", "task", [[1], [2]], lambda task: seen.append(threadpool_info()))
    blas = [pool["num_threads"] for info in seen for pool in info if pool["user_api"] == "blas"]
    assert blas and set(blas) == {1} and threadpool_info() == before


def test_progress_is_for_terminals_alone(monkeypatch, capsys):
    jobs.carry_out("stage", "task", [[1], [2]], Work())
    assert capsys.readouterr() == ("", "")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    jobs.carry_out("transfer", "task", [[1], [2]], Work())
    assert "transfer" in terminal.getvalue() and "2.00/2.00" in terminal.getvalue()


def test_a_bar_is_drawn_where_somebody_sees_it(monkeypatch):
    """A terminal, or a notebook, whose standard error is none; not a log."""
    for seen, name in ((False, "somebodys"), (True, "ipykernel")):
        monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        with jobs.progress("pretrain", 3, "image"):
            pass
        assert ("pretrain" in stream.getvalue()) is seen
