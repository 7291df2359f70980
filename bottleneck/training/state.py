"""The training state and its evaluation point."""
from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np


class State(NamedTuple):
    """Everything a run carries from step to step. Data position and keys are functions of (seed, step), so not here."""
    step: jax.Array      # int32 []: updates made so far
    params: Any
    batch_stats: Any     # {} without BatchNorm
    opt_state: Any


def variables(state: State) -> dict:
    return {"params": state.params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}


def to_flat(state: State) -> dict[str, np.ndarray]:
    """Leaves by tree path: what a `resume` checkpoint holds."""
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def from_flat(like: State, flat: dict[str, np.ndarray]) -> State:
    """Inverse of `to_flat`; raises KeyError when `flat` is of another structure than `like`."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: flat[jax.tree_util.keystr(path)].astype(leaf.dtype), like)
