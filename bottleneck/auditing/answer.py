"""The answer of an audit: verdicts over all ordered pairs of networks and components, what each adds, and sentences.

Every number it adds is a row of the metrics `gap` (of an ordered pair), `served` (beside the reference, with the
sentence), `added` (with its controls) and `group_accuracy`; of networks by name in `arm` and `reference`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import concatenation, gap, intervals, probes, served
from bottleneck.auditing.spec import BEST, DIRECT, AuditSpec
from bottleneck.choose import entropy
from bottleneck.data.component import Component
from bottleneck.diagnosis.cast import LABEL, factors
from bottleneck.items import PROTOCOL, Items
from bottleneck.probing import Probe
from bottleneck.rows import Finding, select
from bottleneck.tasks import Task

REDUCED = ("pca", "whitened")  # how two networks are brought to the dimensions of one
ITEMS_A_DIMENSION = 4  # probe items for each of these at least: as many dimensions as items reduce nothing
LEAST = 10  # test items of a group, below which nothing is said of it
REFERENCE = "reference"  # the status of a network beside itself
DEPTHS = {
    "prominent": "at its features it stands out, for the ladder's own probes",
    "linear": "at its features it is there for whitened ridge probes",
    "nonlinear": "at its features it is readable only non-linearly",
}


@dataclass(frozen=True)
class Named:
    """A network of the audit: its seeds and its layers."""

    name: str
    seeds: tuple[int, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Audit(Task):
    """Joins all probes of an audit."""

    asked: AuditSpec
    networks: tuple[Named, ...]
    targets: dict[str, Component]
    probes: tuple[Probe, ...]
    diagnoses: tuple[Task, ...]

    KIND = "audit"
    VERSION = 3
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        named = [(each.name, each.seeds, each.layers) for each in self.networks]
        return [named, list(self.targets), self.asked.reference, self.asked.margin]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(output for task in (*self.probes, *self.diagnoses) for output in task.makes))

    @property
    def joined(self):
        return self.probes

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.networks]

    def run(self, store) -> None:
        store.write(self, list(_Joined(self, store).findings()))


class _Joined:
    """What the probes of an audit say together."""

    def __init__(self, task: Audit, store):
        self.task, self.store, self.asked = task, store, task.asked
        self.items = Items(store, task.probes)
        self.sides = [*task.names, *([DIRECT] if self.asked.reference == DIRECT else [])]
        tables = {c: {name: self.items.table(name, c) for name in self.sides} for c in task.targets}
        self.entropies = {c: entropy(component) for c, component in task.targets.items()}
        self.tables = tables
        self.verdicts = served.pairs(tables, self.entropies, self.asked.margin, references=(DIRECT,))
        self.additions = {key: each for component in task.targets for key, each in self.added_to(component)}
        self.real = served.real(self.additions)
        self.restored = self.restores()

    def findings(self) -> Iterator[Finding]:
        yield from self.means()
        for component in self.task.targets:
            for (of, name, other), verdict in self.verdicts.items():
                if of == component:
                    yield self.pair(component, name, other, verdict)
            yield from self.added(component)
            for name in self.task.names:
                yield from self.served(component, name)
                yield from self.groups(component, name)

    def means(self) -> Iterator[Finding]:
        """Information and accuracy of every network, floor and set, over seeds; of few examples over draws too."""
        for (arm, target, protocol, shots, _), group in self.items.probes.items():
            at = dict(arm=arm, target=target, protocol=protocol, n_shot=shots)
            at["dim"] = max((r["dim"] for probe in group for r in self.store.rows(probe) if r["dim"]), default=None)
            for outcome, metric, unit in (("information", "information", "bits"), ("correct", "accuracy", "fraction")):
                draws = self.items.draws(arm, target, outcome, protocol=protocol, shots=shots)
                mean = intervals.few_shot([(1.0, draws)]) if unit == "bits" else intervals.proportion(draws)
                several = len(group[0].members) > 1
                yield Finding(metric, concatenation.over_sets(mean) if several else mean, unit, at)
        for target, component in self.task.targets.items():
            probe, test = component.splits["probe"].labels, component.splits["test"].labels
            at = dict(arm="majority", target=target, n_examples=len(test))
            yield Finding("accuracy", probes.majority(probe, test), "fraction", at)

    def pair(self, component: str, name: str, other: str, verdict: gap.Verdict) -> Finding:
        """Whether a network reaches what another one does."""
        at = dict(arm=name, reference=other, target=component, protocol=PROTOCOL)
        extra = {
            "verdict": verdict.verdict,
            "p": verdict.p,
            "adjusted_p": verdict.adjusted_p,
            "family": sum(bool(np.isfinite(each.adjusted_p)) for each in self.verdicts.values()),
            "margin": self.asked.margin,
            "needs": verdict.needs,
        }
        return Finding("gap", verdict.gap, "bits", {**at, "extra": extra})

    def loss(self, arm: str, component: str) -> float:
        """The mean validation log-loss of an arm's probes, by which choices are made."""
        group = self.items.probes[arm, component, PROTOCOL, None, None]
        return float(np.mean([r["value"] for p in group for r in self.store.rows(p) if r["split"] == "val"]))

    @functools.cache  # noqa: B019  lives as long as one task runs
    def reference(self, component: str) -> str:
        """What a component is held against: what was declared, else the network of the least validation loss there."""
        if self.asked.reference != BEST:
            return self.asked.reference
        return min(self.task.names, key=lambda name: self.loss(name, component))

    def verdict(self, component: str, name: str) -> gap.Verdict:
        """Of a network beside the reference."""
        reference = self.reference(component)
        if name != reference:
            return self.verdicts[component, name, reference]
        return served.itself(self.tables[component][name], self.entropies[component], self.asked.margin)

    def served(self, component: str, name: str) -> Iterator[Finding]:
        """Whether a network serves a component, in a sentence."""
        reference, verdict = self.reference(component), self.verdict(component, name)
        both = {
            other: self.additions[component, name, other].joined
            for (of, one, other), restores in self.restored.items()
            if (of, one) == (component, name) and restores
        }
        told = served.Told(
            component,
            name,
            self.asked.trained_here if reference == DIRECT else reference,
            self.asked.reference == BEST,
            verdict,
            len(self.sides) == 1,
            self.floors(component, name),
            self.points(component, name, reference) if name != reference else None,
            self.depth(component, name),
            tuple(both.items()) if self.additions else None,
        )
        at = dict(arm=name, reference=reference, target=component, protocol=PROTOCOL)
        status = served.WORDS.get(verdict.verdict, verdict.verdict)
        extra = {
            "verdict": verdict.verdict,
            "status": REFERENCE if name == reference and verdict.verdict != "untestable" else status,
            "best": told.best,
            "sentence": served.sentence(told),
            "adjusted_p": verdict.adjusted_p if name != reference else None,
            "margin": self.asked.margin,
            "entropy": self.entropies[component],
            "restored_by": list(both),
            "provisional": max(verdict.direct.n_seeds, verdict.mixture.n_seeds) > 1 and verdict.provisional,
        }
        yield Finding("served", verdict.mixture, "bits", {**at, "extra": extra})
        if told.points is not None:
            yield Finding("gap", told.points, "points", at)

    def floors(self, component: str, name: str) -> tuple[tuple[str, float], ...]:
        """What the pixels and the same architecture untrained read."""
        arms = {"the pixels read": "pixels", "untrained it reads": f"{name}-untrained"}
        tables = {words: self.items.table(arm, component) for words, arm in arms.items()}
        return tuple((words, float(table.mean())) for words, table in tables.items() if table is not None)

    def points(self, component: str, name: str, reference: str) -> intervals.Interval:
        """The reference's accuracy less the network's, in points."""
        ours, theirs = (self.items.table(each, component, "correct") for each in (name, reference))
        return intervals.contrast([(100.0, theirs), (-100.0, ours)], paired=False)

    def depth(self, component: str, name: str) -> str:
        """Where the ladder finds a component's own label in a network, in words; "" where it was not asked."""
        ladders = [
            t for t in self.task.diagnoses if t.KIND == "ladder" and (t.subject, t.cast.arm) == (component, name)
        ]
        rows = [r for task in ladders for r in self.store.rows(task) if r["factor"] is None]
        landed = next((r for r in rows if r["metric"] == "rung"), None)
        if landed is None or landed["extra"]["rung"] not in (*DEPTHS, "earlier", "nowhere"):
            return ""
        extra = landed["extra"]
        of = self.asked.trained_here if extra["reference"] == DIRECT else extra["reference"]
        sure = f" (by ridge probes, held against {of}{'' if extra['certain'] else '; the intervals do not decide'})"
        if extra["rung"] in DEPTHS:
            return DEPTHS[extra["rung"]] + sure
        if extra["rung"] == "earlier":
            return f"it is readable at {landed['layer']} and no more at the features{sure}"
        if extra["untrained"]:
            return f"it is readable at {extra['untrained']}, where the same network untrained reads it too{sure}"
        return self.nowhere(name, rows, extra["reference_bits"]) + sure

    def nowhere(self, name: str, rows: list[dict], whole: float) -> str:
        """Of a network in which no rung of the ladder is shown, beside a reference of `whole` bits."""
        count = next(len(each.layers) for each in self.task.networks if each.name == name)
        where = dict(metric="information", protocol="linear", arm=name, seed="all")
        best = max(select(rows, **where), key=lambda r: r["value"])
        if best["value"] >= self.asked.margin * whole:
            return f"it is readable at {best['layer']} ({best['value']:.2f} bits; there is no untrained copy beside it)"
        share = f"at best {100 * best['value'] / whole:z.0f}%, at {best['layer']}"
        return f"none of {count} layers that were looked at reads it in full: {share}"

    # What others add

    def added_to(self, component: str) -> Iterator[tuple[tuple[str, str, str], served.Addition]]:
        """(component, network, other) -> what the other adds to the network."""
        for name, other in itertools.permutations(self.task.names, 2) if "additions" in self.asked.kinds else ():
            joined = self.joint(component, name, other)
            twice, alone = (self.first(component, arm, len(joined)) for arm in (f"{name}-twice", name))
            matched, reduced = (self.reduced(component, arm, len(joined)) for arm in (f"{name}+{other}", name))
            yield (component, name, other), served.addition(joined, alone, twice, matched, reduced)

    def restores(self) -> dict[tuple[str, str, str], bool]:
        """(component, network, other) -> whether the other beside it makes up for what the network lacks; of networks
        that do not serve the component, and of real additions."""
        asked = {}
        for (component, name, other), real in self.real.items():
            if real and self.verdict(component, name).verdict == "lost":
                reference, joined = self.reference(component), self.joint(component, name, other)
                table = self.tables[component][reference]
                paired = reference in (name, other)
                table = table[: len(joined)] if paired else table
                asked[component, name, other] = (table, joined, paired)
        return served.restored(asked, self.asked.margin) if asked else {}

    def joint(self, component: str, one: str, other: str) -> np.ndarray:
        """Both side by side, whichever was named first: [U, N]."""
        table = self.items.table(f"{one}+{other}", component)
        return self.items.table(f"{other}+{one}", component) if table is None else table

    def first(self, component: str, arm: str, count: int) -> np.ndarray:
        """The first `count` seeds of an arm, which are those of the sets."""
        return self.items.table(arm, component)[:count]

    def reduced(self, component: str, arm: str, count: int) -> np.ndarray:
        """An arm's features reduced, by whichever way validation prefers."""
        arms = [f"{arm}-{how}" for how in REDUCED]
        return self.first(component, min(arms, key=lambda each: self.loss(each, component)), count)

    def dim(self, component: str, name: str) -> int | None:
        """The dimensions to which features of a network, and of any other beside it, are reduced."""
        probes = self.items.probes[f"{name}-{REDUCED[0]}", component, PROTOCOL, None, None]
        return self.store.rows(probes[0])[0]["dim"]

    def added(self, component: str) -> Iterator[Finding]:
        """What each network adds to each other one, and to all others together."""
        for (of, name, other), each in self.additions.items():
            if of != component:
                continue
            at = dict(arm=other, reference=name, target=component, protocol=PROTOCOL)
            restores = self.restored.get((component, name, other))
            real = self.real[component, name, other]
            extra = {"real": real, "dimension": each.dimension, "restores": restores, "control": ""}
            yield Finding("added", concatenation.over_sets(each.added), "bits", {**at, "extra": extra})
            for control, dim in (("matched", self.dim(component, name)), ("repeated", None)):
                value = concatenation.over_sets(getattr(each, control))
                yield Finding("added", value, "bits", {**at, "dim": dim, "extra": {"control": control}})
        everyone = self.items.table("all", component)
        for name in self.task.names if everyone is not None else ():
            others = [each for each in self.task.names if each != name]
            without = self.items.table(f"all-but-{name}", component)
            without = self.joint(component, *others) if without is None else without
            both = intervals.contrast([(1.0, everyone), (-1.0, without[: len(everyone)])])
            at = dict(arm=name, reference="all others", target=component, protocol=PROTOCOL)
            yield Finding("added", concatenation.over_sets(both), "bits", {**at, "extra": {"control": ""}})

    # Groups

    def groups(self, component: str, name: str) -> Iterator[Finding]:
        """Accuracy on the test items of every class and of every value of a known factor; the lowest is marked."""
        test = self.task.targets[component].splits["test"]
        correct = self.items.table(name, component, "correct")
        classes = self.task.targets[component].classes
        columns = {"class": (test.labels, classes)}
        known = factors(self.task.targets[component])
        columns |= {factor: (values["test"], None) for factor, (values, _) in known.items() if factor is not LABEL}
        found, few = [], 0
        for column, (values, words) in columns.items():
            for value in np.unique(values):
                mask = values == value
                if mask.sum() >= LEAST:
                    said = words[value] if words else str(value)
                    found.append((f"{column} {said}", intervals.proportion(correct[:, mask])))
                else:
                    few += 1
        lowest = min(found, key=lambda each: each[1].value, default=(None,))[0]
        for group, accuracy in found:
            extra = {"group": group, "lowest": group == lowest, "groups": len(found), "few": few}
            at = dict(arm=name, target=component, protocol=PROTOCOL, extra=extra)
            yield Finding("group_accuracy", accuracy, "fraction", at)
