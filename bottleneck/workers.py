"""Processes that compute for the threads of this one.

Threads take turns at the interpreter, and a probe of a few thousand items is thousands of array operations of
microseconds: two threads of them get through .7 of what one does, two processes through 1.6 times as much (2 cores). So
pure functions of arrays are sent to processes that load no JAX. Many items stay here: their operations last, so that
threads disturb each other little, and they need memory, of which as many are computed at a time as there is room for.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool

import numpy as np

MANY = 2**26  # bytes of arrays that are not sent
SHARE = 0.5  # of this machine's memory, for what is computed here
TIMES = 3  # its own size, that a probe takes: coordinates in float64, and what is made of them (measured)


class Room:
    """So many bytes, for threads to share."""

    def __init__(self, most: float):
        self.most = self.left = most
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, wanted: float) -> Iterator[None]:
        """Waits until so much is left, and takes it; who wants more than there is takes all."""
        wanted = min(wanted, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self.left >= wanted)
            self.left -= wanted
        try:
            yield
        finally:
            with self._changed:
                self.left += wanted
                self._changed.notify_all()


_pool: concurrent.futures.ProcessPoolExecutor | None = None
_starting = threading.Lock()
_room = Room(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def start() -> None:
    """As many workers as cores, from now to the end of this process; none where one core is all there is."""
    global _pool
    with _starting:
        if _pool is None and (count := os.cpu_count() or 1) > 1 and not _repeats():
            spawn = multiprocessing.get_context("spawn")
            _pool = concurrent.futures.ProcessPoolExecutor(count, spawn, _begin)


def _repeats() -> bool:
    """Whether a new process would carry out the main module once more: Python does that with scripts run by path."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is None and hasattr(main, "__file__")


def call(function: Callable, *args, **options):
    """`function(*args, **options)`, a pure function of arrays: by a worker where there are any, to the same bits."""
    pool, given = _pool, size((args, options))
    if given > MANY:
        with _room.take(TIMES * given):
            return function(*args, **options)
    if pool is None:
        return function(*args, **options)
    try:
        return pool.submit(function, *args, **options).result()
    except BrokenProcessPool:  # a worker was killed, as for want of memory
        _stop(pool)
        return function(*args, **options)


def size(held) -> int:
    """The bytes of all arrays in dictionaries and sequences."""
    if isinstance(held, dict):
        return sum(map(size, held.values()))
    if isinstance(held, list | tuple):
        return sum(map(size, held))
    return held.nbytes if isinstance(held, np.ndarray) else 0


def _stop(pool) -> None:
    global _pool
    with _starting:
        if _pool is pool:
            _pool = None


def _begin() -> None:
    """In a worker: signals are the parent's to answer, which it does not outlive; one BLAS thread, as in `jobs`."""
    from threadpoolctl import threadpool_limits

    from bottleneck.analysis import nonlinear  # noqa: F401  loads what is needed

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threadpool_limits(1, "blas")
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent) -> None:
    parent.join()
    os._exit(1)
