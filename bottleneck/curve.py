"""The answer of a sweep: per target the gap at every point and how it changes along each axis, from the points' probes.

A slope is a contrast of the points' tables of seeds by items, and the sweep's one test; points carry intervals and no
verdicts. An axis of split seeds has no slope: over its points the interval is unconditional.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bottleneck import identity
from bottleneck.analysis import intervals
from bottleneck.analysis.intervals import Interval, Slope
from bottleneck.items import PROTOCOL, Items
from bottleneck.probing import Probe
from bottleneck.rows import Finding
from bottleneck.tasks import Task

SPLITS = ("data.split_seed", "seed_offset")  # axes whose points are draws of the same study
EVERY = "all"  # the coordinate of what is said over all points of such an axis
SIGNIFICANT, CONFIRMATORY = 0.05, 4  # level of a slope's test; fewer seeds are provisional


@dataclass(frozen=True, eq=False)
class Place:
    """One point: its coordinates (axis -> value), the run seeds, and the probes of mixture and direct."""

    at: dict
    seeds: tuple[int, ...]
    probes: tuple[Probe, ...]


@dataclass(frozen=True)
class Reading:
    """What one point says of one target: tables [S, N] of mixture and direct, information and correctness."""

    place: Place
    unit: str
    items: str  # fingerprint of the test items
    sides: dict[str, np.ndarray]
    correct: dict[str, np.ndarray]

    @property
    def gap(self) -> np.ndarray:
        return self.sides["direct"] - self.sides["mixture"]

    @property
    def points(self) -> np.ndarray | None:
        """The gap in points of accuracy; None for regression."""
        return 100.0 * (self.correct["direct"] - self.correct["mixture"]) if len(self.correct) == 2 else None


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Task):
    """Joins the points of a sweep. `log`: axes whose slopes are per doubling. `families`: targets tested together."""

    axes: tuple[str, ...]
    log: tuple[str, ...]
    families: tuple[tuple[str, ...], ...]
    places: tuple[Place, ...]

    KIND = "sweep"
    VERSION = 1
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        read = [[place.at, place.seeds, sorted(p.key for p in place.probes)] for place in self.places]
        return [self.axes, self.log, self.families, read]

    @property
    def joined(self):
        return tuple(probe for place in self.places for probe in place.probes)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(output for place in self.places for p in place.probes for output in p.makes))

    def run(self, store) -> None:
        store.write(self, list(self.findings(store)))

    def findings(self, store) -> Iterator[Finding]:
        for family in self.families:
            readings = {name: [] for name in family}
            for place in self.places:
                items = Items(store, place.probes)
                for name in family:
                    readings[name] += filter(None, [reading(place, items, name)])
            readings = {name: held for name, held in readings.items() if held}
            for name, held in readings.items():
                yield from self.points(name, held)
                yield from self.unconditional(name, held)
            for axis in self.axes:
                yield from self.slopes(axis, readings)

    def points(self, name: str, readings: list[Reading]) -> Iterator[Finding]:
        """The gap and both its sides at every point."""
        for held in readings:
            at = dict(target=name, protocol=PROTOCOL, point=held.place.at)
            for arm, table in held.sides.items():
                yield Finding("information", intervals.two_way(table), held.unit, {**at, "arm": arm})
            at |= dict(arm="mixture", reference="direct")
            yield Finding("gap", intervals.two_way(held.gap), held.unit, at)
            if held.points is not None:
                yield Finding("gap", intervals.two_way(held.points), "points", at)

    def unconditional(self, name: str, readings: list[Reading]) -> Iterator[Finding]:
        """The gap over all split seeds at every setting of the other axes: the draw of data is part of the error."""
        over = {axis: EVERY for axis in self.axes if axis in SPLITS}
        settings: dict[str, list[Reading]] = {}
        for held in readings if over else ():
            settings.setdefault(identity.digest({**held.place.at, **over}), []).append(held)
        for group in settings.values():
            if len(group) > 1:
                value = intervals.over_points([held.gap for held in group], common(group))
                at = dict(target=name, protocol=PROTOCOL, point={**group[0].place.at, **over})
                extra = {"sentence": said_over_splits(name, value, group[0].unit, len(group))}
                yield Finding(
                    "gap", value, group[0].unit, {**at, "arm": "mixture", "reference": "direct", "extra": extra}
                )

    def slopes(self, axis: str, readings: dict[str, list[Reading]]) -> Iterator[Finding]:
        """One slope a target, Holm over the targets of a family; nothing along axes that are no numbers."""
        fitted = {name: self.slope(axis, held) for name, held in readings.items() if self.has_slope(axis, held)}
        tested = [name for name, slope in fitted.items() if slope is not None]
        adjusted = dict(zip(tested, intervals.holm([fitted[name].interval.p() for name in tested])))
        per = "doubling" if axis in self.log else "unit"
        for name, slope in fitted.items():
            unit = f"{readings[name][0].unit} per {per}"
            at = dict(arm="mixture", reference="direct", target=name, protocol=PROTOCOL)
            if slope is None:
                reason = f"{name}: no slope over {axis}: its points have different numbers of test items."
                yield Finding("slope", None, unit, {**at, "extra": {"axis": axis, "sentence": reason}})
                continue
            p = float(adjusted[name])
            extra = {"axis": axis, "p": slope.interval.p(), "adjusted_p": p, "family": len(tested)}
            extra |= {"lack_of_fit": slope.misfit_p, "misfit": slope.misfit}
            extra["provisional"] = slope.interval.n_seeds < CONFIRMATORY
            extra["sentence"] = said(name, axis, slope, p, readings[name][0].unit, per)
            yield Finding("slope", slope.interval, unit, {**at, "extra": extra})

    def has_slope(self, axis: str, readings: list[Reading]) -> bool:
        values = [held.place.at[axis] for held in readings]
        return axis not in SPLITS and all(map(is_number, values)) and len(set(values)) > 1

    def slope(self, axis: str, readings: list[Reading]) -> Slope | None:
        """The least-squares slope of the gap along an axis; None where the points do not have as many test items."""
        x = self.coordinates(axis, readings)
        if len({held.gap.shape[1] for held in readings}) > 1:
            return None
        paired = len({held.place.seeds for held in readings}) == 1
        whole = intervals.slope([held.gap for held in readings], x, paired)
        draws = self.by_split(axis, readings)
        if len(draws) < 2:
            return whole
        interval = intervals.over_points([line(self, axis, group) for group in draws], common(readings))
        return dataclasses.replace(whole, interval=interval)

    def coordinates(self, axis: str, readings: list[Reading]) -> np.ndarray:
        x = np.array([held.place.at[axis] for held in readings], np.float64)
        return np.log2(x) if axis in self.log else x

    def by_split(self, axis: str, readings: list[Reading]) -> list[list[Reading]]:
        """The readings by split seed, each at the same other coordinates; none where they cannot be told apart so."""
        groups: dict[tuple, list[Reading]] = {}
        for held in readings:
            groups.setdefault(tuple(held.place.at.get(split) for split in SPLITS), []).append(held)
        shapes = {(len(group), *{held.gap.shape for held in group}) for group in groups.values()}
        lines = {tuple(self.coordinates(axis, group)) for group in groups.values()}
        return list(groups.values()) if len(shapes) == len(lines) == 1 and len(next(iter(shapes))) == 2 else []


def line(curve: Curve, axis: str, readings: list[Reading]) -> np.ndarray:
    """The slope of every seed and item [S, N], of points that share them."""
    centred = curve.coordinates(axis, readings)
    centred = centred - centred.mean()
    return np.tensordot(centred / (centred @ centred), np.stack([held.gap for held in readings]), axes=1)


def reading(place: Place, items: Items, name: str) -> Reading | None:
    """What a point's probes say of a target; None where it has none."""
    sides = items.tables(("mixture", "direct"), name)
    if len(sides) < 2:
        return None
    component = next(probe.component for probe in place.probes if probe.target == name)
    correct = items.tables(("mixture", "direct"), name, outcome="correct")
    unit = "bits" if component.num_classes else "r2"
    return Reading(place, unit, component.fingerprints["test"], sides, correct)


