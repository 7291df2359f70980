"""From a study to the graph of its tasks. Pure: writes nothing, trains nothing; what depends on results does so by key."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import numpy as np

from bottleneck import checks, representations
from bottleneck.answer import ADAPTED, Answer, Subject
from bottleneck.arms import ARMS
from bottleneck.choose import Choose, Decide
from bottleneck.data import component as components
from bottleneck.data.component import Component, EmptyCell
from bottleneck.diagnoses import Diagnoses
from bottleneck.episodes import Episodes
from bottleneck.errors import UserError
from bottleneck.features import foreign
from bottleneck.features.extract import Extract
from bottleneck.features.layers import LAST
from bottleneck.features.source import Arrays, Kept, Member, Pixels, Source
from bottleneck.finetuning import Finetuning
from bottleneck.graph import Graph
from bottleneck.pretraining import Start, Train
from bottleneck.probing import Probe
from bottleneck.study import StudySpec
from bottleneck.tasks import Asked, Task
from bottleneck.training.run import Run
from bottleneck.tuning import Tuning


@dataclass(frozen=True, eq=False)
class Plan:
    """A study and the graph of its tasks."""

    study: StudySpec
    episodes: Episodes
    graph: Graph
    answer: Answer

    @property
    def targets(self) -> dict[str, Component]:
        return self.episodes.targets


class Planner:
    """What a study asks for, gathered: runs with the steps wanted of them, passes with their layers, tasks that make rows."""

    def __init__(self, study: StudySpec, episodes: Episodes):
        self.study, self.episodes = study, episodes
        self.trains: dict[str, Train] = {}
        self.passes: dict[str, Extract] = {}
        self.tasks: dict[str, Task] = {}
        self.parents: dict[str, tuple] = {}  # run key -> other runs that it stands on
        self.deciders: tuple[Decide, ...] = ()
        self.run = functools.cache(self._run)

    # Gathering

    def _run(self, name: str, seed: int) -> Run:
        """A run by the name representations call it: an arm, or arm-target."""
        arm, _, target = name.partition("-")
        return self.episodes.run(ARMS[arm], seed, target)

    def member(self, name: str, seed: int, step: int | None = None, layer: str | None = None, adapt=False) -> Member:
        """A layer of a kept step of a run; by default the last step and the probe's layer."""
        run = self.run(name, seed)
        return self.kept(run, run.steps if step is None else step, f"{name}/{seed}", layer, adapt)

    def kept(self, run: Run, step: int, name: str, layer: str | None = None, adapt: bool = False) -> Member:
        layer = layer or self.study.probe.layer
        stands_on = self.parents.get(run.key, ())
        return Member(Kept(f"{name}@{step}", run, step, self.study.data, adapt, stands_on), layer)

    def train(
        self, run: Run, asks=(), start: Start | None = None, pool: tuple[Component, ...] | None = None, chooser=""
    ) -> None:
        """Asks for a run; called again, for more of its steps or on behalf of others who want it."""
        if run.key not in self.trains:
            pool = pool or self.pool_of(run)
            task = Train(run, pool, self.study.data, (run.steps,), start, chooser, asks)
        else:
            task = self.trains[run.key]
            task = dataclasses.replace(task, asks=either(task.asks, asks))
        self.trains[run.key] = dataclasses.replace(task, keep=tuple(sorted({*task.keep, *run.keep})))

    def pool_of(self, run: Run) -> tuple[Component, ...]:
        """The components a run draws from, as it sees them."""
        among = self.episodes.variants if run.name == "randomised" else self.episodes.targets
        return tuple(among[name] for name in run.components)

    def read(self, source: Source, layer: str, component: Component, asks: tuple[Asked, ...]) -> None:
        """Asks for a layer of a pass, and for the kept step it comes from."""
        wanted = Extract(source, component, (layer,), asks)
        held = self.passes.get(wanted.key)
        if held is not None:
            layers = tuple(sorted({*held.layers, layer}))
            wanted = Extract(source, component, layers, either(held.asks, asks))
        self.passes[wanted.key] = wanted
        if isinstance(source, Kept):
            self.keep(source)

    def keep(self, source: Kept) -> None:
        held = self.trains[source.run.key]
        if source.step not in held.keep:
            self.trains[source.run.key] = dataclasses.replace(held, keep=tuple(sorted({*held.keep, source.step})))

    def add(self, task: Task) -> Task:
        """Asks for a task that makes rows, and for all that it reads."""
        held = self.tasks.get(task.key)
        if held is not None and held.asks != task.asks:
            task = dataclasses.replace(task, asks=either(held.asks, task.asks))
        self.tasks[task.key] = task
        for read in getattr(task, "reads", ()):
            self.read(*read, task.asks)
        for source in getattr(task, "kept", ()):
            self.keep(source)
        return task

    def graph(self) -> Graph:
        return Graph([*self.trains.values(), *self.passes.values(), *self.tasks.values()])

    @property
    def probes(self) -> tuple[Probe, ...]:
        return tuple(task for task in self.tasks.values() if isinstance(task, Probe))

    # Conditions

    def asked(
        self, question: str, names: Iterable[str], block: int, chooser: Choose | None = None
    ) -> tuple[Asked, ...]:
        """Wanted where any of the targets is so; runs of look `block` only where the verdict came then or later."""
        if self.study.arms_for != "lost" and question == "lost":
            return ()
        choosers = (chooser,) if chooser else self.deciders[block:]
        return tuple(each.ask(question, name) for each in choosers for name in names)

    def undecided(self, names: Iterable[str], block: int) -> tuple[Asked, ...]:
        """Runs of the first look are always wanted; later ones where a target was not decided by the look before."""
        return tuple(self.deciders[block - 1].ask("undecided", name) for name in names) if block else ()

    # Probes

    def probe(
        self, arm: str, seed: int, target: str, members, protocol: str = "linear_probe", asks=(), **options
    ) -> Probe:
        component = options.pop("component", None) or self.episodes.targets[target]
        head = self.head(members[0].source, target) if len(members) == 1 else None
        options = {"scalings": self.study.probe.scalings, "head": head, **options}
        return self.add(Probe(arm, seed, target, component, tuple(members), protocol, asks=asks, **options))

    def head(self, source: Source, target: str) -> int | None:
        """Where a target's classes start among a run's logits; None where it has none there."""
        if not isinstance(source, Kept):
            return None
        run, component = source.run, self.episodes.targets[target]
        if target in run.components:
            return run.offset[run.components.index(target)]
        return 0 if run.label_space == "shared" and component.output_dim == run.outputs else None

    def protocols(self, arm: str, name: str, seed: int, target: str, asks) -> None:
        """Every protocol of the study at the last step of one run, on one target."""
        spec, member = self.study.probe, self.member(name, seed)
        for protocol in spec.protocols:
            if protocol == "head":
                if arm in ("mixture", "direct") and self.head(member.source, target) is not None:
                    self.probe(arm, seed, target, (member,), protocol, asks)
            elif protocol == "linear_probe":
                self.probe(arm, seed, target, (member,), protocol, asks)
            elif arm not in spec.arms:
                continue
            elif protocol == ADAPTED:
                self.probe(arm, seed, target, (self.member(name, seed, adapt=True),), protocol, asks)
            elif protocol == "k_shot":
                for shots in spec.shots:
                    self.probe(arm, seed, target, (member,), protocol, asks, shots=shots, draws=spec.draws)
            else:
                Finetuning(self).add(arm, seed, target, member, protocol, asks)

    def references(self) -> None:
        """The mixture and direct training of every look, untrained networks, and pooled pixels."""
        study, targets = self.study, tuple(self.episodes.targets)
        tuning = Tuning(self)
        for look in range(len(study.looks)):
            for seed in study.block(look):
                tuning.train("mixture", seed, self.undecided(targets, look))
                for target in targets:
                    asks = self.undecided([target], look)
                    tuning.train(f"direct-{target}", seed, asks)
                    self.protocols("mixture", "mixture", seed, target, asks)
                    self.protocols("direct", f"direct-{target}", seed, target, asks)
                    self.untrained(seed, target, asks)
            self.decide(look)
        for target in targets:
            self.probe("pixels", 0, target, (Member(Pixels()),))
        steps = {self.episodes.step(step) for step in study.keep}
        for seed in study.block(0):
            self.train(dataclasses.replace(self.run("mixture", seed), keep=tuple(sorted(steps))))

    def untrained(self, seed: int, target: str, asks) -> None:
        """What an untrained network of the same seed offers at the probe's layer."""
        spec, member = self.study.probe, self.member("mixture", seed, 0)
        self.probe("random", seed, target, (member,), "linear_probe", asks)
        for protocol in spec.protocols if "random" in spec.arms else ():
            if protocol == "k_shot":
                for shots in spec.shots:
                    self.probe("random", seed, target, (member,), protocol, asks, shots=shots, draws=spec.draws)
            elif protocol == "finetune":
                Finetuning(self).add("random", seed, target, member, protocol, asks)

    def decide(self, look: int) -> None:
        """The verdicts of a look."""
        families = (tuple(self.episodes.components), tuple(self.episodes.outside))
        probes = self.linear_probes("mixture", "direct")
        decider = Decide(families, probes, self.study.margin, look, len(self.study.looks), self.deciders)
        self.deciders = (*self.deciders, self.add(decider))

    def linear_probes(self, *arms: str, protocol: str = "linear_probe", factor: str | None = None) -> tuple[Probe, ...]:
        chosen = [p for p in self.probes if p.arm in arms and (p.protocol, p.factor) == (protocol, factor)]
        return tuple(chosen)

    # Foreign sources

    def foreign(self) -> list[Subject]:
        """Features from elsewhere: probed, and judged against direct training or another source."""
        subjects, targets = [], self.episodes.targets
        families = (tuple(self.episodes.components), tuple(self.episodes.outside))
        for name, spec in self.study.sources.items():
            for seed, directory in enumerate(spec.directories):
                for target, component in targets.items():
                    self.probe(name, seed, target, (self.arrays(name, seed, directory, component),))
        for name, spec in self.study.sources.items():
            references = () if spec.reference == "direct" else tuple((t, spec.reference) for t in targets)
            probes = self.linear_probes(name, spec.reference)
            decider = Decide(families, probes, self.study.margin, 0, 1, (), name, references)
            subjects.append(Subject(name, (self.add(decider),)))
        return subjects

    def arrays(self, name: str, seed: int, directory: str, component: Component) -> Member:
        return Member(Arrays(f"{name}/{seed}", directory, foreign.digest(directory, component.name)), LAST)


