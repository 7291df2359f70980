"""Linear probes that are solved, not trained.

A ridge screen over the whole grid of penalties proposes where to look, a logistic probe is solved there and followed
downhill on the validation log-loss until the penalty is interior or sits on the edge of the grid, for features raw,
standardised and whitened. Statistics come from the probe split alone, every choice (scaling, penalty) is made on the
validation split, and each scaling is scored on the test split once, after its choice.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information
from bottleneck.analysis.eigenbasis import CHUNK, Basis, basis, chunks, class_sums
from bottleneck.analysis.logistic import TOLERANCE, Fit, held_out, logistic
from bottleneck.analysis.ridge import GRID, WHITENED_PENALTY, ridge, squared_errors
from bottleneck.errors import UserError

SPLITS = ("probe", "val", "test")
SCALINGS = ("raw", "standardised", "whitened")
SEARCH_TOLERANCE = 1e-4  # of the solver while penalties are compared: an objective error of about 1e-8 nats
FLAT = 1e-5  # nats: a smaller gain on validation does not prolong the search for a penalty


@dataclass(frozen=True)
class Condition:
    """The best probe of one scaling."""

    accuracy: float | None  # test
    bits: float  # test mean: bits, or R2 for regression
    lam: float  # the penalty, or the shrinkage when whitened
    val_loss: float  # uncalibrated log-loss (nats), or mean squared error
    at_edge: str  # "" | "weak" | "strong": the penalty sits on that end of the grid
    grad_norm: float
    iterations: int  # over all penalties tried


@dataclass(frozen=True)
class Probe:
    """The chosen probe of one representation for one target, scored once on the test split."""

    bits: np.ndarray  # [n_test] information in bits (R2 items for regression)
    correct: np.ndarray | None  # [n_test] bool
    predicted: np.ndarray  # [n_test] class, or [n_test, m]
    accuracy: float | None
    log_loss: float  # nats, calibrated, on test (mean squared error for regression)
    entropy: float  # H(y) in bits under the prior (1 for regression, whose ceiling is R2 = 1)
    prior: np.ndarray | None  # [K]
    scaling: str
    lam: float
    at_edge: str
    grad_norm: float
    iterations: int
    calibration: information.Calibration | None
    weights: np.ndarray  # [p, K] on raw features
    intercept: np.ndarray  # [K]
    scalings: dict[str, Condition]


def descend(loss, start: int, size: int) -> int:
    """Index of the lowest `loss(i)` reached by walking from `start`; its neighbours are no better, or are outside."""
    best = start
    for direction in (1, -1):
        moved = False
        while 0 <= best + direction < size and loss(best + direction) < loss(best) - FLAT:
            best, moved = best + direction, True
        if moved:
            break
    return best


def edge(index: int, size: int) -> str:
    """ "weak" or "strong" at the ends of a grid of penalties, "" inside."""
    return "weak" if index == 0 else "strong" if index == size - 1 else ""


def linear_probe(
    x,
    y,
    num_classes: int = 0,
    *,
    scalings=SCALINGS,
    lambdas=GRID,
    task: str = "classification",
    prior=None,
    rejected: bool = True,
) -> Probe:
    """Probe features `x` for targets `y`, dicts with the keys probe, val and test.

    `x[split]` [n, p]; `y[split]` int [n], or float [n, m] for `task="regression"`, which stays ridge. `prior` [K] is
    the null that bits are counted from and that the probe is mixed with; `information.null(y, num_classes)` if none is
    given. Few-shot probes must be given the one of all probe items, and all arms of a contrast the same. The same menu
    of scalings and penalties must serve both arms of a contrast. `rejected`: whether scalings that val did not choose
    are read on test, too.
    """
    grid = np.asarray(lambdas, np.float64)
    if task == "regression":
        y, prior = {split: np.asarray(y[split], np.float64).reshape(len(y[split]), -1) for split in SPLITS}, None
    else:
        y = {split: np.asarray(y[split], np.int64) for split in SPLITS}
        prior = information.null(y, num_classes) if prior is None else np.asarray(prior, np.float64)
    solve = _ridge if task == "regression" else functools.partial(_logistic, classes=len(prior))
    spaces = _spaces(x, scalings)
    solved = {scaling: solve(*spaces[scaling], y, grid, scaling == "whitened") for scaling in scalings}
    scaling = min(scalings, key=lambda name: solved[name].val_loss)
    best = solved[scaling]
    read = {name: _read(solved[name], x["test"], y, prior) for name in (scalings if rejected else (scaling,))}
    weights, intercept = best.space.to_input(best.fit.weights, best.fit.intercept)
    return Probe(
        **vars(read[scaling]),
        entropy=1.0 if prior is None else information.entropy(prior),
        prior=prior,
        scaling=scaling,
        lam=best.lam,
        at_edge=best.at_edge,
        grad_norm=best.fit.grad_norm,
        iterations=best.iterations,
        weights=weights,
        intercept=intercept,
        scalings={name: _condition(solved[name], each) for name, each in read.items()},
    )


def _spaces(x, scalings) -> dict[str, tuple[Basis, np.ndarray]]:
    """scaling -> its eigenbasis and val in it; whitened features have the one of standardised ones."""
    kinds = {scaling: "standardised" if scaling == "whitened" else scaling for scaling in scalings}
    spaces = {kind: basis(x["probe"], kind) for kind in dict.fromkeys(kinds.values())}
    val = {kind: space.project(x["val"]) for kind, space in spaces.items()}
    return {scaling: (spaces[kind], val[kind]) for scaling, kind in kinds.items()}


@dataclass(frozen=True)
class _Solved:
    """The probe of one scaling, chosen on val."""

    space: Basis
    fit: Fit
    lam: float
    at_edge: str
    val_loss: float
    iterations: int
    val_outputs: np.ndarray  # [n_val, K]


@dataclass(frozen=True)
class _Read:
    """What it says of test."""

    bits: np.ndarray
    correct: np.ndarray | None
    predicted: np.ndarray
    accuracy: float | None
    log_loss: float
    calibration: information.Calibration | None


def _ridge(space, val, y, grid, whitened) -> _Solved:
    weights, intercept = ridge(space, y["probe"], grid, whitened=whitened)
    errors = squared_errors(weights, val, y["val"] - intercept).sum(1)
    chosen = int(errors.argmin())
    least = float(errors[chosen])
    fit = Fit(weights[chosen], intercept, least, 0.0, 0)
    at_edge = edge(chosen, len(grid))
    return _Solved(space, fit, float(grid[chosen]), at_edge, least, 0, val @ fit.weights + intercept)


def _logistic(space, val, y, grid, whitened, classes) -> _Solved:
    proposed = _proposed(space, val, y, grid, whitened, classes)
    found = search(space, val, y["probe"], y["val"], classes, grid, proposed, whitened)
    return _Solved(space, *found, val @ found[0].weights + found[0].intercept)


def _read(solved: _Solved, test, y, prior) -> _Read:
    """The items `test` [n_test, p], by a probe calibrated on val; of regression (`prior` None) as it is."""
    outputs = solved.space.outputs(test, solved.fit.weights, solved.fit.intercept)
    if prior is None:
        error = float(((y["test"] - outputs) ** 2).sum(1).mean())
        return _Read(information.r2_items(y["test"], outputs), None, outputs, None, error, None)
    calibration = information.calibrate(solved.val_outputs, y["val"], prior)
    log_q, predicted = information.apply(calibration, outputs), outputs.argmax(1)
    correct, loss = predicted == y["test"], information.log_loss(log_q, y["test"])
    bits = information.bits(log_q, y["test"], prior)
    return _Read(bits, correct, predicted, float(correct.mean()), loss, calibration)


def _condition(solved: _Solved, read: _Read) -> Condition:
    at = solved.lam, solved.val_loss, solved.at_edge, solved.fit.grad_norm, solved.iterations
    return Condition(read.accuracy, float(read.bits.mean()), *at)


def _proposed(space, val, y, grid, whitened, classes: int) -> float:
    """The penalty of the least squared error on val of ridge on one-hots."""
    one_hot, size = np.eye(classes), max(1, CHUNK // max(1, classes * len(space.variances)))
    errors = []
    for start in range(0, len(grid), size):
        weights, intercept = ridge(space, y["probe"], grid[start : start + size], whitened=whitened, classes=classes)
        errors.append(squared_errors(weights, val, one_hot[y["val"]] - intercept).sum(1))
    return float(grid[np.concatenate(errors).argmin()])


def search(
    space: Basis, val, labels, val_labels, num_classes: int, grid, proposed: float, whitened: bool = False
) -> tuple[Fit, float, str, float, int]:
    """The logistic probe at the best of a half-decade grid, searched from the penalty that ridge proposes.

    `val` [n, r] in the coordinates of `space`. Returns the fit, its penalty (or shrinkage), the edge it sits on, its
    validation log-loss (nats) and the iterations of all fits.
    """
    coarse = grid[::2] if len(grid) > 25 else grid
    if not whitened:
        proposed /= num_classes  # the log-loss is about K times flatter than the squared error of one-hots
    fits: dict[int, Fit] = {}
    sums = class_sums(space.items, labels, num_classes)
    losses: dict[int, float] = {}
    validate = held_out(val, val_labels, num_classes)

    def loss(index):
        if index not in losses:
            nearest = min(fits, key=lambda i: abs(i - index), default=None)
            fits[index] = solve(index, fits.get(nearest), SEARCH_TOLERANCE)
            losses[index] = validate(fits[index])
        return losses[index]

    def solve(index, begin, tolerance):
        value = float(coarse[index])
        lam, shrinkage = (WHITENED_PENALTY, value) if whitened else (value, None)
        settings = dict(shrinkage=shrinkage, start=begin, tolerance=tolerance, sums=sums)
        return logistic(space, labels, lam, num_classes=num_classes, **settings)

    start = int(np.abs(np.log(coarse) - np.log(proposed)).argmin())
    best = descend(loss, start, len(coarse))
    final = solve(best, fits.get(best), TOLERANCE)
    return (
        final,
        float(coarse[best]),
        edge(best, len(coarse)),
        validate(final),
        final.iterations + sum(fit.iterations for fit in fits.values()),
    )


@dataclass(frozen=True)
class Guard:
    """Penalised training objectives at the probe's penalty, nats. A probe above the head is a broken probe."""

    probe: float
    head: float
    holds: bool


