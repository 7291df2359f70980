"""Fleets of 1, 2, 4 and 8 runs beside as many one by one, and the rule by which runs train together.

    python tests/benchmarks/fleet_benchmark.py [--models=mlp,vit,resnet] [--sizes=1,2,4,8] [--seconds=2]
        [--quick] [--json=FILE]

Each program is the product's own (`training.step`, resident pool, generated images); a fleet's throughput is the
images a second of all its members, shown as a ratio to one run's: the size of a fleet that costs what it is worth, 1
where members only take turns. All are measured in turns in one process, the median of five. Best on an otherwise idle
machine.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import time

import jax

from bottleneck import config as configs
from bottleneck import study
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.store import Store
from bottleneck.training import fleet, loop, resume
from bottleneck.training import mesh as meshes
from bottleneck.training.feed import Feed

ROOT = pathlib.Path(__file__).parents[2]
MODELS = {
    "mlp": ({"name": "mlp", "width": 128, "depth": 3}, 16),
    "vit": ({"name": "vit", "variant": "Ti", "patch": 4}, 32),
    "resnet": ({"name": "resnet", "depth": 20}, 32),
}
WAYS = ("vmapped", "unrolled")
QUICK = {"models": "mlp", "sizes": "1,2", "batch": 8, "seconds": 0.01}


class Fleet:
    """So many seeds of a study's mixture run, trained together."""

    def __init__(self, task: Train, count: int, how: str):
        run = task.episode
        members = [
            resume.Member(dataclasses.replace(run, seed=seed), pathlib.Path("nowhere"), None) for seed in range(count)
        ]
        mesh = meshes.make(run.train.batch, count)
        code = dataclasses.replace(loop.program(run, mesh, count), together=how)
        pool = Store(pathlib.Path("nowhere")).pool(run, task.components, task.data, mesh)
        self.feed = Feed([member.run for member in members], code, task.components, task.data, pool)
        self.carried, self.step = resume.start(members, self.feed), 0
        self.images = run.train.batch * count

    def advance(self, steps: int) -> float:
        """The seconds of so many steps."""
        start = time.perf_counter()
        self.carried = self.feed.advance(*self.carried, self.step, self.step + steps)
        jax.block_until_ready(self.carried)
        self.step += steps
        return time.perf_counter() - start


def tasks(model: dict, size: int, batch: int) -> Train:
    overrides = {
        "data.image_size": str(size),
        "data.train": "1000",
        "model": repr(model),
        "train.batch": str(batch),
        "train.steps": "1000000",
    }
    path = str(ROOT / "configs" / "mixture.py")
    config = configs.load(path, overrides.items(), study.StudySpec, study.spec_of)
    return plans.plan(study.spec(config)).graph.of(Train)[0]


def measured(name: str, sizes: list[int], batch: int, seconds: float) -> list[dict]:
    model, size = MODELS[name]
    task = tasks(model, size, batch)
    made = {(count, how): Fleet(task, count, how) for count in sizes for how in (WAYS if count > 1 else WAYS[:1])}
    steps = {}
    for key, each in made.items():
        each.advance(1)  # compiles
        steps[key] = max(1, int(seconds / each.advance(1)))
    speeds = {key: [] for key in made}
    for _ in range(5):
        for key, each in made.items():
            speeds[key].append(steps[key] * each.images / each.advance(steps[key]))
    alone = statistics.median(speeds[1, "vmapped"])
    rows = []
    for (count, how), each in speeds.items():
        speed = statistics.median(each)
        rows.append(dict(model=name, members=count, how=how, images_per_second=speed, ratio=speed / alone))
    rule = fleet.how(task.episode.module()), fleet.most(task.episode, task.components[0].shape)
    print(f"{name}: by rule at most {rule[1]} together, {rule[0]}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="mlp,vit,resnet")
    parser.add_argument("--sizes", default="1,2,4,8")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--quick", action="store_true", help="two small runs in place of all: shows that it runs")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    vars(args).update(QUICK if args.quick else {})
    device = jax.devices()[0]
    print(f"{len(jax.devices())} x {device.device_kind} ({device.platform}), jax {jax.__version__}")
    sizes = sorted({1, *map(int, args.sizes.split(","))})
    rows = [row for name in args.models.split(",") for row in measured(name, sizes, args.batch, args.seconds)]
    for row in rows:
        print(
            f"{row['model']:8}{row['members']:3} {row['how']:10}"
            f"{row['images_per_second']:12,.0f} images/s {row['ratio']:6.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "jax": jax.__version__, "device": device.device_kind}, indent=1))


if __name__ == "__main__":
    main()
