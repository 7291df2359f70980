"""The stream path: the sampler's batches fetched on the host by Grain, for data that do not fit on the
device.

One element is a part of a batch, a pure function of (seed, step, rows): reading can start at any step, and the examples
are those `resident.gather` would have taken. Workers are threads: images are decoded and resized outside the
interpreter's lock.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import grain
import jax
import numpy as np

from bottleneck.data import crops, images, mixture
from bottleneck.data.component import Component

PREFETCH_BYTES = 2**29  # of images that wait for the device: 13 batches of 256 images of 224 x 224 pixels
PART = 32  # rows of a batch that a worker fetches at once: what is left of them is all that an end waits for


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
    threads: int = images.THREADS,
    taught=None,
    area: tuple[float, float] | None = None,
) -> Iterator[dict]:
    """Batches of steps start..stop-1, in order: {x, y, component, weight, id} as NumPy arrays.

    x is as fetched (uint8 images), for `resident.normalise` on the device. `rows`: this host's part of the batch.
    `taught`: what the batches carry beside, and which items are drawn (training.taught). `area`: of random-resized
    crops, see `crops.drawn`. Images are fetched in `threads` threads, a few batches ahead: at most PREFETCH_BYTES of
    them, besides the batch that is put together. The threads end with the iterator, wherever it stands; what they raise
    is raised by it.
    """
    parts = [component.splits[split] for component in components]
    offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
    own = np.arange(batch)[rows]
    places = np.array_split(own, -(-len(own) // PART))
    drawn = functools.lru_cache(2 * threads)(_sampler(tables, seed, batch, kind, area))
    drawn(start)  # compiled once, before the workers all ask for it

    def fetch(number):
        step, place = divmod(int(number), len(places))
        component, index, cut = (None if each is None else each[places[place]] for each in drawn(step))
        if taught is None:
            return assemble(parts, component, index, cut)
        row = offsets[component] + index
        row = row if taught.rows is None else taught.rows[row]
        return {**assemble(parts, component, row - offsets[component], cut), "taught": taught.said[row]}

    elements = grain.MapDataset.range(start * len(places), stop * len(places)).map(fetch)
    ahead = prefetched(parts[0].fetch(np.arange(1)).nbytes, [len(place) for place in places], threads)
    options = grain.ReadOptions(num_threads=min(threads, ahead), prefetch_buffer_size=ahead)
    return _whole(iter(elements.to_iter_dataset(options)), stop - start, len(places))


def _sampler(tables: mixture.Tables, seed: int, batch: int, kind: str, area: tuple[float, float] | None):
    """What gives, of a step, component and index [batch], and what its crops are made of (None without an `area`)."""
    host = jax.local_devices(backend="cpu")[0]
    tables = jax.device_put(tables, host)

    def drawn(step):
        with jax.default_device(host):
            component, index = mixture.draw(tables, np.int32(seed), np.int32(step), batch, kind)
            bits = mixture.bits(np.int32(seed), np.int32(step), batch, crops.NUMBERS) if area else None
        return np.asarray(component), np.asarray(index), crops.drawn(bits, area) if area else None

    return drawn


def _whole(elements, count: int, parts: int) -> Iterator[dict]:
    """`count` batches of so many parts each."""
    try:
        for _ in range(count):
            first, *others = [next(elements) for _ in range(parts)]
            if others:
                first = {key: np.concatenate([first[key], *(part[key] for part in others)]) for key in first}
            yield first
    finally:
        elements.close()


def prefetched(item_bytes: int, parts: Sequence[int], threads: int) -> int:
    """How many parts of batches are fetched ahead: those of two batches a thread, fewer where they are large. `parts`:
    rows of each part of a batch."""
    return max(1, min(2 * threads * len(parts), PREFETCH_BYTES // (item_bytes * max(parts))))


def assemble(parts: Sequence, component: np.ndarray, index: np.ndarray, cut: np.ndarray | None = None) -> dict:
    """Rows of a batch from `parts` (an Examples for each component): row b is item index[b] of part component[b], whole
    or `cut`, a row of `crops.drawn` for each."""
    batch = {}
    for j in np.unique(component):
        where = np.flatnonzero(component == j)
        chosen, part = index[where], parts[j]
        x = part.fetch(chosen) if cut is None else part.crop(chosen, cut[where])
        for key, values in (("x", x), ("y", part.labels[chosen]), ("id", part.ids[chosen])):
            if len(where) == len(component):
                batch[key] = values
                continue
            whole = batch.setdefault(key, np.empty((len(component), *values.shape[1:]), values.dtype))
            whole[where] = values
    return {**batch, "component": component, "weight": np.ones(len(component), np.float32)}
