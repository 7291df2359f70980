"""Training runs to sealed checkpoints, resumable at any moment to the bitwise same result.

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
from collections.abc import Callable, Sequence

import jax
import numpy as np

from bottleneck import atomic, checkpoint, models, processes
from bottleneck.data import resident
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.signals import Stop, Stopped
from bottleneck.training import fleet, metrics, optimizers, provenance, resume
from bottleneck.training import step as steps
from bottleneck.training.feed import Feed
from bottleneck.training.pace import Pace
from bottleneck.training.resume import Member
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


def program(run: Run, mesh, members: int = 1) -> steps.Program:
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
        accumulate=run.train.accumulate,
        members=members,
        together=fleet.how(run.module()),
    )


def train(
    members: Sequence[Member],
    components: tuple[Component, ...],
    data: DataSpec,
    mesh,
    *,
    pool: resident.Pool | None = None,
    taught: Taught | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
    stop: Stop | None = None,
) -> None:
    """Trains `members`, one run or a fleet, from the newest resume point that all have, until every step that they
    should keep and the last one are sealed.

    `components`: as `restrict` gives them. `pool`: their resident pool, already on the mesh; None streams batches from
    the host. `taught`: what a run with a lesson learns from. `stop`: once it is asked for, all are saved at the end of
    the device's call and Stopped is raised. Raises UserError when the loss is not finite (Diverged) or the disk is full
    (atomic.Full); then, too, they can go on.
    """
    runs = [member.run for member in members]
    code = program(runs[0], mesh, len(runs))
    feed = Feed(runs, code, components, data, pool, taught)  # a mistake is met here, before anything is written
    models.resolved(runs[0].model, feed.x_shape)
    for member in members:
        processes.primary(lambda member=member: _prepare(member, runs))
        _check_fellows(member, runs)
    session = None
    if processes.decided(runs[0].train.stops or any(member.wanted - member.kept for member in members)):
        state, sums = resume.start(members, feed)
        step = int(feed.of(state.step, 0))
        now = _made_by(runs, code)
        for member in members:
            processes.primary(lambda member=member: _resume_records(member, now, step))
        with contextlib.closing(feed), contextlib.closing(checkpoint.Writer()) as writer:
            session = Session(members, feed, writer, state, sums, on_progress, stop or Stop())
            session.go()
    for member in members:  # only now: a fleet of which one is done has nothing left to train
        processes.primary(lambda member=member: _finish(member, session and session.stopped_at))


class Session:
    """One sitting of a fleet: from the step at which it starts or goes on to its last one, or to a signal."""

    def __init__(self, members: Sequence[Member], feed: Feed, writer, state: State, sums, on_progress, stop):
        self.members, self.run, self.feed, self.writer = members, members[0].run, feed, writer
        self.state, self.sums, self.step = state, sums, int(feed.of(state.step, 0))
        self.on_progress, self.stop, self.pace = on_progress, stop, Pace()
        self.wanted = set.union(*(member.wanted for member in members))
        self.saved = self.step  # the newest step from which they could go on
        self.stopped_at: int | None = None
        self.metrics = [
            metrics.Metrics(member.run, member.directory, self.step, len(members), processes.first())
            for member in members
        ]

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

    def _due(self, **further) -> None:
        for index, each in enumerate(self.metrics):
            each.due(self.step, self.feed.of(self.sums, index), **further)

    def _flush(self) -> None:
        for each in self.metrics:
            each.flush()

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
        self._due(stopped_at=self.step)
        self._flush()
        for step in sorted(step for step in self.wanted if step >= self.step):
            self._keep(step)
        self.on_progress(self.run.steps - self.step)

    def _call(self, count: int) -> None:
        self.state, self.sums = self.feed.advance(self.state, self.sums, self.step, self.step + count)
        self.step += count
        self._flush()
        self.pace.called(count, self.sums["count"])
        self.on_progress(count)

    def _arrive(self) -> None:
        keeping = self.step in self.wanted
        saving = self.step % self.run.train.save_every == 0 and self.step < self.run.steps
        self._due()
        self.sums = {**self.feed.zeros, **{name: self.sums[name] for name in ("window",) if name in self.sums}}
        if keeping or saving:
            self._flush()  # what is kept had a finite loss
            self.pace.pause()
        if keeping:
            self._keep(self.step)
        if saving:
            self._save()

    def _end_early(self) -> None:
        """Saves where the run is and raises Stopped."""
        if self.step > self.saved:
            self._flush()
            for index, each in enumerate(self.metrics):
                each.check(self.step, self.feed.of(self.sums, index))
            self._save()
        self.writer.wait()
        who, more = self.stop.name or "a signal to another process", len(self.members) - 1
        saved = f"{self.run.folder} and {more} more are" if more else f"{self.run.folder} is"
        raise Stopped(f"{who}: {saved} saved at step {self.step:,} of {self.run.steps:,}")

    def _save(self) -> None:
        """Leaves a resume point of every member; the older ones go when all have the new one."""
        for index, member in enumerate(self.members):
            state = self.feed.of((self.state, self.sums), index)
            self.writer.save(member.directory / "resume" / str(self.step), resume.to_flat(state), step=self.step)
        self.saved = self.step
        for folder in (member.directory / "resume" for member in self.members):
            for old in checkpoint.steps(folder)[:-KEPT_RESUMES]:
                processes.primary(lambda old=old, folder=folder: checkpoint.remove(folder / str(old)))

    def _keep(self, step: int) -> None:
        """Seals the evaluation points as those of `step`; one that is there already must be bitwise the same."""
        for index, member in enumerate(self.members):
            if step in member.wanted:
                point = self.feed.evaluation_point(self.state, self.step, index)
                self._seal(member, member.directory / "checkpoints" / str(step), point, step)

    def _seal(self, member: Member, path: pathlib.Path, point: dict, step: int) -> None:
        if not checkpoint.is_sealed(path):
            self.writer.save(path, point, step=step)
            return
        kept = jax.tree.leaves(checkpoint.load(path))
        for (where, new), old in zip(jax.tree_util.tree_leaves_with_path(point), kept, strict=True):
            if not np.array_equal(np.asarray(new), old, equal_nan=True):
                self._refuse(member, path, jax.tree_util.keystr(where))

    def _refuse(self, member: Member, path: pathlib.Path, leaf: str) -> None:
        """Raises on a kept step of other bits. What this sitting has added to a finished run's steps is removed."""
        self.writer.wait()
        if finished := _finished(member.directory):
            for step in member.kept - finished:
                processes.primary(lambda step=step: checkpoint.remove(path.parent / str(step)))
        recorded = provenance.read(member.directory / "provenance.json")
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


