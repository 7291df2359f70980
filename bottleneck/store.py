"""A work directory: where outputs lie, reading and writing them, and what is held in memory of them. Nothing else."""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import json
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from bottleneck import atomic, checkpoint, jobs
from bottleneck import rows as row_files
from bottleneck.data import resident
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features import cache, extract, parts
from bottleneck.features.source import SPLITS, Source
from bottleneck.graph import Outcomes
from bottleneck.rows import Finding
from bottleneck.signals import Stop
from bottleneck.tasks import Task
from bottleneck.training import loop
from bottleneck.training import mesh as meshes
from bottleneck.training.run import Run

HELD_FEATURES = 2**29  # bytes of layers that are kept in memory; what is mapped takes none
HELD_BYTES = 2**28  # of small results that several tasks share
MOST_HELD = 512  # things of either kind, each of which may be a mapped file


class Recent:
    """What was held last, by name: of all that is held, whatever `weigh` says of it, at most `most` together."""

    def __init__(self, most: int, weigh: Callable):
        self.most, self.weigh, self.weight = most, weigh, 0
        self._held: collections.OrderedDict = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._held)

    def get(self, name: tuple, make: Callable):
        """What is held by a name, `make()` where nothing is. One thread at a time may ask for one name."""
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name][0]
        made = make()
        with self._lock:
            self._held[name] = made, self.weigh(made)
            self.weight += self._held[name][1]
            while (self.weight > self.most or len(self._held) > MOST_HELD) and len(self._held) > 1:
                self.weight -= self._held.popitem(last=False)[1][1]
        return made

    def drop(self, first: str) -> None:
        """Lets go of what is held by names that begin so."""
        with self._lock:
            for name in [name for name in self._held if name[0] == first]:
                self.weight -= self._held.pop(name)[1]


def bytes_of(held) -> int:
    """The bytes of all arrays in dictionaries, sequences and dataclasses; none of mapped ones."""
    if dataclasses.is_dataclass(held):
        return sum(bytes_of(getattr(held, field.name)) for field in dataclasses.fields(held))
    if isinstance(held, Mapping):
        return sum(map(bytes_of, held.values()))
    if isinstance(held, list | tuple):
        return sum(map(bytes_of, held))
    return 0 if isinstance(held, np.memmap) else getattr(held, "nbytes", 0)


