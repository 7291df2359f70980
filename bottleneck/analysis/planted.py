"""Representations in which a factor lies where it was put: what the ladder has to find. For tests and the self-test.

In every case a pretraining task and another factor stand out among `UNITS` units of unit noise, in a random rotation,
and the factor `planted`, which has two values, is stored in one particular way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information, ladder, nonlinear, screen
from bottleneck.analysis.ridge import GRID

UNITS = 64
STRENGTH = 3.0  # of what stands out, in standard deviations of a unit's noise
TINY = 1e-3  # what a direction is multiplied by to be drowned
FACTOR, CLASSES = "planted", {"planted": 2, "other": 4, "task": 3}
SPLITS = {"probe": 1.0, "val": 0.5, "test": 1.0}  # items, in n


@dataclass(frozen=True)
class Planted:
    """One case. Representations are split -> [items, UNITS]."""

    rungs: tuple[str, ...]  # where the factor may land
    last: dict[str, np.ndarray]
    trained: dict[str, np.ndarray]  # the layer before, and the same one without training
    untrained: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]  # the last layer of direct training
    factors: dict[str, dict[str, np.ndarray]]  # split -> planted, other -> int [items]
    task: dict[str, np.ndarray]  # split -> int [items]


class _Draw:
    """The random numbers of one case: values of `CLASSES` for all items, and layers [items, UNITS] that hold them."""

    def __init__(self, seed: int, items: int):
        self.rng = np.random.default_rng(seed)
        self.values = {name: self.rng.integers(0, classes, items) for name, classes in CLASSES.items()}
        self.signs = 2.0 * self.values[FACTOR] - 1.0

    def layer(self, strength: float = 0.0, *, blank: bool = False):
        """Unit 0 holds the factor at `strength`, unit 1 nothing; the next ones hold what stands out unless `blank`."""
        layer = self.rng.normal(size=(len(self.signs), UNITS))
        if not blank:
            layer[:, 0] += strength * self.signs
            layer[:, 2:6] += STRENGTH * np.eye(4)[self.values["other"]]
            layer[:, 6:9] += STRENGTH * np.eye(3)[self.values["task"]]
        return layer

    def rotate(self, layer):
        return layer @ np.linalg.qr(self.rng.normal(size=(UNITS, UNITS)))[0]


def _prominent(draw):
    return draw.layer(STRENGTH), None, None


def _tiny(draw):
    last = draw.layer(STRENGTH)
    last[:, 0] *= TINY
    return last, None, None


def _product(draw):
    last, sign = draw.layer(), draw.rng.choice((-1.0, 1.0), len(draw.signs))
    last[:, 0], last[:, 1] = 0.25 * last[:, 0] + sign, 0.25 * last[:, 1] + sign * draw.signs
    return last, None, None


def _erased(draw):
    before = draw.layer(STRENGTH)
    return erase(np.maximum(draw.rotate(before), 0.0), draw.values[FACTOR]), before, None


def _discarded(draw):
    return draw.layer(), draw.layer(STRENGTH), None


def _never(draw):
    before = draw.layer(STRENGTH)
    return draw.layer(), before, before


def _absent(draw):
    return draw.layer(), None, None


STORED = {  # how -> (its last layer, the one before, the untrained one; None: without the factor), rungs
    "prominent": (_prominent, ("prominent",)),
    "tiny": (_tiny, ("linear",)),  # one direction of the features multiplied by TINY
    "product": (_product, ("nonlinear",)),  # of two units, neither of which tells anything
    "erased": (_erased, ("nonlinear", "earlier")),  # linearly, from rectified units
    "discarded": (_discarded, ("earlier",)),  # after the layer before
    "never used": (_never, ("nowhere",)),  # the layer before has it with or without training
    "absent": (_absent, ("nowhere",)),
    "independent": (_absent, ("untestable",)),  # of the images: direct training does not find it either
}


def plant(how: str, seed: int = 0, n: int = 1000) -> Planted:
    """The factor stored as STORED says, with `n`, n / 2 and n items in probe, val and test."""
    sizes = [int(share * n) for share in SPLITS.values()]
    draw, (make, rungs) = _Draw(seed, sum(sizes)), STORED[how]
    last, trained, untrained = make(draw)
    layers = (
        last,
        draw.layer() if trained is None else trained,
        draw.layer(blank=True) if untrained is None else untrained,
        draw.layer(0.0 if how == "independent" else STRENGTH),
    )

    def split(values):
        return dict(zip(SPLITS, np.split(values, np.cumsum(sizes)[:-1])))

    task, planted, other = (split(draw.values[name]) for name in ("task", FACTOR, "other"))
    factors = {s: {FACTOR: planted[s], "other": other[s]} for s in SPLITS}
    return Planted(rungs, *(split(draw.rotate(layer)) for layer in layers), factors, task)


def erase(x, labels) -> np.ndarray:
    """`x` [n, p] without anything linear about `labels` [n], changed as little as can be: LEACE (Belrose et al. 2023).

    `x - W+ P W (x - mean)`: W whitens, P projects on the class means of what is white, W+ undoes W. Afterwards no
    linear probe of these n items beats a constant.
    """
    centred, one_hot = x - x.mean(0), np.eye(int(labels.max()) + 1)[labels]
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    kept = values > 1e-10 * values[-1]
    whiten, colour = vectors[:, kept] / np.sqrt(values[kept]), (vectors[:, kept] * np.sqrt(values[kept])).T
    left, strengths, _ = np.linalg.svd(whiten.T @ centred.T @ (one_hot - one_hot.mean(0)), full_matrices=False)
    axes = left[:, strengths > 1e-8 * len(x)]
    return x - centred @ whiten @ axes @ axes.T @ colour


def climb(case: Planted, margin: float = 0.9) -> ladder.Landing:
    """Where the planted factor lands, all rungs read of one network (S = 1): about a second at n = 1,000."""
    y = {split: known[FACTOR] for split, known in case.factors.items()}
    targets, entropy = (
        {FACTOR: (y, CLASSES[FACTOR])},
        information.entropy(information.prior(y["probe"], CLASSES[FACTOR])),
    )

    def table(readings):
        return readings[FACTOR].bits[None]

    penalty = GRID[int(screen.errors(case.last, case.task, CLASSES["task"]).argmin())]
    control = ladder.control(case.factors, CLASSES[FACTOR], seed=0)[0], CLASSES[FACTOR]
    entangled = nonlinear.probe(case.last, {**targets, "control": control})
    rungs = {
        "prominent": table(screen.screen(case.last, targets, penalty)),
        "linear": table(screen.screen(case.last, targets)),
        "nonlinear": table(entangled),
    }
    before = table(screen.screen(case.trained, targets)), table(screen.screen(case.untrained, targets))
    return ladder.land(
        table(screen.screen(case.reference, targets)),
        rungs,
        {"before": before},
        entropy=entropy,
        control=entangled["control"].bits[None],
        margin=margin,
    )
