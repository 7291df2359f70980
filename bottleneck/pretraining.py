"""The task that trains: a run meets its components, and leaves kept steps on disk."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bottleneck import checkpoint, processes
from bottleneck.converted import Converted
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features import extract
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import Kept, output
from bottleneck.models import joined
from bottleneck.tasks import Asked, Empty, Task
from bottleneck.training import fleet, loop, metrics
from bottleneck.training.resume import Member
from bottleneck.training.run import Run, restrict
from bottleneck.training.taught import Taught, Undiscovered, taught


@dataclass(frozen=True, eq=False, repr=False)
class Start:
    """Where a run that does not start from random numbers does: another run's step, or several side by side, or weights
    that were converted from another library's; `head` makes its classifier."""

    parents: tuple[tuple[Run, int], ...]
    needs: tuple[str, ...] = ()  # beyond these steps: what `head` reads
    head: Callable | None = None  # store -> {"kernel": [p, K], "bias": [K]}; None: a fresh one
    converted: Converted | None = None  # in the place of parents

    def variables(self, store) -> dict:
        """The variables to start from; without a classifier where that is to be fresh. Raises UserError."""
        if self.converted is not None:
            return self.converted.trunk()
        trunks = joined.side_by_side([store.variables(*parent) for parent in self.parents])
        if len(self.parents) == 1:
            (name,) = joined.names(1)
            trunks = {collection: tree[name] for collection, tree in trunks.items()}
        return trunks if self.head is None else {**trunks, "params": {**trunks["params"], "head": self.head(store)}}


@dataclass(frozen=True, eq=False, repr=False)
class Train(Task):
    """One run. `keep` are the steps it should leave, no part of its key: a step asked for later is made by training
    again."""

    episode: Run
    components: tuple[Component, ...]
    data: DataSpec
    keep: tuple[int, ...]
    start: Start | None = None
    chooser: str = ""  # the output of the chooser that gives its learning rate and weight decay
    grids: tuple[tuple[Run, ...], ...] = ()  # the candidates of the grids that it is tried for; (): it is needed itself
    asks: tuple[Asked, ...] = ()
    teachers: tuple[Kept, ...] = ()  # the run's parents, whose predictions on its training items it learns from

    KIND = "train"
    STAGE = "pretrain"
    ALONE = True

    @property
    def VERSION(self):
        return Run.VERSION

    @property
    def key(self) -> str:
        return self.episode.key

    @property
    def continues(self) -> bool:
        """Whether it goes on from other runs, as fine-tuning does."""
        return self.start is not None and bool(self.start.parents)

    @property
    def needs(self) -> tuple[str, ...]:
        start = (*(output(*parent) for parent in self.start.parents), *self.start.needs) if self.start else ()
        lessons = tuple(
            extract.output(teacher, LOGITS, component, ("train",))
            for teacher in self.teachers
            for component in self.components
        )
        return tuple(dict.fromkeys((*start, *lessons, *filter(None, [self.chooser]))))

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(output(self.episode, step) for step in self.keep)

    def done(self, store) -> bool:
        """Whether every step it should leave is there, with the bytes that were written. Changes nothing: who only
        looks holds no lock."""
        return self._intact(self.episode, store)

    def empty(self, store) -> bool:
        """Whether nothing was left for it to learn; or it diverged as a candidate and every grid has others left: an
        arm must not go missing in silence."""
        return bool(self.grids or self.teachers) and store.is_empty(self) and self._exhausted(store) is None

    def _exhausted(self, store) -> tuple[Run, ...] | None:
        """A grid of which every candidate has diverged."""
        return next((grid for grid in self.grids if all(map(store.is_empty, grid))), None)

    def run(self, store, on_progress: Callable = lambda steps: None) -> None:
        """Trains, or goes on. With a chooser, the chosen candidate of the same seed is taken over where it is there.

        A candidate that diverges raises Empty, and so does a round of discovery without an example left. Raises
        UserError where all of a grid have diverged, or what `loop.train` raises.
        """
        if (grid := self._exhausted(store)) is not None:
            tried = [(run.optimizer.lr, run.optimizer.weight_decay) for run in grid]
            expected = f"a learning rate at which the loss of {self.episode.name} stays finite (all of these diverged)"
            raise UserError("grid", tried, expected)
        try:
            self._train(store, on_progress)
        except metrics.Diverged as error:
            if not self.grids:
                raise
            raise Empty(str(error)) from None

    def _train(self, store, on_progress: Callable) -> None:
        episode, directory = self._kept(self.resolved(store)), store.place_of(self.episode)
        if self.chooser and processes.primary(lambda: self._taken_over(episode, directory, store)):
            return
        _train(
            [self.member(store, episode, directory)],
            restrict(episode, self.components),
            self.data,
            store,
            on_progress,
            self.taught(store) if self.teachers else None,
        )

    def member(self, store, episode: Run, directory: pathlib.Path) -> Member:
        """What trains, by itself or in a fleet."""
        return Member(episode, directory, self.start and (lambda: self.start.variables(store)))

    def _taken_over(self, chosen: Run, directory, store) -> bool:
        """Whether the chosen candidate's steps are there, and now this run's."""
        if directory.is_dir() or not self._intact(chosen, store):
            return False
        temporary = directory.with_name(f".{directory.name}.copied")  # a run is found by the end of its name
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(store.place_of(chosen), temporary)
        temporary.rename(directory)
        return True

    def taught(self, store) -> Taught:
        """What its teachers say of its training items. Raises Empty where no example is left to be discovered."""
        logits = [
            [store.features(teacher, LOGITS, component, ("train",))["train"] for component in self.components]
            for teacher in self.teachers
        ]
        try:
            return taught(self.episode, logits, [component.splits["train"].labels for component in self.components])
        except Undiscovered as error:
            raise Empty(str(error)) from None

    def resolved(self, store) -> Run:
        """The run with the chosen learning rate and weight decay."""
        if not self.chooser:
            return self.episode
        chosen = store.settings(self.chooser)
        optimizer = dataclasses.replace(self.episode.optimizer, **chosen)
        return dataclasses.replace(self.episode, optimizer=optimizer, tuned="")

    def _intact(self, run: Run, store) -> bool:
        """Whether every kept step of `run` is there as it was written; what is damaged is said, once."""
        try:
            return loop.is_done(self._kept(run), store.place_of(run))
        except checkpoint.Damaged as error:
            store.say(f"{error}; training replaces it")
            return False

    def _kept(self, run: Run) -> Run:
        return dataclasses.replace(run, keep=self.keep)


