"""The log-loss of many items where there is an accelerator: float32 there, chunk by chunk, float64 sums on the host.

Rounding keeps the gradient from vanishing. So this only brings a solver near: from there it goes on in float64
(`logistic.logistic`), in the few iterations that are left.
"""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np

ONE = threading.Lock()  # probes are solved in several threads, and a device holds the items of one of them
TOLERANCE = 1e-4  # of the solver, as far as float32 tells
SHARE = 0.5  # of the device's memory for items; where they need more they are sent again for every pass


def there() -> bool:
    return jax.default_backend() != "cpu"


def memory() -> float:
    """The bytes of this process's accelerator; infinitely many where it does not say."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", np.inf)


class Objective:
    """The objective of `logistic.logistic` like the one that is `exact`, in float32. `chunks`: rows of its items."""

    def __init__(self, exact, chunks: list[slice]):
        self.exact = exact
        items = exact.space.items
        sends = 4 * items.size > SHARE * memory()
        parts = (items[rows].astype(np.float32) for rows in chunks)
        self._parts = [part if sends else jax.device_put(part) for part in parts]

    def value_and_gradient(self, theta) -> tuple[float, np.ndarray]:
        exact, n = self.exact, len(self.exact.space.items)
        loss, gradient, _ = self._sums(theta)
        penalised = theta * exact.penalties
        value = (loss - float((theta * exact.right).sum())) / n + 0.5 * float((theta * penalised).sum())
        return value, (gradient - exact.right) / n + penalised

    def curvature(self, theta) -> float:
        return self.exact.mean_curvature(self._sums(theta)[2], theta)

    def preconditioner(self, curvature: float) -> np.ndarray:
        return self.exact.preconditioner(curvature)

    def _sums(self, theta) -> tuple[float, np.ndarray, float]:
        """Over all items: log(sum(exp)) of the logits, probabilities times items [k, r + 1], and p (1 - p)."""
        loss, gradient, second = 0.0, np.zeros(theta.shape), 0.0
        small = jax.device_put(theta.astype(np.float32))
        for each in [_pass(part, small) for part in self._parts]:
            loss += float(each[0])
            gradient += np.asarray(each[1], np.float64)
            second += float(each[2])
        return loss, gradient, second


@jax.jit
def _pass(items, theta):
    with jax.default_matmul_precision("highest"):
        logits = theta @ items.T
        if len(theta) == 1:  # of two classes, whose other logit is 0
            loss, probability = jax.nn.softplus(logits), jax.nn.sigmoid(logits)
        else:
            loss, probability = jax.nn.logsumexp(logits, axis=0), jax.nn.softmax(logits, axis=0)
        return loss.sum(), probability @ items, jnp.sum(probability * (1.0 - probability))
