"""The ladder: how deep a factor lies in a network, from "stands out" to "nowhere", by the first rung that reads it.

    prominent   raw features, ridge at the penalty that serves the pretraining task: any linear transfer will use it
    linear      whitened features, shrinkage chosen for the factor: there, but down-weighted
    nonlinear   quadratic and radial features: there, but entangled; counts only above its control task
    earlier     linear at an earlier layer, and above an untrained network at that layer: learned, then discarded
    nowhere     none of these

A rung reads a factor when its information reaches `margin` times the reference's, which is what direct training's
features give to the linear probe. Everything here is exploratory: intervals, no verdicts, no correction over factors and
layers (`adjusted` has one). Two controls guard against probes that know too much: a control task and type-disjoint splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information
from bottleneck.analysis.gap import FRACTION, UNTESTABLE
from bottleneck.analysis.intervals import Interval, contrast, two_way

RUNGS = ("prominent", "linear", "nonlinear", "earlier", "nowhere")
DRAWS = 100  # of a control task, of which the one is taken that its factors give away least
GIVEN_AWAY = 0.5  # of the control's entropy: one factor must not tell more
CONFOUNDED = 0.25  # of the smaller entropy: what a split may add to what two factors tell of each other


@dataclass(frozen=True)
class Landing:
    """Where a factor lands. Intervals are unadjusted."""

    rung: str  # one of RUNGS, or "untestable"
    layer: str | None  # where rung "earlier" found it; None for the rungs of the last layer
    certain: bool  # intervals decide: clear of the margin at this rung and at all before it
    untrained: str | None  # a layer that reads it no better than without training, when it is nowhere else
    shares: dict[str, float]  # rung or layer -> information / reference
    margins: dict[str, Interval]  # rung or layer -> D = margin * reference - information: below 0 it is read
    selectivity: Interval | None  # information of the non-linear probe less that of its control task
    gains: dict[str, Interval]  # layer -> information less that of the untrained network


def land(reference, rungs, earlier, *, entropy: float, control=None, margin: float = FRACTION) -> Landing:
    """The first rung that reads a factor. Tables are [S, N] in bits, S seeds and N test items shared by all.

    `reference`: what direct training gives the linear probe. `rungs`: prominent, linear, nonlinear -> table at the last
    layer. `earlier`: layer, from input to output -> (trained, untrained) tables of the linear probe. `entropy`: H of the
    factor, in bits. `control`: the non-linear probe's table on the control task, if there is one.

    Untestable, checked first: the lower 95 % limit of the reference is at most UNTESTABLE of the entropy. The layer of
    the rung "earlier" is the last that reads the factor and lies above the untrained network. A certain "nowhere" may
    have layers that read it if the untrained network surely does so too.
    """
    mean = float(np.mean(reference))
    tables = {**rungs, **{layer: trained for layer, (trained, _) in earlier.items()}}
    margins = {key: contrast([(margin, reference), (-1.0, table)]) for key, table in tables.items()}
    gains = {layer: contrast([(1.0, trained), (-1.0, untrained)]) for layer, (trained, untrained) in earlier.items()}
    selectivity = None if control is None else contrast([(1.0, rungs["nonlinear"]), (-1.0, control)])
    testable = two_way(reference).low > UNTESTABLE * entropy
    shares = {key: float(np.mean(table)) / mean for key, table in tables.items()} if testable else {}

    def landing(rung, layer=None, certain=False, untrained=None):
        return Landing(rung, layer, bool(certain), untrained, shares, margins, selectivity, gains)

    if not testable:
        return landing("untestable")
    passed = []
    for rung in (rung for rung in RUNGS if rung in rungs):
        selective = rung != "nonlinear" or selectivity is None or selectivity.low > 0
        if margins[rung].value <= 0 and selective:
            return landing(rung, certain=margins[rung].high < 0 and all(margins[key].low > 0 for key in passed))
        passed.append(rung)
    certain, read = (
        all(margins[key].low > 0 for key in passed),
        [key for key in reversed(earlier) if margins[key].value <= 0],
    )
    for layer in read:
        if gains[layer].low > 0:
            return landing("earlier", layer, certain and margins[layer].high < 0)
    for layer, (_, untrained) in earlier.items():
        without = contrast([(margin, reference), (-1.0, untrained)])
        certain = certain and (margins[layer].low > 0 or layer in read and without.high < 0)
    return landing("nowhere", None, certain, read[0] if read else None)


def adjusted(tables, level: float = 0.95) -> dict[str, Interval]:
    """Intervals of the means of `tables`, name -> [S, N], that hold together at `level` (Bonferroni)."""
    return {name: two_way(table, 1.0 - (1.0 - level) / len(tables)) for name, table in tables.items()}


def control(factors, num_classes: int, seed: int) -> dict[str, np.ndarray] | None:
    """A control task (Hewitt and Liang 2019): a random function of the combination of factor values, split -> int [n].

    `factors`: split -> name -> int [n]. Classes have equally many combinations, the same in every split. A probe that
    reads it as well as it reads a factor has memorised combinations. None where no such function is to be had: fewer
    combinations than classes, or one factor alone tells more than GIVEN_AWAY of it (as where there is but one factor, or
    where the factors go together) even in the draw, of DRAWS, of which no factor tells much.
    """
    combinations, which = _combinations(factors)
    if combinations < num_classes:
        return None
    rng, probe = np.random.default_rng(seed), factors["probe"]
    drawn = [rng.permutation(np.arange(combinations) % num_classes) for _ in range(DRAWS)]
    given = [max(_mutual(each[which["probe"]], values) for values in probe.values()) for each in drawn]
    best = drawn[int(np.argmin(given))]
    if min(given) > GIVEN_AWAY * _mutual(best[which["probe"]], best[which["probe"]]):
        return None
    return {split: best[codes] for split, codes in which.items()}


def _combinations(factors) -> tuple[int, dict[str, np.ndarray]]:
    """The number of combinations of factor values, and the combination of every item, split -> int [n]."""
    values = {split: np.stack(list(known.values()), 1) for split, known in factors.items()}
    found, codes = np.unique(np.concatenate(list(values.values())), axis=0, return_inverse=True)
    ends = np.cumsum([len(v) for v in values.values()])[:-1]
    return len(found), dict(zip(values, np.split(codes.ravel(), ends)))


def disjoint(factors, name: str) -> dict[str, np.ndarray] | None:
    """A type-disjoint split for factor `name`: boolean masks, split -> [n], with which to fit on some combinations of
    factor values (probe, val) and read on others (test).

    `factors`: split -> name -> int [n]. Held out are the combinations whose values sum to one of a fixed third of the
    residues modulo the number of values of some factor (half of them modulo 2), so that every value of `name` is fitted
    and read about equally often. None if no such split exists (one factor alone) or if it would teach the probe another
    factor: if, by more than CONFOUNDED of the smaller entropy, it raises what `name` and another factor tell of each
    other over all combinations. Two binary factors are equal or opposite in every such half.

    A factor that is absent beside one that is present can be read below chance here: the other one suggests, of the
    values it was fitted with, just those that are not in the test.
    """
    totals = {split: sum(np.asarray(values, np.int64) for values in known.values()) for split, known in factors.items()}
    probe, values = factors["probe"], np.asarray(factors["probe"][name])
    if len(probe) < 2 or len(np.unique(values)) < 2:
        return None
    for modulus in sorted({int(v.max()) + 1 for v in probe.values()} - {1}, reverse=True):
        held = {split: total % modulus < max(modulus // 3, 1) for split, total in totals.items()}
        shares = np.array([held["probe"][values == value].mean() for value in np.unique(values)])
        overall, fitted = held["probe"].mean(), ~held["probe"]
        if not (np.abs(shares - overall) <= 0.5 * min(overall, 1.0 - overall)).all():
            continue
        raised = [
            (_mutual(values[fitted], other[fitted]) - _mutual(values, other))
            / min(_mutual(values, values), _mutual(other, other))
            for key, other in probe.items()
            if key != name and len(np.unique(other)) > 1
        ]
        if max(raised, default=0.0) <= CONFOUNDED:
            return {split: mask if split == "test" else ~mask for split, mask in held.items()}
    return None


def _mutual(a, b) -> float:
    """Mutual information in bits of two int arrays [n]; of an array with itself, its entropy."""
    table = np.zeros((int(np.max(a)) + 1, int(np.max(b)) + 1))
    np.add.at(table, (a, b), 1.0 / len(a))
    return information.entropy(table.sum(1)) + information.entropy(table.sum(0)) - information.entropy(table.ravel())
