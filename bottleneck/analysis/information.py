"""How much a representation tells about a label, item by item, in bits.

The information of a probe q about item i is `log2 q(y_i | x_i) - log2 p(y_i)`: the pointwise usable information of Xu
et al. 2020 ("A theory of usable information under computational constraints"). p is the best probe of no features
(`null`). Its mean is at most the entropy H(y); negative values are kept.

Before it is read, q is calibrated on the validation split by a temperature (Guo et al. 2017) and by mixing with the
prior, which bounds what one confident mistake can cost. Regression targets use held-out R2, item by item, instead.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

LOG2 = float(np.log(2.0))
TEMPERATURES = (1e-2, 1e2)  # bounds of the fitted temperature
LARGEST = 600.0  # logarithm of odds: the exponential of more overflows


def prior(labels, num_classes: int) -> np.ndarray:
    """Class frequencies [K] of integer `labels` [n].

    If a class has no item, half an item is added to every class, so that all are positive; otherwise they are exact.
    """
    counts = np.bincount(np.asarray(labels, np.int64), minlength=num_classes).astype(np.float64)
    if (counts == 0).any():
        counts += 0.5
    return counts / counts.sum()


def null(y, num_classes: int, train=None) -> np.ndarray:
    """The probe of no features [K], which every probe of these items is compared and mixed with; its entropy is H(y).

    `y` has int labels [n] under probe and val; `train` [m] are the labels of the items that backbones were trained on,
    where there are any. The frequencies of train and probe items together, half an item added to every class, are
    raised to 1/T and normalised. T is fitted on val within `TEMPERATURES` with one more item, as in `calibrate`: here
    one that is distributed as the frequencies say, so that a val split of one class leaves the others possible. Without
    T a probe of useless features beats the frequencies of its few items by flattening them: by .05 to .1 bits with 100
    items of 10 classes.
    """
    labels = np.concatenate([np.asarray(y["probe"], np.int64), np.asarray([] if train is None else train, np.int64)])
    counts, val = np.bincount(labels, minlength=num_classes) + 0.5, np.asarray(y["val"], np.int64)
    frequencies = counts / counts.sum()
    log_p = np.log(frequencies)
    aim = (log_p[val].sum() + frequencies @ log_p) / (len(val) + 1)

    def tempered(inverse):
        return special.softmax(inverse * log_p)

    def excess(inverse):  # derivative of the log-loss on val by 1/T: increasing
        return float(tempered(inverse) @ log_p) - aim

    low, high = 1.0 / TEMPERATURES[1], 1.0 / TEMPERATURES[0]
    if excess(low) >= 0.0:  # also of equal frequencies, which every T leaves as they are
        return tempered(low)
    if excess(high) <= 0.0:
        return tempered(high)
    return tempered(optimize.brentq(excess, low, high, xtol=1e-12))


def entropy(p) -> float:
    """Entropy in bits of a distribution [K]."""
    return float(special.entr(np.asarray(p, np.float64)).sum() / LOG2)


def log_softmax(logits) -> np.ndarray:
    """Of every row of `logits` [n, K]."""
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(1, keepdims=True)  # special.logsumexp takes several times as long on few classes
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def log_loss(log_q, labels) -> float:
    """Mean of -log q(y | x) in nats."""
    return float(-np.take_along_axis(np.asarray(log_q), np.asarray(labels, np.int64)[:, None], 1).mean())


def against(logits, labels) -> np.ndarray:
    """[K - 1, n]: by how much the `logits` [n, K] of the wrong classes exceed the right one's."""
    logits, labels, rows = np.asarray(logits, np.float64), np.asarray(labels, np.int64), np.arange(len(labels))
    wrong = np.arange(logits.shape[1] - 1)[:, None]
    return logits[rows, wrong + (wrong >= labels)] - logits[rows, labels]


def bits(log_q, labels, p) -> np.ndarray:
    """Information [n] in bits: `log2 q(y|x) - log2 p(y)` for natural-log probabilities `log_q` [n, K]."""
    labels = np.asarray(labels, np.int64)
    chosen = np.take_along_axis(np.asarray(log_q, np.float64), labels[:, None], 1)[:, 0]
    return (chosen - np.log(np.asarray(p, np.float64))[labels]) / LOG2


@dataclass(frozen=True)
class Calibration:
    """q = (1 - mix) softmax(logits / temperature) + mix p."""

    temperature: float
    mix: float
    prior: np.ndarray  # [K]
    val_log_loss: float  # nats, on the items it was fitted on


def apply(calibration: Calibration, logits) -> np.ndarray:
    """Calibrated natural-log probabilities [n, K]."""
    log_q = log_softmax(np.asarray(logits, np.float64) / calibration.temperature)
    if calibration.mix == 0.0:
        return log_q
    return np.logaddexp(np.log1p(-calibration.mix) + log_q, np.log(calibration.mix) + np.log(calibration.prior))


