"""Whether the loss at mixtures that were not trained can be told from a few that were.

The task fits a data-mixture law to points of a sweep and meets the points that were held out. It says, too, from which
share on the mixture keeps a component.

The loss of a component is the calibrated log-loss, in bits, of the linear probe on the mixture's features: the entropy
of its labels minus information (of regression 1 - R2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals, law
from bottleneck.analysis.intervals import Interval
from bottleneck.choose import entropy
from bottleneck.data.component import Component
from bottleneck.items import PROTOCOL, Items
from bottleneck.probing import Probe, null
from bottleneck.rows import Finding, fixed
from bottleneck.tasks import Task

FEWEST = 4  # points that a law is fitted to: three parameters, and one to leave out
RIVALS = ("nearest", "interpolated")  # what a law is worth something beside


@dataclass(frozen=True, eq=False)
class Trained:
    """A point of a sweep: its coordinates, the share of every component, whether the law is kept from it, and the
    linear probes of mixture and direct."""

    at: dict
    shares: dict[str, float]
    held_out: bool
    probes: tuple[Probe, ...]


@dataclass(frozen=True, eq=False)
class Told:
    """One component: its losses [S, N] at every point, the law fitted to those that were not held out, the losses [P]
    that it and its rivals say, and the same without each of the seeds [S, P]."""

    tables: list[np.ndarray]
    choice: law.Choice
    said: dict[str, np.ndarray]
    without: dict[str, np.ndarray]

    @property
    def measured(self) -> np.ndarray:
        return np.array([table.mean() for table in self.tables])

    def errors(self, by: str, unit: str = "fraction") -> np.ndarray:
        """Signed errors [P] of what the law, or a rival, says: relative ones, or in the unit of the loss."""
        difference = self.said[by] - self.measured
        return difference / self.measured if unit == "fraction" else difference

    def error(self, by: str, point: int) -> Interval:
        """The relative error at one point, with an interval over seeds."""
        each = [np.delete(self.tables[point], s, 0).mean() for s in range(len(self.without[by]))]
        without = law.relative(self.without[by][:, point], each)
        return law.jackknife(self.errors(by)[point], without, self.tables[point].shape[1])


@dataclass(frozen=True, eq=False, repr=False)
class Law(Task):
    """Fits a law for every component to the points that are not held out. `margin`: as in a study."""

    components: dict[str, Component]
    points: tuple[Trained, ...]
    margin: float
    vary: str = "both"

    KIND = "law"
    VERSION = 2
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        read = [[p.at, p.shares, p.held_out, sorted(probe.key for probe in p.probes)] for p in self.points]
        return [list(self.components), read, self.margin, *([] if self.vary == "both" else [self.vary])]

    @property
    def joined(self):
        return tuple(probe for point in self.points for probe in point.probes)

    @property
    def held_out(self) -> list[int]:
        return [p for p, point in enumerate(self.points) if point.held_out]

    def run(self, store) -> None:
        store.write(self, [fixed(finding, self.vary) for finding in self.findings(store)])

    def findings(self, store) -> Iterator[Finding]:
        items = [Items(store, point.probes) for point in self.points]
        told = {}
        for own, (name, component) in enumerate(self.components.items()):
            tables = [each.table("mixture", name) for each in items]
            if all(table is not None for table in tables):
                told[name] = tell(self, own, entropy(component), [losses(table, component) for table in tables])
                yield from self.component(name, told[name])
        if told:
            yield from self.summary(None, list(told.values()))
        yield from self.kept(items)

    def component(self, name: str, told: Told) -> Iterator[Finding]:
        """What was measured and what is said at every point, and how far the held-out ones are off."""
        unit = "bits" if self.components[name].num_classes else "r2"
        fitted = {"form": told.choice.law.form, "parameters": told.choice.law.said, "left_out": told.choice.errors}
        fitted |= {"points": len(self.points) - len(self.held_out)}
        for p, point in enumerate(self.points):
            at = dict(arm="mixture", target=name, protocol=PROTOCOL, point=point.at)
            at["extra"] = {"share": point.shares[name], "held_out": point.held_out}
            yield Finding("loss", intervals.two_way(told.tables[p]), unit, at)
            said = law.jackknife(told.said["law"][p], told.without["law"][:, p], told.tables[p].shape[1])
            yield Finding("predicted_loss", said, unit, {**at, "extra": {**at["extra"], **fitted}})
            for by in told.said if point.held_out else ():
                yield Finding(f"{by}_error", told.error(by, p), "fraction", at)
        yield from self.summary(name, [told])

    def kept(self, items: list[Items]) -> Iterator[Finding]:
        """At every point whether the mixture keeps a component, as in a verdict but with no test; and from what share
        on it does."""
        found: dict[str, dict[float, str]] = {}
        for name, component in self.components.items():
            unit = "bits" if component.num_classes else "r2"
            for point, each in zip(self.points, items):
                sides = each.tables(("mixture", "direct"), name)
                if len(sides) == 2:
                    lacks = intervals.two_way(self.margin * sides["direct"] - sides["mixture"])
                    state = "lost" if lacks.low > 0 else "kept" if lacks.high < 0 else ""
                    found.setdefault(name, {})[point.shares[name]] = state
                    extra = {"share": point.shares[name], "state": state}
                    at = dict(arm="mixture", reference="direct", target=name, protocol=PROTOCOL, point=point.at)
                    yield Finding("margin", lacks, unit, {**at, "extra": extra})
        if found:
            edges = {name: edge(states) for name, states in found.items()}
            extra = {"edges": edges, "sentence": said_of_edges(found, self.margin)}
            yield Finding("edge", None, None, dict(arm="mixture", protocol=PROTOCOL, extra=extra))

    def summary(self, name: str | None, told: list[Told]) -> Iterator[Finding]:
        """Mean errors over the held-out points, which are the unit; of the law beside its rivals."""
        at = dict(arm="mixture", target=name, protocol=PROTOCOL)
        unit = "bits" if any(component.num_classes for component in self.components.values()) else "r2"
        for said in ("fraction", unit):
            missed = self.missed(told, said)
            sizes = {by: over_held_out(errors, told[0]) for by, errors in missed.items()}
            gains = {by: over_held_out(missed[by] - missed["law"], told[0]) for by in RIVALS if by in missed}
            for by, value in sizes.items():
                extra = {"held_out": len(self.held_out), "components": len(told)}
                if (by, said) == ("law", "fraction"):
                    counts = len(self.points) - len(self.held_out), len(self.held_out)
                    extra["sentence"] = sentence(name, sizes, gains, *counts)
                yield Finding(f"{by}_error", value, said, {**at, "extra": extra})
            for by, value in gains.items():
                yield Finding("law_gain", value, said, {**at, "reference": by})

    def missed(self, told: list[Told], unit: str) -> dict[str, np.ndarray]:
        """Absolute errors of the law and of its rivals at every held-out point, means over components."""
        common = [by for by in told[0].said if all(by in each.said for each in told)]
        return {by: np.mean([np.abs(each.errors(by, unit))[self.held_out] for each in told], axis=0) for by in common}


def losses(table: np.ndarray, component: Component) -> np.ndarray:
    """Losses [S, N] of every test item, from its information: bits, or parts of the variance of regression."""
    if not component.num_classes:
        return 1.0 - table
    return -np.log2(null(component))[component.splits["test"].labels] - table


def tell(task: Law, own: int, top: float, tables: list[np.ndarray]) -> Told:
    """The law of one component, and what it and its rivals say at every point. Without a seed the form stays."""
    shares = np.array([list(point.shares.values()) for point in task.points])
    fitted = [p for p, point in enumerate(task.points) if not point.held_out]
    measured = np.array([table.mean() for table in tables])
    choice = law.choose(shares[fitted], own, measured[fitted], top)
    seeds = range(len(tables[0]) if len({len(table) for table in tables}) == 1 and len(tables[0]) > 1 else 0)
    without = []
    for s in seeds:
        y = np.array([np.delete(tables[p], s, 0).mean() for p in fitted])
        without.append(_said(law.fit(choice.law.form, shares[fitted], own, y, top), shares, fitted, y))
    said = _said(choice.law, shares, fitted, measured[fitted])
    return Told(
        tables, choice, said, {by: np.array([each[by] for each in without]).reshape(-1, len(shares)) for by in said}
    )


def _said(fitted_law: law.Law, shares: np.ndarray, fitted: list[int], y: np.ndarray) -> dict[str, np.ndarray]:
    between = law.interpolated(shares[fitted], fitted_law.own, y, shares)
    said = {"law": fitted_law(shares), "nearest": y[law.nearest(shares[fitted], shares)]}
    return said if between is None else {**said, "interpolated": between}


def edge(states: dict[float, str]) -> tuple[float | None, float | None]:
    """The share up to which a component is lost at every point, and that from which on it is kept at every one."""
    shares = sorted(states)
    lost = [s for i, s in enumerate(shares) if all(states[other] == "lost" for other in shares[: i + 1])]
    kept = [s for i, s in enumerate(shares) if all(states[other] == "kept" for other in shares[i:])]
    return max(lost, default=None), min(kept, default=None)


def over_held_out(values: np.ndarray, told: Told) -> Interval:
    """Interval of the mean of `values`, one for each held-out point: t, the points being the unit."""
    held, (n_seeds, n_examples) = intervals.two_way(np.asarray(values)[:, None]), told.tables[0].shape
    return dataclasses.replace(held, unit="held-out mixtures", n_seeds=n_seeds, n_examples=n_examples)


def sentence(name: str | None, sizes: dict, gains: dict, fitted: int, held_out: int) -> str:
    """What the law is worth, beside the loss of the nearest mixture that was trained."""
    whose = f"the loss of {name}" if name else "the components' loss"
    words = f"From {fitted} trained mixtures {whose} at {held_out} others is told with a mean relative error of "
    words += f"{_percent(sizes['law'])}; the loss of the nearest trained one is off by {_percent(sizes['nearest'])}"
    gain = gains["nearest"]
    if gain.low > 0:
        words += f", which is {_points(gain)} more: the law is better"
    elif gain.high < 0:
        words += f": the law is worse, {_points(gain)}"
    else:
        words += f": no difference is shown, {_points(gain)}"
    if "interpolated" in gains:
        beside = gains["interpolated"]
        than = "better" if beside.low > 0 else "worse" if beside.high < 0 else "not shown to be better"
        words += f"; than a line between the trained neighbours ({_percent(sizes['interpolated'])}) it is {than}"
    return f"{words}."


def _percent(held: Interval) -> str:
    return f"{100 * held.value:.1f}% ({100 * max(held.low, 0.0):.1f} to {100 * held.high:.1f})"


def _points(held: Interval) -> str:
    return f"{100 * held.value:.1f} points (95% interval {100 * held.low:.1f} to {100 * held.high:.1f})"


def said_of_edges(states: dict[str, dict[float, str]], margin: float) -> str:
    """Where components fall off, in words, from the state at every share of theirs."""
    each = []
    for name, held in states.items():
        (lost, kept), word = edge(held), next(iter(held.values()))
        if len(set(held.values())) == 1 and word:
            each.append(f"{name} {word} at every share")
            continue
        up_to, on = "" if lost is None else f"lost up to {lost:.2%}", "" if kept is None else f"kept from {kept:.2%} on"
        each.append(f"{name} {' and '.join(filter(None, (up_to, on))) or 'undecided at either end'}")
    kept = f"{margin:.0%} of direct training's information, 95% intervals"
    return f"By their own share of the mixture (kept: {kept}): {'; '.join(each)}."
