"""How many items pass through a network at once, ours or not: batches of one shape, by number and by bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bottleneck.data.source import Examples

ITEMS = 500  # at most
BYTES = 2**25  # fewer items where they are large: 222 images of 224 x 224 pixels


def size(examples: Examples, multiple: int = 1) -> int:
    """Items in a batch of `examples`, a `multiple` of the devices that share it."""
    fitting = of(examples.fetch(np.arange(min(1, len(examples)))).nbytes)
    return fitting + -fitting % multiple


def of(each: int) -> int:
    """Items in a batch, of so many bytes each."""
    return max(1, min(ITEMS, BYTES // max(1, each)))


def padded(
    examples: Examples, size: int, before: Callable = lambda: None, begin: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(x [size, ...], the rows it holds) of all `examples` from `begin` on, the last batch padded by repeating its
    first item; `before` is called before each is fetched."""
    for start in range(begin, len(examples), size):
        before()
        rows = np.arange(start, min(start + size, len(examples)))
        yield examples.fetch(np.concatenate([rows, np.full(size - len(rows), start)])), rows
