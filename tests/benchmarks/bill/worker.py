"""One side of a comparison, in a process of its own: makes ready, then times as many steps as each line asks for.

    python -m bill.worker SIDE THREADS CASE      SIDE: ours, eager or compiled; CASE: JSON of bill.cases.Case

Allocators, thread pools and compiled programs of the sides do not meet, and the one that waits takes no time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

from bill import hardware, ours, study
from bill.cases import Case
from bottleneck import memory

HERE = pathlib.Path(__file__).parents[1]
ROOT = HERE.parents[1]


def environment(**more: str) -> dict[str, str]:
    """Of a process that finds this package, and bottleneck."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE))), **more}


class Side:
    """A worker, seen from the one that asks. `ready` is what it said at first: parameters, devices, seconds."""

    def __init__(self, side: str, threads: int, case: Case, **more: str):
        command = [sys.executable, "-m", "bill.worker", side, str(threads), json.dumps(dataclasses.asdict(case))]
        if hardware.accelerator():
            more = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **more}  # all sides are on one device at a time
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=environment(OMP_NUM_THREADS=str(threads), **more), **pipes)
        self.name, self.ready = side, self._said()

    def time(self, steps: int) -> dict:
        """Of so many steps: "seconds", "cpu_seconds" and "faults" of pages; the peak so far, "mib", and of an
        accelerator "device_mib"."""
        print(steps, file=self.process.stdin, flush=True)
        return self._said()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _said(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{' '.join(self.process.args)} ended with {self.process.wait()}")
        return json.loads(line)


def peak(timed: dict) -> dict[str, float]:
    """Of memory, by a name that says whose: of the accelerator where a side has one, else of the process."""
    return {"device_peak_mib": timed["device_mib"]} if "device_mib" in timed else {"peak_mib": timed["mib"]}


def serve(training, answers, start: float) -> None:
    """Times what standard input asks for, until it ends."""
    training.advance(1)
    ready = {"parameters": training.parameters, "devices": training.devices, "seconds": time.perf_counter() - start}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        before, start, used = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
        training.advance(int(line))
        timed = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - used}
        after = resource.getrusage(resource.RUSAGE_SELF)
        timed |= {"faults": after.ru_minflt - before.ru_minflt, "mib": after.ru_maxrss / 1024}
        timed |= {} if (most := training.device_mib()) is None else {"device_mib": most}
        print(json.dumps(timed), file=answers, flush=True)


def main(side: str, threads: int, case: Case) -> None:
    start = time.perf_counter()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if side == "ours":
        memory.keep()  # as `python -m bottleneck.main` begins
        ours.train(case, lambda training: serve(training, answers, start))
        return
    import torch

    from bill import peers

    torch.set_num_threads(threads)
    serve(peers.Training(case, study.CLASSES, compiled=side == "compiled"), answers, start)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Case(**json.loads(sys.argv[3])))
