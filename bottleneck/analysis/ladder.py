"""The ladder: how deep a factor lies in a network, from "stands out" to "nowhere", by the first rung that reads it.

    prominent   raw features, ridge at the penalty that serves the pretraining task: any linear transfer will use it
    linear      whitened features, shrinkage chosen for the factor: there, but down-weighted
    nonlinear   quadratic and radial features: there, but entangled; counts only above its control task
    earlier     linear at an earlier layer, and above an untrained network at that layer: learned, then discarded
    nowhere     none of these

A rung reads a factor when its information reaches `margin` times the reference's, which is what direct training's
features give to the linear probe. Everything here is exploratory: intervals, no verdicts, no correction over factors
and layers (`adjusted` has one). Two controls guard against probes that know too much: a control task and type-disjoint
splits. They are made of the factors that are read (`readable`), and of no other column.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information
from bottleneck.analysis.gap import FRACTION, testability
from bottleneck.analysis.intervals import Interval, contrast, two_way

RUNGS = ("prominent", "linear", "nonlinear", "earlier", "nowhere")
NAMES = 0.1  # of the probe items: a column of more values than that holds names, not a factor
FEWEST = 10  # probe items that do not have a column's commonest value, without which it hardly varies
DRAWS = 100  # of a control task, of which the one is taken that its factors give away least
EVEN = 0.5  # of the entropy of even classes: a control task must have so much to tell
GIVEN_AWAY = 0.5  # of the control's entropy: one factor must not tell more
CONFOUNDED = 0.25  # of the smaller entropy: what a split may add to what two factors tell of each other
UNCONTROLLED = "no control task was read"


@dataclass(frozen=True)
class Landing:
    """Where a factor lands. Intervals are unadjusted."""

    rung: str  # one of RUNGS; "untestable" or "inconclusive" where direct training reads too little, or may
    layer: str | None  # where rung "earlier" found it; None for the rungs of the last layer
    certain: bool  # intervals decide: clear of the margin at this rung and at all before it, with its control
    untrained: str | None  # a layer that reads it no better than without training, when it is nowhere else
    shares: dict[str, float]  # rung or layer -> information / reference
    margins: dict[str, Interval]  # rung or layer -> D = margin * reference - information: below 0 it is read
    selectivity: Interval | None  # information of the non-linear probe less that of its control task
    gains: dict[str, Interval]  # layer -> information less that of the untrained network
    control: str  # why there is no control task; "" where there is one


def land(
    reference,
    rungs,
    earlier,
    *,
    entropy: float,
    control=None,
    no_control: str = UNCONTROLLED,
    margin: float = FRACTION,
    paired: bool = True,
) -> Landing:
    """The first rung that reads a factor. Tables are [S, N] in bits, S seeds and N test items shared by all.

    `reference`: what direct training gives the linear probe. `rungs`: prominent, linear, nonlinear -> table at the last
    layer. `earlier`: layer, from input to output -> (trained, untrained) tables of the linear probe. `entropy`: H of
    the factor, in bits. `control`: the non-linear probe's table on the control task, or None and `no_control`, why.
    `paired`: whether the reference's seeds are those of the network.

    Untestable, checked first: the upper 95 % limit of the reference is below UNTESTABLE of the entropy; inconclusive if
    only the lower one is. The layer of the rung "earlier" is the last that reads the factor and lies above the
    untrained network. A certain "nowhere" may have layers that read it if the untrained network surely does so too.
    Without a control task "nonlinear" is never certain.
    """
    tables = {**rungs, **{layer: trained for layer, (trained, _) in earlier.items()}}

    def short_of(table):
        return contrast([(margin, reference), (-1.0, table)], paired=paired)

    margins = {key: short_of(table) for key, table in tables.items()}
    gains = {layer: contrast([(1.0, trained), (-1.0, untrained)]) for layer, (trained, untrained) in earlier.items()}
    selectivity = None if control is None else contrast([(1.0, rungs["nonlinear"]), (-1.0, control)])
    testable, mean = testability(reference, entropy), float(np.mean(reference))
    shares = {key: float(np.mean(table)) / mean for key, table in tables.items()} if testable == "testable" else {}

    if testable != "testable":
        word = "untestable" if testable == "untestable" else "inconclusive"
        rung, layer, certain, untrained = word, None, False, None
    else:
        without = {layer: short_of(blank) for layer, (_, blank) in earlier.items()}
        rung, layer, certain, untrained = _first(rungs, margins, selectivity, gains, without)
    reason = "" if control is not None else no_control or UNCONTROLLED
    return Landing(rung, layer, bool(certain), untrained, shares, margins, selectivity, gains, reason)


def _first(rungs, margins, selectivity, gains, without) -> tuple[str, str | None, bool, str | None]:
    """Rung, layer, certain and untrained of a testable factor; `without`: layer -> margin of the untrained network."""
    passed = []
    for rung in (rung for rung in RUNGS if rung in rungs):
        controlled = rung != "nonlinear" or selectivity is not None
        if margins[rung].value <= 0 and (rung != "nonlinear" or not controlled or selectivity.low > 0):
            surely = margins[rung].high < 0 and all(margins[key].low > 0 for key in passed)
            return rung, None, surely and controlled, None
        passed.append(rung)
    certain = all(margins[key].low > 0 for key in passed)
    read = [layer for layer in reversed(gains) if margins[layer].value <= 0]
    for layer in read:
        if gains[layer].low > 0:
            return "earlier", layer, certain and margins[layer].high < 0, None
    for layer, untrained in without.items():
        certain = certain and (margins[layer].low > 0 or (layer in read and untrained.high < 0))
    return "nowhere", None, certain, read[0] if read else None


def adjusted(tables, level: float = 0.95) -> dict[str, Interval]:
    """Intervals of the means of `tables`, name -> [S, N], that hold together at `level` (Bonferroni)."""
    return {name: two_way(table, 1.0 - (1.0 - level) / len(tables)) for name, table in tables.items()}


def readable(factors, limit: int | None = None) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    """The factors that are read, and for every other column why it is not.

    `factors`: split -> name -> int [n] of all known columns; returned with codes 0, 1, ... of the values there are, and
    (name -> reason). Left out is what does not vary on every split, what hardly varies on the probe split, and what has
    more than `limit` values (by default a tenth of the probe items): such a column holds names.
    """
    known, left_out = {split: {} for split in factors}, {}
    for name in factors["probe"]:
        columns = {split: np.asarray(each[name]) for split, each in factors.items()}
        items = len(columns["probe"])
        most = max(int(NAMES * items), 2) if limit is None else limit
        values, codes = np.unique(np.concatenate(list(columns.values())), return_inverse=True)
        constant = [split for split, column in columns.items() if len(np.unique(column)) < 2]
        other = items - int(np.unique(columns["probe"], return_counts=True)[1].max(initial=0))
        if constant:
            left_out[name] = f"it never varies on {constant[0]}"
        elif len(values) > most:
            left_out[name] = f"{len(values):,} values among {items:,} probe items: names, not a factor"
        elif other < min(FEWEST, items // 2):
            left_out[name] = f"all but {other} of {items:,} probe items have the same value"
        else:
            ends = np.cumsum([len(column) for column in columns.values()])[:-1]
            for split, each in zip(columns, np.split(codes.ravel(), ends)):
                known[split][name] = each
    return known, left_out


def control(factors, num_classes: int, seed: int) -> tuple[dict[str, np.ndarray] | None, str]:
    """A control task (Hewitt and Liang 2019), split -> int [n], and why there is none ("" where there is one).

    `factors`: split -> name -> int [n], those that are read. The task is a random function of the combination of their
    values: classes have equally many combinations, the same in every split. A probe that reads it as well as it reads a
    factor has memorised combinations. There is none where combinations are fewer than classes, where in every draw
    nearly all items are of one class, or where one factor alone tells more than GIVEN_AWAY of it (as where there is but
    one, or where they go together) even in the draw, of DRAWS, of which no factor tells much.
    """
    if len(factors["probe"]) < 2:
        return None, "a control task needs two factors that are read"
    combinations, which = _combinations(factors)
    if combinations < num_classes:
        return None, f"{combinations} combinations of factor values for a control task of {num_classes} classes"
    rng, best, least, even = np.random.default_rng(seed), None, np.inf, False
    for _ in range(DRAWS):
        drawn = rng.permutation(np.arange(combinations) % num_classes)
        task = drawn[which["probe"]]
        entropy = _mutual(task, task)
        if entropy < EVEN * np.log2(num_classes):
            continue
        even = True
        given = max(_mutual(task, values) for values in factors["probe"].values()) / entropy
        if given < least:
            best, least = drawn, given
    if not even:
        return None, "nearly all items would be of one class of a control task"
    if least > GIVEN_AWAY:
        return None, "one factor alone gives every control task away"
    return {split: best[codes] for split, codes in which.items()}, ""


def _combinations(factors) -> tuple[int, dict[str, np.ndarray]]:
    """The number of combinations of factor values, and the combination of every item, split -> int [n]."""
    values = {split: np.stack(list(known.values()), 1) for split, known in factors.items()}
    distinct, codes = np.unique(np.concatenate(list(values.values())), axis=0, return_inverse=True)
    ends = np.cumsum([len(v) for v in values.values()])[:-1]
    return len(distinct), dict(zip(values, np.split(codes.ravel(), ends)))


def disjoint(factors, name: str) -> dict[str, np.ndarray] | None:
    """A type-disjoint split for factor `name`: boolean masks, split -> [n], with which to fit on some combinations of
    factor values (probe, val) and read on others (test).

    `factors`: split -> name -> int [n], those that are read. Held out are the combinations whose values sum to one of a
    fixed third of the residues modulo the number of values of some factor (half of them modulo 2), so that every value
    of `name` is fitted and read about equally often. None if no such split exists (one factor alone) or if it would
    teach the probe another factor: if, by more than CONFOUNDED of the smaller entropy, it raises what `name` and
    another factor tell of each other over all combinations. Two binary factors are equal or opposite in every such
    half.

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
