"""The linear probe as Yang, Zhang & Bottou 2025 released it: trained by stochastic gradients, not solved.

Affine BatchNorm over the concatenated frozen features, then a linear layer (weights from N(0, 0.01^2), bias 0);
cross-entropy; SGD with Nesterov momentum 0.9, the rate times 0.1 at 8/28, 16/28 and 24/28 of the epochs; weight decay
on the linear layer alone, from a grid. Fitted here on features without augmentation, so that a pass serves all epochs.

Two readings of one training: `chosen`, decay and epoch by validation accuracy (ties by log-loss), and `released`, the
largest test accuracy over all decays and epochs, which is what was reported: an optimistic number, for comparison with
published ones and for nothing else.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bottleneck.analysis import probes
from bottleneck.errors import UserError

EPSILON, RUNNING = 1e-5, 0.1  # of BatchNorm: below the variance; what a batch adds to the running statistics
MOMENTUM, SPREAD = 0.9, 0.01
MILESTONES = (8 / 28, 16 / 28, 24 / 28)


@dataclasses.dataclass(frozen=True)
class ReleasedSpec:
    """The released probe: weight decays to choose from (those of CIFAR), epochs, items of a batch, learning rate."""

    weight_decay: tuple[float, ...] = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2)
    epochs: int = 28
    batch: int = 256
    lr: float = 0.01

    def __post_init__(self):
        for field in ("epochs", "batch"):
            if getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")
        if not 0 < self.lr < float("inf"):
            raise UserError("lr", self.lr, "a number above 0")
        if not self.weight_decay or not all(0 <= decay < float("inf") for decay in self.weight_decay):
            raise UserError("weight_decay", self.weight_decay, "at least one number of at least 0")


@dataclasses.dataclass(frozen=True)
class Reading:
    """One decay and epoch of a training, BatchNorm folded into the linear layer."""

    weight_decay: float
    epoch: int  # from 1
    weights: np.ndarray  # [p, K] on raw features
    intercept: np.ndarray  # [K]

    def logits(self, x) -> np.ndarray:
        return np.asarray(x, np.float64) @ self.weights + self.intercept


@dataclasses.dataclass(frozen=True)
class Probe:
    chosen: Reading  # on validation
    released: Reading  # on test
    val_accuracy: np.ndarray  # [epochs, decays]
    test_accuracy: np.ndarray  # [epochs, decays]
    updates: int


def probe(x: dict, y: dict, num_classes: int, spec: ReleasedSpec, seed: int) -> Probe:
    """Trains on the split `probe`, for all decays at once; `x[split]` [n, p], `y[split]` int [n].

    Batches of fewer items where there are not so many; of an epoch the last one holds what is left. Everything drawn is
    a function of `seed`. Compiled once per shape.
    """
    data = [jnp.asarray(x[s], jnp.float32) for s in ("probe", "val", "test")]
    labels = [jnp.asarray(y[s], jnp.int32) for s in ("probe", "val", "test")]
    batch = min(spec.batch, len(data[0]))
    decays, rate = np.float32(spec.weight_decay), np.float32(spec.lr)
    key = jax.random.key(seed, impl="threefry2x32")
    static = dict(epochs=spec.epochs, batch=batch, classes=num_classes)
    best, right = jax.device_get(_train(data, labels, decays, rate, key, **static))
    readings = {
        split: Reading(
            spec.weight_decay[int(held["decay"])],
            int(held["epoch"]) + 1,
            held["weights"].astype(np.float64),
            held["intercept"].astype(np.float64),
        )
        for split, held in best.items()
    }
    accuracy = {split: right[split] / len(y[split]) for split in ("val", "test")}
    updates = spec.epochs * -(-len(data[0]) // batch)
    return Probe(readings["val"], readings["test"], accuracy["val"], accuracy["test"], updates)


def edge(decay: float, spec: ReleasedSpec) -> str:
    """ "weak" or "strong" where a decay is at that end of the grid, "" inside."""
    return probes.edge(sorted(spec.weight_decay).index(decay), len(spec.weight_decay))


@partial(jax.jit, static_argnames=("epochs", "batch", "classes"))
def _train(data, labels, decays, rate, key, *, epochs: int, batch: int, classes: int):
    """(split -> the best reading on it, split -> items it has right [epochs, G]) of G decays."""
    milestones = jnp.asarray([round(part * epochs) for part in MILESTONES])

    def epoch(carry, number):
        state, best = carry
        step = rate * jnp.float32(0.1) ** (number >= milestones).sum()

        def update(state, drawn):
            rows, there = drawn
            return _update(state, data[0][rows], labels[0][rows], there, decays, step), None

        batches = _batches(jax.random.fold_in(key, number + 1), len(data[0]), batch)
        state, _ = jax.lax.scan(update, state, batches)
        folded = _folded(state[0], state[2])
        read = {split: _scores(x, y, *folded) for split, x, y in zip(("val", "test"), data[1:], labels[1:])}
        best = {split: _better(best[split], *read[split], number, *folded, ties=split == "val") for split in best}
        return (state, best), {split: right for split, (right, _) in read.items()}

    with jax.default_matmul_precision("highest"):
        state, none = _start(jax.random.fold_in(key, 0), data[0].shape[1], classes, len(decays))
        (_, best), right = jax.lax.scan(epoch, (state, {"val": none, "test": none}), jnp.arange(epochs))
    return best, right


def _start(key, width: int, classes: int, grid: int):
    """(layers, momentum and running statistics before the first step; a reading that any other is better than)."""
    first = SPREAD * jax.random.normal(key, (width, classes), jnp.float32)
    layers = {
        "kernel": jnp.broadcast_to(first, (grid, width, classes)),
        "bias": jnp.zeros((grid, classes), jnp.float32),
        "scale": jnp.ones((grid, width), jnp.float32),
        "shift": jnp.zeros((grid, width), jnp.float32),
    }
    running = jnp.zeros(width, jnp.float32), jnp.ones(width, jnp.float32)
    none = {"right": jnp.int32(-1), "loss": jnp.float32(jnp.inf), "decay": jnp.int32(0), "epoch": jnp.int32(0)}
    none |= {"weights": jnp.zeros((width, classes), jnp.float32), "intercept": jnp.zeros(classes, jnp.float32)}
    return (layers, jax.tree.map(jnp.zeros_like, layers), running), none


def _batches(key, count: int, batch: int):
    """Rows of an epoch [batches, batch], and which of them count (1 or 0): the last batch may be filled up."""
    number = -(-count // batch)
    rows = jnp.pad(jax.random.permutation(key, count), (0, number * batch - count))
    there = (jnp.arange(number * batch) < count).astype(jnp.float32)
    return rows.reshape(number, batch), there.reshape(number, batch)


def _update(state, x, y, there, decays, rate):
    """One step of all decays on a batch, of which the items `there` (1 or 0) count."""
    layers, momentum, (mean, variance) = state
    count = there.sum()
    centre = there @ x / count
    spread = there @ jnp.square(x - centre) / count
    normal = (x - centre) / jnp.sqrt(spread + EPSILON)

    def loss(layers):
        weights = layers["scale"][:, :, None] * layers["kernel"]
        intercept = layers["bias"] + jnp.einsum("gp,gpk->gk", layers["shift"], layers["kernel"])
        logits = jnp.einsum("bp,gpk->gbk", normal, weights) + intercept[:, None]
        return (_nll(logits, y) @ there / count).sum()

    grads = jax.grad(loss)(layers)
    for name in ("kernel", "bias"):
        grads[name] += decays.reshape(-1, *[1] * (grads[name].ndim - 1)) * layers[name]
    momentum = jax.tree.map(lambda m, g: MOMENTUM * m + g, momentum, grads)
    layers = jax.tree.map(lambda w, m, g: w - rate * (g + MOMENTUM * m), layers, momentum, grads)
    unbiased = spread * count / jnp.maximum(count - 1, 1)
    running = (1 - RUNNING) * mean + RUNNING * centre, (1 - RUNNING) * variance + RUNNING * unbiased
    return layers, momentum, running


def _folded(layers, running):
    """Weights [G, p, K] and intercept [G, K] on raw features, with the running statistics."""
    mean, variance = running
    factor = layers["scale"] / jnp.sqrt(variance + EPSILON)
    intercept = layers["bias"] + jnp.einsum("gp,gpk->gk", layers["shift"] - factor * mean, layers["kernel"])
    return factor[:, :, None] * layers["kernel"], intercept


def _nll(logits, y):
    """[G, B] of logits [G, B, K]."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[None, :, None], axis=-1)[..., 0]


def _scores(x, y, weights, intercept):
    """Items that each decay has right [G], and its log-loss [G]."""
    logits = jnp.einsum("bp,gpk->gbk", x, weights) + intercept[:, None]
    return (logits.argmax(-1) == y).sum(-1, dtype=jnp.int32), _nll(logits, y).mean(-1)


def _better(best, right, loss, number, weights, intercept, ties: bool):
    """`best`, or the best decay of this epoch where that has more items right (or as many and, with `ties`, less
    loss)."""
    loss = jnp.where(jnp.isfinite(loss), loss, jnp.inf)
    decay = jnp.where(right == right.max(), loss, jnp.inf).argmin() if ties else right.argmax()
    more, same = right[decay] > best["right"], right[decay] == best["right"]
    found = {
        "right": right[decay],
        "loss": loss[decay],
        "decay": decay.astype(jnp.int32),
        "epoch": number.astype(jnp.int32),
        "weights": weights[decay],
        "intercept": intercept[decay],
    }
    wins = more | (same & (loss[decay] < best["loss"])) if ties else more
    return jax.tree.map(lambda new, old: jnp.where(wins, new, old), found, best)