def fleets(ready: Sequence[Train], done: Sequence[Train], store) -> list[list[Train]]:
    """Tasks that can be done now, those that train together in one list, with those that are done where they have begun
    together. A run that is chosen, or a candidate that may diverge, trains alone."""
    singles = [task for task in ready if not _joins(task)]
    others = [task for task in ready if _joins(task)]
    known = {task.key: task for task in (*filter(_joins, done), *others)}
    where = {path.name.rpartition("-")[2]: path for path in (store.workdir / "runs").glob("*-*")}

    def begun(key: str) -> tuple[str, ...]:
        fellows = loop.began_with(where[key]) if key in where else None
        return () if fellows is None else tuple(fellows) or (key,)

    runs = [task.episode for task in others]
    most = [fleet.most(task.episode, task.components[0].shape) for task in others]
    groups = fleet.grouped(runs, most, {key: begun(key) for key in known}) if others else []
    return [[task] for task in singles] + [[known[key] for key in group] for group in groups]


def _joins(task: Train) -> bool:
    return not (task.chooser or task.grids or task.teachers)


def together(tasks: Sequence[Train], store, on_progress: Callable = lambda steps: None) -> None:
    """Trains a fleet, or goes on. Raises what `loop.train` raises."""
    members = [task.member(store, task._kept(task.episode), store.place_of(task.episode)) for task in tasks]
    try:
        _train(members, tasks[0].components, tasks[0].data, store, on_progress)
    except metrics.Diverged as error:
        others = "with --config.train.fleet=1 the other runs of its fleet begin again by themselves"
        raise metrics.Diverged(error.key, error.value, f"{error.expected}; {others}") from None


def _train(members: list[Member], components, data: DataSpec, store, on_progress, taught: Taught | None = None) -> None:
    run = members[0].run
    mesh = store.mesh(run.train.batch, len(members), run.train.accumulate)
    pool = store.pool(run, components, data, mesh)
    loop.train(members, components, data, mesh, pool=pool, taught=taught, on_progress=on_progress, stop=store.stop)
