"""What one point of a sweep says of a target: tables of seeds by test items of every arm, the gap and its parts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals
from bottleneck.analysis.intervals import Interval
from bottleneck.items import ADAPTED, PROTOCOL, Items
from bottleneck.probing import Probe

PARTS = ("exposure", "interference", "normalisation")
SIDES = {  # measure -> (arm, reference) of its rows
    "gap": ("mixture", "direct"),
    "exposure": ("alone", "direct"),
    "interference": ("mixture", "alone"),
    "normalisation": ("mixture", "direct"),
    "finished": ("longest", "direct"),
    "direct": ("direct", None),
    "mixture": ("mixture", None),
}


@dataclass(frozen=True, eq=False)
class Place:
    """One point: its coordinates (axis -> value), the run seeds, and the probes of its arms. `margin`: as in a study.
    `factor`: what competes in it; `unopposed`: the targets of whose label that says nothing as they are. `recipes`:
    those that train one network for the mixture. `vary`: what its seeds vary."""

    at: dict
    seeds: tuple[int, ...]
    probes: tuple[Probe, ...]
    margin: float = 0.9
    factor: str | None = None
    unopposed: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    vary: str = "both"

    @property
    def identity(self):
        keys = sorted(probe.key for probe in self.probes)
        return [self.at, self.seeds, keys, self.margin, self.factor, self.unopposed, self.recipes, self.vary]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(probe.arm for probe in self.probes))


@dataclass(frozen=True, eq=False)
class Reading:
    """Tables [S, N] of one target: arm -> information, and correctness where there are classes. `adapted`: those of the
    split, with BatchNorm statistics of the target's own items. `factor`: what is independent of the label in it.
    `shown`: which items are seen, the same of copies of one image."""

    place: Place
    target: str
    factor: str | None
    unit: str
    items: str  # fingerprint of the test items
    shown: str
    arms: dict[str, np.ndarray]
    correct: dict[str, np.ndarray]
    adapted: dict[str, np.ndarray] | None = None
    adapted_correct: dict[str, np.ndarray] | None = None

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """The gap and, where `alone` was read, its parts, which add up to it; `finished`: the gap of the mixture's
        longest run, which is `longest` where training was rising, else `longer`."""
        return _measures(self.arms, self.adapted)

    def table(self, measure: str) -> np.ndarray | None:
        """A measure, or an arm's information; None where it was not read."""
        return self.measures.get(measure, self.arms.get(measure))

    @functools.cached_property
    def points(self) -> dict[str, np.ndarray]:
        """The same in points of accuracy; nothing for regression."""
        each = _measures(self.correct, self.adapted_correct)
        return {measure: 100.0 * table for measure, table in each.items()}

    @property
    def gap(self) -> np.ndarray:
        return self.measures["gap"]


def _measures(arms: dict[str, np.ndarray], adapted: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    if not {"mixture", "direct"} <= set(arms):
        return {}
    gap, read, longest = arms["direct"] - arms["mixture"], adapted or arms, arms.get(longest_of(arms))
    found = {"gap": gap}
    if longest is not None and longest.shape == gap.shape:  # else fewer seeds, where looks ask it of later ones only
        found["finished"] = arms["direct"] - longest
    if "alone" in read and read["alone"].shape == gap.shape:
        found |= {"exposure": read["direct"] - read["alone"], "interference": read["alone"] - read["mixture"]}
        found |= {"normalisation": gap - found["exposure"] - found["interference"]} if adapted else {}
    return found


def longest_of(arms: dict[str, np.ndarray]) -> str | None:
    """The mixture's longest run that was read beyond its own length."""
    return next((arm for arm in ("longest", "longer") if arm in arms), None)


def reading(place: Place, items: Items, name: str, factor: str | None = None) -> Reading | None:
    """What a point's probes say of a target, as it is or with `factor` independent of its label; None where they say
    nothing of both sides of a gap."""
    if factor and name in place.unopposed:  # as it is, it is that already
        plain = reading(place, items, name)
        return plain and dataclasses.replace(plain, factor=factor)
    arms = items.tables(place.arms, name, factor=factor)
    if not {"mixture", "direct"} <= set(arms):
        return None
    component = next(p.component for p in place.probes if (p.target, p.factor) == (name, factor))
    return Reading(
        place=place,
        target=name,
        factor=factor,
        unit="bits" if component.num_classes else "r2",
        items=component.fingerprints["test"],
        shown=component.shown("test"),
        arms=arms,
        correct=items.tables(place.arms, name, outcome="correct", factor=factor),
        adapted=None if factor else items.adapted(name),
        adapted_correct=None if factor else items.adapted(name, "correct"),
    )


def at(held: Reading, measure: str) -> dict:
    """The keys of a row about a measure of a target."""
    arm, reference = SIDES[measure]
    arm = longest_of(held.arms) if measure == "finished" else arm
    protocol = ADAPTED if held.adapted and measure in PARTS else PROTOCOL
    return dict(arm=arm, reference=reference, target=held.target, protocol=protocol, factor=held.factor)


def over_targets(readings: list[Reading], tables: list[np.ndarray]) -> Interval:
    """The mean over targets of their tables [S, N]. Those of the same items are no independent draws of items, and are
    averaged item by item first; the seeds are those that all have."""
    seeds = min(map(len, tables))
    groups: dict[str, list[np.ndarray]] = {}
    for held, table in zip(readings, tables, strict=True):
        groups.setdefault(held.shown, []).append(table[:seeds])
    return intervals.across([(len(of) / len(tables), np.mean(of, axis=0)) for of in groups.values()])


def common(readings: Iterable[Reading]) -> bool:
    """Whether all points have the same test items."""
    return len({held.items for held in readings}) == 1


def comparable(readings: Iterable[Reading]) -> bool:
    """Whether all points have as many test items, so that contrasts may be made of them."""
    return len({held.gap.shape[1] for held in readings}) == 1


def paired(readings: Iterable[Reading]) -> bool:
    """Whether all points have the same seeds."""
    return len({held.place.seeds for held in readings}) == 1


def complete(readings: Iterable[Reading], measure: str) -> bool:
    """Whether a measure was read at all points."""
    return all(held.table(measure) is not None for held in readings)
