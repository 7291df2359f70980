"""Multinomial logistic regression in the eigenbasis of the features.

There the mean log-loss has a nearly diagonal Hessian, `c s_i + penalty_i`, so dividing it out makes L-BFGS converge in
tens of steps where gradient descent in the raw features would turn bad conditioning into apparent feature loss. One
logit of few items or coordinates is solved by Newton's method instead: there a step of L-BFGS costs more than the
Hessian. Losses are means, so a penalty means the same at every n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from bottleneck.analysis import information
from bottleneck.analysis.eigenbasis import Basis, chunks, class_sums

TOLERANCE = 1e-6  # on the largest gradient entry, in preconditioned coordinates
MAX_ITERATIONS = 2000
CHEAP_HESSIAN = 2**23  # products in it: up to these, one is made in each step
LARGE = 2**32  # products in a pass over the items, from which on an accelerator is asked (not measured)
HEAVY = 2**27  # bytes of items likewise: fewer may be solved by workers, which have none
FLATTEST = 1e-10  # mean curvature of a log-loss: below, all probabilities are 0 or 1


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
    theta = np.ascontiguousarray(_logits(start))
    minimise = _newton if binary and theta.size**2 * len(labels) <= CHEAP_HESSIAN else _lbfgs
    before = 0
    if theta.size * len(labels) >= LARGE and space.items.nbytes >= HEAVY:
        theta, before = _begun(objective, theta, tolerance)
    theta, *report, iterations = minimise(objective, theta, tolerance)
    theta = theta.T
    if binary:
        theta = theta * np.array([[-0.5, 0.5]])
    return Fit(theta[:-1], theta[-1], *report, before + iterations)


def held_out(coordinates, labels, num_classes: int) -> Callable[[Fit], float]:
    """What says the mean log-loss (nats) of a Fit on other items, of `coordinates` [n, r] and `labels` int [n]."""
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.hstack([class_sums(coordinates, labels, num_classes), counts[:, None]])
    parts, log_loss = chunks(len(labels), num_classes), _log_loss(num_classes)

    def loss(fit: Fit) -> float:
        theta = _logits(fit)
        kernel, bias = theta[:, :-1], theta[:, -1:]
        total = sum(log_loss(kernel @ coordinates[rows].T + bias)[0] for rows in parts)
        return (total - float((theta * sums[-len(theta) :]).sum())) / len(labels)

    return loss


def _logits(fit: Fit) -> np.ndarray:
    """Weights and last the intercepts [k, r + 1] of k logits: of every class, or of class 1 beside class 0."""
    theta = np.vstack([fit.weights, fit.intercept]).T
    return theta[1:] - theta[:1] if len(theta) == 2 else theta


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
    penalties, log_loss = np.append(penalties, 0.0), _log_loss(len(sums))
    if len(sums) == 2:  # |W|^2 = |v|^2 / 2 for v = W_1 - W_0
        return _Objective(space, sums[1:], penalties / 2.0, log_loss)
    return _Objective(space, sums, penalties, log_loss)


def _log_loss(num_classes: int) -> Callable:
    return _sigmoid_loss if num_classes == 2 else _softmax_loss


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
