"""Fleets: runs of one program that train together, saved together and never regrouped, as a member of a fleet is not
bitwise the run it is alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from bottleneck import models
from bottleneck.training.run import Run

MOST = 8  # small runs that train together on an accelerator
SMALL = 2**22  # parameters of a network whose steps leave an accelerator idle


def most(run: Run, shape: tuple[int, ...]) -> int:
    """How many runs like `run`, on items of `shape`, train together: `train.fleet`, or by rule. On CPU it is one:
    together they are no faster (tests/benchmarks/fleet_benchmark.py prints the rule beside what it measures)."""
    if run.train.fleet is not None:
        return run.train.fleet
    return MOST if jax.default_backend() != "cpu" and models.size(run.module(), shape) <= SMALL else 1


def how(model) -> str:
    """How members share a device: in one batched program, but for convolutions, which would become grouped ones."""
    return "unrolled" if model.convolutional else "vmapped"


def alike(run: Run) -> tuple:
    """What members of a fleet have in common: all that shapes their program, where their lines end, and the data. What
    is streamed is decoded once, so there they share the order of their batches, too."""
    penalties = bool(run.objective.alignment), bool(run.objective.spread), len(run.objective.switch)
    structure = run.module(), dataclasses.replace(run.optimizer, lr=0.0, weight_decay=0.0), run.trained, penalties
    order = (run.seed, run.schedule) if run.train.feed == "stream" else len(run.schedule)
    return structure, run.objective.name, run.augment, run.train, run.components, run.data, run.sizes, order


def alone(run: Run) -> bool:
    """Whether a run trains by itself, as what it draws from, or where it ends, is its own."""
    return run.train.stops or run.unique is not None or run.lesson is not None


def grouped(runs: Sequence[Run], most: Sequence[int], begun: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Keys of those of `runs` that train together, at most as many as `most` says of each. `begun`: the key of a run,
    one of these or one that is done, -> keys of those with which it has begun, itself among them; () where it has not.

    Those that have begun together go on together, with those of them that are done. Where one of them is not there, or
    has begun otherwise since, each is by itself, as it is where `train.fleet` now allows no more.
    """
    groups: dict[tuple, list[list[str]]] = {}
    for run, limit in zip(runs, most, strict=True):
        keys = begun[run.key]
        fits = run.train.fleet is None or len(keys) <= run.train.fleet
        if keys and fits and all(begun.get(key) == keys for key in keys):
            groups["begun", keys] = [list(keys)]
            continue
        by_itself = keys or alone(run)
        fellows = groups.setdefault(("alone", run.key) if by_itself else ("alike", alike(run)), [[]])
        if len(fellows[-1]) >= limit:
            fellows.append([])
        fellows[-1].append(run.key)
    return [tuple(group) for fellows in groups.values() for group in fellows]


def each(program, update: Callable, own, *shared):
    """`update(own_i, *shared)` of every member i of a fleet, whose own arrays are stacked along their leading axis."""
    if program.members == 1:
        return update(own, *shared)
    count = jax.tree.leaves(own)[0].shape[0]
    if count > 1 and program.together == "vmapped":
        return jax.vmap(lambda one: update(one, *shared))(own)
    made = [update(jax.tree.map(lambda x, i=i: x[i], own), *shared) for i in range(count)]
    return jax.tree.map(lambda *x: jnp.stack(x), *made)


def over_devices(program, function: Callable, own, *shared):
    """`function(own, *shared)` with each part of the mesh's `run` axis having its own members."""
    if program.members == 1 or program.mesh.shape["run"] == 1:
        return function(own, *shared)
    run, everywhere = PartitionSpec("run"), PartitionSpec()
    specs = (run, *(everywhere for _ in shared))
    spread = jax.shard_map(
        function, mesh=program.mesh, in_specs=specs, out_specs=run, axis_names={"run"}, check_vma=False
    )
    return spread(own, *shared)
