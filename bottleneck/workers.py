"""Processes that compute for the threads of this one.

Threads take turns at the interpreter, and a probe of a few thousand items is thousands of array operations of
microseconds: two threads of them get through .7 of what one does, two processes through 1.6 times as much (2 cores). So
pure functions of arrays are sent to processes that load no JAX. Many items stay here: their operations last, and
threads disturb each other little; copies of them would take time and memory.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

import numpy as np

MANY = 2**26  # bytes of arrays that are not sent

_pool: concurrent.futures.ProcessPoolExecutor | None = None
_starting = threading.Lock()


def start() -> None:
    """As many workers as cores, from now to the end of this process; none where one core is all there is."""
    global _pool
    with _starting:
        if _pool is None and (count := os.cpu_count() or 1) > 1:
            spawn = multiprocessing.get_context("spawn")
            _pool = concurrent.futures.ProcessPoolExecutor(count, spawn, _begin)


def call(function: Callable, *args, **options):
    """`function(*args, **options)`, a pure function of arrays: by a worker where there are any, to the same bits."""
    pool = _pool
    if pool is None or size((args, options)) > MANY:
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
