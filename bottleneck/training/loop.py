"""Training a run to sealed checkpoints, resumable at any moment to the bitwise same result.

The steps of a run are grouped into calls of the device, and end at every step that is kept, saved or logged. There the
order is a contract: log -> keep -> save; where nothing is kept or saved the line of the log waits for the next call, so
that the device never waits for the host. Nothing but the state, and the sums since the last line, is carried from step
to step: batches, augmentation and dropout are functions of (seed, step).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable

import jax
import numpy as np

from bottleneck import atomic, checkpoint, models, processes
from bottleneck.data import resident
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.signals import Stop, Stopped
from bottleneck.training import mesh as meshes
from bottleneck.training import metrics, optimizers, provenance
from bottleneck.training import step as steps
from bottleneck.training.feed import Feed
from bottleneck.training.pace import Pace
from bottleneck.training.run import Run
from bottleneck.training.step import State
from bottleneck.training.taught import Taught

KEPT_RESUMES = 2


def is_done(run: Run, directory: pathlib.Path) -> bool:
    """Whether the run was trained to its end and every step it should keep is what was written. Raises Damaged."""
    if not {*run.keep, run.steps} <= _finished(directory):
        return False
    for error in checkpoint.damaged(directory / "checkpoints"):
        raise error
    return {*run.keep, run.steps} <= set(checkpoint.steps(directory / "checkpoints"))


def forget(directory: pathlib.Path) -> None:
    """Removes all that training left in `directory`: the run is trained again from its start."""
    (directory / "done").unlink(missing_ok=True)
    if directory.exists():
        shutil.rmtree(directory)


def program(run: Run, mesh) -> steps.Program:
    return steps.Program(
        run.module(),
        optimizers.structure(run.optimizer),
        run.objective.name,
        run.train.sampling,
        run.train.batch,
        run.augment,
        mesh,
        trained=run.trained,
        lesson=run.lesson and dataclasses.replace(run.lesson, examples="drawn", shuffled=False),  # arrays hold these
        parents=len(run.parents) if run.lesson else 0,
    )


def train(
    run: Run,
    directory: pathlib.Path,
    components: tuple[Component, ...],
    data: DataSpec,
    mesh,
    *,
    pool: resident.Pool | None = None,
    taught: Taught | None = None,
    initial: dict | Callable[[], dict] | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
    stop: Stop | None = None,
) -> None:
    """Trains `run`, from its newest usable resume point, until every step in `run.keep` and the last one are sealed.

    `components`: as `restrict` gives them. `pool`: their resident pool, already on the mesh; None streams batches from
    the host. `taught`: what a run with a lesson learns from. `initial`: variables to start from (fine-tuning), or what
    gives them when they are needed; their head is used if there is one. `stop`: once it is asked for, the run is saved
    at the end of the device's call and Stopped is raised. Raises UserError when the loss is not finite (Diverged) or
    the disk is full (atomic.Full); then, too, it can go on.
    """
    feed = Feed(
        run, program(run, mesh), components, data, pool, taught
    )  # a mistake is met here, before anything is written
    models.resolved(run.model, feed.x_shape)
    processes.primary(lambda: _prepare(run, directory))
    state, sums = _start(run, feed, directory, initial)
    processes.primary(lambda: _resume_records(run, directory, mesh, int(state.step)))
    with contextlib.closing(feed), contextlib.closing(checkpoint.Writer()) as writer:
        session = Session(run, directory, feed, writer, state, sums, on_progress, stop or Stop())
        session.go()
    processes.primary(lambda: _finish(run, directory, session.stopped_at))


class Session:
    """One sitting of a run: from the step at which it starts or goes on to its last one, or to a signal."""

    def __init__(self, run: Run, directory: pathlib.Path, feed: Feed, writer, state: State, sums, on_progress, stop):
        self.run, self.directory, self.feed, self.writer = run, directory, feed, writer
        self.state, self.sums, self.step = state, sums, int(state.step)
        self.on_progress, self.stop, self.pace = on_progress, stop, Pace()
        self.wanted = {*run.keep, run.steps}
        self.saved = self.step  # the newest step from which the run could go on
        self.stopped_at: int | None = None
        path = directory / "metrics.jsonl" if processes.first() else None
        self.metrics = metrics.Metrics(run, path, self.step)

    def go(self) -> None:
        if self.step in self.wanted:
            self._keep(self.step)
        while self.step < self.run.steps and self.stopped_at is None:
            asked, count = _agreed(self.stop.asked, self.pace.count)
            if asked:
                self._end_early()
            end, look = self._next_line(), self._next_look()
            self._call(min(count, end - self.step, look - self.step))
            if self.step == look and self._reached():
                self._stay()
            elif self.step == end:
                self._arrive()

    def _next_line(self) -> int:
        """The next step at which a line of the log ends: one that is logged, saved or kept."""
        each = (self.run.train.log_every, self.run.train.save_every)
        return min([s for s in self.wanted if s > self.step] + [(self.step // n + 1) * n for n in each])

    def _next_look(self) -> int:
        """The next step at which a window ends after which the run may stop; its last step where it never does."""
        window = self.run.train.stop_window
        return (self.step // window + 1) * window if self.run.train.stops else self.run.steps

    def _reached(self) -> bool:
        """Whether the run stops after the window that ends here; the next one begins."""
        if not self.run.train.stops:
            return False
        loss, score, count = (float(total) for total in np.asarray(jax.device_get(self.sums["window"])))
        self.sums = {**self.sums, "window": self.feed.zeros["window"]}
        return self.run.train.reached(loss / count, score / count)

    def _stay(self) -> None:
        """Ends the run here: what is wanted of any later step is what it has now."""
        self.stopped_at = self.step
        self.metrics.due(self.step, self.sums, stopped_at=self.step)
        self.metrics.flush()
        for step in sorted(step for step in self.wanted if step >= self.step):
            self._keep(step)
        self.on_progress(self.run.steps - self.step)

    def _call(self, count: int) -> None:
        self.state, self.sums = self.feed.advance(self.state, self.sums, self.step, self.step + count)
        self.step += count
        self.metrics.flush()
        self.pace.called(count, self.sums["count"])
        self.on_progress(count)

    def _arrive(self) -> None:
        keeping = self.step in self.wanted
        saving = self.step % self.run.train.save_every == 0 and self.step < self.run.steps
        self.metrics.due(self.step, self.sums)
        self.sums = {**self.feed.zeros, **{name: self.sums[name] for name in ("window",) if name in self.sums}}
        if keeping or saving:
            self.metrics.flush()  # what is kept had a finite loss
            self.pace.pause()
        if keeping:
            self._keep(self.step)
        if saving:
            self._save()

    def _end_early(self) -> None:
        """Saves where the run is and raises Stopped."""
        if self.step > self.saved:
            self.metrics.flush()
            self.metrics.check(self.step, self.sums)
            self._save()
        self.writer.wait()
        who = self.stop.name or "a signal to another process"
        raise Stopped(f"{who}: {self.run.folder} is saved at step {self.step:,} of {self.run.steps:,}")

    def _save(self) -> None:
        resumes = self.directory / "resume"
        self.writer.save(resumes / str(self.step), to_flat((self.state, self.sums)), step=self.step)
        self.saved = self.step
        for old in checkpoint.steps(resumes)[:-KEPT_RESUMES]:
            processes.primary(lambda old=old: checkpoint.remove(resumes / str(old)))

    def _keep(self, step: int) -> None:
        """Seals the evaluation point as that of `step`; one that is there already must be bitwise the same."""
        path, point = self.directory / "checkpoints" / str(step), self.feed.evaluation_point(self.state, self.step)
        if not checkpoint.is_sealed(path):
            self.writer.save(path, point, step=step)
            return
        kept = jax.tree.leaves(checkpoint.load(path))
        for (where, new), old in zip(jax.tree_util.tree_leaves_with_path(point), kept, strict=True):
            if not np.array_equal(np.asarray(new), old, equal_nan=True):
                self._refuse(path, jax.tree_util.keystr(where))

    def _refuse(self, path: pathlib.Path, leaf: str) -> None:
        """Raises on a kept step of other bits. What this sitting has added to a finished run's steps is removed."""
        self.writer.wait()
        if finished := _finished(self.directory):
            for step in set(checkpoint.steps(path.parent)) - finished:
                processes.primary(lambda step=step: checkpoint.remove(path.parent / str(step)))
        recorded = provenance.read(self.directory / "provenance.json")
        if not recorded.get("history"):
            raise RuntimeError(
                f"{path}: training again gave other bits in {leaf}, with the same versions and devices: they are not "
                "deterministic (--retrain remakes all steps of this run)"
            )
        changes = "; ".join(provenance.differences(recorded, recorded["history"][-1]))
        raise UserError(
            "keep",
            self.step,
            f"the bits of {path}, but {leaf} differs from what was kept under other versions or devices ({changes}): "
            "ask for no further steps of this run here, or remake all of them with --retrain",
        )


