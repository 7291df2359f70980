"""Jobs side by side: as many threads as cores, one BLAS thread each, and a bar with an estimate of the time left."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bottleneck import workers

MANY = 64  # tasks, from which on workers are worth their start
# Held while NumPy reads an array: it parses a header, in which threads disturb each other under CPython 3.11
# ("SystemError: AST constructor recursion depth mismatch").
PARSING = threading.Lock()


class Stop(Protocol):
    """What knows whether a signal asked to stop."""

    asked: bool


def carry_out(
    stage: str,
    unit: str,
    groups: list[list],
    work: Callable,
    stop: Stop | None = None,
    holds: Callable = lambda task: 0,
) -> None:
    """Calls `work(task)` for every task of every group: groups side by side, the tasks of a group in order, and each
    when there is room for the bytes that it `holds` (before they are read: who waits holds none).

    Linear algebra and device computations release the interpreter, so threads are enough; a second BLAS thread costs
    more than it brings on the small products of probes, and very much more on a busy machine. A failure, or an
    interruption, is raised when the tasks in hand have ended; what has not begun is dropped. Likewise signals.Stopped,
    once `stop.asked` is true and tasks are left.
    """
    left = sum(map(len, groups))
    lock, failed = threading.Lock(), threading.Event()

    def dropped() -> bool:
        return failed.is_set() or stop is not None and stop.asked

    def each(group):
        nonlocal left
        for task in group:
            if dropped():
                return
            with workers.room(holds(task)), _told(failed):
                if dropped():  # while it waited
                    return
                work(task)
            with lock:
                left -= 1
            bar.update()

    with progress(stage, left, unit) as bar, threadpool_limits(1, "blas"):
        if len(groups) == 1:
            each(groups[0])
        else:
            _side_by_side(each, groups, failed)
    if left:
        from bottleneck.signals import Stopped

        raise Stopped


@contextlib.contextmanager
def _told(failed: threading.Event) -> Iterator[None]:
    """Sets `failed` where what is inside raises: before others have its room."""
    try:
        yield
    except BaseException:
        failed.set()
        raise


def _side_by_side(each: Callable, groups: list[list], failed: threading.Event) -> None:
    if sum(map(len, groups)) >= MANY:
        workers.start()
    pool = ThreadPoolExecutor(workers.cores())
    try:
        ended, _ = wait([pool.submit(each, group) for group in groups], return_when=FIRST_EXCEPTION)
        for done in ended:
            done.result()
    finally:
        failed.set()
        pool.shutdown(cancel_futures=True)


def progress(stage: str, total: int, unit: str, delay: float = 0.0) -> tqdm:
    """A bar with an estimate of the time left; nothing where standard error is neither a terminal nor a notebook's.
    With a `delay`, in seconds, only of what takes longer, and only meanwhile."""
    # A notebook's is no terminal, but shows a line that is written over.
    disable = False if "ipykernel" in sys.modules else None
    style = dict(unit_scale=True, disable=disable, dynamic_ncols=True)
    return tqdm(total=total, desc=stage, unit=unit, delay=delay, leave=not delay, **style)
