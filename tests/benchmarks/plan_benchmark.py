"""How long a sweep takes to plan.

    python tests/benchmarks/plan_benchmark.py [--runs=500] [--repeats=3]

Two sweeps of at least so many runs. `small`: two components, two seeds, no interventions, over learning rates.
`default`: the study of configs/mixture.py with all its arms and analyses, over the weight of its rare component. Prints
points, runs, tasks and the seconds of the first plan (data are indexed, models traced) and of the fastest one. Best on
an otherwise idle machine.
"""

import argparse
import pathlib
import time

import ml_collections
import numpy as np

from bottleneck import config as configs
from bottleneck import sweep
from bottleneck.pretraining import Train

ROOT = pathlib.Path(__file__).parents[2]


def small(points: int) -> ml_collections.ConfigDict:
    config = configs.load(str(ROOT / "tests" / "tiny.py")).unlock()
    rates = tuple(float(rate) for rate in np.geomspace(0.001, 0.1, points))
    config.sweep = dict(axes=dict(optimizer=dict(lr=rates)))
    return config


def default(points: int) -> ml_collections.ConfigDict:
    config = configs.load(str(ROOT / "configs" / "mixture.py")).unlock()
    weights = tuple(float(weight) for weight in np.geomspace(0.005, 0.05, points))
    config.sweep = dict(axes=dict(mixture=dict(weights=dict(rare=weights))), log=("mixture.weights.rare",))
    return config


def planned(make, points: int):
    start, used = time.perf_counter(), time.process_time()
    made = sweep.plan(make(points))
    tasks = len(made.graph)
    return made, tasks, time.perf_counter() - start, time.process_time() - used


def least(make, runs: int) -> int:
    """The number of points that have so many runs."""
    counts = [len(planned(make, points)[0].graph.of(Train)) for points in (1, 2)]
    return max(1, -(-(runs - counts[0]) // (counts[1] - counts[0])) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    for make in (small, default):
        points = least(make, args.runs)
        made, tasks, first, used = planned(make, points)
        again = [planned(make, points)[2:] for _ in range(args.repeats)]
        fastest, least_used = map(min, zip(*again))
        runs = len(made.graph.of(Train))
        seconds = f"first {first:5.2f} s ({used:5.2f} of CPU)  fastest {fastest:5.2f} s ({least_used:5.2f} of CPU)"
        print(f"{make.__name__:8s} {points:4d} points {runs:5d} runs {tasks:6d} tasks  {seconds}", flush=True)


if __name__ == "__main__":
    main()
