"""Ridge and logistic regression in one eigenbasis.

One eigendecomposition of the centred features of the probe split (raw or standardised) serves every ridge penalty,
every target, the whitened condition and the solves of the multinomial logistic probe. In that basis the mean log-loss
has a nearly diagonal Hessian, `c s_i + penalty_i`, so dividing it out makes L-BFGS converge in tens of steps where
gradient descent in the raw features would turn bad conditioning into apparent feature loss. One logit of few items or
coordinates is solved by Newton's method instead: there a step of L-BFGS costs more than the Hessian. Losses are means,
so a penalty means the same at every n. Beside the coordinates themselves, memory is bounded by chunks of items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from bottleneck.analysis import information
from bottleneck.errors import UserError

GRID = tuple(float(v) for v in np.logspace(-6, 5, 45))  # the community's grid (Kornblith et al. 2019; DINOv2)
WHITENED_PENALTY = 1e-3  # whitening sweeps the shrinkage; the penalty in whitened coordinates stays here
TOLERANCE = 1e-6  # on the largest gradient entry, in preconditioned coordinates
MAX_ITERATIONS = 2000
CHUNK = 2**23  # numbers, float64: 64 MiB
CHEAP_HESSIAN = 2**23  # products in it: up to these, one is made in each step
LARGE = 2**32  # products in a pass over the items, from which on an accelerator is asked (not measured)
FLATTEST = 1e-10  # mean curvature of a log-loss: below, all probabilities are 0 or 1
SMALLEST_SPREAD = 1e-12  # of a unit, beside its mean and the largest spread: units below count as constant


@dataclass(frozen=True)
class Basis:
    """Eigenbasis of the probe split's features: `x -> ((x - mean) * inverse_scale) @ vectors`."""

    scaling: str  # "raw" or "standardised"; whitening is standardised with a shrinkage
    mean: np.ndarray  # [p]
    inverse_scale: np.ndarray  # [p], 0 for a constant column when standardised
    vectors: np.ndarray  # [p, r], orthonormal
    variances: np.ndarray  # [r], descending
    items: np.ndarray  # [n, r + 1] coordinates of the probe split, and 1 for the intercept

    @property
    def coordinates(self) -> np.ndarray:
        """[n, r] of the probe split."""
        return self.items[:, :-1]

    def project(self, x) -> np.ndarray:
        """Coordinates [m, r] of other items [m, p]."""
        projected = np.empty((len(x), len(self.variances)))
        for rows in chunks(*np.shape(x)):
            projected[rows] = ((np.asarray(x[rows], np.float64) - self.mean) * self.inverse_scale) @ self.vectors
        return projected

    def penalties(self, lam: float, shrinkage: float | None = None) -> np.ndarray:
        """Diagonal penalty [r] in this basis: `lam`, or `lam (s + shrinkage)` for whitened coordinates."""
        return np.full(len(self.variances), lam) if shrinkage is None else lam * (self.variances + shrinkage)

    def to_input(self, weights, intercept) -> tuple[np.ndarray, np.ndarray]:
        """Weights [r, k], intercept [k] in this basis -> the same function of raw features: [p, k], [k]."""
        kernel = self.inverse_scale[:, None] * (self.vectors @ weights)
        return kernel, intercept - self.mean @ kernel

    def outputs(self, x, weights, intercept) -> np.ndarray:
        """What weights [r, k] and an intercept [k] in this basis say of other items [m, p]: [m, k]."""
        kernel, bias = self.to_input(weights, intercept)
        said = [np.asarray(x[rows], np.float64) @ kernel + bias for rows in chunks(*np.shape(x))]
        return np.concatenate(said) if said else np.empty((0, len(bias)))


