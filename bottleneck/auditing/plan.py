"""From an audit to the graph of its tasks: passes over networks, probes, diagnoses, and what joins them."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np

from bottleneck import typed
from bottleneck.auditing.answer import ITEMS_A_DIMENSION, REDUCED, Audit, Named
from bottleneck.auditing.networks import Audited, audited
from bottleneck.auditing.spec import DIRECT, AuditSpec
from bottleneck.data.component import Component
from bottleneck.data.reading import describe
from bottleneck.diagnosis.between import Between
from bottleneck.diagnosis.cast import Cast
from bottleneck.diagnosis.ladder import Ladder
from bottleneck.errors import UserError
from bottleneck.features.layers import LAST
from bottleneck.features.source import Member, Pixels
from bottleneck.graph import Graph
from bottleneck.planning import checks
from bottleneck.planning import plan as plans
from bottleneck.planning.planner import Planner
from bottleneck.tasks import Task


@dataclass(frozen=True, eq=False)
class AuditPlan:
    """An audit and its tasks; what `execute` carries out, like a study's plan."""

    study: AuditSpec
    targets: dict[str, Component]
    tasks: tuple[Task, ...]
    said: tuple[str, ...]
    points: tuple = ()

    @functools.cached_property
    def graph(self) -> Graph:
        return Graph(self.tasks)

    @property
    def reading(self) -> dict[str, list[str]]:
        lines = {name: describe(component.reading) for name, component in self.targets.items()}
        return {**lines, "networks": list(self.said)}


def spec(config) -> AuditSpec:
    """The typed audit of a config. Raises UserError."""
    return typed.build(AuditSpec, config)


def plan(asked: AuditSpec) -> AuditPlan:
    """Loads the networks and the data's index, and lays out every task. Raises UserError."""
    episodes = plans.load(asked.study)
    for name, component in episodes.targets.items():
        if not component.num_classes:
            raise UserError(f"components.{name}", name, "classes for labels")
    checks.held_out(asked.study, episodes.components, episodes.targets)
    networks = [
        audited(name, each, episodes.targets, asked.data, asked.untrained) for name, each in asked.networks.items()
    ]
    planner = Planner(asked.study, episodes)
    laid = _Laid(asked, planner, networks)
    laid.add()
    said = (*(line for each in networks for line in each.said), *laid.said)
    return AuditPlan(asked, episodes.targets, planner.everything(), said)


