"""Training a run to sealed checkpoints, resumable at any moment to the bitwise same result.

The order of operations per chunk of steps is a contract: advance -> keep -> save -> log. Nothing but the state is
carried from step to step: batches, augmentation and dropout are functions of (seed, step).
"""
from __future__ import annotations

import importlib.metadata
import json
import pathlib
import platform
import shutil
import subprocess
import time
from collections.abc import Callable

import jax
import numpy as np

from bottleneck import checkpoint
from bottleneck.data import mixture
from bottleneck.errors import UserError
from bottleneck.training import mesh as meshes, optimizers, step as steps
from bottleneck.training.run import Run
from bottleneck.training.state import State, from_flat, to_flat

KEPT_RESUMES = 2


def is_done(run: Run, directory: pathlib.Path) -> bool:
    """Whether every step the run should keep is sealed, with the bytes that were written. Raises checkpoint.Damaged."""
    if not (directory / "done").is_file():
        return False
    for step in checkpoint.steps(directory / "checkpoints"):
        checkpoint.verify(directory / "checkpoints" / str(step))
    return {*run.keep, run.steps} <= set(checkpoint.steps(directory / "checkpoints"))


def program(run: Run, mesh) -> steps.Program:
    return steps.Program(run.module(), optimizers.structure(run.optimizer), run.objective.name, run.train.sampling,
                         run.train.batch, run.augment, mesh)


def train(run: Run, directory: pathlib.Path, pool, mesh, *, initial: dict | None = None,
          on_progress: Callable[[int], None] = lambda steps: None) -> None:
    """Trains `run`, from its newest usable resume point, until every step in `run.keep` and the last one are sealed.

    `pool`: the replicated resident.Pool of `run.components`. `initial`: variables to start from (fine-tuning); its head
    is used if present, else a fresh one. Raises UserError when the loss is no longer finite.
    """
    kept, resumes = directory / "checkpoints", directory / "resume"
    for folder in (kept, resumes):
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.remove_partial(folder)
    checkpoint.write_atomic(directory / "run.json", json.dumps({"name": run.name, **run.identity}, indent=1, sort_keys=True))
    checkpoint.write_atomic(directory / "provenance.json", json.dumps(provenance(mesh), indent=1, sort_keys=True))

    code = program(run, mesh)
    wanted = {*run.keep, run.steps}
    missing = wanted - set(checkpoint.steps(kept))
    sizes = np.diff(np.asarray(pool.offsets), append=pool.y.shape[0])
    state = _start(run, code, resumes, min(missing, default=run.steps), pool, mesh, initial)
    step = int(state.step)
    _truncate(directory / "metrics.jsonl", step)

    args = meshes.replicate((pool, mixture.tables(run.components, sizes, run.schedule, run.train.batch), run.space(),
                             steps.hyper(run.optimizer, run.objective, run.steps)), mesh)
    seed = np.int32(run.seed)
    writer, metrics, late = checkpoint.Writer(), open(directory / "metrics.jsonl", "a"), None
    try:
        sums, began = steps.totals(len(run.components)), time.monotonic()
        while True:
            if step in wanted:
                _keep(writer, kept / str(step), step, steps.evaluation_point(code, state, *args[:2], seed))
            if step and step % run.train.save_every == 0 and step < run.steps:
                writer.save(resumes / str(step), to_flat(state), step=step)
                for old in checkpoint.steps(resumes)[:-KEPT_RESUMES]:
                    shutil.rmtree(resumes / str(old))
            if step == run.steps:
                break
            stop = min([s for s in wanted if s > step] + [_next(step, run.train.save_every), _next(step, run.train.log_every)])
            state, sums = steps.advance(code, state, sums, stop - step, *args, seed)
            if late is not None:
                _log(metrics, run, *late)
            on_progress(stop - step)
            now = time.monotonic()
            late, began = (stop, sums, (stop - step) * run.train.batch, now - began), now
            step, sums = stop, steps.totals(len(run.components))
        if late is not None:
            _log(metrics, run, *late)
        writer.wait()
    finally:
        metrics.close()
        writer.close()
    checkpoint.write_atomic(directory / "done", json.dumps({"steps": run.steps, "kept": checkpoint.steps(kept)}))
    shutil.rmtree(resumes)


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
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=pathlib.Path(__file__).parent, text=True,
                                capture_output=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    devices = mesh.devices.flatten()
    return {"versions": found, "commit": commit, "python": platform.python_version(), "platform": devices[0].platform,
            "devices": [d.device_kind for d in devices], "processes": jax.process_count(), "fleet": 1}


def _start(run: Run, code, resumes: pathlib.Path, before: int, pool, mesh, initial) -> State:
    """The newest intact resume point at or before step `before`, else the state at step 0."""
    state = meshes.replicate(steps.create(code, np.int32(run.seed), pool.x.shape[1:]), mesh)
    for step in reversed([s for s in checkpoint.steps(resumes) if s <= before]):
        try:
            return meshes.replicate(from_flat(state, checkpoint.load(resumes / str(step))), mesh)
        except checkpoint.Damaged as error:
            print(f"{error}; falling back", flush=True)
            shutil.rmtree(error.path)
    if initial is None:
        return state
    params = {**initial["params"], **{k: v for k, v in state.params.items() if k not in initial["params"]}}
    fresh = optimizers.build(code.optimizer, steps.hyper(run.optimizer, run.objective, run.steps)).init(params)
    return meshes.replicate(state._replace(params=params, batch_stats=initial.get("batch_stats", {}), opt_state=fresh), mesh)


def _keep(writer, path: pathlib.Path, step: int, point: dict) -> None:
    """Seals the evaluation point at `path`; a step that is there already must be bitwise the same."""
    if not checkpoint.is_sealed(path):
        writer.save(path, {k: v for k, v in point.items() if v}, step=step)
        return
    for (where, new), old in zip(jax.tree_util.tree_leaves_with_path(point), jax.tree.leaves(checkpoint.load(path)), strict=True):
        if not np.array_equal(np.asarray(new), old, equal_nan=True):
            raise RuntimeError(f"{path}: training again gave other bits in {jax.tree_util.keystr(where)}; this machine or "
                               "these versions differ from those in provenance.json: use another work directory")


def _next(step: int, every: int) -> int:
    return (step // every + 1) * every


def _log(file, run: Run, step: int, sums: dict, images: int, seconds: float) -> None:
    sums = jax.device_get(sums)
    total = sums["count"].sum()
    if not np.isfinite(sums["loss"].sum()):
        raise UserError("optimizer.lr", run.optimizer.lr,
                        f"a rate at which the loss stays finite ({run.folder}: {sums['loss'].sum()} before step {step})")
    score = {name: float(s / c) for name, s, c in zip(run.components, sums["score"], sums["count"], strict=True) if c}
    file.write(json.dumps({"step": step, "loss": float(sums["loss"].sum() / total), "score": score,
                           "grad_norm": float(sums["grad_norm"]), "images_per_second": round(images / max(seconds, 1e-9))}) + "\n")
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
    checkpoint.write_atomic(path, "".join(line + "\n" for line in kept))
