"""Over all targets of a family: what the features of other training hold beyond the mixture's, on average.

So one network for all is set beside specialists, one for each: direct training for the same steps, and recipes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bottleneck.analysis.intervals import Interval
from bottleneck.arms import ARMS
from bottleneck.axes import DERIVED, Axis, is_numeric
from bottleneck.items import PROTOCOL
from bottleneck.points import Reading, comparable, over_targets, paired
from bottleneck.rows import Finding
from bottleneck.trends import Readings, contrast_of, provisional

BARE = ("mixture", "random")  # what is no training beside the mixture's


def beyond(axes: tuple[Axis, ...], readings: Readings) -> Iterator[Finding]:
    """Rows `over_mixture` of every arm at every point where all of its targets have it; and along axes of numbers (the
    computed ones, where there are any) the slopes for direct training and recipes, over points that have them all."""
    read = [together for together in points_of(readings) if len(together) > 1 and not missing(together, readings)]
    whole = [together for together in read if len(together) == len(readings)]
    for together in read:
        for arm in arms_of(together):
            value = over_targets(together, [over(held, arm) for held in together])
            where = {**at(arm), "point": together[0].place.at, "extra": {"targets": len(together)}}
            yield Finding("over_mixture", value, together[0].unit, where)
    points = [together[0].place.at for together in whole]
    numeric = [axis for axis in axes if is_numeric(axis.name, points)]
    for axis in [axis for axis in numeric if axis.name in DERIVED] or numeric if whole else ():
        yield from slopes(axis, whole)


def points_of(readings: Readings) -> list[list[Reading]]:
    """The readings of all targets that a point has, point by point."""
    by: dict[int, list[Reading]] = {}
    for held in (held for each in readings.values() for held in each):
        by.setdefault(id(held.place), []).append(held)
    return list(by.values())


def missing(together: list[Reading], readings: Readings) -> set[str]:
    """The targets of a point that nothing was read of."""
    asked = {probe.target for probe in together[0].place.probes if probe.target in readings}
    return asked - {held.target for held in together}


def arms_of(together: list[Reading]) -> list[str]:
    """The arms that can be set beside the mixture, seed by seed, on all targets."""
    return [
        arm
        for arm in together[0].arms
        if arm not in BARE
        and all(arm in held.arms and held.arms[arm].shape == held.arms["mixture"].shape for held in together)
    ]


def over(held: Reading, arm: str) -> np.ndarray:
    return held.arms[arm] - held.arms["mixture"]


def at(arm: str) -> dict:
    return dict(arm=arm, reference="mixture", protocol=PROTOCOL)


def slopes(axis: Axis, whole: list[list[Reading]]) -> Iterator[Finding]:
    """How an arm's mean advantage changes along an axis."""
    share = contrast_of(axis, [together[0] for together in whole])
    used = [(c, together) for c, together in zip(share, whole) if c]
    every = [held for _, together in used for held in together]
    if not used or not comparable(every) or not paired(every):
        return
    common = [arm for arm in arms_of(used[0][1]) if all(arm in arms_of(together) for _, together in used)]
    recipes = [arm for arm in common if arm not in ARMS]
    for arm in ["direct", *recipes] if recipes else []:
        seeds = min(len(over(held, arm)) for held in every)
        lines = [sum(c * over(together[i], arm)[:seeds] for c, together in used) for i in range(len(used[0][1]))]
        slope = over_targets(used[0][1], lines)
        ends = [min(used, key=lambda each: each[0])[1], max(used, key=lambda each: each[0])[1]]
        levels = [
            (together[0].place.at[axis.name], over_targets(together, [over(held, arm) for held in together]))
            for together in ends
        ]
        unit = every[0].unit
        extra = {"axis": axis.name, "measure": "over_mixture", "p": slope.p(), "exploratory": True}
        extra["sentence"] = said(arm, axis, len(lines), slope, levels, unit)
        yield Finding("slope", slope, f"{unit} per {axis.per}", {**at(arm), "extra": extra})


def said(arm: str, axis: Axis, count: int, slope: Interval, levels: list[tuple], unit: str) -> str:
    unit, name = "R2" if unit == "r2" else unit, "direct training" if arm == "direct" else arm
    each = [f"{level.value:z.2g} {unit} ({level.low:z.2g} to {level.high:z.2g}) at {x:,g}" for x, level in levels]
    return (
        f"Beyond the mixture, on average over {count} targets, {name}: {' and '.join(each)} {axis.name}; per "
        f"{axis.per} that changes by {slope.value:z.2g} ({slope.low:z.2g} to {slope.high:z.2g}){provisional(slope)}."
    )
