"""Streaming against its own decode rate: `stream.batches` end to end, and the same JPEGs decoded and resized by as many
bare threads (and processes) that do nothing else.

    python tests/benchmarks/pipeline_benchmark.py [--count=5000] [--size=224] [--workers=N] [--json=FILE]
    python tests/benchmarks/pipeline_benchmark.py --quick      seconds

The JPEGs of 500 x 375 pixels are made here, noise with the spectrum of photographs: about 60 kB each. In every round
bare workers see their share of the files, and the stream draws as many, from the page cache; the ratio is the median of
the rounds'. Where other work shares the cores, read that of the processor's time: what the pipeline adds to decoding.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import grain
import jax
import numpy as np
import PIL
from PIL import Image, features

from bottleneck.data import component, images, mixture, stream
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec

WIDTH, HEIGHT, SCENE = 500, 375, 1024
AREAS = {"streamed": None, "streamed, cropped": (0.08, 1.0)}
GOAL = 0.8
QUICK = {"count": 40, "size": 32, "batch": 8, "rounds": 1, "workers": 2}


def scene(rng) -> np.ndarray:
    """float32 [SCENE, SCENE, 3], colours of 0 to 255: noise whose amplitude falls with frequency as in photographs."""
    frequency = np.hypot(np.fft.fftfreq(SCENE)[:, None], np.fft.rfftfreq(SCENE))
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((4, SCENE, SCENE), np.float32)) / frequency**1.3
    light, *colours = np.fft.irfft2(spectrum, s=(SCENE, SCENE))
    noise = np.stack([light / light.std() + 0.4 * colour / colour.std() for colour in colours], axis=-1)
    return np.clip(120 + 45 * noise, 0, 255).astype(np.float32)


def photographs(folder: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Writes `count` JPEGs for training in ten classes, and a few for testing; returns those for training."""
    rng = np.random.default_rng(0)
    scenes, paths = [scene(rng) for _ in range(min(8, 1 + count // 100))], []
    for split, number in (("train", count), ("test", 20)):
        for i in range(number):
            top, left = rng.integers(SCENE - HEIGHT), rng.integers(SCENE - WIDTH)
            part = scenes[i % len(scenes)][top : top + HEIGHT, left : left + WIDTH] * rng.uniform(0.7, 1.0)
            path = folder / split / f"{i % 10}" / f"{i:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.astype(np.uint8)).save(path, quality=90)
            paths += [path] if split == "train" else []
    return paths


def bare(path: str, size: int) -> int:
    """Decodes and resizes one file as plainly as Pillow can; a level stands for the pixels, which none reads."""
    with Image.open(path) as picture:
        box = images.middle(picture.size, (size, size))
        factor = max(each for each in (1, 2, 4, 8) if each <= max(1, (box[2] - box[0]) / size))
        picture.draft("RGB", tuple(side // factor for side in picture.size))
        box = images.middle(picture.size, (size, size))
        return int(np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))[0, 0, 0])


def raw(pool, paths: list[str], size: int) -> int:
    """Decodes all of `paths` in a pool of workers."""
    for _ in pool.map(bare, paths, [size] * len(paths), chunksize=16):
        pass
    return len(paths)


def batches(made, batch: int, workers: int, area: tuple[float, float] | None, start: int, stop: int):
    """The batches of these steps through `stream.batches`."""
    tables = mixture.tables([made.name], [len(made.splits["train"])], ((0, (1.0,)),), batch)
    return stream.batches([made], tables, 0, batch, "iid", start, stop, threads=workers, area=area)


def streamed(*given) -> int:
    return sum(len(each["x"]) for each in batches(*given))


def timed(work, *given) -> tuple[float, float]:
    """(images a second, milliseconds of this process's threads an image) of `work`, which says how many it was."""
    start, used = time.perf_counter(), time.process_time()
    count = work(*given)
    return count / (time.perf_counter() - start), 1000 * (time.process_time() - used) / count


def measure(folder: pathlib.Path, args) -> dict:
    paths = photographs(folder, args.count)
    data = DataSpec(image_size=args.size, probe=10, val=10, fingerprint="names")
    made = component.load("photographs", ComponentSpec({"name": "folder", "path": str(folder)}), data)
    component.HELD_BYTES = 0  # so few images would be kept in memory, and not decoded again
    given, rates = list(map(str, paths)), {}
    for area in AREAS.values():
        next(batches(made, args.batch, args.workers, area, 0, 1))  # the sampler is compiled
    spawned = multiprocessing.get_context("spawn")
    steps = max(1, args.count // args.rounds // args.batch)
    for turn in range(args.rounds):
        share = given[turn :: args.rounds]
        with ThreadPoolExecutor(args.workers) as pool:
            rates.setdefault("threads", []).append(timed(raw, pool, share, args.size))
        for name, area in AREAS.items():
            rates.setdefault(name, []).append(
                timed(streamed, made, args.batch, args.workers, area, turn * steps, (turn + 1) * steps)
            )
        if args.processes:
            with ProcessPoolExecutor(args.workers, spawned) as pool:
                raw(pool, given[: 16 * args.workers], args.size)  # started
                rates.setdefault("processes", []).append((timed(raw, pool, share, args.size)[0], float("nan")))
    return {
        "count": args.count,
        "size": args.size,
        "batch": args.batch,
        "workers": args.workers,
        "kilobytes": sum(path.stat().st_size for path in paths) / len(paths) / 1000,
        "images_per_second": {name: [rate for rate, _ in each] for name, each in rates.items()},
        "milliseconds": {name: [used for _, used in each] for name, each in rates.items()},
        "ratio": ratio(rates["streamed"], rates["threads"], 0),
        "ratio_of_processor_time": ratio(rates["threads"], rates["streamed"], 1),
        "goal": GOAL,
        "rows": rows(rates),
        "hardware": hardware(),
        "versions": versions(),
    }


def rows(rates: dict[str, list]) -> list[dict]:
    """A row a way: its rate, and that and its processor time beside those of bare threads; above 1 it is faster."""
    found = []
    for name, each in rates.items():
        speed = statistics.median(rate for rate, _ in each)
        found.append({"name": name, "images_per_second": speed, "ratio": ratio(each, rates["threads"], 0)})
        if name != "processes":  # whose processor time is not known
            found[-1]["ratio_of_processor_time"] = ratio(rates["threads"], each, 1)
    return found


def ratio(ones: list[tuple[float, float]], others: list[tuple[float, float]], which: int) -> float:
    """The median over the rounds of one quantity against the other's."""
    return statistics.median(one[which] / other[which] for one, other in zip(ones, others, strict=True))


def hardware() -> str:
    """The processor, and how many of it there are."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    turbo = features.version("libjpeg_turbo") or "none"
    known = {"pillow": PIL.__version__, "libjpeg-turbo": turbo, "grain": grain.__version__, "jax": jax.__version__}
    return {"python": platform.python_version(), **known}


def table(result: dict) -> str:
    lines = [
        f"{result['count']:,} JPEGs of {WIDTH} x {HEIGHT} ({result['kilobytes']:.0f} kB) to {result['size']} pixels, "
        f"batches of {result['batch']}, {result['workers']} workers",
        f"{'':20}{'images/s':>10}{'CPU ms':>8}   images/s of each round",
    ]
    for name, rates in result["images_per_second"].items():
        used, each = statistics.median(result["milliseconds"][name]), ", ".join(f"{rate:,.0f}" for rate in rates)
        lines.append(f"{name:20}{statistics.median(rates):10,.0f}{used:8.2f}   {each}")
    lines.append(
        f"{'streamed / threads':20}{result['ratio']:10.2f}{result['ratio_of_processor_time']:8.2f}   goal {GOAL}"
    )
    lines.append(result["hardware"] + "; " + ", ".join(f"{name} {value}" for name, value in result["versions"].items()))
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="JPEGs")
    parser.add_argument("--workers", type=int, default=images.THREADS, help="threads, or processes, of either side")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side that images are resized to")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10, help="of an equal share of the JPEGs")
    parser.add_argument("--processes", action="store_true", help="measure bare processes too")
    parser.add_argument("--quick", action="store_true", help="few and small in place of all: shows that it runs")
    parser.add_argument("--json", help="a file for all numbers")
    args = parser.parse_args(argv[1:])
    vars(args).update(QUICK if args.quick else {})
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BOTTLENECK_CACHE"] = os.path.join(folder, "cache")
        result = measure(pathlib.Path(folder) / "images", args)
    print(table(result))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
