"""The device mesh of all processes: members of a fleet are spread over `run`, batches over `data`; everything else is
replicated. Members exchange nothing, so as many devices as there can be are given to `run`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bottleneck.errors import UserError


def make(batch: int, members: int = 1, accumulate: int = 1) -> Mesh:
    """A mesh ("run", "data") over all devices for `members` runs trained together, whose batches are taken in
    `accumulate` parts. Raises UserError if their parts cannot be shared equally."""
    devices = jax.devices()
    together = math.gcd(members, len(devices))
    shared = len(devices) // together
    if batch % (shared * accumulate):
        parts = f" times train.accumulate={accumulate}" if accumulate > 1 else ""
        raise UserError("train.batch", batch, f"a multiple of the {shared} devices{parts}")
    return jax.make_mesh((together, shared), ("run", "data"), axis_types=(AxisType.Auto,) * 2, devices=devices)


def replicate(tree, mesh: Mesh):
    """Puts every array of `tree` on all devices of `mesh`."""
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def spread(trees: Sequence, mesh: Mesh):
    """The trees of a fleet's members as one, stacked along a leading axis that is sharded over `run`; of one member,
    its own tree on all devices."""
    if len(trees) == 1:
        return replicate(trees[0], mesh)
    stacked = jax.tree.map(lambda *each: np.stack([np.asarray(one) for one in each]), *trees)
    return _put(stacked, NamedSharding(mesh, PartitionSpec("run")))


def _put(tree, sharding: NamedSharding):
    def put(x):
        if jax.process_count() == 1:
            return jax.device_put(x, sharding)
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree)


def member(tree, index: int, count: int, mesh: Mesh):
    """What `spread` made of one of `count` members, on all devices; a call of all processes."""
    return tree if count == 1 else _member(tree, np.int32(index), NamedSharding(mesh, PartitionSpec()))


@partial(jax.jit, static_argnames=("sharding",))
def _member(tree, index, sharding):
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x[index], sharding), tree)


def rows(mesh: Mesh, batch: int) -> np.ndarray:
    """The rows of a batch that lie on this process's devices, ascending."""
    held = NamedSharding(mesh, PartitionSpec("data")).addressable_devices_indices_map((batch,)).values()
    return np.unique(np.concatenate([np.arange(batch)[where] for where in held]))


def whole(batch: dict, mesh: Mesh) -> dict:
    """The batch of all processes, of which each gives its `rows`."""
    if jax.process_count() == 1:
        return batch
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def shard_batch(batch, mesh: Mesh, axis: int = 0):
    """Constrains one axis of every array of `batch` to the mesh's `data` axis. For use inside jit, and there inside
    what `fleet.over_devices` gives a part of the mesh to."""
    context = jax.sharding.get_abstract_mesh()
    sharding = NamedSharding(mesh if context.empty else context, PartitionSpec(*(None,) * axis, "data"))
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding), batch)
