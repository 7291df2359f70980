"""One pass of a network over a component's items: float32 at highest matmul precision, whatever trained the network."""

from __future__ import annotations

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


def through(examples: Examples, read: Callable, stop: Stop) -> dict[str, np.ndarray]:
    """One pass over `examples`: `read(x)` gives name -> [b, ...] for a batch of b; name -> float32 [n, ...] for all.

    Raises Stopped between batches, once `stop` is asked for.
    """
    whole: dict[str, np.ndarray] = {}
    for x, rows in batches(examples, stop):
        for name, values in read(x).items():
            if name not in whole:
                whole[name] = np.empty((len(examples), *values.shape[1:]), np.float32)
            whole[name][rows] = np.asarray(values)[: len(rows)]
    return whole


def grown(
    examples: Examples, read: Callable, stop: Stop, layers, split: str, parts: Parts, size: int, noted: Callable
) -> dict:
    """As `through` in batches of `size`, but onto disk, and from where a pass that was cut short came to: layer ->
    float32 [n, ...], mapped. `noted` is told how many items are there."""
    count = len(examples)
    done = min(parts.rows(layer, split, count) for layer in layers)
    done -= 0 if done == count else done % size
    for layer in layers:
        parts.keep(layer, split, done)
    noted(done)
    for x, rows in padded(examples, size, stop.check, done):
        for layer, values in read(x).items():
            parts.append(layer, split, count, np.asarray(values)[: len(rows)])
        noted(len(rows))
    return {layer: parts.whole(layer, split) for layer in layers}


def batches(examples: Examples, stop: Stop):
    """Batches of one shape: (x, the rows it holds). Raises Stopped before any of them, once `stop` is asked for."""
    return padded(examples, batch_size(examples), stop.check)


def batch_size(examples: Examples) -> int:
    """How many items pass at once, a multiple of the devices of this host."""
    return size(examples, jax.local_device_count())


def remeasured(model, variables: dict, examples: Examples, mean, std, stop: Stop) -> dict:
    """`variables` with BatchNorm statistics measured on the whole batches of `examples`; unchanged without any. Raises
    Stopped like `through`."""
    if "batch_stats" not in variables:
        return variables
    if len(examples) < batch_size(examples):
        whole = iter([examples.fetch(np.arange(len(examples)))])
    else:
        whole = (x for x, rows in batches(examples, stop) if len(rows) == len(x))
    measured = statistics.mean(model, variables, (normalise(x, mean, std) for x in whole))
    return {**variables, "batch_stats": measured}
