"""Training a run to sealed checkpoints, resumable at any moment to the bitwise same result.

The order of operations per chunk of steps is a contract: advance -> log -> keep -> save; where nothing is kept or saved
the log waits for the next chunk, so that the device never waits for the host. Nothing but the state is
carried from step to step: batches, augmentation and dropout are functions of (seed, step).
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import time
from collections.abc import Callable

import jax
import numpy as np

from bottleneck import atomic, checkpoint
from bottleneck.data import mixture, resident, stream
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.models import statistics
from bottleneck.training import mesh as meshes
from bottleneck.training import optimizers
from bottleneck.training import step as steps
from bottleneck.training.run import Run
from bottleneck.training.step import State

KEPT_RESUMES = 2
STATISTICS_BATCHES = 32  # for BatchNorm at an averaged point


def is_done(run: Run, directory: pathlib.Path) -> bool:
    """Whether every step the run should keep is sealed, with the bytes that were written. Raises checkpoint.Damaged."""
    if not (directory / "done").is_file():
        return False
    for step in checkpoint.steps(directory / "checkpoints"):
        checkpoint.verify(directory / "checkpoints" / str(step))
    return {*run.keep, run.steps} <= set(checkpoint.steps(directory / "checkpoints"))


def program(run: Run, mesh) -> steps.Program:
    return steps.Program(
        run.module(),
        optimizers.structure(run.optimizer),
        run.objective.name,
        run.train.sampling,
        run.train.batch,
        run.augment,
        mesh,
    )


def train(
    run: Run,
    directory: pathlib.Path,
    components: tuple[Component, ...],
    data: DataSpec,
    mesh,
    *,
    pool: resident.Pool | None = None,
    initial: dict | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
) -> None:
    """Trains `run`, from its newest usable resume point, until every step in `run.keep` and the last one are sealed.

    `pool`: the components' resident pool, already on the mesh; None streams batches from the host. `initial`: variables
    to start from (fine-tuning); their head is used if there is one. Raises UserError when the loss is not finite.
    """
    kept, resumes, wanted = directory / "checkpoints", directory / "resume", {*run.keep, run.steps}
    code = program(run, mesh)  # a mistake of the user is met here, before anything is written
    feed = Feed(run, code, components, data, pool)
    checkpoint.primary(lambda: _prepare(run, directory, mesh))
    state = _start(
        run, code, resumes, min(wanted - set(checkpoint.steps(kept)), default=run.steps), feed.x_shape, initial
    )
    step = int(state.step)
    log = directory / "metrics.jsonl" if jax.process_index() == 0 else pathlib.Path(os.devnull)
    checkpoint.primary(lambda: _truncate(log, step))

    writer, metrics, late = checkpoint.Writer(), open(log, "a"), None
    try:
        sums, began = steps.totals(len(run.components)), time.monotonic()
        while True:
            saving = step > 0 and step % run.train.save_every == 0 and step < run.steps
            if late is not None and (saving or step in wanted):  # what is kept had a finite loss
                _log(metrics, run, *late)
                late = None
            if step in wanted:
                _keep(writer, kept / str(step), step, feed.evaluation_point(state, step))
            if saving:
                writer.save(resumes / str(step), to_flat(state), step=step)
                for old in checkpoint.steps(resumes)[:-KEPT_RESUMES]:
                    checkpoint.primary(lambda old=old: checkpoint.remove(resumes / str(old)))
            if step == run.steps:
                break
            stop = min(
                [s for s in wanted if s > step] + [_next(step, run.train.save_every), _next(step, run.train.log_every)]
            )
            state, sums = feed.advance(state, sums, step, stop)
            if late is not None:
                _log(metrics, run, *late)
            on_progress(stop - step)
            now = time.monotonic()
            late, began = (stop, sums, (stop - step) * run.train.batch, now - began), now
            step, sums = stop, steps.totals(len(run.components))
        writer.wait()
    finally:
        metrics.close()
        writer.close()
    checkpoint.primary(lambda: _finish(run, directory))


class Feed:
    """Where a run's batches come from: the resident pool inside the step, or the host."""

    def __init__(self, run: Run, code: steps.Program, components, data: DataSpec, pool: resident.Pool | None):
        self.run, self.code, self.components, self.data = run, code, components, data
        tables = mixture.tables(
            run.components, [len(c.splits["train"]) for c in components], run.schedule, run.train.batch, run.steps
        )
        numbers = steps.hyper(run.optimizer, run.objective, run.steps)
        self.tables = tables
        self.given = steps.Given(*meshes.replicate((tables, run.space(), numbers, np.int32(run.seed)), code.mesh), pool)
        self.scale = np.float32(data.mean), np.float32(data.std)
        self._stream, self._at = None, -1
        like = components[0].splits["train"].fetch(np.arange(1))
        self.x_shape = like.shape[1:]

    def host_batches(self, start: int, stop: int):
        return stream.batches(
            self.components, self.tables, self.run.seed, self.run.train.batch, self.run.train.sampling, start, stop
        )

    def advance(self, state: State, sums: dict, start: int, stop: int) -> tuple[State, dict]:
        if self.given.pool is not None:
            return steps.advance(self.code, state, sums, self.given, stop - start)
        if self._at != start:
            self._stream = self.host_batches(start, self.run.steps)
        for _ in range(start, stop):
            state, sums = steps.fed(self.code, state, sums, next(self._stream), self.given, *self.scale)
        self._at = stop
        return state, sums

    def evaluation_point(self, state: State, step: int) -> dict:
        """The variables to keep: averaged where the optimiser averages, BatchNorm statistics then measured there.

        They are means over batches of the run's own distribution, drawn past `step`.
        """
        point = {"params": steps.averaged(self.code, state), "batch_stats": state.batch_stats}
        if self.code.optimizer.name == "schedule_free" and state.batch_stats:
            if self.given.pool is not None:
                batches = (
                    steps.drawn(self.code, self.given, np.int32(step + i))["x"] for i in range(STATISTICS_BATCHES)
                )
            else:
                batches = (
                    resident.normalise(b["x"], *self.scale) for b in self.host_batches(step, step + STATISTICS_BATCHES)
                )
            point["batch_stats"] = statistics.mean(self.code.model, point, batches)
        return {name: tree for name, tree in point.items() if tree}


