"""Jobs side by side: as many threads as cores, one BLAS thread each, and a bar with an estimate of the time left."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from threadpoolctl import threadpool_limits
from tqdm import tqdm


def carry_out(stage: str, unit: str, groups: list[list], work: Callable) -> None:
    """Calls `work(task)` for every task of every group: groups side by side, the tasks of a group in order.

    Linear algebra and device computations release the interpreter, so threads are enough; a second BLAS thread costs
    more than it brings on the small products of probes, and very much more on a busy machine. A failure, or an
    interruption, is raised when the tasks in hand have ended; what has not begun is dropped.
    """
    with progress(stage, sum(map(len, groups)), unit) as bar, threadpool_limits(1, "blas"):
        stop = threading.Event()

        def each(group):
            for task in group:
                if stop.is_set():
                    return
                work(task)
                bar.update()

        if len(groups) == 1:
            each(groups[0])
            return
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            ended, _ = wait([pool.submit(each, group) for group in groups], return_when=FIRST_EXCEPTION)
            for done in ended:
                done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def progress(stage: str, total: int, unit: str) -> tqdm:
    """A bar with an estimate of the time left; one plain line instead where standard error is not a terminal."""
    bar = tqdm(total=total, desc=stage, unit=unit, unit_scale=True, disable=None, dynamic_ncols=True)
    if bar.disable and total:
        print(f"{stage}: {total:,} {unit}{'s' * (total != 1)}", flush=True)
    return bar
