"""One pass of a network over a component's items: float32 at highest matmul precision, whatever trained the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bottleneck.data.resident import normalise
from bottleneck.data.source import Examples
from bottleneck.errors import UserError
from bottleneck.features.batch import padded, size
from bottleneck.features.layers import LOGITS, spatial, tap_and_mode
from bottleneck.features.parts import Parts
from bottleneck.models import statistics
from bottleneck.signals import Stop
from bottleneck.workers import size as bytes_of

HELD, SECONDS = 2**24, 2.0  # bytes of a split, and time, that a pass made in memory takes: few to lose and to hold


def placed(variables, batch: bool = False):
    """`variables` on every device of this host; a `batch` is shared among them."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return jax.device_put(variables, devices[0])
    mesh = Mesh(devices, ("data",))
    return jax.device_put(variables, NamedSharding(mesh, PartitionSpec("data") if batch else PartitionSpec()))


@partial(jax.jit, static_argnames=("model", "layers"))
def forward(model, variables, x, mean, std, layers):
    """`layers` of `model` at the uint8 images (or vectors) `x`, float32, in their spatial modes."""
    with jax.default_matmul_precision("highest"):
        logits, taps = model.apply(variables, normalise(x, mean, std), train=False)
        taps, read = {**taps, LOGITS: logits}, {layer: tap_and_mode(layer) for layer in layers}
        for layer, (tap, _) in read.items():
            if tap not in taps:
                raise UserError("layer", layer, f"one of {', '.join(taps)}, or with .flattened or .positions behind it")
        return {layer: spatial(taps[tap], mode).astype(jnp.float32) for layer, (tap, mode) in read.items()}


def grown(
    examples: Examples,
    read: Callable,
    stop: Stop,
    layers,
    split: str,
    parts: Parts,
    size: int,
    noted=lambda count: None,
) -> dict:
    """One pass over `examples` in batches of `size`: `read(x)` gives layer -> [size, ...] of a batch; (layer, split) ->
    [n, ...]. `noted` is told how many items are there.

    What takes more than `HELD` bytes, or `SECONDS`, grows on disk, from where a pass that was cut short came to, and is
    mapped. Raises Stopped between batches, once `stop` is asked for.
    """
    count = len(examples)
    done = min(parts.rows(layer, split, count) for layer in layers)
    done -= 0 if done == count else done % size
    for layer in layers:
        parts.keep(layer, split, done)
    noted(done)
    held, since = {layer: [] for layer in layers}, time.monotonic()
    for x, rows in padded(examples, size, stop.check, done):
        for layer, values in read(x).items():
            held[layer].append(np.asarray(values)[: len(rows)])
        noted(len(rows))
        if bytes_of(held) > HELD or time.monotonic() - since > SECONDS:
            _onto_disk(held, split, count, parts)
            done, since = rows[-1] + 1, time.monotonic()
    if not done:
        return {(layer, split): np.concatenate(held[layer]) for layer in layers}
    _onto_disk(held, split, count, parts)
    return {(layer, split): parts.whole(layer, split) for layer in layers}


def _onto_disk(held: dict[str, list], split: str, count: int, parts: Parts) -> None:
    """Adds what is held to the files of its layers, and lets go of it."""
    for layer, batches in held.items():
        if batches:
            parts.append(layer, split, count, np.concatenate(batches))
            batches.clear()


def batches(examples: Examples, stop: Stop):
    """Batches of one shape: (x, the rows it holds). Raises Stopped before any of them, once `stop` is asked for."""
    return padded(examples, batch_size(examples), stop.check)


def batch_size(examples: Examples) -> int:
    """How many items pass at once, a multiple of the devices of this host."""
    return size(examples, jax.local_device_count())


def remeasured(model, variables: dict, examples: Examples, mean, std, stop: Stop) -> dict:
    """`variables` with BatchNorm statistics measured on the whole batches of `examples`; unchanged without any. Raises
    Stopped like `grown`."""
    if "batch_stats" not in variables:
        return variables
    if len(examples) < batch_size(examples):
        whole = iter([examples.fetch(np.arange(len(examples)))])
    else:
        whole = (x for x, rows in batches(examples, stop) if len(rows) == len(x))
    measured = statistics.mean(model, variables, (normalise(x, mean, std) for x in whole))
    return {**variables, "batch_stats": measured}