def basis(x, scaling: str = "raw") -> Basis:
    """Eigenbasis of `x` [n, p], by the smaller of the p x p covariance and the n x n Gram.

    Directions with less than about 1e-13 of the largest variance are below the resolution of float64 and dropped.
    """
    if scaling not in ("raw", "standardised"):
        raise UserError("scaling", scaling, "raw or standardised")
    n, p = np.shape(x)
    parts, inverse_scale = chunks(n, p), np.ones(p)
    mean = sum(np.asarray(x[rows], np.float64).sum(0) for rows in parts) / n

    def scaled(rows):
        return (np.asarray(x[rows], np.float64) - mean) * inverse_scale

    if scaling == "standardised":
        inverse_scale = inverse_spread(sum((scaled(rows) ** 2).sum(0) for rows in parts) / n, mean)
    if p <= n:
        variances, vectors = np.linalg.eigh(sum(z.T @ z for z in map(scaled, parts)) / n)
    else:
        z = scaled(slice(None))
        variances, left = np.linalg.eigh(z @ z.T / n)
        vectors = z.T @ left
    keep = variances > max(variances[-1], 0.0) * max(n, p) * np.finfo(np.float64).eps
    vectors = vectors[:, keep][:, ::-1]
    if p > n:
        vectors = vectors / np.linalg.norm(vectors, axis=0)
    items = np.ones((n, vectors.shape[1] + 1))
    for rows in parts:
        items[rows, :-1] = scaled(rows) @ vectors
    variances = sum((items[rows, :-1] ** 2).sum(0) for rows in parts) / n
    return Basis(scaling, mean, inverse_scale, vectors, variances, items)


