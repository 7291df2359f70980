"""Whole training steps beside PyTorch's at the same shapes and precision, repetitions taken in turn.

Ours draws, gathers and normalises its batch from the resident pool, and keeps sums for the log; PyTorch is given one
normalised batch that is ready, channels-last. SGD with Nesterov momentum and weight decay on both sides. Each side is a
process of its own on the same cores (beside an accelerator on all of them); `eager_kept` has the memory setting that
ours makes for itself. Where other jobs share the machine, the ratio of processor time (`cpu_ratio`, one thread) is
steadier than that of wall time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
from collections.abc import Iterator

from bill import cases, hardware
from bill.worker import Side, peak
from bottleneck import memory

KEPT = {  # as bottleneck.memory sets it for ours
    "MALLOC_MMAP_THRESHOLD_": str(memory.MOST),
    "MALLOC_TRIM_THRESHOLD_": str(memory.MOST),
    "MALLOC_ARENA_MAX": "1",
}


def part(quick: bool, only: str = "", repetitions: int = 7) -> Iterator[dict]:
    """A row a case and number of threads; `only` cases whose name has this text."""
    every = cases.QUICK if quick else cases.ACCELERATOR if hardware.accelerator() else cases.CPU
    threads = (1,) if quick else (1, 2)
    if hardware.accelerator():  # compiling and launching are the host's work: all of its cores
        threads = (os.cpu_count(),)
    for name, case in every.items():
        for count in threads if only in name else ():
            yield {"what": name, "threads": count, **compared(case, count, 2 if quick else repetitions)}


def compared(case: cases.Case, threads: int, repetitions: int) -> dict:
    """Medians of both sides and their ratios: above 1, ours is faster."""
    with contextlib.ExitStack() as stack:
        sides, failed = {}, {}
        for label, side, more in wanted():
            try:
                sides[label] = Side(side, threads, case, **more)
                stack.callback(sides[label].close)
            except ChildProcessError as error:  # a compiler that is not there, memory that does not suffice
                failed[label] = str(error)
        if "ours" in failed:
            raise ChildProcessError(failed["ours"])
        counts = {label: side.ready["parameters"] for label, side in sides.items()}
        if len(set(counts.values())) > 1:
            raise AssertionError(f"networks of other sizes: {counts}")
        timed = {label: [] for label in sides}
        for repetition in range(repetitions + 1):  # the first one warms up
            for label, side in sides.items():
                took = side.time(case.steps)
                timed[label] += [took] if repetition else []
    return row(case, timed, failed)


def wanted() -> list[tuple[str, str, dict]]:
    sides = [("ours", "ours", {})]
    if importlib.util.find_spec("torch"):
        sides += [("eager", "eager", {}), ("eager_kept", "eager", KEPT), ("compiled", "compiled", {})]
    return sides if not hardware.accelerator() else [each for each in sides if each[0] != "eager_kept"]


def row(case: cases.Case, timed: dict, failed: dict) -> dict:
    images, found = case.batch * case.steps, {"batch": case.batch, "dtype": case.dtype}
    seconds = {label: statistics.median(t["seconds"] for t in each) for label, each in timed.items()}
    used = {label: statistics.median(t["cpu_seconds"] for t in each) for label, each in timed.items()}
    for label in timed:
        found[f"{label}_images_per_second"] = images / seconds[label]
        found[f"{label}_cpu_ms_per_step"] = 1000 * used[label] / case.steps
        found[f"{label}_faults_per_step"] = timed[label][-1]["faults"] / case.steps
        found |= {f"{label}_{name}": most for name, most in peak(timed[label][-1]).items()}
        if label != "ours":
            found[f"ratio_to_{label}"] = seconds[label] / seconds["ours"]
            found[f"cpu_ratio_to_{label}"] = used[label] / used["ours"]
    return found | {f"{label}_failed": text for label, text in failed.items()}
