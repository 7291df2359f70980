"""Choices that later tasks depend on: which targets are lost, which questions are worth a run, which learning rate.

A chooser reads rows of validation or of verdicts and leaves its answers as rows of metric `choice`. Tasks depend on
them by the chooser's key, never by value: the graph is planned once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import causes, gap, information
from bottleneck.data.component import Component
from bottleneck.items import Items
from bottleneck.probing import Probe, null
from bottleneck.rows import Finding
from bottleneck.tasks import Asked, Task


def entropy(component: Component) -> float:
    """H(y) in bits under the probe of no features; 1 for regression, whose ceiling is R2 = 1."""
    return information.entropy(null(component)) if component.num_classes else 1.0


def choice(question: str, target: str, look: int, answer: bool, reason: str = "") -> Finding:
    """A row of one answer, about the runs of one look."""
    extra = {"choice": _named(question, target, look), "reason": reason}
    return Finding("choice", float(answer), None, {"target": target, "look": look + 1, "extra": extra})


def _named(question: str, target: str, look: int) -> str:
    return f"{question} {target} {look}"


class Choose(Task):
    """What choosers share: they read whatever probes there are."""

    KIND = "choose"
    VERSION = 2
    STAGE = "transfer"
    JOINS = True

    @property
    def joined(self):
        return self.probes

    @property
    def output(self) -> str:
        return self.makes[0]

    def ask(self, question: str, target: str, look: int) -> Asked:
        """The condition of a task of one look that is wanted where this chooser answers yes."""
        return Asked(self.output, _named(question, target, look))

    def run(self, store) -> None:
        store.write(self, self.answers(store, Items(store, self.probes)))

    def answers(self, store, items: Items) -> Iterator[Finding]:
        raise NotImplementedError

    def about_seeds(self, question: str, target: str, table: np.ndarray, looks, answer: bool, reason: str = ""):
        """The answer about every look whose seeds were read, `table` being [S, N]."""
        for look, begun in enumerate((0, *looks[:-1])):
            if len(table) > begun:
                yield choice(question, target, look, answer, reason)


@dataclass(frozen=True, eq=False, repr=False)
class Decide(Choose):
    """Verdicts at one look: `lost` and `undecided` targets. `earlier`: the decisions of the looks before."""

    families: tuple[tuple[str, ...], ...]
    probes: tuple[Probe, ...]  # mixture and direct
    margin: float
    look: int
    looks: int
    earlier: tuple[Decide, ...] = ()
    subject: str = "mixture"
    references: tuple[tuple[str, str], ...] = ()  # target -> arm that is the reference; by default "direct"

    @property
    def identity(self):
        return ["decide", self.families, self.margin, self.look, self.looks, self.subject, self.references]

    @property
    def needs(self) -> tuple[str, ...]:
        return (*super().needs, *(chooser.output for chooser in self.earlier))

    def answers(self, store, items):
        for name, verdict in self.verdicts(store).items():
            for look in range(self.look + 1):  # interventions have the seeds of the verdict's look
                yield choice("lost", name, look, verdict.verdict == "lost", verdict.verdict)
            yield choice("undecided", name, self.look + 1, verdict.verdict == "inconclusive", verdict.verdict)

    def verdicts(self, store) -> dict[str, gap.Verdict]:
        """Verdicts of the targets that no earlier look decided, each family by itself.

        On this look's own probes: a later look's seeds, which would test the same hypothesis again, have no say.
        """
        items, components = Items(store, self.probes), {probe.target: probe.component for probe in self.probes}
        decided: dict[str, gap.Verdict] = {}
        for family in self.families:
            tables = {}
            for name in family:
                if self.earlier and _named("undecided", name, self.look) not in store.choices(self.earlier[-1].output):
                    continue
                reference = dict(self.references).get(name, "direct")
                sides = items.table(reference, name), items.table(self.subject, name)
                if sides[0] is not None and sides[1] is not None:
                    tables[name] = (*sides, entropy(components[name]))
            decided |= gap.judge(tables, self.margin, looks=self.looks)
        return decided


@dataclass(frozen=True, eq=False, repr=False)
class Expose(Choose):
    """Which lost targets lack exposure, so that scarcity is worth asking about."""

    targets: tuple[str, ...]
    probes: tuple[Probe, ...]  # mixture, direct, alone; with BatchNorm, re-measured too
    looks: tuple[int, ...]

    @property
    def identity(self):
        return ["expose", self.targets, self.looks]

    def answers(self, store, items):
        for name in self.targets:
            tables = items.tables(causes.SPLIT, name)
            if len(tables) == len(causes.SPLIT):
                answer = causes.exposed(causes.split(**tables, adapted=items.adapted(name)))
                yield from self.about_seeds("exposed", name, tables["alone"], self.looks, answer)


@dataclass(frozen=True, eq=False, repr=False)
class Compete(Choose):
    """Which lost targets miss a feature of their own once the competing factor says nothing: `competes`."""

    targets: tuple[str, ...]
    probes: tuple[Probe, ...]  # mixture and direct, on the randomised variant
    looks: tuple[int, ...]
    factor: str

    @property
    def identity(self):
        return ["compete", self.targets, self.looks, self.factor]

    def answers(self, store, items):
        components = {probe.target: probe.component for probe in self.probes}
        for name in self.targets:
            tables = items.tables(("mixture", "direct"), name, factor=self.factor)
            if len(tables) == 2:
                asked, reason = causes.competes(tables["mixture"], tables["direct"], entropy(components[name]))
                yield from self.about_seeds("competes", name, tables["mixture"], self.looks, asked, reason)


@dataclass(frozen=True, eq=False, repr=False)
class Rise(Choose):
    """Which lost targets are still rising when training ends: `rising`."""

    targets: tuple[str, ...]
    probes: tuple[Probe, ...]  # mixture, longer, direct, direct_half
    looks: tuple[int, ...]
    margin: float

    @property
    def identity(self):
        return ["rise", self.targets, self.looks, self.margin]

    def answers(self, store, items):
        for name in self.targets:
            tables = items.tables(("mixture", "longer", "direct", "direct_half"), name)
            if len(tables) == 4:
                evidence = causes.Evidence(tables, {}, None, {}, "shared", self.margin, 1.0, None)
                unsettled = causes.rising(evidence).unsettled
                yield from self.about_seeds("rising", name, tables["longer"], self.looks, unsettled)


@dataclass(frozen=True, eq=False, repr=False)
class Tune(Choose):
    """Which of a grid of (learning rate, weight decay) has the least validation log-loss, averaged by weight; of those
    at which training did not diverge."""

    grid: tuple[tuple[float, float], ...]
    probes: tuple[Probe, ...]  # of one seed: the candidates' probes, grouped by `arm` = the candidate's index as text
    weights: tuple[tuple[str, float], ...]  # target -> weight

    @property
    def identity(self):
        return ["tune", self.grid, self.weights]

    def answers(self, store, items):
        losses: dict[int, float] = {}  # of the candidates that ended: a diverged one has no rows
        for probe in self.probes:
            for row in (r for r in store.rows(probe) if r["split"] == "val"):
                weight, index = dict(self.weights).get(probe.target, 0.0), int(probe.arm)
                losses[index] = losses.get(index, 0.0) + weight * row["value"]
        best, members = min(losses, key=losses.__getitem__), {int(probe.arm): probe.members for probe in self.probes}
        for index, (lr, decay) in enumerate(self.grid):
            extra = {"lr": lr, "weight_decay": decay, "chosen": index == best, "diverged": index not in losses}
            at = {"split": "val", "members": [str(member) for member in members[index]], "extra": extra}
            yield Finding("tuning_loss", losses.get(index), "nats", at)
