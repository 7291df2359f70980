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
from multiprocessing import context

from bottleneck import memory

MANY = 2**26  # bytes of arrays that are not sent
MOST = 32  # workers
SHARE = 0.5  # of the memory that there is, for what the processes of one job compute in threads
TIMES = 4  # its size in files, that a probe takes: joined, in float64, and what is made of that (measured: 3 of them)


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


class _Worker(context.SpawnProcess):
    def terminate(self) -> None:
        """As a pool ends those that are left of a broken one, and waits for them: they do not heed SIGTERM."""
        self.kill()


class _Spawn(context.SpawnContext):
    Process = _Worker


_pool: concurrent.futures.ProcessPoolExecutor | None = None
_starting = threading.Lock()
_room = Room(SHARE * memory.available())
_here = threading.local()


def share_among(count: int) -> None:
    """From now on there is room for what one of `count` processes of this machine may take. To be called while nobody
    has any."""
    global _room
    _room = Room(SHARE * memory.available() / count)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start() -> None:
    """From now on `call` has as many workers as cores, which begin when they are needed and end with this process; none
    where one core is all there is."""
    global _pool
    with _starting:
        if _pool is None and (count := min(cores(), MOST)) > 1 and not _repeats():
            _pool = concurrent.futures.ProcessPoolExecutor(count, _Spawn(), _begin)


def _repeats() -> bool:
    """Whether a new process would carry out a user's main module once more, as Python does with all but notebooks and
    packages. Ours do nothing when they are imported."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", "")
    return hasattr(main, "__file__") and not name.startswith("bottleneck.") and not name.endswith(".__main__")


def call(function: Callable, *args, **options):
    """`function(*args, **options)`, a pure function of arrays: by a worker where there are any, to the same bits."""
    pool, given = _pool, size((args, options))
    if given > MANY:
        with room(given):
            return function(*args, **options)
    if pool is None:
        return function(*args, **options)
    try:
        asked = pool.submit(function, *args, **options)
    except (BrokenProcessPool, OSError):  # of which the second is that no process could be begun
        return _alone(pool, function, args, options)
    try:
        return asked.result()
    except BrokenProcessPool:  # a worker was killed, as for want of memory
        return _alone(pool, function, args, options)


@contextlib.contextmanager
def room(given: float) -> Iterator[None]:
    """Waits until there is room to probe arrays of so many bytes. What a thread said first holds within: two that have
    some and want more, or what the other is just making, would wait forever."""
    if not given or getattr(_here, "room", False):
        yield
        return
    with _room.take(TIMES * given if given > MANY else 0):
        _here.room = True
        try:
            yield
        finally:
            _here.room = False


def size(held) -> int:
    """The bytes of all arrays in dictionaries and sequences."""
    if isinstance(held, dict):
        return sum(map(size, held.values()))
    if isinstance(held, list | tuple):
        return sum(map(size, held))
    return getattr(held, "nbytes", 0)


def _alone(pool, function: Callable, args, options):
    """What is called, here, as all will be from now on."""
    global _pool
    with _starting:
        if _pool is pool:
            _pool = None
    return function(*args, **options)


def _begin() -> None:
    """In a worker: signals are the parent's to answer, which it does not outlive; one BLAS thread, as in `jobs`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy is loaded, which else begins with a thread for every core

    from threadpoolctl import threadpool_limits

    from bottleneck.analysis import nonlinear  # noqa: F401  loads what is needed

    threadpool_limits(1, "blas")


def _end_with(parent) -> None:
    parent.join()
    os._exit(1)
