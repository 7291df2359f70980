"""Whose features a diagnosis reads, and what ridge probes read of them.

Closed-form probes, so that every factor of every (step, layer, target) can be read; the headline probes of verdicts are
logistic and live in `probing`. Each (member, component) is read once per process, whichever diagnoses ask for it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bottleneck import workers
from bottleneck.analysis import gap, information, intervals, ladder, nonlinear, screen
from bottleneck.analysis.screen import Reading
from bottleneck.data.component import Component
from bottleneck.features import extract
from bottleneck.features.source import SPLITS, Member, Pixels
from bottleneck.rows import Finding
from bottleneck.tasks import Asked

LABEL = None  # the factor that is a component's own label
PIXELS = Member(Pixels())


@dataclass(frozen=True, eq=False, repr=False)
class Cast:
    """One network a seed, in the order of seeds, wherever they come from."""

    arm: str  # "mixture", or a foreign source's name
    seeds: tuple[int, ...]
    layer: str  # the probe's
    trained: dict[tuple[int | None, str], tuple[Member, ...]]  # (kept step, layer) -> members; step None: foreign
    direct: dict[str, tuple[Member, ...]]  # component -> members of its direct runs; of an audit, network -> its own
    targets: dict[str, Component]
    components: tuple[str, ...]  # of the mixture; the other targets lie outside. Of an audit: the names in `direct`
    bare: dict[str, tuple[Member, ...]] = dataclasses.field(default_factory=dict)  # layer -> members without training
    prefix: str = "direct-"  # of what rows call those that are held against it
    paired: bool = True  # whether the seeds of those are its own; of an audit they are of other recipes

    @property
    def steps(self) -> list:
        """Kept steps at the probe's layer, ascending."""
        return sorted({step for step, layer in self.trained if layer == self.layer}, key=lambda step: step or 0)

    @property
    def last(self) -> int | None:
        return self.steps[-1]

    @property
    def layers(self) -> list[str]:
        """From input to output."""
        return list(dict.fromkeys(layer for step, layer in self.trained if step == self.last))

    def at(self, step: int | None = None, layer: str | None = None) -> tuple[Member, ...]:
        """The members of one step (default: the last) and layer (default: the probe's); none where there are none."""
        return self.trained.get((self.last if step is None else step, layer or self.layer), ())

    def untrained(self, layer: str | None = None) -> tuple[Member, ...]:
        """The same networks before they have seen any data, at a layer (default: the probe's); none of foreign ones.

        They are step 0, but for runs that start from converted weights.
        """
        return self.bare.get(layer or self.layer, ())


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(extract.Reads):
    """`subject` is a target, or a comparison for CKA. `margin`: the share of the reference that counts as read."""

    subject: str
    cast: Cast
    margin: float = gap.FRACTION
    asks: tuple[Asked, ...] = ()

    STAGE: ClassVar[str] = "analyze"

    @property
    def identity(self):
        names = [self.subject, self.cast.arm, self.cast.layer, self.cast.components]
        names += [] if self.cast.paired else ["unpaired"]
        settings = [
            getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("subject", "cast", "asks")
        ]
        return [names, settings, [(m.identity, c.name) for m, c in self.members]]

    @property
    def component(self) -> Component:
        return self.cast.targets[self.subject]

    @property
    def members(self) -> list[tuple[Member, Component]]:
        """What it reads, on whose items."""
        raise NotImplementedError

    @property
    def reads(self):
        return tuple(dict.fromkeys((member.source, member.layer, component) for member, component in self.members))

    @property
    def direct_members(self) -> list[Member]:
        """Whose features say what direct training can read on the target: every component's, and its own."""
        return [
            m for name in dict.fromkeys((*self.cast.components, self.subject)) for m in self.cast.direct.get(name, ())
        ]

    def findings(self, store):
        raise NotImplementedError

    def run(self, store) -> None:
        store.write(self, self.findings(store))

    def at(self, member: Member | None = None, **more) -> dict:
        """Row keys: whose features, on what."""
        place = {"layer": member.layer, "step": getattr(member.source, "step", None)} if member else {}
        return {"arm": self.cast.arm, "target": self.subject, **place, **more}


