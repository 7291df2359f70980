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
    2021); `dropout` is the rate on the features, below the classifier (Zhang & Bottou 2024). `loss="softplus"`: two
    classes have one output z, whose binary cross-entropy, log(1 + exp(-z)) for label 1, is that of the logits (0, z);
    the penalty is on z, whose mean square is twice that of both logits.

    `switch`: (step, loss scale, logit penalty) from which steps on the loss counts so many times, beside another
    penalty; before, once, with `logit_penalty`. The optimiser's state is carried over, stale as it may be (the released
    form of Pezeshki et al. 2021 on ColoredMNIST), or starts anew with `reset_optimizer`, its schedule excepted.

    `alignment` and `spread` weigh what `keeping` adds: how far the features' geometry is from the inputs', and how far
    their variance is from filling every direction."""

    name: Literal["cross_entropy", "regression"] = "cross_entropy"
    label_smoothing: float = 0.0
    logit_penalty: float = 0.0
    dropout: float = 0.0
    loss: Literal["softmax", "softplus"] = "softmax"
    switch: tuple[tuple[int, float, float], ...] = ()
    reset_optimizer: bool = False
    alignment: float = 0.0
    spread: float = 0.0

    def __post_init__(self):
        if self.loss == "softplus" and self.name == "regression":
            raise UserError("loss", self.loss, "'softmax' where labels are vectors")
        starts = (0, *(start for start, _, _ in self.switch))
        if any(a >= b for a, b in zip(starts, starts[1:])):
            raise UserError("switch", self.switch, "steps that increase, from 1 on")
        if any(not 0 <= number < float("inf") for _, *numbers in self.switch for number in numbers):
            raise UserError("switch", self.switch, "(step, loss scale, logit penalty), both of at least 0")
        if self.reset_optimizer and not self.switch:
            raise UserError("reset_optimizer", True, "False without a switch")
        unbounded = [(field, float("inf")) for field in ("logit_penalty", "alignment", "spread")]
        for field, high in (("label_smoothing", 1.0), ("dropout", 1.0), *unbounded):
            if not 0 <= getattr(self, field) < high:
                raise UserError(field, getattr(self, field), f"a number in [0, {high})")


TINY = 1e-30  # below it a probability's own logarithm does not matter


class Space(NamedTuple):
    """The label space as traced arrays: class y of component j is logit `offset[j] + y`, competing with `mask[j]`."""

    offset: jax.Array  # int32 [J]
    mask: jax.Array  # bool [J, outputs]


def at(hyper: dict, step) -> dict:
    """`hyper` with what is in force at `step` (both traced): the loss's `scale` and the logit penalty."""
    if "switch" not in hyper:
        return hyper
    passed = jnp.sum(step >= hyper["switch"]["start"])
    first = {"scale": jnp.ones((), jnp.float32), "logit_penalty": hyper["logit_penalty"]}
    each = {name: jnp.concatenate([one[None], hyper["switch"][name]]) for name, one in first.items()}
    return {**hyper, **{name: values[passed] for name, values in each.items()}}


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
    return scaled(nll, hyper) + penalty, (predicted == label).astype(nll.dtype)


def scaled(loss, hyper):
    """`loss` as often as it counts: see `at`."""
    return hyper["scale"] * loss if "scale" in hyper else loss


def distilled(kind: str, logits, batch, space, hyper):
    """A head a teacher, [B, teachers * outputs], each against what `taught` says: the mean over heads of the loss [B].
    Soft targets give the Kullback-Leibler divergence from the teacher's probabilities, at temperature 1. The score is
    that of the heads' mean probabilities."""
    heads = logits.reshape(len(logits), batch["taught"].shape[1], -1)
    allowed = space.mask[batch["component"]]
    log_p = jax.nn.log_softmax(jnp.where(allowed[:, None], heads, -jnp.inf))
    label = space.offset[batch["component"]] + batch["y"]
    score = (jax.nn.logsumexp(log_p, axis=1).argmax(-1) == label).astype(log_p.dtype)
    if kind == "soft":
        said = batch["taught"]
        apart = said * (jnp.log(jnp.maximum(said, TINY)) - jnp.where(allowed[:, None], log_p, 0.0))
        return scaled(apart.sum(-1).mean(-1), hyper), score

    def against(logits, said):
        own = said - space.offset[batch["component"]]
        return cross_entropy(logits, {**batch, "y": own}, space, hyper)[0]

    return jax.vmap(against, in_axes=1)(heads, batch["taught"]).mean(0), score


def over_groups(kind: str, each, batch, groups, rate: float):
    """Group DRO: (the loss of a batch, the weights of its groups). Group g of 2 R is what parent g has right, or what
    parent g - R has wrong; its loss is the mean of `each` [B] over its examples in the batch, and a group without any
    has no say. `groups` [2 R] are the weights of "exponentiated", () otherwise."""
    right = batch["taught"].astype(each.dtype)
    inside = jnp.concatenate([right, 1 - right], axis=1) * batch["weight"][:, None]
    count = inside.sum(0)
    means = (each @ inside) / jnp.maximum(count, 1)
    if kind == "max":
        return jnp.where(count > 0, means, -jnp.inf).max(), groups
    grown = groups * jnp.exp(rate * jnp.where(count > 0, jax.lax.stop_gradient(means), 0.0))
    groups = grown / grown.sum()
    return jnp.where(count > 0, groups * means, 0.0).sum(), groups


def squared_error(logits, batch, space, hyper):
    """Half the squared distance to the target vector `y` [B, m]."""
    error = jnp.square(logits - batch["y"]).sum(-1)
    return scaled(error / 2, hyper) + hyper["logit_penalty"] * jnp.square(logits).mean(-1), -error
