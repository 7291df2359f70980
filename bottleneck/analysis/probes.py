"""Linear probes that are solved, not trained.

A ridge screen over the whole grid of penalties proposes where to look, a logistic probe is solved there and followed
downhill on the validation log-loss until the penalty is interior or sits on the edge of the grid, for features raw,
standardised and whitened. Statistics come from the probe split alone, every choice (scaling, penalty) is made on the
validation split, and each scaling is scored on the test split once, after its choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import information
from bottleneck.analysis.solvers import GRID, TOLERANCE, WHITENED_PENALTY, Basis, Fit, basis, logistic, ridge
from bottleneck.errors import UserError

SCALINGS = ("raw", "standardised", "whitened")
SEARCH_TOLERANCE = 1e-4  # of the solver while penalties are compared: an objective error of about 1e-8 nats
FLAT = 1e-5  # nats: a smaller gain on validation does not prolong the search for a penalty


@dataclass(frozen=True)
class Condition:
    """One scaling's own best probe, shown beside the others."""

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
    objective: float  # penalised training objective at the optimum, for `guard`
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
    x, y, num_classes: int = 0, *, scalings=SCALINGS, lambdas=GRID, task: str = "classification", prior=None
) -> Probe:
    """Probe features `x` for targets `y`, dicts with the keys probe, val and test.

    `x[split]` [n, p]; `y[split]` int [n], or float [n, m] for `task="regression"`, which stays ridge. `prior` [K]
    overrides the class frequencies of the probe split, so that few-shot probes are measured against the same null.
    The same menu of scalings and penalties must serve both arms of a contrast.
    """
    grid = np.asarray(lambdas, np.float64)
    regression = task == "regression"
    y = {
        split: np.asarray(y[split], np.float64).reshape(len(y[split]), -1)
        if regression
        else np.asarray(y[split], np.int64)
        for split in ("probe", "val", "test")
    }
    targets = y if regression else {split: np.eye(num_classes)[y[split]] for split in ("probe", "val")}
    if not regression:
        prior = information.prior(y["probe"], num_classes) if prior is None else np.asarray(prior, np.float64)

    spaces, candidates, conditions = {}, {}, {}
    for scaling in scalings:
        whitened = scaling == "whitened"
        kind = "standardised" if whitened else scaling
        if kind not in spaces:
            space = basis(x["probe"], kind)
            spaces[kind] = (space, space.project(x["val"]), space.project(x["test"]))
        space, val, test = spaces[kind]
        weights, intercept = ridge(space, targets["probe"], grid, whitened=whitened)
        errors = np.array([((val @ weight + intercept - targets["val"]) ** 2).sum(1).mean() for weight in weights])
        if regression:
            chosen = int(errors.argmin())
            lam, at_edge, val_loss = float(grid[chosen]), edge(chosen, len(grid)), float(errors[chosen])
            fit, iterations = Fit(weights[chosen], intercept, val_loss, 0.0, 0), 0
            predicted = test @ fit.weights + fit.intercept
            outcome = (
                information.r2_items(y["test"], predicted),
                None,
                predicted,
                float(((y["test"] - predicted) ** 2).sum(1).mean()),
                None,
            )
        else:
            fit, lam, at_edge, val_loss, iterations = search(
                space, val, y["probe"], y["val"], num_classes, grid, float(grid[errors.argmin()]), whitened
            )
            logits = test @ fit.weights + fit.intercept
            calibration = information.calibrate(val @ fit.weights + fit.intercept, y["val"], prior)
            log_q = information.apply(calibration, logits)
            predicted = logits.argmax(1)
            outcome = (
                information.bits(log_q, y["test"], prior),
                predicted == y["test"],
                predicted,
                information.log_loss(log_q, y["test"]),
                calibration,
            )
        accuracy = None if regression else float(outcome[1].mean())
        conditions[scaling] = Condition(
            accuracy, float(outcome[0].mean()), lam, val_loss, at_edge, fit.grad_norm, iterations
        )
        candidates[scaling] = (fit, outcome, space)

    scaling = min(scalings, key=lambda name: conditions[name].val_loss)
    condition, (fit, outcome, space) = conditions[scaling], candidates[scaling]
    weights, intercept = space.to_input(fit.weights, fit.intercept)
    return Probe(
        bits=outcome[0],
        correct=outcome[1],
        predicted=outcome[2],
        accuracy=condition.accuracy,
        log_loss=outcome[3],
        entropy=1.0 if regression else information.entropy(prior),
        prior=prior,
        scaling=scaling,
        lam=condition.lam,
        at_edge=condition.at_edge,
        grad_norm=condition.grad_norm,
        iterations=condition.iterations,
        objective=fit.objective,
        calibration=outcome[4],
        weights=weights,
        intercept=intercept,
        scalings=conditions,
    )


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
    losses: dict[int, float] = {}

    def loss(index):
        if index not in losses:
            nearest = min(fits, key=lambda i: abs(i - index), default=None)
            fits[index] = solve(index, fits.get(nearest), SEARCH_TOLERANCE)
            losses[index] = validate(fits[index])
        return losses[index]

    def solve(index, begin, tolerance):
        value = float(coarse[index])
        lam, shrinkage = (WHITENED_PENALTY, value) if whitened else (value, None)
        return logistic(
            space, labels, lam, num_classes=num_classes, shrinkage=shrinkage, start=begin, tolerance=tolerance
        )

    def validate(fit):
        return information.log_loss(information.log_softmax(val @ fit.weights + fit.intercept), val_labels)

    start = int(np.abs(np.log(coarse) - np.log(proposed)).argmin())
    best = descend(loss, start, len(coarse))
    final = solve(best, fits[best], TOLERANCE)
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
    """Compare a logistic `probe` with the pretrained head's own weights, `kernel` [p, K] and `bias` [K].

    For the last layer and the head's own label space, on the items the probe was fitted on (`x_probe` [n, p]): the
    head is one admissible probe, so at the same penalty its objective cannot be lower than the solved one.
    """
    x, labels, kernel = np.asarray(x_probe, np.float64), np.asarray(labels, np.int64), np.asarray(kernel, np.float64)
    bias = np.zeros(kernel.shape[1]) if bias is None else np.asarray(bias, np.float64)
    loss = information.log_loss(information.log_softmax(x @ kernel + bias), labels)
    kernel = kernel - kernel.mean(1, keepdims=True)  # the same softmax with the smallest penalty
    mean, scale = x.mean(0), np.ones(x.shape[1])
    if probe.scaling != "raw":
        scale = x.std(0)
    penalty = probe.lam * ((scale[:, None] * kernel) ** 2).sum()
    if probe.scaling == "whitened":  # WHITENED_PENALTY (|f|^2 + shrinkage |W|^2)
        penalty = WHITENED_PENALTY * ((((x - mean) @ kernel) ** 2).sum(1).mean() + penalty)
    head = loss + 0.5 * float(penalty)
    return Guard(probe.objective, head, probe.objective <= head + 1e-6 * max(1.0, abs(head)))


def k_shot(labels, k: int, seed: int) -> np.ndarray:
    """Sorted indices of `k` items of every class present in `labels` [n], drawn without replacement by `seed`."""
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        items = np.flatnonzero(labels == label)
        if len(items) < k:
            raise UserError("k_shot", k, f"at most {len(items)}, the number of probe items of class {label}")
        chosen.append(rng.choice(items, k, replace=False))
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
