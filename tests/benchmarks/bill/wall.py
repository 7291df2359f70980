"""Where the wall time of a study goes, by kind of task, and the peak of its memory.

The study is carried out by `bottleneck.main` in a process of its own, whose tasks are timed from outside. Tasks other
than training run side by side in threads: their seconds are summed over threads (`seconds`), and what is between the
first one's beginning and the last one's end is told a stage (`wall`).
"""

from __future__ import annotations

import collections
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from bill import ours
from bill.worker import ROOT, environment


def part(quick: bool, only: str = "", config: str = "") -> Iterator[dict]:
    """A row a kind of task, a row a stage, and one of the whole."""
    config = config or str(ROOT / "tests" / "tiny.py" if quick else ROOT / "configs" / "mixture.py")
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "times.json"
        code = "from bill import wall; wall.carry_out()"  # no main module, as a module of ours that workers may load
        command = [sys.executable, "-c", code, str(out), f"--config={config}", f"--workdir={directory}/work"]
        start = time.perf_counter()
        done = subprocess.run(command, env=environment(), stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise ChildProcessError(f"{' '.join(command)} ended with {done.returncode}")
        found = json.loads(out.read_text())
    peaks = {name: most for name, most in found.items() if name.endswith("peak_mib")}
    total = sum(found["seconds"].values())
    for kind, used in sorted(found["seconds"].items(), key=lambda each: -each[1]):
        yield {"what": kind, "tasks": found["tasks"][kind], "seconds": used, "share": used / total}
    for stage, wall in found["wall"].items():
        yield {"what": f"stage {stage}", "wall": wall}
    yield {"what": pathlib.Path(config).name, "wall": seconds, **peaks}


class Times:
    """Seconds by kind, and wall seconds by stage."""

    def __init__(self):
        self.seconds, self.tasks, self.wall = (collections.Counter() for _ in range(3))
        self._lock = threading.Lock()

    def around(self, function, kind_of, count=lambda *args: 1, walls=False):
        """`function`, timed."""

        def timed(*args, **options):
            kind, number, start = kind_of(*args), count(*args), time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                took = time.perf_counter() - start
                with self._lock:
                    if walls:
                        self.wall[kind] += took
                    else:
                        self.seconds[kind] += took
                        self.tasks[kind] += number

        return timed


def main(out: str, *argv: str) -> int:
    from bottleneck import execute, jobs
    from bottleneck import main as command

    times = Times()
    trained = times.around(execute.one_by_one, lambda *args: "train", lambda fleets, store: sum(map(len, fleets)))
    execute.one_by_one = times.around(trained, lambda *args: "pretrain", walls=True)
    make = times.around(execute.make, lambda task, *rest: task.KIND)
    plain = execute.make
    execute.make = lambda task, *rest: (plain if task.ALONE else make)(task, *rest)
    jobs.carry_out = times.around(jobs.carry_out, lambda stage, *rest: stage, walls=True)
    execute.report = times.around(execute.report, lambda *args: "report")
    code = command.main(["main", *argv])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    used = ours.device_mib()
    found = {"seconds": times.seconds, "tasks": times.tasks, "wall": times.wall, "peak_mib": peak}
    found |= {} if used is None else {"device_peak_mib": used}
    pathlib.Path(out).write_text(json.dumps(found))
    return code


def carry_out() -> None:
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