def calibrate(logits, labels, p) -> Calibration:
    """Fit temperature and mixing weight on validation `logits` [n, K] and `labels` [n].

    Minimises the log-loss of the n items plus that of one more item which only the prior explains (the rule of
    succession, as in Platt's smoothed targets): a flawless validation split is no proof that no mistake will ever be
    made. Hence `mix >= 1/(n+1)`, no test item costs more than about `log2((n+1) / p(y))` bits, and the plain
    validation log-loss exceeds the uncalibrated one by at most `(1 + log(n+1)) / n` nats (usually it is lower).
    Deterministic; the temperature stays within `TEMPERATURES`.
    """
    logits, labels, p = np.asarray(logits, np.float64), np.asarray(labels, np.int64), np.asarray(p, np.float64)
    objective, least = functools.partial(_succession, against(logits, labels), p[labels]), 1.0 / (len(labels) + 1.0)
    low, high = (1.0 / TEMPERATURES[1], least), (1.0 / TEMPERATURES[0], 1.0 - 1e-9)
    # nearly convex, not quite: of two starts the lower end wins
    found = [minimum(objective, start, low, high) for start in (low, (1.0, 0.5))]
    found.append((objective((1.0, least))[0], (1.0, least)))  # as they are
    _, (inverse, mix) = min(found, key=lambda end: end[0])
    fitted = Calibration(float(1.0 / inverse), float(mix), p, 0.0)
    return Calibration(fitted.temperature, fitted.mix, p, log_loss(apply(fitted, logits), labels))


def _succession(wrong, base, theta) -> tuple[float, np.ndarray, np.ndarray]:
    """The objective of `calibrate`, nats an item, its gradient [2] and Hessian [2, 2] by `theta` (1 / T, mix).

    `wrong` [K - 1, n] as of `against`; `base` [n]: the prior of the right class.
    """
    (inverse, mix), n = theta, len(base)
    odds = np.exp(np.minimum(inverse * wrong, LARGEST))
    weighted = odds * wrong
    q = 1.0 / (1.0 + odds.sum(0))
    first = -weighted.sum(0) * q  # q first and q second are the derivatives of q by 1 / T
    second = 2.0 * first**2 - (weighted * wrong).sum(0) * q
    mixed = (1.0 - mix) * q + mix * base
    share, towards = (1.0 - mix) * q / mixed, (base - q) / mixed
    slope = share * first
    value = -np.log(mixed).sum() - np.log(mix)
    gradient = np.array([-slope.sum(), -towards.sum() - 1.0 / mix])
    across = (slope * towards).sum() - gradient[0] / (1.0 - mix)
    hessian = [[(slope**2 - share * second).sum(), across], [across, (towards**2).sum() + 1.0 / mix**2]]
    return value / n, gradient / n, np.array(hessian) / n


def minimum(objective, start, low, high) -> tuple[float, np.ndarray]:
    """A local minimum between the bounds `low` and `high` [d], and where it is, by Newton's method from `start`.

    `objective(theta)`: value, gradient, Hessian. Where it is not convex, the absolute values of curvatures count;
    coordinates that a bound keeps from falling further stay there; steps are halved until the value falls.
    """
    theta = np.array(start)
    value, gradient, hessian = objective(theta)
    for _ in range(200):
        free = np.where(gradient > 0.0, theta > low, theta < high)
        curvatures, axes = np.linalg.eigh(hessian[np.ix_(free, free)])
        step = np.zeros(len(theta))
        step[free] = axes @ (axes.T @ gradient[free] / np.maximum(np.abs(curvatures), 1e-300))
        size = 1.0
        while True:
            if not size * float(gradient @ step) > 1e-15 * max(1.0, abs(value)):  # as low as numbers can tell
                return value, theta
            ahead = np.clip(theta - size * step, low, high)
            fall = float(gradient @ (theta - ahead))  # below 0 where a bound has turned the step
            found = objective(ahead)
            if fall > 0.0 and found[0] <= value - 1e-4 * fall:
                break
            size /= 2.0
        theta, (value, gradient, hessian) = ahead, found
    return value, theta


def r2_items(y, predicted, centre=None) -> np.ndarray:
    """Items [n] whose mean is exactly the held-out R2 of `predicted` for `y`, both [n, m] or [n].

    `(|y - centre|^2 - |y - predicted|^2) / mean |y - centre|^2`, outputs summed; `centre` [m] defaults to the mean of
    the given items, which is the usual R2.
    """
    y = np.asarray(y, np.float64).reshape(len(y), -1)
    predicted = np.asarray(predicted, np.float64).reshape(y.shape)
    centre = y.mean(0) if centre is None else np.asarray(centre, np.float64)
    total = ((y - centre) ** 2).sum(1)
    scale = total.mean()
    if scale == 0.0:
        return np.zeros(len(y))
    return (total - ((y - predicted) ** 2).sum(1)) / scale


def mean_prediction(logits) -> np.ndarray:
    """Logarithm of the mean probability [n, K] that `logits` [M, n, K] of several classifiers give."""
    return special.logsumexp(special.log_softmax(logits, axis=-1), axis=0) - np.log(len(logits))