def chunks(n: int, width: int) -> list[slice]:
    """Rows of n x `width` numbers, at most CHUNK numbers at a time."""
    size = max(1, CHUNK // max(1, width))
    return [slice(start, start + size) for start in range(0, n, size)]


def inverse_spread(variance, mean) -> np.ndarray:
    """1 / standard deviation [p] of features of a `variance` and `mean` [p]; 0 for constant ones."""
    std = np.sqrt(variance)
    # below that is rounding, of the unit's own mean or of the other units
    varies = std > SMALLEST_SPREAD * np.maximum(np.abs(mean), std.max(initial=1e-300))
    return np.where(varies, 1.0 / np.where(varies, std, 1.0), 0.0)


def ridge(
    space: Basis, targets, lambdas=GRID, *, whitened: bool = False, classes: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of `targets` [n, m] for every penalty: weights [len(lambdas), r, m] and intercept [m]. With a
    number of `classes`, labels int [n] stand for their one-hots.

    Minimises `mean |y - f|^2 + lam |w|^2` in the scaling's own coordinates with a free intercept. If `whitened`, the
    values are shrinkages and the penalty is `WHITENED_PENALTY` in the whitened coordinates.
    """
    if classes:
        sums = class_sums(space.items, targets, classes)
        intercept = sums[:, -1] / len(targets)
        cross = sums[:, :-1].T / len(targets)  # coordinates have mean 0
    else:
        targets = np.asarray(targets, np.float64)
        intercept = targets.mean(0)
        cross = space.coordinates.T @ (targets - intercept) / len(targets)
    shifts = [space.penalties(WHITENED_PENALTY, v) if whitened else space.penalties(v) for v in lambdas]
    return np.stack([cross / (space.variances + shift)[:, None] for shift in shifts]), intercept


def squared_errors(weights, coordinates, targets) -> np.ndarray:
    """Mean squared errors [L, m] of `weights` [L, r, m] at `coordinates` [n, r].

    `targets` [n, m] come less the intercept. `mean (y - z w)^2` multiplied out: second moments replace a pass over the
    items for every penalty.
    """
    n, (steps, r, m) = len(targets), weights.shape
    moments, cross = coordinates.T @ coordinates / n, coordinates.T @ targets / n
    flat = weights.transpose(1, 0, 2).reshape(r, steps * m)
    return (targets**2).mean(0) - 2.0 * (weights * cross).sum(1) + (flat * (moments @ flat)).sum(0).reshape(steps, m)


def class_sums(items, labels, classes: int) -> np.ndarray:
    """[K, r]: the sum of the `items` [n, r] of each class; the last of a basis' own items is their number."""
    rows = np.asarray(labels), np.arange(len(labels))
    member = sparse.csr_array((np.ones(len(labels)), rows), shape=(classes, len(labels)))
    return np.asarray(member @ items)


@dataclass(frozen=True)
class Fit:
    """A logistic probe in the coordinates of its basis."""

    weights: np.ndarray  # [r, K], summing to zero over classes
    intercept: np.ndarray  # [K]
    objective: float  # mean log-loss (nats) + half the penalty
    grad_norm: float  # largest entry, in preconditioned coordinates w_i sqrt(c s_i + penalty_i)
    iterations: int


def logistic(
    space: Basis,
    labels,
    lam: float,
    *,
    num_classes: int,
    shrinkage: float | None = None,
    start: Fit | None = None,
    tolerance: float = TOLERANCE,
    sums: np.ndarray | None = None,
) -> Fit:
    """Multinomial logistic regression: mean log-loss + (lam/2) |W|^2 in the scaling's coordinates, intercept free.

    `labels` int [n]; `shrinkage` switches to whitened coordinates; `sums` are the labels' `class_sums` where they are
    known. Stops when the largest gradient entry in the preconditioned coordinates `w_i sqrt(c s_i + penalty_i)`, c the
    mean curvature of the log-loss at the solution (within a factor of 4), is below `tolerance`; there the Hessian is
    close to the identity, so the objective is within about `r K tolerance^2` of its minimum. Two classes are solved
    with one logit, as the optimum has `W_0 = -W_1`. Large ones begin on an accelerator, where there is one.
    """
    labels = np.asarray(labels, np.int64)
    binary = num_classes == 2
    sums = class_sums(space.items, labels, num_classes) if sums is None else sums
    objective = _objective(space, sums, space.penalties(lam, shrinkage))
    if start is None:
        intercept = np.log(information.prior(labels, num_classes))
        start = Fit(np.zeros((len(space.variances), num_classes)), intercept - intercept.mean(), 0.0, 0.0, 0)
    theta = np.vstack([start.weights, start.intercept])
    if binary:
        theta = theta @ np.array([[-1.0], [1.0]])
    theta = np.ascontiguousarray(theta.T)
    minimise = _newton if binary and theta.size**2 * len(labels) <= CHEAP_HESSIAN else _lbfgs
    before = 0
    if theta.size * len(labels) >= LARGE:
        theta, before = _begun(objective, theta, tolerance)
    theta, *report, iterations = minimise(objective, theta, tolerance)
    theta = theta.T
    if binary:
        theta = theta * np.array([[-0.5, 0.5]])
    return Fit(theta[:-1], theta[-1], *report, before + iterations)


@dataclass(frozen=True)
class _Objective:
    """Mean log-loss + half the penalty, of `theta` [k, r + 1]: the weights of k logits, and last their intercepts.

    k = K, or 1 for two classes: the logit of class 1. What is linear in theta (the logits of the right classes, and
    their part of the gradient) is a product with `right`, so that every pass over [k, n] numbers is one that has to be.
    """

    space: Basis
    right: np.ndarray  # [k, r + 1] sum of the items of each class
    penalties: np.ndarray  # [r + 1], of the weights of these k logits; 0 for the intercept
    log_loss: Callable  # of logits [k, n]: `_softmax_loss` or `_sigmoid_loss`

    def value_and_gradient(self, theta) -> tuple[float, np.ndarray]:
        """The objective and its gradient [k, r + 1]."""
        total, gradient = -float((theta * self.right).sum()), -self.right
        for items, loss, probability in self._passed(theta):
            total += loss
            gradient += probability @ items
        gradient /= len(self.space.items)
        penalised = theta * self.penalties
        return total / len(self.space.items) + 0.5 * float((theta * penalised).sum()), gradient + penalised

    def _passed(self, theta):
        """Chunks of items [c, r + 1], with the sum of log(sum(exp)) of their logits and their probabilities [k, c]."""
        for rows in chunks(len(self.space.items), len(theta)):
            items = self.space.items[rows]
            yield items, *self.log_loss(theta @ items.T)

    def newton(self, theta) -> tuple[float, np.ndarray, np.ndarray, float]:
        """Of one logit: value, gradient [r + 1], Hessian [r + 1, r + 1], and mean second derivative by the logit."""
        n, total, gradient = len(self.space.items), -float(theta[0] @ self.right[0]), -self.right[0]
        hessian, curvature = np.zeros((theta.size, theta.size)), 0.0
        for items, loss, probability in self._passed(theta):
            total += loss
            gradient = gradient + probability[0] @ items
            second = probability[0] * (1.0 - probability[0])
            weighted = items * np.sqrt(second)[:, None]
            hessian += weighted.T @ weighted
            curvature += float(second.sum())
        penalised = theta[0] * self.penalties
        hessian /= n
        hessian.flat[:: theta.size + 1] += np.append(self.penalties[:-1], FLATTEST)
        value = total / n + 0.5 * float(theta[0] @ penalised)
        return value, gradient / n + penalised, hessian, max(curvature / n, FLATTEST)

    def curvature(self, theta) -> float:
        """Mean second derivative c of the log-loss by a logit."""
        total = sum(float((probability * (1.0 - probability)).sum()) for _, _, probability in self._passed(theta))
        return self.mean_curvature(total, theta)

    def mean_curvature(self, total: float, theta) -> float:
        return max(total / (len(theta) * len(self.space.items)), FLATTEST)

    def preconditioner(self, curvature: float) -> np.ndarray:
        """Inverse square roots [r + 1] of the diagonal Hessian: of `c s_i + penalty_i`, and of c for the intercept."""
        return 1.0 / np.sqrt(curvature * np.append(self.space.variances, 1.0) + self.penalties)


def _objective(space, sums, penalties) -> _Objective:
    penalties = np.append(penalties, 0.0)
    if len(sums) == 2:  # |W|^2 = |v|^2 / 2 for v = W_1 - W_0
        return _Objective(space, sums[1:], penalties / 2.0, _sigmoid_loss)
    return _Objective(space, sums, penalties, _softmax_loss)


def _softmax_loss(logits) -> tuple[float, np.ndarray]:
    """Sum of log(sum(exp)) over items, and probabilities [K, n], of `logits` [K, n], which are written over."""
    largest = logits.max(0)
    logits -= largest
    np.exp(logits, out=logits)
    total = logits.sum(0)
    logits /= total
    return float(np.log(total).sum() + largest.sum()), logits


def _sigmoid_loss(logits) -> tuple[float, np.ndarray]:
    """Sum of log(1 + exp) over items, and probability of class 1 [1, n], of its `logits` [1, n]."""
    tail = np.exp(-np.abs(logits))
    return float(np.log1p(tail).sum() + np.maximum(logits, 0.0).sum()), np.where(logits >= 0, 1.0, tail) / (1.0 + tail)


def _begun(objective: _Objective, theta, tolerance) -> tuple[np.ndarray, int]:
    """As near the optimum as float32 comes on an accelerator, and the iterations; `theta` where there is none."""
    from bottleneck.analysis import accelerator  # loads JAX, which given features do without

    if not accelerator.there():
        return theta, 0
    with accelerator.ONE:
        near = accelerator.Objective(objective, chunks(*objective.space.items.shape))
        theta, *_, iterations = _lbfgs(near, theta, max(tolerance, accelerator.TOLERANCE))
    return theta, iterations


def _lbfgs(objective: _Objective, theta, tolerance) -> tuple[np.ndarray, float, float, int]:
    """L-BFGS from `theta` in preconditioned coordinates `theta / scale`, in better ones where they have come to fit too
    badly: where it ends, the objective there, its largest gradient entry in the last ones, and the iterations."""
    options = {"maxcor": 20, "ftol": 0.0, "gtol": tolerance, "maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS}
    curvature, iterations, shape = objective.curvature(theta), 0, theta.shape

    def scaled(flat, scale):
        value, gradient = objective.value_and_gradient(flat.reshape(shape) * scale)
        return value, (gradient * scale).ravel()

    for _ in range(10):
        scale = objective.preconditioner(curvature)
        start = (theta / scale).ravel()
        result = optimize.minimize(scaled, start, scale, jac=True, method="L-BFGS-B", options=options)
        theta = result.x.reshape(shape) * scale
        iterations += int(result.nit)
        before, curvature = curvature, objective.curvature(theta)
        if curvature > 0.25 * before:
            break  # else the loss has flattened on the way (confident probes): finish in coordinates that fit
    return theta, float(result.fun), float(np.abs(result.jac).max()), iterations


def _newton(objective: _Objective, theta, tolerance) -> tuple[np.ndarray, float, float, int]:
    """As `_lbfgs`, of one logit by Newton's method: steps are halved until the objective falls as its slope says."""
    value, gradient, hessian, curvature = objective.newton(theta)
    for iterations in range(MAX_ITERATIONS):
        scale = objective.preconditioner(curvature)
        largest = float(np.abs(gradient * scale).max())
        if largest <= tolerance:
            break
        step = scale * np.linalg.solve(hessian * scale[:, None] * scale, gradient * scale)
        size, slope = 1.0, float(step @ gradient)
        while True:
            ahead = objective.newton(theta - size * step)
            if ahead[0] <= value - 1e-4 * size * slope:
                break
            size /= 2.0
            if size * slope <= 1e-15 * abs(value):  # as low as numbers can tell
                return theta, value, largest, iterations
        theta = theta - size * step
        value, gradient, hessian, curvature = ahead
    return theta, value, largest, iterations