def either(a: tuple[Asked, ...], b: tuple[Asked, ...]) -> tuple[Asked, ...]:
    """Conditions under which one of two askers wants something; no condition at all is the weakest."""
    return tuple(dict.fromkeys((*a, *b))) if a and b else ()


def plan(study: StudySpec) -> Plan:
    """Loads the data's index and lays out every task."""
    episodes = load(study)
    checks.data(study, episodes.components, episodes.targets)
    checks.model(episodes)
    checks.shots(episodes)
    checks.analyses(study, episodes.targets)
    checks.sources(study, episodes.targets)
    episodes.tables  # noqa: B018  refuses weights and batches that cannot be drawn, before anything is planned
    planner = Planner(study, episodes)
    planner.references()
    Interventions(planner).add()
    subjects = [Subject("mixture", planner.deciders), *planner.foreign()]
    represent(planner)
    taps, batch_norm = shapes(planner.run("mixture", study.run_seeds[0]), episodes.shape)
    diagnoses = Diagnoses(planner, tuple(taps)).add()
    check_layers(planner, taps)
    answer = Answer(
        study=study,
        targets=episodes.targets,
        subjects=tuple(subjects),
        probes=planner.probes,
        diagnoses=diagnoses,
        not_asked=Interventions(planner).not_asked(),
        raised={name: (episodes.share(name), 1 / len(episodes.components)) for name in episodes.components},
        batch_norm=batch_norm,
    )
    planner.add(answer)
    return Plan(study, episodes, planner.graph(), answer)


