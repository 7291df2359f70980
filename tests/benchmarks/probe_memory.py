"""Peak memory and time of a logistic probe at the size of a part of ImageNet, of features on disk.

    python tests/benchmarks/probe_memory.py --items=200000 --dim=2048 --classes=1000 --iterations=20

Features are noise around a mean for each class, float32 in a .npy file that is mapped, not read. One scaling and one
penalty: basis, ridge screen, the solver's iterations (so many at most, twice: looking for the penalty, and at it) and
the reading of 10,000 test items. The peak is of the whole process; what it grows by with the items is printed beside
it, so that other sizes can be told.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import numpy as np
from numpy.lib.format import open_memmap

from bottleneck.analysis import logistic, probes

ROWS = 10_000  # written, or held out, at a time


def parsed():
    parser = argparse.ArgumentParser()
    for name, default in (("items", 200_000), ("dim", 2048), ("classes", 1000), ("iterations", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def draw(rng, means, count):
    labels = rng.integers(len(means), size=count)
    return (means[labels] + rng.standard_normal((count, means.shape[1]), np.float32)), labels


def made(path, rng, args):
    """x and y of the three splits; the probe's features lie on disk."""
    means = 0.2 * rng.standard_normal((args.classes, args.dim), np.float32)
    written, labels = open_memmap(path, "w+", np.float32, (args.items, args.dim)), []
    for start in range(0, args.items, ROWS):
        count = min(ROWS, args.items - start)
        written[start : start + count], some = draw(rng, means, count)
        labels.append(some)
    written.flush()
    del written
    held = {split: draw(rng, means, ROWS) for split in ("val", "test")}
    x = {"probe": np.load(path, mmap_mode="r"), **{split: features for split, (features, _) in held.items()}}
    return x, {"probe": np.concatenate(labels), **{split: some for split, (_, some) in held.items()}}


def main():
    args = parsed()
    logistic.MAX_ITERATIONS = args.iterations
    with tempfile.TemporaryDirectory() as directory:
        x, y = made(pathlib.Path(directory) / "x.npy", np.random.default_rng(0), args)
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        read = probes.linear_probe(x, y, args.classes, scalings=("standardised",), lambdas=(1e-3,))
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{args.items:,} x {args.dim:,} features, {args.classes:,} classes: {seconds:,.0f} s")
    print(f"{read.iterations} iterations, accuracy {read.accuracy:.4f}, largest gradient entry {read.grad_norm:.2g}")
    print(f"peak {peak / 2**20:.2f} GiB, {before / 2**20:.2f} GiB of them before (mapped pages of the file included)")
    coordinates = 8 * args.items * (args.dim + 1) / 2**30
    print(f"coordinates take {coordinates:.2f} GiB, and grow with the items; the rest does not")


if __name__ == "__main__":
    main()