def _prepare(run: Run, directory: pathlib.Path, mesh) -> None:
    """Makes the directories, states what the run is, and removes what a kill cut short or time has damaged."""
    for folder in (directory / "checkpoints", directory / "resume"):
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_partial(folder)
    for step in checkpoint.steps(directory / "checkpoints"):
        try:
            checkpoint.verify(directory / "checkpoints" / str(step))
        except checkpoint.Damaged as error:
            print(f"{error}; training it again", flush=True)
            checkpoint.remove(error.path)
    atomic.write(directory / "run.json", json.dumps({"name": run.name, **run.identity}, indent=1, sort_keys=True))
    atomic.write(directory / "provenance.json", json.dumps(provenance(mesh), indent=1, sort_keys=True))


def _finish(run: Run, directory: pathlib.Path) -> None:
    kept = checkpoint.steps(directory / "checkpoints")
    atomic.write(directory / "done", json.dumps({"steps": run.steps, "kept": kept}))
    shutil.rmtree(directory / "resume")


def provenance(mesh) -> dict:
    """Versions, commit and devices: what made a run without being part of its identity."""
    packages = ("bottleneck", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=pathlib.Path(__file__).parent,
            text=True,
            capture_output=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    devices = mesh.devices.flatten()
    return {
        "versions": found,
        "commit": commit,
        "python": platform.python_version(),
        "platform": devices[0].platform,
        "devices": [d.device_kind for d in devices],
        "processes": jax.process_count(),
        "fleet": 1,
    }


def to_flat(state: State) -> dict[str, np.ndarray]:
    """Leaves by tree path: what a `resume` checkpoint holds."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def from_flat(like: State, flat: dict[str, np.ndarray]) -> State:
    """Inverse of `to_flat`; raises KeyError when `flat` is of another structure than `like`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: flat[jax.tree_util.keystr(path)].astype(leaf.dtype), like
    )


def _start(run: Run, code, resumes: pathlib.Path, before: int, x_shape, initial) -> State:
    """The newest intact resume point at or before step `before`, else the state at step 0."""
    state = steps.create(code, np.int32(run.seed), x_shape)
    for step in reversed([s for s in checkpoint.steps(resumes) if s <= before]):
        try:
            return meshes.replicate(from_flat(state, checkpoint.load(resumes / str(step))), code.mesh)
        except checkpoint.Damaged as error:
            print(f"{error}; falling back", flush=True)
            checkpoint.primary(lambda path=error.path: checkpoint.remove(path))
    if initial is not None:
        params = {**initial["params"], **{k: v for k, v in state.params.items() if k not in initial["params"]}}
        fresh = optimizers.build(code.optimizer, steps.hyper(run.optimizer, run.objective, run.steps)).init(params)
        state = state._replace(params=params, batch_stats=initial.get("batch_stats", {}), opt_state=fresh)
    return meshes.replicate(state, code.mesh)


def _keep(writer, path: pathlib.Path, step: int, point: dict) -> None:
    """Seals the evaluation point at `path`; a step that is there already must be bitwise the same."""
    if not checkpoint.is_sealed(path):
        writer.save(path, point, step=step)
        return
    for (where, new), old in zip(
        jax.tree_util.tree_leaves_with_path(point), jax.tree.leaves(checkpoint.load(path)), strict=True
    ):
        if not np.array_equal(np.asarray(new), old, equal_nan=True):
            raise RuntimeError(
                f"{path}: training again gave other bits in {jax.tree_util.keystr(where)}; this machine or "
                "these versions differ from those in provenance.json: use another work directory"
            )


def _next(step: int, every: int) -> int:
    return (step // every + 1) * every


def _log(file, run: Run, step: int, sums: dict, images: int, seconds: float) -> None:
    sums = jax.device_get(sums)
    total = sums["count"].sum()
    if not np.isfinite(sums["loss"].sum() + sums["grad_norm"]):
        raise UserError(
            "optimizer.lr",
            run.optimizer.lr,
            "a rate at which the loss stays finite "
            f"({run.folder}: loss {sums['loss'].sum()}, gradient norm {sums['grad_norm']} before step {step})",
        )
    score = {name: float(s / c) for name, s, c in zip(run.components, sums["score"], sums["count"], strict=True) if c}
    file.write(
        json.dumps(
            {
                "step": step,
                "loss": float(sums["loss"].sum() / total),
                "score": score,
                "grad_norm": float(sums["grad_norm"]),
                "images_per_second": round(images / max(seconds, 1e-9)),
            }
        )
        + "\n"
    )
    file.flush()


def _truncate(path: pathlib.Path, step: int) -> None:
    """Drops metrics past the step a run resumes from, and a line cut short by a kill."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            break
    atomic.write(path, "".join(line + "\n" for line in kept))
