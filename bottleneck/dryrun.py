"""What a plan would run and what that costs: tasks, steps, image-forwards, parameters, bytes, hours."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import pathlib
from functools import partial

import jax
import numpy as np

from bottleneck import models
from bottleneck.features import foreign, passes
from bottleneck.features.extract import Extract
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import Arrays, Foreign, Kept, Pixels
from bottleneck.graph import SETTLED, Outcomes
from bottleneck.pretraining import Train
from bottleneck.report.table import Table, text
from bottleneck.store import Store


def describe(plan, workdir: pathlib.Path, speed: float | None = None) -> str:
    """Totals of a plan: what is certain, and what is trained only where a choice asks for it. `speed` in training
    images per second, for the hours; that of the runs in `workdir` by default."""
    store = Store(workdir)
    outcomes = Outcomes(plan.graph, store)
    trains = collections.defaultdict(list)
    for train in plan.graph.of(Train):
        trains["fine-tuning" if train.continues else train.episode.name].append(train)
    sizes = {t.episode.key: models.size(t.episode.module(), t.components[0].shape) for t in plan.graph.of(Train)}
    lines = []
    for name, group in trains.items():
        kept = sum(4 * sizes[t.episode.key] * len(t.keep) for t in group)
        asked = "always" if any(not t.asks for t in group) else "on demand"
        steps, count = max(t.episode.steps for t in group), max(sizes[t.episode.key] for t in group)
        lines.append((name, str(len(group)), f"{steps:,}", f"{count:,}", f"{kept / 2**20:.1f}", asked))
    header = ("run", "number", "steps", "parameters", "kept MiB", "trained")
    table = text(Table("plan", "Plan", "", header, tuple(lines)))
    kinds = collections.Counter(task.KIND for task in plan.graph)
    left = [t for t in plan.graph.of(Train) if outcomes.of(t) not in SETTLED]
    steps, images = _work(plan.graph.of(Train))
    extracts = plan.graph.of(Extract)
    forwards = sum(_items(each) for each in extracts if isinstance(each.source, Kept | Foreign))
    training = f"{steps:,} steps, {images:,} training images, " if trains else ""  # an audit may train nothing
    parts = [
        *(line for lines in plan.reading.values() for line in lines),
        *([table, ""] if trains else []),
        *([f"{len(plan.points)} points; what they share is counted once"] if plan.points else []),
        f"tasks: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}",
        f"{training}{forwards:,} image-forwards for features "
        f"({sum(map(feature_bytes, extracts)) / 2**20:,.1f} MiB on disk)",
        *([f"left to train: {_work(left)[0]:,} steps{_hours(left, store, speed)}"] if trains else []),
    ]
    return "\n".join(parts)


def feature_bytes(task: Extract) -> int:
    """What a pass leaves on disk: all layers that are read, of all its items."""
    source = task.source
    if isinstance(source, Arrays):
        held = foreign.load(source.directory, task.component, task.splits)
        return sum(features.nbytes for features in held.values())
    if isinstance(source, Pixels):
        return _items(task) * source.pooled(task.component.splits[task.splits[0]].fetch(np.arange(1))).nbytes
    width = _kept_width if isinstance(source, Kept) else _foreign_width
    return _items(task) * 4 * width(source, task.component.shape, tuple(sorted(task.layers)))


def _items(task: Extract) -> int:
    return sum(len(task.component.splits[split]) for split in task.splits)


def _kept_width(source: Kept, shape: tuple[int, ...], layers: tuple[str, ...]) -> int:
    """How many numbers one of our networks gives of an item of this shape, the logits among them."""
    run, layers = source.run, tuple(sorted({*layers, LOGITS}))
    key = (run.model, run.outputs, shape, layers)
    if key not in _widths:
        model, x = run.module(), jax.ShapeDtypeStruct((1, *shape), np.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        scale = jax.ShapeDtypeStruct((x.shape[-1],), np.float32)
        made = jax.eval_shape(partial(passes.forward, model, layers=layers), variables, x, scale, scale)
        _widths[key] = sum(each.size for each in made.values())
    return _widths[key]


def _foreign_width(source: Foreign, shape: tuple[int, ...], layers: tuple[str, ...]) -> int:
    """The same of a network that is not ours, which is shown one item of zeros; untrained it gives as many."""
    key = (source.structure, source.last, source.prepare.shape, layers)
    if key not in _widths:
        network = dataclasses.replace(source, untrained=None).network()
        made = network.read(np.zeros((1, *source.prepare.shape), np.float32), layers)
        _widths[key] = sum(each.size for each in made.values())
    return _widths[key]


_widths: dict[tuple, int] = {}


def _work(trains: list[Train]) -> tuple[int, int]:
    """Steps and images."""
    steps = [train.episode.steps for train in trains]
    return sum(steps), sum(s * t.episode.train.batch for s, t in zip(steps, trains, strict=True))


def _hours(left: list[Train], store: Store, speed: float | None) -> str:
    """How long that takes at a speed, or that of the runs here, where there are any."""
    if speed is not None:
        return f", {_work(left)[1] / speed / 3600:.2g} hours at {speed:,g} images a second"
    speeds = []
    for path in (store.workdir / "runs").glob("*/metrics.jsonl"):
        lines = path.read_text().splitlines(keepends=True)[1:]  # the first holds compiling
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # cut short by a kill, or damaged
                speeds.append(float(json.loads(line)["images_per_second"]))
    if not speeds or not left:
        return ""
    return f", about {_work(left)[1] / float(np.median(speeds)) / 3600:.2g} hours at the speed of the runs here"
