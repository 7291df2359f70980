"""The linear probe as Yang, Zhang & Bottou 2025 released it: trained by stochastic gradients, not solved.

Affine BatchNorm over the concatenated frozen features, then a linear layer (weights from N(0, 0.01^2), bias 0);
cross-entropy; SGD with Nesterov momentum 0.9, the rate times 0.1 at 8/28, 16/28 and 24/28 of the epochs; weight decay
on the linear layer alone, from a grid. Fitted here on features without augmentation, so that a pass serves all epochs.

Two readings of one training: `chosen`, decay and epoch by validation accuracy (ties by log-loss), and `released`, the
largest test accuracy over all decays and epochs, which is what was reported: an optimistic number, for comparison with
published ones and for nothing else.

Features that fit are trained on in one program. Of others a batch at a time is on the device, of val and test a chunk,
and of the probe split all where that alone fits: the same batches and updates, to rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bottleneck.analysis import accelerator, probes
from bottleneck.analysis.eigenbasis import chunks
from bottleneck.errors import UserError

EPSILON, RUNNING = 1e-5, 0.1  # of BatchNorm: below the variance; what a batch adds to the running statistics
SPLITS = ("probe", "val", "test")
MOMENTUM, SPREAD = 0.9, 0.01
MILESTONES = (8 / 28, 16 / 28, 24 / 28)
WHOLE = 2**30  # bytes that are trained on in one program without an accelerator


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
        """[n, K] of features [n, p]."""
        said = np.empty((len(x), len(self.intercept)))
        for rows, each in self._said(x):
            said[rows] = each
        return said

    def classes(self, x) -> np.ndarray:
        """Those of the largest logits [n]."""
        said = np.empty(len(x), np.int64)
        for rows, each in self._said(x):
            said[rows] = each.argmax(1)
        return said

    def _said(self, x) -> Iterator[tuple[slice, np.ndarray]]:
        whole = 4 * x.size <= WHOLE  # to the bits that it had before there were chunks
        for rows in [slice(None)] if whole else chunks(len(x), max(self.weights.shape)):
            yield rows, np.asarray(x[rows], np.float64) @ self.weights + self.intercept


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
    batch = min(spec.batch, len(x["probe"]))
    given = np.float32(spec.weight_decay), np.float32(spec.lr), jax.random.key(seed, impl="threefry2x32")
    static = dict(epochs=spec.epochs, batch=batch, classes=num_classes)
    with accelerator.ONE if accelerator.there() else contextlib.nullcontext():
        if _bytes(x, num_classes, len(spec.weight_decay)) <= _room():
            data = [jnp.asarray(x[s], jnp.float32) for s in SPLITS]
            labels = [jnp.asarray(y[s], jnp.int32) for s in SPLITS]
            best, right = jax.device_get(_train(data, labels, *given, **static))
            del data, labels  # of which the next one that has the lock may need the room
        else:
            best, right = _train_by_batches(x, y, *given, **static)
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
    updates = spec.epochs * -(-len(x["probe"]) // batch)
    return Probe(readings["val"], readings["test"], accuracy["val"], accuracy["test"], updates)


def edge(decay: float, spec: ReleasedSpec) -> str:
    """ "weak" or "strong" where a decay is at that end of the grid, "" inside."""
    return probes.edge(sorted(spec.weight_decay).index(decay), len(spec.weight_decay))


def _room() -> float:
    """The bytes that features and logits may take at once."""
    return accelerator.SHARE * accelerator.memory() if accelerator.there() else WHOLE


def _bytes(x: dict, classes: int, grid: int) -> int:
    """Of all features in float32, and of what all decays say of the larger split: logits, and two arrays like them."""
    logits = grid * classes * max(len(x["val"]), len(x["test"]))
    return 4 * (sum(x[split].size for split in SPLITS) + 3 * logits)


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


def _train_by_batches(x, y, decays, rate, key, *, epochs: int, batch: int, classes: int):
    """What `_train` gives, of more than fits."""
    right, take = {"val": [], "test": []}, _taker(x["probe"], y["probe"])
    with jax.default_matmul_precision("highest"):
        width = x["probe"].shape[1]
        state, none = _begin(jax.random.fold_in(key, 0), width, classes, len(decays))
        best = dict.fromkeys(right, none)
        for number in range(epochs):
            step = rate * np.float32(0.1) ** sum(number >= round(part * epochs) for part in MILESTONES)
            drawn = _draw(jax.random.fold_in(key, number + 1), len(x["probe"]), batch)
            for rows, there in zip(*jax.device_get(drawn), strict=True):
                state = _step(state, *take(rows), there, decays, step)
            folded = _fold(state[0], state[2])
            for split, each in right.items():
                found = _read(x[split], y[split], *folded)
                best[split] = _best(best[split], *found, jnp.int32(number), *folded, ties=split == "val")
                each.append(found[0])
    return jax.device_get(best), {split: np.stack(jax.device_get(each)) for split, each in right.items()}


def _taker(x, y) -> Callable:
    """A batch's rows -> (features, their labels, which of those count as the batch): all where they fit on the device,
    else the batch."""
    y = np.asarray(y, np.int32)
    if 4 * x.size <= _room():
        held = jnp.asarray(x, jnp.float32), jnp.asarray(y)
        return lambda rows: (*held, rows)
    return lambda rows: (np.asarray(x[rows], np.float32), y[rows], np.arange(len(rows)))


def _read(x, y, weights, intercept):
    """`_scores` of items that are sent chunk by chunk."""
    grid, width, classes = weights.shape
    right, loss = 0, 0.0
    for rows in chunks(len(x), max(width, grid * classes)):
        found = _score(np.asarray(x[rows], np.float32), np.asarray(y[rows], np.int32), weights, intercept)
        right, loss = right + found[0], loss + found[1] * (len(y[rows]) / len(y))
    return right, loss


@jax.jit
def _step(state, x, y, rows, there, decays, rate):
    return _update(state, x[rows], y[rows], there, decays, rate)


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


_begin, _draw = jax.jit(_start, static_argnums=(1, 2, 3)), jax.jit(_batches, static_argnums=(1, 2))
_fold, _score, _best = jax.jit(_folded), jax.jit(_scores), jax.jit(_better, static_argnames="ties")
