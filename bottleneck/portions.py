"""A long sweep a portion at a time, each in a process of its own: what a process compiles, and what libraries keep of
every checkpoint they read, ends with it. The parent plans, waits, and joins what the portions leave on disk.

Only on CPU: an accelerator is held by the process that planned, which then does all the work itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import jax

from bottleneck import signals
from bottleneck.errors import UserError
from bottleneck.pretraining import Train
from bottleneck.training import loop

MOST_PROGRAMS, MOST_RUNS = 8, 64  # of one portion; about 20 MiB a program and 1/2 MiB a run are not given back
COMMAND = "from bottleneck import execute; execute.portion()"
MISTAKE, UNFINISHED = 2, 3  # exit codes
POLL = 0.2  # seconds between looks at a signal


def portions(points) -> list[list]:
    """The points in their order, so many at a time that programs and runs stay few; one portion where they all are."""
    made, programs, runs = [], set(), set()
    for point in points:
        trains = [task.episode for task in point.plan.tasks if isinstance(task, Train)]
        programs |= {loop.program(run, None) for run in trains}
        runs |= {run.key for run in trains}
        if not made or len(programs) > MOST_PROGRAMS or len(runs) > MOST_RUNS:
            made.append([])
            programs, runs = {loop.program(run, None) for run in trains}, {run.key for run in trains}
        made[-1].append(point)
    return made


def carry_out(plan, store, mine: set[str], config_hash: str, stages, shard: tuple[int, int], stop) -> None:
    """The tasks whose keys are `mine`, as far as portions can do them. Raises UserError, signals.Stopped.

    What is left is little: joins of several portions.
    """
    each, first = portions(plan.points), 0
    if len(each) == 1 or jax.default_backend() != "cpu" or jax.process_count() > 1:
        return
    ranges = []
    for points in each:
        ranges.append((first, first + len(points)))
        first += len(points)
    tried: dict[tuple, frozenset] = {}
    while True:
        store.outcomes.refresh()
        for points, limits in zip(each, ranges, strict=True):
            ready = _ready(plan, store, mine, points)
            if ready and ready != tried.get(limits):
                tried[limits] = ready
                apart([str(store.workdir), config_hash, limits, stages, shard], stop)
                break
        else:
            return


def _ready(plan, store, mine: set[str], points) -> frozenset[str]:
    """The keys of what a portion can do now."""
    outcomes = store.outcomes
    tasks = {task.key: plan.graph.tasks[task.key] for point in points for task in point.plan.tasks if task.key in mine}
    return frozenset(key for key, task in tasks.items() if outcomes.of(task) == "ready" and outcomes.wanted(task))


def apart(given: list, stop: signals.Stop, command: str = COMMAND) -> None:
    """Runs Python's `command` in a process of its own, which ends early when this one does (`watch`) or should stop.

    Its argument is `given`, as JSON, with a descriptor at which it may say what mistake of the user's it met: the
    arguments of a UserError. Raises that, signals.Stopped, or RuntimeError where it ended otherwise.
    """
    root = str(pathlib.Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    said, says = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", command, json.dumps([*given, says])],
        stdin=subprocess.PIPE,
        pass_fds=(says,),
        env={**os.environ, "PYTHONPATH": path},
    )
    os.close(says)
    with os.fdopen(said) as errors, process:
        _wait(process, stop)
        if process.returncode == MISTAKE:
            raise UserError(*json.loads(errors.read()))
    if stop.asked or process.returncode == UNFINISHED:
        raise signals.Stopped(f"{stop.name or 'a signal'}: a portion of the sweep is saved")
    if process.returncode:
        raise RuntimeError(f"a process for a portion of the sweep ended with status {process.returncode} (see above)")


def _wait(process: subprocess.Popen, stop: signals.Stop) -> None:
    """Until the process ends; a signal that came here is passed on, once."""
    passed_on = False
    while process.poll() is None:
        if stop.asked and not passed_on:
            passed_on = True
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL)


def watch() -> None:
    """In the process of a portion: ends it at once when its parent is gone, however that ended."""

    def wait():
        os.read(0, 1)  # returns when the other end is closed
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
