"""What a sweep shows along an axis: slopes of the gap and its parts over numbers, differences between names.

Both are contrasts of the points' tables of seeds by items, among points that differ along that axis alone. The slope of
the gap is the sweep's one test; the others are exploratory, their p adjusted over targets within each measure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from bottleneck.analysis import intervals
from bottleneck.analysis.intervals import Interval, Slope
from bottleneck.axes import NAMED, SPLITS, Axis, beside, is_numeric, setting
from bottleneck.points import PARTS, SIDES, Reading, at, common, comparable, complete, paired
from bottleneck.rows import Finding

SIGNIFICANT, CONFIRMATORY = 0.05, 4  # level of a slope's test; fewer seeds are provisional
ROUNDING = 1e-6  # bits
Readings = dict[str, list[Reading]]  # target -> its points


def along(axis: Axis, readings: Readings) -> Iterator[Finding]:
    """All that is said of one axis: slopes over numbers, differences between names; nothing over draws of the data."""
    points = [held.place.at for each in readings.values() for held in each]
    if is_numeric(axis.name, points):
        yield from slopes(axis, readings)
    elif axis.name not in SPLITS:
        yield from differences(axis, readings)


def slopes(axis: Axis, readings: Readings) -> Iterator[Finding]:
    """One slope a target and measure, Holm over the targets; nothing where no points differ along the axis alone."""
    readings = {name: held for name, held in readings.items() if contrast_of(axis, held).any()}
    fitted = {m: {name: slope(axis, held, m) for name, held in readings.items()} for m in SIDES}
    fitted = {m: {name: found for name, found in of.items() if found is not None} for m, of in fitted.items()}
    for measure, of in fitted.items():
        adjusted = intervals.holm([found.interval.p() for found in of.values()])
        for (name, found), p in zip(of.items(), adjusted):
            first, words = readings[name][0], {}
            if measure == "gap":
                sides = {m: each[name].interval for m, each in fitted.items() if m != "gap" and name in each}
                missing = any("exposure" in held.measures for held in readings[name]) and "exposure" not in sides
                words = {"sentence": said(titled(first), axis, found, p, first.unit, sides, missing)}
            extra = {**tested(axis, first, measure, found, float(p), len(of)), **words}
            where = {**at(first, measure), "extra": extra}
            yield Finding("slope", found.interval, f"{first.unit} per {axis.per}", where)
    for name in [name for name in readings if name not in fitted["gap"]]:
        first = readings[name][0]
        reason = f"{titled(first)}: no slope over {axis.name}: its points have different numbers of test items."
        extra = {"axis": axis.name, "measure": "gap", "sentence": reason}
        yield Finding("slope", None, f"{first.unit} per {axis.per}", {**at(first, "gap"), "extra": extra})


def tested(axis: Axis, held: Reading, measure: str, found: Slope, p: float, family: int) -> dict:
    """What a slope's row says beside its interval."""
    return {
        "axis": axis.name,
        "measure": measure,
        "p": found.interval.p(),
        "adjusted_p": p,
        "family": family,
        "lack_of_fit": found.misfit_p,
        "misfit": found.misfit,
        "provisional": found.interval.n_seeds < CONFIRMATORY,
        "exploratory": measure != "gap" or held.factor is not None,
    }


def contrast_of(axis: Axis, readings: list[Reading]) -> np.ndarray:
    """What of every point makes the slope: see intervals.coefficients."""
    return intervals.coefficients(*_places(axis, readings))


def _places(axis: Axis, readings: list[Reading]) -> tuple[np.ndarray, list[str]]:
    """Where points lie on an axis, and which of them differ along it alone."""
    points = [held.place.at for held in readings]
    return axis.coordinates(points), [setting(point, beside(axis.name, points)) for point in points]


def slope(axis: Axis, readings: list[Reading], measure: str = "gap") -> Slope | None:
    """The least-squares slope of a measure along an axis; None where it was not read at every point of the slope, or
    these do not have as many test items. Over several draws of the data these are part of the error."""
    x, groups = _places(axis, readings)
    varying = {group for group, share in zip(groups, contrast_of(axis, readings)) if share}
    used = [held for held, group in zip(readings, groups) if group in varying]
    if not complete(used, measure) or not comparable(used):
        return None
    x, groups = x[[group in varying for group in groups]], [group for group in groups if group in varying]
    tables = [held.table(measure) for held in used]
    whole = intervals.slope(tables, x, paired(used), groups=groups)
    draws = by_draw(axis, used)
    if len(draws) < 2:
        return whole
    lines = [np.tensordot(contrast_of(axis, d), [held.table(measure) for held in d], axes=1) for d in draws]
    return dataclasses.replace(whole, interval=intervals.over_points(lines, common(used)))


def by_draw(axis: Axis, readings: list[Reading]) -> list[list[Reading]]:
    """The readings by split seed, each at the same other coordinates; none where they cannot be told apart so."""
    groups: dict[tuple, list[Reading]] = {}
    for held in readings:
        groups.setdefault(tuple(held.place.at.get(split) for split in SPLITS), []).append(held)
    shapes = {(len(group), *{held.gap.shape for held in group}) for group in groups.values()}
    lines = {tuple(axis.coordinates(held.place.at for held in group)) for group in groups.values()}
    return list(groups.values()) if len(shapes) == len(lines) == 1 and len(next(iter(shapes))) == 2 else []


