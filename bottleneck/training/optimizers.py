"""Optimisers and learning-rate schedules whose numbers are traced: a sweep over them recompiles nothing.

`build` is called inside `jit`: the spec's structure (which optimiser, which schedule) is static, while the
learning rate, the weight decay and the length of the run arrive as arrays in `hyper`. Sources: Loshchilov &
Hutter 2019 (AdamW), Defazio et al. 2024 (schedule-free learning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class OptimizerSpec:
    """`sgd`: momentum, `adam`: as published; both with L2 added to the gradient. `adamw`, `schedule_free` (AdamW):
    decoupled decay times learning rate. `decay`: of what multiplies activations alone ("kernels", see `decayed`), or,
    for sgd and adam, `weight_decay` times the sum of squares of all parameters, biases too, added to the loss
    ("coupled_all", without a factor of 1/2: Arjovsky et al. 2019 and others with it).

    `warmup` and `milestones` are fractions of the run's steps; at each milestone the `step` schedule
    multiplies the learning rate by `factor`. `cyclic` is the cosine over and over, `cycles` times (snapshot ensembles,
    Huang et al. 2017). `clip` bounds the global norm of the gradient, before L2 is added to it (but that of
    "coupled_all", which is part of the loss).
    """

    name: Literal["sgd", "adam", "adamw", "schedule_free"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    b1: float = 0.9
    b2: float = 0.999
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "step", "cyclic"] = "constant"
    warmup: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    clip: float | None = None
    cycles: int = 5
    decay: Literal["kernels", "coupled_all"] = "kernels"

    def __post_init__(self):
        for field in ("momentum", "b1", "b2", "warmup"):
            if not 0 <= getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "a number in [0, 1)")
        for field in ("lr", "weight_decay", "factor"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise UserError(field, getattr(self, field), "a number of at least 0")
        if not all(0 < m < 1 for m in self.milestones):
            raise UserError("milestones", self.milestones, "fractions of the run, between 0 and 1")
        if self.cycles < 1:
            raise UserError("cycles", self.cycles, "at least 1")
        if self.clip is not None and not self.clip > 0:
            raise UserError("clip", self.clip, "a number above 0, or None")
        if self.name == "schedule_free" and self.schedule != "constant":
            raise UserError("schedule", self.schedule, "'constant': schedule_free does not decay")
        if self.decay == "coupled_all" and self.name not in ("sgd", "adam"):
            raise UserError("decay", self.decay, f"'kernels' for {self.name}, which decouples it; or 'sgd' or 'adam'")
        if self.name == "schedule_free" and self.b1 == 0:
            raise UserError("b1", self.b1, "above 0: it is schedule_free's interpolation weight")


def hyper(spec: OptimizerSpec, total_steps: int) -> dict[str, np.float32]:
    """The spec's numbers that `build` takes as (traced) scalars."""
    return {
        "lr": np.float32(spec.lr),
        "weight_decay": np.float32(spec.weight_decay),
        "total_steps": np.float32(total_steps),
    }


def structure(spec: OptimizerSpec) -> OptimizerSpec:
    """The spec without what `hyper` carries: runs of equal structure share a compiled step."""
    return dataclasses.replace(spec, lr=0.0, weight_decay=0.0)


def build(spec: OptimizerSpec, hyper: Mapping) -> optax.GradientTransformation:
    """The optimiser, closing over the scalars lr, weight_decay and total_steps of `hyper` (may be traced).

    Its state does not hold these numbers, so `init` and `update` may come from separate calls of `build`.
    """
    weight_decay = jnp.asarray(hyper["weight_decay"], jnp.float32)
    coupled_all = spec.decay == "coupled_all"
    decay = [] if coupled_all else [optax.add_decayed_weights(weight_decay, mask=decayed)]

    def rate(count):
        return hyper["lr"] * schedule(spec, count, hyper["total_steps"])

    steps = [optax.add_decayed_weights(2 * weight_decay)] if coupled_all else []
    steps += [] if spec.clip is None else [optax.clip_by_global_norm(spec.clip)]
    if spec.name == "sgd":
        steps += decay
        steps += [optax.trace(spec.momentum, spec.nesterov)] if spec.momentum else []
    elif spec.name == "adam":
        steps += [*decay, optax.scale_by_adam(spec.b1, spec.b2)]
    elif spec.name == "adamw":
        steps += [optax.scale_by_adam(spec.b1, spec.b2), *decay]
    else:  # b1 is the interpolation of schedule-free; Adam's own first moment is off
        steps += [optax.scale_by_rms(spec.b2, eps_in_sqrt=False, bias_correction=True), *decay]
    transform = optax.chain(*steps, optax.scale_by_learning_rate(rate))
    if spec.name == "schedule_free":
        # optax counts from 1 here and from 0 in scale_by_learning_rate: the shift makes a step's weight in
        # the average the square of the rate that step was taken with.
        return contrib.schedule_free(transform, lambda count: rate(count - 1), b1=spec.b1)
    return transform


def restarted(spec: OptimizerSpec, hyper: Mapping, opt_state, params, now):
    """`opt_state` as at the start where `now` (a traced boolean) holds, but for the count of the schedule, which goes
    on.
    """

    def scheduled(state):
        return isinstance(state, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda old, new: old if scheduled(old) else jnp.where(now, new, old),
        opt_state,
        build(spec, hyper).init(params),
        is_leaf=scheduled,
    )


def eval_params(spec: OptimizerSpec, opt_state, params):
    """The parameters to evaluate and to keep: schedule-free's averaged point, else `params` themselves."""
    return contrib.schedule_free_eval_params(opt_state, params) if spec.name == "schedule_free" else params


def schedule(spec: OptimizerSpec, count, total_steps):
    """Multiplier of the learning rate in the step numbered `count` from 0; both may be traced.

    Warm-up rises linearly to 1 over the first `warmup * total_steps` steps, starting above 0. The cosine
    starts at its end and would reach 0 at `total_steps`. Milestones fall on the nearest whole step.
    """
    count, total = jnp.asarray(count, jnp.float32), jnp.asarray(total_steps, jnp.float32)
    warm = jnp.round(spec.warmup * total)
    rise = jnp.minimum(1.0, (count + 1) / jnp.maximum(warm, 1))
    if spec.schedule in ("cosine", "cyclic"):
        progress = jnp.clip((count - warm) / jnp.maximum(total - warm, 1), 0, 1)
        if spec.schedule == "cyclic":
            progress = (progress * spec.cycles) % 1
        return rise * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    if spec.schedule == "step":
        passed = sum((count >= jnp.round(m * total)).astype(jnp.float32) for m in spec.milestones)
        return rise * jnp.asarray(spec.factor, jnp.float32) ** passed
    return rise


def decayed(params):
    """Tree of booleans: weight decay applies to the leaves named "kernel", which multiply activations.

    Biases, normalisation scales, position embeddings and class tokens are left alone. The name decides rather
    than the number of dimensions, so parameters stacked over the members of a fleet are treated alike.
    """
    kernel = (jax.tree_util.DictKey("kernel"),)
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1:] == kernel, params)
