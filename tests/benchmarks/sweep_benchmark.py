"""The peak memory of a sweep of many points beside that of one point.

    python tests/benchmarks/sweep_benchmark.py [--points=200] [--axis=width|weight] [--limit=1.5]

The tiny study of the tests, one seed, over widths (every point compiles programs of its own) or over the weight of a
component (all points share one). Both sweeps run in a process of their own from an empty work directory, and the
memory is the largest resident set that the system saw of it. Ends with status 1 where many points take more than
`limit` times the memory of one.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
KEYS = {"width": "model.width", "weight": "mixture.weights.second"}


def values(axis: str, points: int) -> str:
    """One value more than there are points: an axis of one value needs a comma to be a sequence."""
    each = [str(8 + i) if axis == "width" else f"{0.1 + 0.8 * i / points:.4f}" for i in range(points)]
    return ",".join(each) + "," * (points == 1)


def peak(axis: str, points: int) -> tuple[float, float]:
    """(MiB, seconds) of a sweep of so many points."""
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "bottleneck.main", f"--config={ROOT / 'tests' / 'tiny.py'}"]
        command += ["--config.seeds=1", f"--config.sweep.axes.{KEYS[axis]}={values(axis, points)}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # one point and many compile all that they need
        start = time.perf_counter()
        process = subprocess.Popen([*command, f"--workdir={workdir}"], env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"the sweep of {points} points ended with {os.waitstatus_to_exitcode(status)}")
        return used.ru_maxrss / 1024, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--axis", choices=sorted(KEYS), default="width")
    parser.add_argument("--limit", type=float, default=1.5)
    args = parser.parse_args()
    (one, _), (many, seconds) = peak(args.axis, 1), peak(args.axis, args.points)
    ratio = f"{args.points} points {many:.0f} MiB in {seconds:.0f} s: {many / one:.2f} times"
    print(f"{args.axis}: 1 point {one:.0f} MiB, {ratio}")
    sys.exit(many > args.limit * one)


if __name__ == "__main__":
    main()