def common(readings: list[Reading]) -> bool:
    """Whether all points have the same test items."""
    return len({held.items for held in readings}) == 1


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def said(name: str, axis: str, slope: Slope, p: float, unit: str, per: str) -> str:
    """One slope as a sentence, with what a straight line leaves over."""
    held, unit = slope.interval, "R2" if unit == "r2" else unit
    ends = f"95% interval {held.low:.2g} to {held.high:.2g}"
    if p < SIGNIFICANT:
        way = "falls" if held.value < 0 else "grows"
        words = f"{name}: the gap {way} by {abs(held.value):.2g} {unit} per {per} of {axis}"
        words += f" ({ends} of the slope, adjusted p {said_p(p)})"
    else:
        words = f"{name}: no slope of the gap over {axis} is shown: {held.value:.2g} {unit} per {per} ({ends})"
    if slope.misfit_p is not None:
        fits = "does not describe it" if slope.misfit_p < SIGNIFICANT else "is not contradicted"
        words += f"; a straight line {fits} (lack of fit: p {said_p(slope.misfit_p)})"
    if held.n_seeds < CONFIRMATORY:
        words += f"; provisional, from {held.n_seeds} seed{'s' if held.n_seeds > 1 else ''}"
    return f"{words}."


def said_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def said_over_splits(name: str, held: Interval, unit: str, count: int) -> str:
    """An unconditional interval as a sentence."""
    unit = "R2" if unit == "r2" else unit
    return (
        f"{name}: over {count} draws of the data the gap is {held.value:.2f} {unit} (95% interval {held.low:.2f} to "
        f"{held.high:.2f}, which counts the draw of training and probe items as error)."
    )