def guard(probe: Probe, x_probe, labels, kernel, bias=None) -> Guard:
    """Compare a logistic `probe` with the pretrained head's weights, `kernel` [p, K] and `bias` [K].

    Both are scored alike, by `penalised`, on the items `x_probe` [n, p] and `labels` [n] that the probe was fitted on:
    the head is one admissible probe, so at the same penalty its objective cannot be lower than the solved one. That
    holds for the last layer itself (neither joined nor reduced) and the probe's label space (of a head over several
    components the columns of this one). Raises UserError where the shapes say that it is another layer or label space.
    """
    kernel = np.asarray(kernel, np.float64)
    if not kernel.shape == probe.weights.shape == (np.shape(x_probe)[1], len(probe.intercept)):
        raise UserError(
            "kernel", kernel.shape, f"the features and classes of the probe {probe.weights.shape}, as its items have"
        )
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)
    solved = penalised(probe, x_probe, labels, probe.weights, probe.intercept)
    head = penalised(probe, x_probe, labels, kernel, bias)
    return Guard(solved, head, solved <= head + 1e-6 * max(1.0, abs(head)))


def penalised(probe: Probe, x, labels, kernel, bias) -> float:
    """What `probe` minimised, at the classifier `kernel` [p, K] and `bias` [K] of raw features `x` [n, p]: nats.

    Mean log-loss, without calibration or prior, and half the penalty of the probe's scaling at its chosen value.
    """
    n, labels, smallest = len(labels), np.asarray(labels), kernel - kernel.mean(1, keepdims=True)  # the same softmax

    def total(of):
        """Sum of `of(items [c, p], labels [c])` over chunks of items."""
        return sum(of(np.asarray(x[rows], np.float64), labels[rows]) for rows in chunks(n, sum(kernel.shape)))

    loss = total(lambda z, y: len(y) * information.log_loss(information.log_softmax(z @ kernel + bias), y)) / n
    mean, variance = total(lambda z, y: z.sum(0)) / n, 1.0
    if probe.scaling != "raw":
        variance = (total(lambda z, y: ((z - mean) ** 2).sum(0)) / n)[:, None]
    penalty = probe.lam * (variance * smallest**2).sum()
    if probe.scaling == "whitened":  # WHITENED_PENALTY (|f|^2 + shrinkage |W|^2)
        penalty = WHITENED_PENALTY * (total(lambda z, y: (((z - mean) @ smallest) ** 2).sum()) / n + penalty)
    return float(loss + 0.5 * penalty)


