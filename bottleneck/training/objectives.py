"""What a run minimises: per-example losses in float32 or wider, and the per-example score shown while training."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class ObjectiveSpec:
    """`label_smoothing` in [0, 1); `logit_penalty` times the mean squared logit (spectral decoupling, Pezeshki et al.
    2021); `dropout` is the rate on the features, below the classifier (Zhang & Bottou 2024)."""

    name: Literal["cross_entropy", "regression"] = "cross_entropy"
    label_smoothing: float = 0.0
    logit_penalty: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        for field, high in (("label_smoothing", 1.0), ("dropout", 1.0), ("logit_penalty", float("inf"))):
            if not 0 <= getattr(self, field) < high:
                raise UserError(field, getattr(self, field), f"a number in [0, {high})")


class Space(NamedTuple):
    """The label space as traced arrays: class y of component j is logit `offset[j] + y`, competing with `mask[j]`."""

    offset: jax.Array  # int32 [J]
    mask: jax.Array  # bool [J, outputs]


def loss(name: str, logits: jax.Array, batch: dict, space: Space, hyper: dict) -> tuple[jax.Array, jax.Array]:
    """Per-example loss [B] and score [B] (1 where correct; minus the squared error for regression)."""
    return {"cross_entropy": cross_entropy, "regression": squared_error}[name](logits, batch, space, hyper)


def cross_entropy(logits, batch, space, hyper):
    """Smoothed cross-entropy over the logits the example's component may use, plus the logit penalty."""
    allowed = space.mask[batch["component"]]
    label = space.offset[batch["component"]] + batch["y"]
    log_p = jax.nn.log_softmax(jnp.where(allowed, logits, -jnp.inf))
    log_p = jnp.where(allowed, log_p, 0.0)
    count = allowed.sum(-1)
    of_label = jnp.take_along_axis(log_p, label[:, None], axis=-1)[:, 0]
    smoothing = hyper["label_smoothing"]
    nll = -(1 - smoothing) * of_label - smoothing * log_p.sum(-1) / count
    penalty = hyper["logit_penalty"] * jnp.square(jnp.where(allowed, logits, 0.0)).sum(-1) / count
    predicted = jnp.where(allowed, logits, -jnp.inf).argmax(-1)
    return nll + penalty, (predicted == label).astype(nll.dtype)


def squared_error(logits, batch, space, hyper):
    """Half the squared distance to the target vector `y` [B, m]."""
    error = jnp.square(logits - batch["y"]).sum(-1)
    return error / 2 + hyper["logit_penalty"] * jnp.square(logits).mean(-1), -error
