"""Time to the first step: from the start of the process to the end of a study's first update, cold and warm.

Warm: programs are in the compilation cache and files in the system's; cold: no program is. Seconds since the start of
the process: `python` when main begins, `imports` when the study is read, `plan` when training begins, `first` when the
first update is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from bill import ours
from bill.cases import CPU, QUICK
from bill.worker import environment


def part(quick: bool, only: str = "", repetitions: int = 3) -> Iterator[dict]:
    """A row a case: cold once, and the median of warm starts."""
    names = ("MLP 3x128, 16 px", "ResNet-20, 32 px", "ViT-Ti/4, 32 px")
    for name, case in list(QUICK.items())[:1] if quick else [(name, CPU[name]) for name in names]:
        if only not in name:
            continue
        with tempfile.TemporaryDirectory() as cache:
            each = [begun(case, cache) for _ in range(1 + (1 if quick else repetitions))]
        warm = sorted(each[1:], key=lambda stamps: stamps["first"])[len(each[1:]) // 2]
        found = {"what": name, "cold_seconds": each[0]["first"], "warm_seconds": warm["first"]}
        yield found | {f"warm_{stage}": seconds for stage, seconds in warm.items() if stage != "first"}


def begun(case, cache: str) -> dict[str, float]:
    """One start, in a work directory of its own."""
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "bill.start", *ours.arguments(case, workdir)[1:]]
        start = time.time()
        done = subprocess.run(
            command,
            env=environment(JAX_COMPILATION_CACHE_DIR=cache),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    line = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    if line is None:
        raise ChildProcessError(f"{' '.join(command)} ended with {done.returncode}")
    return {stage: stamp - start for stage, stamp in json.loads(line).items()}


def main(argv: list[str]) -> None:
    stamps = {"python": time.time()}

    def act(training):
        stamps["plan"] = time.time()
        training.advance(1)
        stamps["first"] = time.time()
        sys.__stdout__.write(json.dumps(stamps) + "\n")
        sys.__stdout__.flush()
        os._exit(0)

    from bottleneck import execute, study  # noqa: F401  as main does, later

    stamps["imports"] = time.time()
    ours.hold(argv, act)


if __name__ == "__main__":
    main(sys.argv)