def k_shot(labels, k: int, seed: int, draw: int = 0) -> np.ndarray:
    """Sorted indices of `k` items of every class present in `labels` [n], drawn without replacement.

    Keyed by (`seed`, `draw`): the draws of one seed are the same for every arm and others than those of any other seed,
    so that the seed mean square of a contrast carries their variance. Fewer shots are a part of more.
    """
    labels = np.asarray(labels)
    rng = np.random.default_rng([seed, draw])
    chosen = []
    for label in np.unique(labels):
        items = np.flatnonzero(labels == label)
        if len(items) < k:
            raise UserError("k_shot", k, f"at most {len(items)}, the number of probe items of class {label}")
        chosen.append(rng.permutation(items)[:k])
    return np.sort(np.concatenate(chosen))


def majority(y_probe, y_test) -> float:
    """Accuracy on `y_test` of always answering the most frequent class of `y_probe`."""
    return float((np.asarray(y_test) == np.bincount(np.asarray(y_probe, np.int64)).argmax()).mean())


def pool_pixels(images, limit: int = 1024) -> np.ndarray:
    """Average-pool `images` uint8 [n, H, W, C] to float64 [n, <= limit] in [0, 1], by the smallest window that fits."""
    images = np.asarray(images)
    n, height, width, channels = images.shape
    window = 1
    while -(-height // window) * -(-width // window) * channels > limit and window < max(height, width):
        window += 1
    rows, columns = np.arange(0, height, window), np.arange(0, width, window)
    pooled = np.add.reduceat(np.add.reduceat(images, rows, axis=1, dtype=np.float64), columns, axis=2)
    areas = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    return (pooled / areas[:, :, None] / 255.0).reshape(n, -1)
