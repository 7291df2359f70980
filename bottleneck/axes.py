"""The axes of a sweep, from its points alone: which are numbers, which are computed, what else has to stay the same.

A point is a dictionary from axis to value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bottleneck import identity

SPLITS = ("data.split_seed", "seed_offset")  # axes whose points are draws of the same study
NAMED = "point"  # the key of a listed point that says where it lies, and the axis on which those with names do
DERIVED = ("parameters",)  # axes that are computed of a point: the number of parameters of its mixture's network


@dataclass(frozen=True)
class Axis:
    """One axis; `per`: what its slopes are per, "unit", or "doubling" or "decade" where it counts as its logarithm."""

    name: str
    per: str = "unit"

    def coordinates(self, points: Iterable[dict]) -> np.ndarray:
        x = np.array([point[self.name] for point in points], np.float64)
        return {"unit": np.asarray, "doubling": np.log2, "decade": np.log10}[self.per](x)


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_numeric(axis: str, points: Iterable[dict]) -> bool:
    """Whether an axis has numbers alone; those of draws are names."""
    return axis not in SPLITS and all(is_number(point.get(axis)) for point in points)


def varying(points: Sequence[dict]) -> list[str]:
    """The axes along which points differ, in the order in which they are named."""
    names = dict.fromkeys(name for point in points for name in point)
    return [name for name in names if len({setting(point, [name]) for point in points}) > 1]


def beside(axis: str, points: Sequence[dict]) -> list[str]:
    """The axes that must stay the same along `axis`: all others that are set. Along a computed one those that leave it
    as it is, and names (of an architecture, say), between which it is no measure."""
    plain = [name for name in varying(points) if name not in DERIVED]
    if axis not in DERIVED:
        return [name for name in plain if name != axis]
    return [name for name in plain if not is_numeric(name, points) or _leaves(axis, name, plain, points)]


def _leaves(computed: str, name: str, plain: list[str], points: Sequence[dict]) -> bool:
    """Whether points that differ in `name` alone are there, and all have the same `computed`."""
    alike: dict[str, list[dict]] = {}
    for point in points:
        alike.setdefault(setting(point, [other for other in plain if other != name]), []).append(point)
    pairs = [group for group in alike.values() if name in varying(group)]
    return bool(pairs) and all(len({point[computed] for point in group}) == 1 for group in pairs)


def setting(point: dict, names: Iterable[str]) -> str:
    """Where a point lies on some axes, as a key."""
    return json.dumps(identity.canonical([point.get(name) for name in names]), sort_keys=True)
