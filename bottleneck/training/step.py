"""The training step: a pure function of (state, data, hyper-parameters, seed), compiled once per program.

`Program` holds what shapes the executable; everything a sweep varies (weights of the mixture, learning rate, weight
decay, number of steps, smoothing, seed) is traced, so the arms of a study share one executable.
"""
from __future__ import annotations

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from bottleneck.data import mixture, resident
from bottleneck.training import augment, mesh as meshes, objectives, optimizers
from bottleneck.training.state import State, variables


@dataclasses.dataclass(frozen=True)
class Program:
    """The static identity of a compiled step."""
    model: nn.Module
    optimizer: optimizers.OptimizerSpec   # its structure: rates and decay are traced
    objective: str
    sampling: str
    batch: int
    augment: augment.AugmentSpec
    mesh: Mesh

    @property
    def rolled(self) -> bool:
        """Whether steps run inside a device loop: not convolutions on CPU, which XLA runs serially there."""
        return jax.default_backend() != "cpu" or not getattr(self.model, "convolutional", False)


def hyper(optimizer: optimizers.OptimizerSpec, objective: objectives.ObjectiveSpec, total_steps: int) -> dict:
    """The numbers of a run that are traced, float32 scalars."""
    spec = {name: np.float32(getattr(objective, name)) for name in ("label_smoothing", "logit_penalty", "dropout")}
    return {**optimizers.hyper(optimizer, total_steps), **spec}


@partial(jax.jit, static_argnames=("program", "x_shape"))
def create(program: Program, seed, x_shape: tuple[int, ...]) -> State:
    """The state at step 0: parameters from `seed` alone, the same trunk for any number of outputs."""
    found = program.model.init(jax.random.key(seed, impl="threefry2x32"), jnp.zeros((1, *x_shape), jnp.float32))
    params = found["params"]
    free = {"lr": 1.0, "weight_decay": 0.0, "total_steps": 1.0}
    return State(jnp.zeros((), jnp.int32), params, found.get("batch_stats", {}),
                 optimizers.build(program.optimizer, free).init(params))


def totals(components: int) -> dict[str, np.ndarray]:
    """Zeroed sums over the steps since the last log line, per component [J]."""
    zeros = np.zeros(components, np.float32)
    return {"loss": zeros, "score": zeros, "count": zeros, "grad_norm": np.float32(0)}


def update(program: Program, state: State, sums: dict, pool, tables, space, hyper, seed) -> tuple[State, dict]:
    """One update on the batch drawn for (seed, state.step)."""
    component, index = mixture.draw(tables, seed, state.step, program.batch, program.sampling)
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), state.step)
    batch = meshes.shard_batch(resident.gather(pool, component, index), program.mesh)
    batch["x"] = augment.augment(batch["x"], jax.random.fold_in(key, 1), program.augment)

    def mean_loss(params):
        (logits, _), updated = program.model.apply(
            variables(state._replace(params=params)), batch["x"], train=True, dropout=hyper["dropout"],
            rngs={"dropout": jax.random.fold_in(key, 2)}, mutable=["batch_stats"])
        each, score = objectives.loss(program.objective, logits, batch, space, hyper)
        return (each * batch["weight"]).sum() / batch["weight"].sum(), (each, score, updated)

    (_, (each, score, updated)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    step, opt_state = optimizers.build(program.optimizer, hyper).update(grads, state.opt_state, state.params)
    by_component = jax.nn.one_hot(batch["component"], sums["loss"].shape[0], dtype=jnp.float32)
    sums = {"loss": sums["loss"] + each.astype(jnp.float32) @ by_component,
            "score": sums["score"] + score.astype(jnp.float32) @ by_component,
            "count": sums["count"] + by_component.sum(0), "grad_norm": optax.global_norm(grads).astype(jnp.float32)}
    return State(state.step + 1, optax.apply_updates(state.params, step),
                 updated.get("batch_stats", state.batch_stats), opt_state), sums


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def one(program, state, sums, pool, tables, space, hyper, seed):
    return update(program, state, sums, pool, tables, space, hyper, seed)


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def many(program, state, sums, pool, tables, space, hyper, seed, count):
    """`count` (traced) updates in one call."""
    return jax.lax.fori_loop(
        0, count, lambda _, carry: update(program, *carry, pool, tables, space, hyper, seed), (state, sums))


def advance(program: Program, state: State, sums: dict, count: int, *args) -> tuple[State, dict]:
    """`count` updates, in a device loop where that is fast and one by one where it is not."""
    if program.rolled:
        return many(program, state, sums, *args, count)
    for _ in range(count):
        state, sums = one(program, state, sums, *args)
    return state, sums


@partial(jax.jit, static_argnames=("program", "batches"))
def evaluation_point(program, state, pool, tables, seed, batches: int = 32):
    """The variables to evaluate: the averaged point of schedule-free runs, with BatchNorm statistics recomputed there.

    The statistics are the mean over `batches` batches of the run's own distribution, drawn past its last step.
    """
    params = optimizers.eval_params(program.optimizer, state.opt_state, state.params)
    if program.optimizer.name != "schedule_free" or not state.batch_stats:
        return {"params": params, "batch_stats": state.batch_stats}
    zeros = jax.tree.map(jnp.zeros_like, state.batch_stats)

    def accumulate(total, i):
        component, index = mixture.draw(tables, seed, state.step + i, program.batch, program.sampling)
        x = meshes.shard_batch(resident.gather(pool, component, index), program.mesh)["x"]
        _, updated = program.model.apply({"params": params, "batch_stats": zeros}, x, train=True, dropout=0.0,
                                         rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"])
        return jax.tree.map(jnp.add, total, updated["batch_stats"])

    total = zeros
    for i in range(batches):   # written out: convolutions in a device loop are slow on CPU
        total = accumulate(total, i)
    # With running statistics at zero one update leaves (1 - momentum) of the batch's own.
    share = batches * (1 - program.model.batch_norm_momentum)
    return {"params": params, "batch_stats": jax.tree.map(lambda t: t / share, total)}
