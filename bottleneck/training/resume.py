"""Where a fleet of runs starts or goes on: at step 0, or at the newest resume point that all its members have."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from bottleneck import checkpoint, processes
from bottleneck.models.head import parameter_dtype
from bottleneck.training import mesh as meshes
from bottleneck.training import optimizers
from bottleneck.training import step as steps
from bottleneck.training.feed import Feed
from bottleneck.training.run import Run
from bottleneck.training.step import State


@dataclass(frozen=True)
class Member:
    """A run that trains, by itself or in a fleet. `initial`: variables to start from (fine-tuning), or what gives them
    when they are needed; their head is used if there is one."""

    run: Run
    directory: pathlib.Path
    initial: dict | Callable[[], dict] | None = None

    @property
    def wanted(self) -> set[int]:
        """The steps to keep."""
        return {*self.run.keep, self.run.steps}

    @property
    def kept(self) -> set[int]:
        """Those that are sealed."""
        return set(checkpoint.steps(self.directory / "checkpoints"))


def to_flat(tree) -> dict[str, np.ndarray]:
    """Leaves by tree path: what a `resume` checkpoint holds."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def from_flat(like, flat: dict[str, np.ndarray]):
    """Inverse of `to_flat`; raises KeyError when `flat` is of another structure than `like`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: flat[jax.tree_util.keystr(path)].astype(leaf.dtype), like
    )


def start(members: Sequence[Member], feed: Feed) -> tuple[State, dict]:
    """State and sums of all members at the newest intact resume point that all of them have, before the first step that
    is missing; else at step 0."""
    first = members[0].run.steps
    missing = min((step for member in members for step in member.wanted - member.kept), default=first)
    common = set.intersection(*(set(checkpoint.steps(member.directory / "resume")) for member in members))
    newest = processes.decided(max((step for step in common if step <= missing), default=None))
    zeros = feed.of(feed.zeros, 0)
    each = [_of_one(member, feed, zeros, newest) for member in members]
    return meshes.spread(each, feed.code.mesh)


def _of_one(member: Member, feed: Feed, zeros: dict, step: int | None) -> tuple[State, dict]:
    run = member.run
    code, seed = feed.lone, run.seed if run.init_seed is None else run.init_seed
    state = steps.create(code, np.int32(seed), feed.x_shape)
    if step is not None:
        return from_flat((state, zeros), checkpoint.load(member.directory / "resume" / str(step)))
    if member.initial is not None:
        given = member.initial() if callable(member.initial) else member.initial
        given = jax.tree.map(lambda leaf: np.asarray(leaf, parameter_dtype(run.train.dtype)), given)
        params = {**given["params"], **{k: v for k, v in state.params.items() if k not in given["params"]}}
        fresh = optimizers.build(code.optimizer, steps.hyper(run.optimizer, run.objective, run.steps))
        fresh = fresh.init(steps.trained(code, params))
        state = state._replace(params=params, batch_stats=given.get("batch_stats", {}), opt_state=fresh)
    return state, zeros
