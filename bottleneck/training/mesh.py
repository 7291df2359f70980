"""The device mesh: batches are sharded over `data`, everything else is replicated."""

from __future__ import annotations

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bottleneck.errors import UserError


def make(batch: int) -> Mesh:
    """A mesh over all devices with the one axis `data`. Raises UserError if they do not divide `batch`."""
    devices = jax.devices()
    if batch % len(devices):
        raise UserError("train.batch", batch, f"a multiple of the {len(devices)} devices")
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree, mesh: Mesh):
    """Puts every array of `tree` on all devices of `mesh`."""
    sharding = NamedSharding(mesh, PartitionSpec())

    def put(x):
        if jax.process_count() == 1:
            return jax.device_put(x, sharding)
        return jax.make_array_from_process_local_data(sharding, np.asarray(x))

    return jax.tree.map(put, tree)


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


def shard_batch(batch: dict, mesh: Mesh) -> dict:
    """Constrains the leading axis of every array of `batch` to the mesh's `data` axis. For use inside jit."""
    return jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec("data"))), batch
    )
