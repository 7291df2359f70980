"""The stream path: the sampler's batches fetched on the host by Grain, for data that do not fit on the
device.

One element is one batch, a pure function of (seed, step): reading can start at any step, and the examples are
those `resident.gather` would have taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grain
import jax
import numpy as np

from bottleneck.data import mixture
from bottleneck.data.component import Component

PREFETCH_BYTES = 2**29  # of images that wait for the device: 13 batches of 256 images of 224 x 224 pixels


def batches(
    components: Sequence[Component],
    tables: mixture.Tables,
    seed: int,
    batch: int,
    kind: str,
    start: int,
    stop: int,
    rows: slice | np.ndarray = slice(None),
    split: str = "train",
    threads: int = 8,
    taught=None,
) -> Iterator[dict]:
    """Batches of steps start..stop-1, in order: {x, y, component, weight, id} as NumPy arrays.

    x is as fetched (uint8 images), for `resident.normalise` on the device. `rows`: this host's part of the batch.
    `taught`: what the batches carry beside, and which items are drawn (training.taught). Images are fetched in
    `threads` threads, a few batches ahead: at most PREFETCH_BYTES of them.
    """
    parts = [component.splits[split] for component in components]
    host = jax.local_devices(backend="cpu")[0]
    offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
    tables = jax.device_put(tables, host)

    def fetch(step):
        with jax.default_device(host):
            drawn = mixture.draw(tables, np.int32(seed), np.int32(step), batch, kind)
        component, index = (np.asarray(each)[rows] for each in drawn)
        if taught is None:
            return assemble(parts, component, index)
        row = offsets[component] + index
        row = row if taught.rows is None else taught.rows[row]
        return {**assemble(parts, component, row - offsets[component]), "taught": taught.said[row]}

    steps = grain.MapDataset.range(start, stop).map(fetch)
    ahead = prefetched(parts[0].fetch(np.arange(1)).nbytes * len(np.arange(batch)[rows]), threads)
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    return iter(steps.to_iter_dataset(options))


def prefetched(batch_bytes: int, threads: int) -> int:
    """How many batches are fetched ahead: two a thread, fewer where they are large."""
    return max(1, min(2 * threads, PREFETCH_BYTES // batch_bytes))


def assemble(parts: Sequence, component: np.ndarray, index: np.ndarray) -> dict:
    """One batch from `parts` (an Examples for each component): row b is item index[b] of part component[b]."""
    batch = {}
    for j in np.unique(component):
        where = np.flatnonzero(component == j)
        chosen, part = index[where], parts[j]
        for key, values in (("x", part.fetch(chosen)), ("y", part.labels[chosen]), ("id", part.ids[chosen])):
            whole = batch.setdefault(key, np.empty((len(component), *values.shape[1:]), values.dtype))
            whole[where] = values
    return {**batch, "component": component, "weight": np.ones(len(component), np.float32)}