def _agreed(asked: bool, count: int) -> tuple[bool, int]:
    """Whether any process was asked to stop, and the smallest of their counts: calls are collective."""
    each = processes.agreed(np.array([asked, count], np.int32))
    return bool(each[:, 0].any()), int(each[:, 1].min())


def _finished(directory: pathlib.Path) -> set[int]:
    """The steps that were kept when the run was last trained to its end; none if it never was."""
    try:
        return set(json.loads((directory / "done").read_text())["kept"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _prepare(run: Run, directory: pathlib.Path) -> None:
    """Makes the directories, states what the run is, and removes what a kill cut short or time has damaged."""
    for folder, then in (directory / "checkpoints", "training it again"), (directory / "resume", "falling back"):
        with atomic.space(folder):
            folder.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_partial(folder)
        for error in checkpoint.damaged(folder):
            print(f"{error}; {then}", flush=True)
            checkpoint.remove(error.path)
    atomic.write(directory / "run.json", json.dumps({"name": run.name, **run.identity}, indent=1, sort_keys=True))


def _resume_records(run: Run, directory: pathlib.Path, mesh, step: int) -> None:
    """Metrics and provenance from `step` on; other versions or devices than before are said."""
    metrics.truncate(directory / "metrics.jsonl", step)
    now = {**provenance.current(mesh), "model": models.describe(run.model)}
    changes = provenance.record(directory / "provenance.json", now, step)
    if changes:
        print(f"{directory.name}: goes on from step {step:,} with {'; '.join(changes)}", flush=True)


def stopped_at(directory: pathlib.Path) -> int | None:
    """The step at which a finished run met what it was to stop at; None if it never did."""
    try:
        return json.loads((directory / "done").read_text()).get("stopped_at")
    except (OSError, ValueError, AttributeError):
        return None


def _finish(run: Run, directory: pathlib.Path, stopped_at: int | None) -> None:
    kept = checkpoint.steps(directory / "checkpoints")
    stopped = {} if stopped_at is None else {"stopped_at": stopped_at}
    atomic.write(directory / "done", json.dumps({"steps": run.steps, "kept": kept, **stopped}))
    shutil.rmtree(directory / "resume")


def to_flat(tree) -> dict[str, np.ndarray]:
    """Leaves by tree path: what a `resume` checkpoint holds."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_flat(like, flat: dict[str, np.ndarray]):
    """Inverse of `to_flat`; raises KeyError when `flat` is of another structure than `like`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: flat[jax.tree_util.keystr(path)].astype(leaf.dtype), like
    )


def _start(run: Run, feed: Feed, directory: pathlib.Path, initial) -> tuple[State, dict]:
    """State and sums at the newest intact resume point before the first step that is missing, else at step 0."""
    code, resumes = feed.code, directory / "resume"
    missing = {*run.keep, run.steps} - set(checkpoint.steps(directory / "checkpoints"))
    usable = [step for step in checkpoint.steps(resumes) if step <= min(missing, default=run.steps)]
    state = steps.create(code, np.int32(run.seed if run.init_seed is None else run.init_seed), feed.x_shape)
    if usable:
        saved = checkpoint.load(resumes / str(usable[-1]))
        return meshes.replicate(from_flat((state, feed.zeros), saved), code.mesh)
    if initial is not None:
        given = initial() if callable(initial) else initial
        params = {**given["params"], **{k: v for k, v in state.params.items() if k not in given["params"]}}
        fresh = optimizers.build(code.optimizer, steps.hyper(run.optimizer, run.objective, run.steps))
        fresh = fresh.init(steps.trained(code, params))
        state = state._replace(params=params, batch_stats=given.get("batch_stats", {}), opt_state=fresh)
    return meshes.replicate(state, code.mesh), feed.zeros