def differences(axis: Axis, readings: Readings) -> Iterator[Finding]:
    """Every name on an axis against the first, in gap, the mixture's information and parts; Holm over the targets of
    each measure and name."""
    base, *others = dict.fromkeys(held.place.at[axis.name] for each in readings.values() for held in each) or [None]
    found: dict[str, dict] = {name: {} for name in readings}  # target -> (measure, name) -> (difference, p, family)
    for measure in ("gap", "mixture", *PARTS):
        for other in others:
            made = {name: difference(axis.name, held, measure, other, base) for name, held in readings.items()}
            made = {name: each for name, each in made.items() if each is not None}
            for (name, each), p in zip(made.items(), intervals.holm([each.p() for each in made.values()])):
                found[name][measure, other] = each, float(p), len(made)
    for name, of in found.items():
        first, gaps = readings[name][0], {other: each for (measure, other), each in of.items() if measure == "gap"}
        for (measure, other), (each, p, family) in of.items():
            extra = {"axis": axis.name, "measure": measure, "name": other, "against": base, "exploratory": True}
            extra |= {"p": each.p(), "adjusted_p": p, "family": family}
            if (measure, other) == ("gap", next(iter(gaps))):
                own = {other: each for (measure, other), (each, *_) in of.items() if measure == "mixture"}
                extra["sentence"] = said_of_names(titled(first), axis.name, base, gaps, own, first.unit)
            yield Finding("difference", each, first.unit, {**at(first, measure), "extra": extra})


def difference(axis: str, readings: list[Reading], measure: str, name, base) -> Interval | None:
    """A measure at the points of one name less that at those of another that differ in it alone, the mean of all such
    pairs; None without a pair, or where one cannot be made."""
    points = [held.place.at for held in readings]
    settings: dict[str, dict] = {}
    for held in readings:
        settings.setdefault(setting(held.place.at, beside(axis, points)), {})[held.place.at[axis]] = held
    pairs = [(of[name], of[base]) for of in settings.values() if {name, base} <= set(of)]
    every = [held for pair in pairs for held in pair]
    if not pairs or not comparable(every) or not complete(every, measure) or (axis == NAMED and not common(every)):
        return None  # of named studies, also targets that have a name in common and no items
    terms = [(sign, held.table(measure)) for pair in pairs for sign, held in zip((1.0, -1.0), pair)]
    return intervals.contrast([(sign / len(pairs), table) for sign, table in terms], paired=paired(every))


# Sentences


def titled(held: Reading) -> str:
    return f"{held.target} ({held.factor} randomised)" if held.factor else held.target


def said(name: str, axis: Axis, slope: Slope, p: float, unit: str, sides: dict[str, Interval], missing: bool) -> str:
    """One slope as a sentence, with those of both sides and of the parts, and what a straight line leaves over."""
    held, unit, per = slope.interval, "R2" if unit == "r2" else unit, axis.per
    ends = f"95% interval {said_size(held.low)} to {said_size(held.high)}"
    if p < SIGNIFICANT:
        way = "falls" if held.value < 0 else "grows"
        words = f"{name}: the gap {way} by {said_size(abs(held.value))} {unit} per {per} of {axis.name}"
        words += f" ({ends} of the slope, adjusted p {said_p(p)})"
    else:
        words = (
            f"{name}: no slope of the gap over {axis.name} is shown: {said_size(held.value)} {unit} per {per} ({ends})"
        )
    each = {side: f"{said_size(i.value)} ({said_size(i.low)} to {said_size(i.high)})" for side, i in sides.items()}
    words += (
        f", direct training's information changing by {each.pop('direct')} and the mixture's by {each.pop('mixture')}"
    )
    finished = each.pop("finished", None)
    if each:
        *before, last = [f"{part} {size}" for part, size in each.items()]
        words += f"; it is made up of {', '.join(before)} and {last}"
    elif missing:
        words += "; its parts were not read at every point"
    if finished:
        words += f"; the gap of the mixture's longest runs changes by {finished}"
    if slope.misfit_p is not None:
        fits = "does not describe it" if slope.misfit_p < SIGNIFICANT else "is not contradicted"
        words += f"; a straight line {fits} (lack of fit: p {said_p(slope.misfit_p)})"
    return f"{words}{provisional(held)}."


def said_of_names(name: str, axis: str, base, found: dict, own: dict[str, Interval], unit: str) -> str:
    """The differences between the names on an axis as a sentence; with the mixture's own where direct training, too,
    is another."""
    unit, shown, rest = "R2" if unit == "r2" else unit, [], []
    moved = {o: i for o, i in own.items() if abs(i.value + found[o][0].value) > ROUNDING and not i.low <= 0 <= i.high}
    for other, (held, p, _) in found.items():
        way = "smaller" if held.value < 0 else "larger"
        size = f"{way} by {abs(held.value):.2g} {unit} at {other} ({held.low:.2g} to {held.high:.2g}, p {said_p(p)})"
        shown, rest = ([*shown, size], rest) if p < SIGNIFICANT else (shown, [*rest, f"{other}"])
    words = f"{name}: against {base}, " if axis == NAMED else f"{name}: over {axis}, against {base}, "
    words += f"the gap is {'; '.join(shown)}" if shown else "no difference of the gap is shown"
    words += f"; none is shown at {', '.join(rest)}" if shown and rest else ""
    sizes = [f"{i.value:+.2g} at {o} ({i.low:.2g} to {i.high:.2g})" for o, i in moved.items()]
    words += f"; direct training differs, too: the mixture alone changes by {', '.join(sizes)}" if sizes else ""
    return f"{words}{provisional(next(iter(found.values()))[0])}."


def provisional(held: Interval) -> str:
    few = held.n_seeds < CONFIRMATORY
    return f"; provisional, from {held.n_seeds} seed{'s' if held.n_seeds > 1 else ''}" if few else ""


def said_size(value: float) -> str:
    """Two digits; what rounding leaves of nothing is nothing."""
    return f"{value:.2g}" if abs(value) >= ROUNDING else "0"


def said_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"