class _Laid:
    """Lays out the tasks of an audit."""

    def __init__(self, asked: AuditSpec, planner: Planner, networks: list[Audited]):
        self.asked, self.planner, self.networks = asked, planner, networks
        self.targets = planner.episodes.targets
        self.said: list[str] = []
        self.direct: dict[str, tuple[Member, ...]] = {}

    def add(self) -> None:
        if self.asked.reference == DIRECT:
            checks.model(self.planner.episodes)
            self.train()
        for target, component in self.targets.items():
            self.probe(target, component)
            if "additions" in self.asked.kinds:
                self.join(target)
        diagnoses = tuple(self.planner.add(task) for task in self.diagnoses())
        named = tuple(Named(each.name, each.seeds, each.layers) for each in self.networks)
        probes = self.planner.probes
        self.planner.add(Audit(self.asked, named, self.targets, probes, diagnoses))

    def train(self) -> None:
        """Direct training of every component, and its probes."""
        for target, seed in itertools.product(self.targets, self.planner.study.run_seeds):
            name = f"{DIRECT}-{target}"
            self.planner.train(self.planner.run(name, seed))
            member = self.planner.member(name, seed)
            self.direct[target] = (*self.direct.get(target, ()), member)
            self.planner.probe(DIRECT, seed, target, (member,))

    def probe(self, target: str, component: Component) -> None:
        """What every network, untrained or not, and the pixels read of one component; from few examples too."""
        shots = self.shots(target, component)
        self.planner.probe("pixels", 0, target, (Member(Pixels()),))
        for each in self.networks:
            for seed, member in enumerate(each.members(target)):
                self.planner.probe(each.name, seed, target, (member,))
                for count in shots:
                    few = dict(shots=count, draws=self.asked.draws)
                    self.planner.probe(each.name, seed, target, (member,), "k_shot", **few)
            for member in each.untrained():
                self.planner.probe(f"{each.name}-untrained", 0, target, (member,))

    def shots(self, target: str, component: Component) -> tuple[int, ...]:
        """The numbers of examples a class that the probe split has."""
        fewest = int(np.bincount(component.splits["probe"].labels, minlength=component.num_classes).min())
        asked = self.asked.shots
        kept = tuple(count for count in asked if count <= fewest)
        if kept != asked:
            left = ", ".join(str(count) for count in asked if count > fewest)
            self.said.append(f"{target}: no probes of {left} examples a class, as one class has {fewest}")
        return kept

    def join(self, target: str) -> None:
        """Every two networks side by side, and all; with the same features twice, and reduced to the first's size, as
        the same features twice are."""
        most = len(self.targets[target].splits["probe"]) // ITEMS_A_DIMENSION
        reductions = {how: f"{how}@{max(1, most)}" for how in REDUCED}
        for one, other in itertools.combinations(self.networks, 2):
            self.sets(f"{one.name}+{other.name}", [one, other], target)
        for one, other in itertools.permutations(self.networks, 2):
            for index, both in enumerate(zip(one.members(target), other.members(target))):
                for how, reduce in reductions.items():
                    self.planner.probe(f"{one.name}+{other.name}-{how}", index, target, both, reduce=reduce)
        for each in self.networks if len(self.networks) > 1 else ():
            for index, member in enumerate(each.members(target)):
                self.planner.probe(f"{each.name}-twice", index, target, (member, member))
                for how, reduce in reductions.items():
                    self.planner.probe(f"{each.name}-{how}", index, target, (member, member), reduce=reduce)
        if len(self.networks) > 2:
            self.sets("all", self.networks, target)
            for each in self.networks:
                others = [other for other in self.networks if other is not each]
                if len(others) > 2:
                    self.sets(f"all-but-{each.name}", others, target)

    def sets(self, name: str, networks: list[Audited], target: str) -> None:
        """Several networks side by side, seed by seed as far as all have them."""
        for index, members in enumerate(zip(*(each.members(target) for each in networks))):
            self.planner.probe(name, index, target, members)

    def diagnoses(self) -> list[Task]:
        tasks: list[Task] = []
        for each in self.networks:
            for target in self.targets:
                cast = self.cast(each, target)
                if "ladder" in self.asked.kinds:
                    tasks.append(Ladder(target, cast, self.asked.margin))
        if "cka" in self.asked.kinds and len(self.networks) > 1:
            tasks += [self.between(target) for target in self.targets]
        return tasks

    def cast(self, each: Audited, target: str) -> Cast:
        """A network on one component, beside what the component is held against."""
        trained = {(None, layer): each.members(target, layer) for layer in each.layers}
        bare = {layer: each.untrained(layer) for layer in each.layers}
        against = {other.name: other.members(target) for other in self.networks}
        if self.asked.reference in against:
            against = {self.asked.reference: against[self.asked.reference]}
        elif self.asked.reference == DIRECT:
            against = {DIRECT: self.direct[target]}
        return Cast(
            each.name, each.seeds, LAST, trained, against, self.targets, tuple(against), bare, prefix="", paired=False
        )

    def between(self, target: str) -> Between:
        members = tuple((each.name, each.members(target), each.untrained()) for each in self.networks)
        names = tuple(self.targets)
        cast = Cast("audit", (0,), LAST, {(None, LAST): members[0][1][:1]}, {}, self.targets, names, prefix="")
        return Between(target, cast, networks=members)