def _prepare(member: Member, runs: Sequence[Run]) -> None:
    """Makes the directories, states what the run is, and removes what a kill cut short or time has damaged, or what it
    began in another fleet."""
    run, directory = member.run, member.directory
    if _begun_otherwise(member, runs):
        print(f"{directory.name}: had begun beside other runs, and begins again", flush=True)
        shutil.rmtree(directory)
    for folder, then in (directory / "checkpoints", "training it again"), (directory / "resume", "falling back"):
        with atomic.space(folder):
            folder.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_partial(folder)
        for error in checkpoint.damaged(folder):
            print(f"{error}; {then}", flush=True)
            checkpoint.remove(error.path)
    atomic.write(directory / "run.json", json.dumps({"name": run.name, **run.identity}, indent=1, sort_keys=True))


def _begun_otherwise(member: Member, runs: Sequence[Run]) -> bool:
    """Whether an unfinished run has begun in another fleet than `runs`, or in one that is not known."""
    unfinished = not _finished(member.directory) and bool(member.wanted - member.kept)
    begun = checkpoint.steps(member.directory / "resume") or member.kept
    return unfinished and bool(begun) and began_with(member.directory) != _fellows(runs)


def _check_fellows(member: Member, runs: Sequence[Run]) -> None:
    """Raises UserError where a finished run was a member of another fleet than `runs`: its bits would be others."""
    fellows = began_with(member.directory)
    if fellows not in (None, _fellows(runs)) and _finished(member.directory) and member.wanted - member.kept:
        others = max(len(fellows) - 1, 0)
        expected = (
            f"steps that {member.directory} has (it was trained beside {others} other runs, which are not all part of "
            "this study): ask the study that trained them, or remake all its steps with --retrain"
        )
        raise UserError("keep", sorted(member.wanted - member.kept), expected)


def _fellows(runs: Sequence[Run]) -> list[str]:
    return [run.key for run in runs] if len(runs) > 1 else []


def began_with(directory: pathlib.Path) -> list[str] | None:
    """Keys of the runs that have begun with that of a directory, [] where it is alone; None before it begins."""
    recorded = provenance.read(directory / "provenance.json")
    return [recorded, *recorded["history"]][-1].get("members", []) if recorded else None


def _made_by(runs: Sequence[Run], code: steps.Program) -> dict:
    """The provenance of what is trained now."""
    now = {**provenance.current(code.mesh), "model": models.describe(runs[0].model)}
    if runs[0].train.remat:
        now["remat"] = True
    if len(runs) > 1:
        now |= {"fleet": f"{len(runs)} runs, {code.together}", "members": _fellows(runs)}
    return now


def _resume_records(member: Member, now: dict, step: int) -> None:
    """Metrics and provenance from `step` on; other versions or devices than before are said."""
    directory = member.directory
    metrics.truncate(directory / "metrics.jsonl", step)
    changes = provenance.record(directory / "provenance.json", now, step)
    if changes:
        print(f"{directory.name}: goes on from step {step:,} with {'; '.join(changes)}", flush=True)


def stopped_at(directory: pathlib.Path) -> int | None:
    """The step at which a finished run met what it was to stop at; None if it never did."""
    try:
        return json.loads((directory / "done").read_text()).get("stopped_at")
    except (OSError, ValueError, AttributeError):
        return None


def _finish(member: Member, stopped_at: int | None) -> None:
    stopped = {} if stopped_at is None else {"stopped_at": stopped_at}
    said = {"steps": member.run.steps, "kept": sorted(member.kept), **stopped}
    atomic.write(member.directory / "done", json.dumps(said))
    shutil.rmtree(member.directory / "resume")