class Store:
    """The outputs of tasks in one work directory, by name."""

    def __init__(self, workdir: pathlib.Path):
        self.workdir = workdir
        self.mesh = functools.cache(meshes.make)
        self._pool: tuple[tuple, object] = ((), None)
        self._locks = collections.defaultdict(threading.Lock)  # one pass over the images, whoever asks first
        self._features = Recent(HELD_FEATURES, bytes_of)
        self._results = Recent(HELD_BYTES, bytes_of)
        self.outcomes: Outcomes | None = None  # of the graph that is carried out here
        self.retains_features = True  # once all that reads them is done
        self.stop = Stop()  # whether whoever carries it out was asked to end
        self.variables = functools.lru_cache(maxsize=4)(self._variables)
        self.choices = functools.cache(self._choices)
        self.say = functools.cache(functools.partial(print, flush=True))  # a line, once: it may be met again and again

    # Outputs

    def is_empty(self, task: Task) -> bool:
        """Whether a task was carried out and found nothing to do."""
        return self._empty(task).is_file()

    def leave_empty(self, task: Task, reason: str) -> None:
        """Records that there was nothing to do, and why."""
        atomic.write(self._empty(task), json.dumps({"kind": task.KIND, "reason": reason}))

    def has(self, output: str) -> bool:
        """Whether an output, by its name, is on disk."""
        kind, _, name = output.partition("/")
        if kind == "rows":
            return self._whole(self.rows_path(name))
        if kind == "runs":
            key, _, step = name.partition("@")
            return checkpoint.is_sealed(self.run_directory(key) / "checkpoints" / step)
        key, layer, *splits = name.split(":")
        return cache.holds(self.features_path(key), (layer,), splits[0].split(",") if splits else SPLITS)

    def forget(self, task: Task) -> None:
        """Removes the rows and features that a task has left, or that it had nothing to leave."""
        self._empty(task).unlink(missing_ok=True)
        for output in task.makes:
            kind, _, name = output.partition("/")
            if kind == "rows":
                for path in (self.rows_path(name), self.rows_path(name).with_suffix(".npz")):
                    path.unlink(missing_ok=True)
            elif kind == "features":
                self._features.drop(name.partition(":")[0])
                shutil.rmtree(self.features_path(name.partition(":")[0]), ignore_errors=True)

    def _empty(self, task: Task) -> pathlib.Path:
        return self.workdir / "rows" / f"{task.key}.empty"

    def present(self, task: Task) -> bool:
        """Whether a task of the graph was carried out: what is on disk of one that nobody asked for does not count."""
        return self.outcomes.present(task)

    # Rows

    def rows_path(self, key: str) -> pathlib.Path:
        return self.workdir / "rows" / f"{key}.jsonl"

    def _whole(self, path: pathlib.Path) -> bool:
        """Whether rows are there as they were written; what is damaged is said, and made again."""
        try:
            row_files.verify(path)
        except FileNotFoundError:
            return False
        except row_files.Damaged as error:
            self.say(f"{error}; made again")
            return False
        return True

    def write(self, task: Task, findings: Iterable[Finding], items: dict[str, np.ndarray] | None = None) -> None:
        """The rows of what a task found and, written first, per-item outcomes `items`, name -> [..., test items]."""
        buffer = io.BytesIO()
        if items is not None:
            np.savez(buffer, **items)
        rows = [row_files.row(finding, task.KIND, task.VERSION) for finding in findings]
        row_files.write(self.rows_path(task.key), rows, buffer.getvalue() or None)

    def rows(self, task: Task, **bookkeeping) -> list[dict]:
        """The rows of a task that is done; none of one that ended empty."""
        path = self.rows_path(task.key)
        return row_files.read(path, **bookkeeping) if path.is_file() else []

    def items(self, task: Task) -> dict[str, np.ndarray]:
        """The per-item outcomes of a task that is done, by name; none where it has none."""
        path = self.rows_path(task.key).with_suffix(".npz")
        if not path.is_file():
            return {}
        with jobs.PARSING, np.load(path, allow_pickle=False) as held:
            return dict(held)

    def _choices(self, output: str) -> frozenset[str]:
        """What a chooser, by the name of its rows, answered yes to."""
        rows = row_files.read(self.rows_path(output.removeprefix("rows/")))
        return frozenset(r["extra"]["choice"] for r in rows if r["metric"] == "choice" and r["value"])

    def settings(self, output: str) -> dict[str, float]:
        """The learning rate and weight decay that a chooser, by the name of its rows, took."""
        rows = row_files.read(self.rows_path(output.removeprefix("rows/")))
        (taken,) = [r["extra"] for r in rows if r["metric"] == "tuning_loss" and r["extra"]["chosen"]]
        return {name: taken[name] for name in ("lr", "weight_decay")}

    # Runs

    def run_directory(self, key: str) -> pathlib.Path:
        """Where a run lives: by key, whatever it was called when it was first trained."""
        known = sorted((self.workdir / "runs").glob(f"*-{key}"))
        return known[0] if known else self.workdir / "runs" / f"run-{key}"

    def place_of(self, run: Run) -> pathlib.Path:
        """The directory of a run, named after it where it has none yet."""
        known = self.run_directory(run.key)
        return known if known.is_dir() else self.workdir / "runs" / run.folder

    def _variables(self, run: Run, step: int) -> dict:
        """A kept step's variables. Raises UserError when it is missing or damaged."""
        path = self.place_of(run) / "checkpoints" / str(step)
        if not checkpoint.is_sealed(path):
            raise UserError("workdir", str(path), "a trained run (--stage=pretrain trains it)")
        try:
            return checkpoint.load(path)
        except checkpoint.Damaged as error:
            checkpoint.remove(path)
            raise UserError(
                "workdir",
                str(path),
                f"an intact checkpoint ({error.file} is damaged; it was removed: the same command trains it again)",
            ) from error

    def made(self, run: Run, step: int) -> int:
        """The steps that training made of `run` up to `step`: fewer where it stopped before (train.stop_at_loss)."""
        stopped = loop.stopped_at(self.place_of(run)) if run.train.stops else None
        return step if stopped is None else min(step, stopped)

    def pool(self, run: Run, components: tuple[Component, ...], data: DataSpec, mesh):
        """The resident pool of a run's training items, on the devices of `mesh`; the last one stays there. None when
        streaming."""
        if run.train.feed == "stream":
            return None
        restricted = run.unique and (run.unique, run.seed)
        looks = (tuple(c.fingerprints["train"] for c in components), data.mean, data.std)  # no fingerprint holds these
        key = (mesh, run.components, looks, restricted)
        if self._pool[0] != key:
            self._pool = ((), None)
            pool = resident.pool(components, data)
            self._pool = (key, meshes.replicate(pool, mesh))
        return self._pool[1]

    # Features

    def features_path(self, key: str) -> pathlib.Path:
        return self.workdir / "features" / key

    def pass_path(self, source: Source, component: Component, splits=SPLITS) -> pathlib.Path:
        """Where a pass leaves its features."""
        return self.features_path(extract.key(source, component, splits))

    def extract(self, source: Source, component: Component, layers: tuple[str, ...], splits=SPLITS, why="") -> dict:
        """Makes one pass and leaves it on disk: (layer, split) -> [n, ...]. `why`: what is wrong with what is there."""
        directory = self.pass_path(source, component, splits)
        if why := why or cache.damage(directory):
            print(f"features: {why}; made again", flush=True)
        with parts.claimed(directory) as growing:
            passed = source.extract(self, component, layers, splits, growing)
            cache.write(directory, passed, component, source.identity)
            growing.clear()
        return passed

    def features(self, source: Source, layer: str, component: Component, splits=SPLITS) -> dict[str, np.ndarray]:
        """split -> [n, ...] of one layer. What is on disk but cannot be trusted is named and made again."""
        directory = self.pass_path(source, component, splits)

        def read():
            try:
                return {split: cache.read(directory, layer, split, component) for split in splits}
            except cache.Stale as reason:
                passed = self.extract(source, component, (layer,), splits, str(reason))
                return {split: passed[layer, split] for split in splits}

        with self._locks[directory.name]:
            return self._features.get((directory.name, layer), read)

    def features_size(self, source: Source, layer: str, component: Component) -> int:
        """The bytes of one layer's features, which are not read for it where the manifest knows."""
        try:
            return cache.size(self.pass_path(source, component), layer, SPLITS)
        except cache.Stale:
            return bytes_of(dict(self.features(source, layer, component)))

    def remember(self, key: tuple, compute: Callable):
        """`compute()`, once per process and key as long as it is among the last that were asked for: small results that
        several tasks share."""
        with self._locks["memory", key]:
            return self._results.get(key, compute)


if __name__ == "__main__":
    from bottleneck import retention

    sys.exit(retention.main(sys.argv))
