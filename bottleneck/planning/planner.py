"""What a study asks for, gathered before the graph is made: runs with the steps to keep, passes with their layers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

from bottleneck.arms import ARMS
from bottleneck.choose import Choose, Decide
from bottleneck.data.component import Component
from bottleneck.features.extract import Extract
from bottleneck.features.source import SPLITS, Kept, Member, Source
from bottleneck.planning.episodes import Episodes
from bottleneck.pretraining import Start, Train
from bottleneck.probing import Probe
from bottleneck.study import StudySpec
from bottleneck.tasks import Asked, Task
from bottleneck.training.run import Run


class Planner:
    """What a study asks for: runs with the steps wanted of them, passes with their layers, tasks that make rows."""

    def __init__(self, study: StudySpec, episodes: Episodes):
        self.study, self.episodes = study, episodes
        self.trains: dict[str, Train] = {}
        self.passes: dict[str, Extract] = {}
        self.tasks: dict[str, Task] = {}
        self.parents: dict[str, tuple[tuple[Run, int], ...]] = {}  # run key -> other runs that it stands on
        self.lessons: dict[str, tuple[tuple[Run, int, int], ...]] = {}  # run key -> passes that its training took
        self.deciders: tuple[Decide, ...] = ()
        self._named: dict[tuple[str, int], Run] = {}
        self.plain_run = functools.cache(self._plain_run)

    # Gathering

    def run(self, name: str, seed: int) -> Run:
        """A run by the name representations call it: an arm or a recipe, or such a name and a target."""
        return self._named.get((name, seed)) or self.plain_run(name, seed)

    def has(self, name: str, seed: int) -> bool:
        """Whether there is a run of this name and seed: of students only where a set of teachers begins."""
        return name.partition("-")[0] not in self.study.recipes or (name, seed) in self._named

    def _plain_run(self, name: str, seed: int) -> Run:
        """The same as the config has its settings, untuned."""
        arm, _, target = name.partition("-")
        return self.episodes.run(ARMS[arm], seed, target)

    def call(self, name: str, seed: int, run: Run, stands_on: tuple[tuple[Run, int], ...]) -> None:
        """From here on the run of this name and seed is this one: a tuned arm, or a recipe's."""
        self._named[name, seed] = run
        self.parents[run.key] = stands_on

    def member(self, name: str, seed: int, step: int | None = None, layer: str | None = None, adapt=False) -> Member:
        """A layer of a kept step of a run; by default the last step and the probe's layer."""
        run = self.run(name, seed)
        return self.kept(run, run.steps if step is None else step, f"{name}/{seed}", layer, adapt)

    def kept(self, run: Run, step: int, name: str, layer: str | None = None, adapt: bool = False) -> Member:
        layer = layer or self.study.probe.layer
        stands_on, lessons = self.parents.get(run.key, ()), self.lessons.get(run.key, ())
        return Member(Kept(f"{name}@{step}", run, step, self.study.data, adapt, stands_on, lessons), layer)

    def untrained(self, name: str, seed: int, layer: str | None = None, asks: tuple[Asked, ...] = ()) -> Member:
        """A layer of a run's network before it has seen any data, by default the probe's: its own step 0. Of a run that
        starts from converted weights it is step 0 of one without them, which is asked for here."""
        run = self.run(name, seed)
        if not run.pretrained:
            return self.member(name, seed, 0, layer)
        bare = self.episodes.untrained(run)
        self.train(bare, asks)
        return self.kept(bare, 0, f"{bare.name}/{seed}", layer)

    def train(
        self,
        run: Run,
        asks=(),
        start: Start | None = None,
        pool: tuple[Component, ...] | None = None,
        chooser="",
        grids: tuple[tuple[Run, ...], ...] = (),
        teachers: tuple[Kept, ...] = (),
    ) -> None:
        """Asks for a run; called again, for more of its steps or on behalf of others who want it. `start`: of one that
        goes on from other runs; converted weights are found here."""
        if run.pretrained:
            start = Start((), converted=self.episodes.converted)
        keep = tuple(sorted({*run.keep, run.steps}))
        wanted = Train(run, pool or self.pool_of(run), self.study.data, keep, start, chooser, grids, asks, teachers)
        held = self.trains.get(run.key)
        self.trains[run.key] = joined(held, wanted) if held else wanted

    def pool_of(self, run: Run) -> tuple[Component, ...]:
        """The components a run draws from, as it sees them."""
        arm, _, target = run.name.partition("-")
        among = self.episodes.randomised(target) if arm == "randomised" else self.episodes.targets
        return tuple(among[name] for name in run.components)

    def read(self, source: Source, layer: str, component: Component, asks: tuple[Asked, ...], splits=SPLITS) -> None:
        """Asks for a layer of a pass, and for the kept step it comes from."""
        wanted = Extract(source, component, (layer,), asks, splits)
        held = self.passes.get(wanted.key)
        self.passes[wanted.key] = joined(held, wanted) if held else wanted
        if isinstance(source, Kept):
            self.keep(source, asks)

    def keep(self, source: Kept, asks: tuple[Asked, ...]) -> None:
        """Asks for a step of a run; what is read without a condition is trained without one."""
        held = self.trains[source.run.key]
        keep = tuple(sorted({*held.keep, source.step}))
        self.trains[source.run.key] = dataclasses.replace(held, keep=keep, asks=held.asks if asks else ())

    def add(self, task: Task) -> Task:
        """Asks for a task that makes rows, and for all that it reads."""
        held = self.tasks.get(task.key)
        self.tasks[task.key] = task = joined(held, task) if held else task
        for read in getattr(task, "reads", ()):
            self.read(*read, task.asks)
        for source in getattr(task, "kept", ()):
            self.keep(source, task.asks)
        return task

    def everything(self) -> tuple[Task, ...]:
        """All that was asked for, in no order."""
        for task in [task for task in self.trains.values() if task.chooser]:
            for run, _ in self.parents[task.key]:
                if (run.name, run.seed) == (task.episode.name, task.episode.seed):  # the chosen one is taken over whole
                    candidate = self.trains[run.key]
                    keep = tuple(sorted({*candidate.keep, *task.keep}))
                    self.trains[run.key] = dataclasses.replace(candidate, keep=keep)
        return (*self.trains.values(), *self.passes.values(), *self.tasks.values())

    @property
    def probes(self) -> tuple[Probe, ...]:
        return tuple(task for task in self.tasks.values() if isinstance(task, Probe))

    # Conditions

    def asked(self, question: str, names: Iterable[str], look: int, chooser: Choose | None = None) -> tuple[Asked, ...]:
        """Wanted where any of the targets is so; runs of a look only where the verdict came then or later.

        Where nobody waits for a verdict: wanted with the seeds of the mixture that they are compared with.
        """
        if self.study.arms_for != "lost" and question == "lost":
            return self.undecided(names, look)
        choosers = (chooser,) if chooser else self.deciders[look:]
        return tuple(each.ask(question, name, look) for each in choosers for name in names)

    def undecided(self, names: Iterable[str], look: int) -> tuple[Asked, ...]:
        """Runs of the first look are always wanted; later ones where a target was not decided by the look before."""
        return tuple(self.deciders[look - 1].ask("undecided", name, look) for name in names) if look else ()

    # Probes

    def probe(
        self, arm: str, seed: int, target: str, members, protocol: str = "linear_probe", asks=(), kind=Probe, **options
    ) -> Probe:
        component = options.pop("component", None) or self.episodes.targets[target]
        head = self.head(members[0].source, target) if len(members) == 1 else None
        options = {"scalings": self.study.probe.scalings, "head": head, **options}
        return self.add(kind(arm, seed, target, component, tuple(members), protocol, asks=asks, **options))

    def head(self, source: Source, target: str) -> int | None:
        """Where a target's classes start among a run's logits; None where it has none there."""
        if not isinstance(source, Kept):
            return None
        run, component = source.run, self.episodes.targets[target]
        if run.heads > 1:  # a student's classifiers say what its teachers said, each for itself
            return None
        if target in run.components:
            return run.offset[run.components.index(target)]
        return 0 if run.label_space == "shared" and component.output_dim == run.outputs else None

    def probes_of(self, *arms: str, protocol: str = "linear_probe", factor: str | None = None) -> tuple[Probe, ...]:
        chosen = [p for p in self.probes if p.arm in arms and (p.protocol, p.factor) == (protocol, factor)]
        return tuple(chosen)


def either(a: tuple, b: tuple) -> tuple:
    """Conditions under which one of two askers wants something; no condition at all is the weakest."""
    return tuple(dict.fromkeys((*a, *b))) if a and b else ()


def joined(held: Task, wanted: Task) -> Task:
    """One task for two askers of the same: wanted where either wants it, with the steps and layers of both."""
    changed = {"asks": either(held.asks, wanted.asks)}
    if isinstance(held, Train):
        changed["grids"] = either(held.grids, wanted.grids)
    for field, of in (("keep", Train), ("layers", Extract)):
        if isinstance(held, of):
            changed[field] = tuple(sorted({*getattr(held, field), *getattr(wanted, field)}))
    same = all(getattr(held, field) == value for field, value in changed.items())
    return held if same else dataclasses.replace(held, **changed)