def load(study: StudySpec) -> Episodes:
    """The components, the targets outside the mixture, and the variants in which the competing factor says nothing."""
    data = dataclasses.replace(study.data, split_seed=study.data.split_seed + study.seed_offset)
    own = {name: _load(name, spec, data, "components") for name, spec in study.components.items()}
    outside = {name: _load(name, spec, data, "targets") for name, spec in study.targets.items()}
    variants, factor = dict(own), study.mixture.competitor
    if factor is not None:
        having = [name for name, c in own.items() if factor in c.splits["train"].factors]
        if not having:
            known = sorted({f for c in own.values() for f in c.splits["train"].factors})
            expected = f"a known factor of a component: {', '.join(known) or 'there are none'}"
            raise UserError("mixture.competitor", factor, expected)
        for name in having:
            try:
                spec = dataclasses.replace(study.components[name], randomise=(factor,))
                variants[name] = _load(name, spec, data, "components")
            except EmptyCell:
                continue  # a combination of label and factor that does not occur: not asked of this component
    return Episodes(study, own, outside, variants)


def _load(name, component_spec, data, path):
    try:
        return components.load(name, component_spec, data)
    except UserError as error:
        error.key = error.key.replace("components.", f"{path}.", 1)
        raise


@functools.cache
def shapes(run: Run, shape: tuple[int, ...]) -> tuple[dict[str, int], bool]:
    """The taps of a run's model with their numbers of dimensions, and whether it has BatchNorm."""
    model = run.module()
    x = jax.ShapeDtypeStruct((1, *shape), np.float32)
    (_, taps), variables = jax.eval_shape(lambda k, x: model.init_with_output(k, x), jax.random.key(0), x)
    return {name: len(tap.shape) for name, tap in taps.items()}, "batch_stats" in variables


def check_layers(planner: Planner, taps: dict[str, int]) -> None:
    """Whether every layer that is read is there."""
    read = [("probe.layer", planner.study.probe.layer)]
    read += [("analysis.layers", layer) for layer in planner.study.analysis.layers]
    for name, spec in planner.study.representations.items():
        layers = [
            p.rpartition(":")[2] for p in spec.patterns if representations.source_of(p) not in planner.study.sources
        ]
        read += [(f"representations.{name}.members", layer) for layer in layers]
    checks.layers((path, layer, taps) for path, layer in read)
