"""BatchNorm statistics measured afresh: at the averaged point of a schedule-free run, or on a target's own images."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.jit, static_argnames=("model",))
def of_batch(model, variables, x):
    """The statistics of one normalised batch `x` [B, ...], as the model's `batch_stats` collection."""
    zeros = {**variables, "batch_stats": jax.tree.map(jnp.zeros_like, variables["batch_stats"])}
    _, updated = model.apply(zeros, x, train=True, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"])
    # From running statistics of zero, one update leaves (1 - momentum) of the batch's own.
    return jax.tree.map(lambda s: s / (1 - model.batch_norm_momentum), updated["batch_stats"])


def mean(model, variables, batches: Iterable):
    """Statistics averaged over `batches` of one size."""
    each = [of_batch(model, variables, x) for x in batches]
    return jax.tree.map(lambda *s: sum(s) / len(s), *each)
