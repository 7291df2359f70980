"""The resident path: all training images on the device as uint8, gathered and normalised inside the training
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec

_CHUNK = 4096  # images fetched at once, so that filling the pool needs little more memory than the pool


class Pool(NamedTuple):
    """The examples of all components, one after the other.

    x uint8 [N, H, W, 3] or float32 [N, d]; y int32 [N] or float32 [N, m]; id int32 [N]; offsets int32 [J],
    where each component starts; mean, std float32 [3]; taught [N, ...] and rows int32 [N], where a run learns from
    others (see training.taught): an item that is drawn is the one in its row.
    """

    x: np.ndarray
    y: np.ndarray
    id: np.ndarray
    offsets: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    taught: np.ndarray | None = None
    rows: np.ndarray | None = None


def pool(components: Sequence[Component], data: DataSpec, split: str = "train") -> Pool:
    """The pool of `split`, as NumPy arrays. The caller puts it on its devices."""
    parts = [component.splits[split] for component in components]
    ends = np.cumsum([len(part) for part in parts])
    offsets = np.concatenate([[0], ends[:-1]]).astype(np.int32)
    like = parts[0].fetch(np.arange(min(1, len(parts[0]))))
    x = np.empty((int(ends[-1]), *like.shape[1:]), like.dtype)
    for part, offset in zip(parts, offsets, strict=True):
        for start in range(0, len(part), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(part)))
            x[offset + start : offset + start + len(rows)] = part.fetch(rows)
    labels = np.concatenate([part.labels for part in parts])
    ids = np.concatenate([part.ids for part in parts])
    return Pool(x, labels, ids, offsets, np.asarray(data.mean, np.float32), np.asarray(data.std, np.float32))


def gather(pool: Pool, component, index, dtype=jnp.float32) -> dict:
    """The batch {x, y, component, weight, id}, with `taught` where there is such, of `component` and `index`, int32
    [B]; works under `jit`.

    x is normalised, [B, H, W, 3] or [B, d] in `dtype`; y is the component's own label, before any label
    space.
    """
    row = jnp.asarray(pool.offsets)[component] + index
    row = row if pool.rows is None else jnp.asarray(pool.rows)[row]
    x = normalise(jnp.asarray(pool.x)[row], pool.mean, pool.std, dtype)
    return {
        **({} if pool.taught is None else {"taught": jnp.asarray(pool.taught)[row]}),
        "x": x,
        "y": jnp.asarray(pool.y)[row],
        "component": component,
        "weight": jnp.ones(row.shape, jnp.float32),
        "id": jnp.asarray(pool.id)[row],
    }


def normalise(x, mean, std, dtype=jnp.float32):
    """uint8 images to (x / 255 - mean) / std in `dtype`; vectors of floats are only cast."""
    if x.dtype != jnp.uint8:
        return jnp.asarray(x, dtype)
    scale = jnp.asarray(1 / (255 * jnp.asarray(std)), jnp.float32)
    shift = jnp.asarray(jnp.asarray(mean) / jnp.asarray(std), jnp.float32)
    return (x.astype(jnp.float32) * scale - shift).astype(dtype)