def factors(component: Component) -> dict[str | None, tuple[dict, int]]:
    """factor -> (values per split, number of values); `LABEL` first. Which factors are read says ladder.readable."""
    labels = {split: component.splits[split].labels for split in SPLITS}
    known, _ = ladder.readable({split: component.splits[split].factors for split in SPLITS})
    named = {name: {split: known[split][name] for split in SPLITS} for name in known["probe"]}
    counts = {name: 1 + max(int(codes.max()) for codes in values.values()) for name, values in named.items()}
    return {LABEL: (labels, component.num_classes), **{name: (named[name], counts[name]) for name in named}}


def linear(store, member: Member, component: Component) -> dict[str | None, Reading]:
    """factor -> the whitened ridge probe's reading."""
    return store.remember(
        ("linear", extract.of_member(member, component)),
        lambda: workers.call(screen.screen, store.features(member.source, member.layer, component), factors(component)),
    )


def entangled(store, member: Member, component: Component, targets: dict) -> dict:
    """factor -> the non-linear probe's reading."""
    return workers.call(nonlinear.probe, store.features(member.source, member.layer, component), targets)


def table(readings: list, outcome: str = "bits") -> np.ndarray:
    """`bits` or `correct` of several readings [S, N]."""
    return np.stack([getattr(reading, outcome) for reading in readings]).astype(float)


def linears(store, members, component: Component, factor: str | None, outcome: str = "bits") -> np.ndarray:
    """`bits`, `correct` or `val_correct` [S, N] of the members' linear readings of one factor."""
    return table([linear(store, member, component)[factor] for member in members], outcome)


def reference(store, diagnosis: Diagnosis, factor: str | None) -> tuple[str, np.ndarray]:
    """Whose direct training reads `factor` best on the target (chosen on validation), and its bits [S, N].

    For the label it is the target's own, as in the gap; where nothing is trained on it, the best as well.
    """
    cast, component = diagnosis.cast, diagnosis.component

    def val(name):
        return np.mean([linear(store, m, component)[factor].val_bits for m in cast.direct[name]])

    best = diagnosis.subject
    if factor is not LABEL or best not in cast.direct:
        best = max((name for name in dict.fromkeys((best, *cast.components)) if name in cast.direct), key=val)
    return best, linears(store, cast.direct[best], component, factor)


def testable(reference_table: np.ndarray, values: dict, count: int) -> bool:
    """Whether direct training itself clearly reads a factor."""
    return gap.testability(reference_table, entropy(values, count)) == "testable"


def entropy(values: dict, count: int) -> float:
    """H of a factor in bits, under its frequencies among the probe items."""
    return information.entropy(information.prior(values["probe"], count))


def reading_findings(diagnosis: Diagnosis, readings: list, **at):
    """What was read of one factor, a Reading (or a head's Scores) per seed: information, accuracy, means."""
    for metric, unit, outcome in (("information", "bits", "bits"), ("accuracy", "fraction", "correct")):
        whole = table(readings, outcome)
        for seed, items, reading in zip(diagnosis.cast.seeds, whole, readings):  # the pooled input has one
            probe = {"scaling": getattr(reading, "scaling", None), "lambda": getattr(reading, "lam", None)}
            yield Finding(metric, intervals.two_way(items), unit, {**at, **probe, "seed": seed})
        yield Finding(metric, intervals.two_way(whole), unit, at)


def over_seeds(metric: str, unit: str | None, values, n_examples: int, **at) -> Finding:
    """One number per seed: mean and t interval over seeds; no interval with one seed."""
    values = np.asarray(values, float)
    at = {"selected_on": None, "n_examples": n_examples, **at}
    at["extra"] = {"values": values.tolist(), **at.get("extra", {})}
    if len(values) == 1 or not np.isfinite(values).all():
        return Finding(metric, float(values.mean()), unit, {**at, "n_seeds": len(values)})
    return Finding(metric, intervals.two_way(values[:, None]), unit, at)
