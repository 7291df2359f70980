"""The answer of a sweep, from the points' probes: per target every arm, the gap and its parts at every point, and how
they change along each axis (see trends).

Points carry intervals and no verdicts. An axis of split seeds has no slope: over its points the interval is
unconditional.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bottleneck import overall, removed, trends
from bottleneck.analysis import causes, intervals
from bottleneck.analysis.intervals import Interval
from bottleneck.axes import SPLITS, Axis, setting
from bottleneck.items import PROTOCOL, Items
from bottleneck.points import Place, Reading, at, common, reading
from bottleneck.rows import Finding, fixed
from bottleneck.tasks import Task

EVERY = "all"  # the coordinate of what is said over all points of an axis of draws


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Task):
    """Joins the points of a sweep. `families`: targets tested together."""

    axes: tuple[Axis, ...]
    families: tuple[tuple[str, ...], ...]
    places: tuple[Place, ...]

    KIND = "sweep"
    VERSION = 7
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        return [self.axes, self.families, [place.identity for place in self.places]]

    @property
    def joined(self):
        return tuple(probe for place in self.places for probe in place.probes)

    def run(self, store) -> None:
        store.write(self, [fixed(finding, self.vary(finding.at.get("point"))) for finding in self.findings(store)])

    def vary(self, point: dict | None) -> str:
        """What the seeds vary that a finding is over: those of its point, else of all, where these agree."""
        among = [place for place in self.places if place.at == point] or self.places
        return among[0].vary if len({place.vary for place in among}) == 1 else "both"

    def findings(self, store) -> Iterator[Finding]:
        factors = dict.fromkeys(place.factor for place in self.places if place.factor)
        items = [(place, Items(store, place.probes)) for place in self.places]
        for family in self.families:
            for factor in (None, *factors):
                each = {name: [reading(place, read, name, factor) for place, read in items] for name in family}
                readings = {name: held for name in family if (held := [one for one in each[name] if one])}
                for held in readings.values():
                    yield from points(held)
                    yield from rises(held)
                    yield from self.unconditional(held) if factor is None else ()
                for axis in self.axes:
                    yield from trends.along(axis, readings)
                yield from overall.beyond(self.axes, readings) if factor is None else ()
                for together in overall.points_of(readings) if factor is None else ():
                    yield from removed.findings(together)

    def unconditional(self, readings: list[Reading]) -> Iterator[Finding]:
        """The gap over all split seeds at every setting of the other axes: the draw of data is part of the error."""
        over = [axis.name for axis in self.axes if axis.name in SPLITS]
        others = [axis.name for axis in self.axes if axis.name not in SPLITS]
        settings: dict[str, list[Reading]] = {}
        for held in readings if over else ():
            settings.setdefault(setting(held.place.at, others), []).append(held)
        for group in settings.values():
            if len(group) > 1:
                first, value = group[0], intervals.over_points([held.gap for held in group], common(group))
                point = {**first.place.at, **dict.fromkeys(over, EVERY)}
                extra = {"sentence": said_over_splits(first.target, value, first.unit, len(group))}
                yield Finding("gap", value, first.unit, {**at(first, "gap"), "point": point, "extra": extra})


def points(readings: list[Reading]) -> Iterator[Finding]:
    """Every arm, the gap and its parts at every point."""
    for held in readings:
        where = dict(target=held.target, protocol=PROTOCOL, factor=held.factor, point=held.place.at)
        for arm, table in held.arms.items():
            yield Finding("information", intervals.two_way(table), held.unit, {**where, "arm": arm})
        for unit, measures in ((held.unit, held.measures), ("points", held.points)):
            for measure, table in measures.items():
                yield Finding(measure, intervals.two_way(table), unit, {**at(held, measure), "point": held.place.at})


def rises(readings: list[Reading]) -> Iterator[Finding]:
    """At every point whether training was still rising where it ended, by runs that were finished at other lengths."""
    read = [held for held in readings if {"longer", "direct_half"} <= set(held.arms)]
    each = [
        causes.rising(causes.Evidence(held.arms, {}, None, {}, "shared", held.place.margin, 1.0, None)) for held in read
    ]
    said = said_rising(trends.titled(read[0]), sum(rise.holds for rise in each), len(read)) if read else None
    for held, rise in zip(read, each):
        where = dict(target=held.target, protocol=PROTOCOL, factor=held.factor, point=held.place.at)
        pairs = ("longer", "mixture", rise.mixture), ("direct", "direct_half", rise.direct)
        for arm, reference, value in (*pairs, ("longest", "mixture", rise.longest)):
            if value is not None:
                extra = {"rising": rise.holds, "enough": rise.enough, "sentence": said}
                yield Finding("rise", value, held.unit, {**where, "arm": arm, "reference": reference, "extra": extra})
                said = None


def said_rising(name: str, rising: int, count: int) -> str:
    if not rising:
        return f"{name}: at none of {count} points was training still rising when it ended."
    where = f"at {rising} of {count} points"
    return f"{name}: {where} training may still have been rising when it ended; the gap there is one of speed, too."


def said_over_splits(name: str, held: Interval, unit: str, count: int) -> str:
    """An unconditional interval as a sentence."""
    unit = "R2" if unit == "r2" else unit
    return (
        f"{name}: over {count} draws of the data the gap is {held.value:.2f} {unit} (95% interval {held.low:.2f} to "
        f"{held.high:.2f}, which counts the draw of training and probe items as error)."
    )
