"""Initialisation or order: which of the two decides how much of a feature a network keeps?

The task joins points of a sweep that train the same and differ in what their seeds `vary`: both, the initial parameters
alone, or the order of batches, augmentation and dropout alone. It says how far the seeds of each lie apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import seeds
from bottleneck.analysis.intervals import Interval
from bottleneck.items import PROTOCOL, Items
from bottleneck.probing import Probe
from bottleneck.rows import Finding
from bottleneck.tasks import Task

CALLED = {"both": "both", "init": "initialisation", "order": "order"}  # what seeds vary, in words


@dataclass(frozen=True, eq=False)
class Varied:
    """A point of a sweep: its coordinates, what its seeds vary, and the mixture's linear probes."""

    at: dict
    vary: str
    probes: tuple[Probe, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Spread(Task):
    """Compares points that differ in what their seeds vary."""

    targets: dict[str, bool]  # name -> whether it has classes
    points: tuple[Varied, ...]

    KIND = "spread"
    VERSION = 1
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        read = [[point.at, point.vary, sorted(probe.key for probe in point.probes)] for point in self.points]
        return [self.targets, read]

    @property
    def joined(self):
        return tuple(probe for point in self.points for probe in point.probes)

    def run(self, store) -> None:
        store.write(self, list(self.findings(store)))

    def findings(self, store) -> Iterator[Finding]:
        items = [Items(store, point.probes) for point in self.points]
        for name, classes in self.targets.items():
            read = {p.vary: (p, t) for p, i in zip(self.points, items) if (t := i.table("mixture", name)) is not None}
            unit, spreads = "bits" if classes else "r2", {}
            for vary, (point, table) in read.items():
                spreads[vary] = apart(table)
                extra = {"vary": vary}
                at = dict(arm="mixture", target=name, protocol=PROTOCOL, point=point.at, extra=extra)
                yield Finding("spread", spreads[vary], unit, at)
            if {"init", "order"} <= set(read):
                held = seeds.ratio(read["init"][1], read["order"][1])
                extra = {"sentence": sentence(name, spreads, held, unit)}
                at = dict(arm="mixture", target=name, protocol=PROTOCOL, reference="order", extra=extra)
                yield Finding("spread_ratio", held, "ratio", at)


def apart(table: np.ndarray) -> Interval:
    """The standard deviation between the seeds of `table` [S, N], without noise of items; NaN of one seed."""
    found, (n_seeds, n_examples) = seeds.spread(table), table.shape
    if found is None:
        return Interval(np.nan, 0.0, np.inf, np.nan, np.nan, "seeds", n_seeds, n_examples)
    return Interval(found.sd, found.low, found.high, np.nan, np.nan, "seeds", n_seeds, n_examples)


def sentence(name: str, spreads: dict[str, Interval], ratio: Interval, unit: str) -> str:
    """What varies more between seeds, in words."""
    unit = "R2" if unit == "r2" else unit
    each = [
        f"{CALLED[vary]} alone {held.value:.3f} {unit} ({held.low:.3f} to {held.high:.3f}, {held.n_seeds} seeds)"
        for vary, held in spreads.items()
        if vary != "both"
    ]
    words = f"{name}: between seeds the mixture's information has a standard deviation, over {' and over '.join(each)}"
    if not any(held.low > 0 for vary, held in spreads.items() if vary != "both"):
        return f"{words}: no seed is shown to differ from another by either."
    value, low, high = (f"{v:.0f}" if v >= 10 else f"{v:.2g}" for v in (ratio.value, ratio.low, ratio.high))
    size = f"ratio of variances {value}, 95% interval {low} to {high}"
    if ratio.low > 1:
        return f"{words}: initialisation decides more ({size})."
    if ratio.high < 1:
        return f"{words}: order decides more ({size})."
    return f"{words}: neither is shown to decide more ({size})."
