"""The training step: a pure function of (state, batch, hyper-parameters, key), compiled once per program.

`Program` holds what shapes the executable; everything a sweep varies (weights of the mixture, learning rate, weight
decay, number of steps, smoothing, seed, whose loss counts) is traced, so the arms of a study share one executable.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from bottleneck.data import mixture, resident
from bottleneck.training import augment, fleet, keeping, objectives, optimizers
from bottleneck.training import mesh as meshes
from bottleneck.training.run import Lesson


class State(NamedTuple):
    """Everything a run carries from step to step. Data position and keys are functions of (seed, step), so not here."""

    step: jax.Array  # int32 []: updates made so far
    params: Any
    batch_stats: Any  # {} without BatchNorm
    opt_state: Any
    groups: Any = ()  # group DRO's weights, where it has such


@dataclasses.dataclass(frozen=True)
class Program:
    """The static identity of a compiled step."""

    model: nn.Module
    optimizer: optimizers.OptimizerSpec  # its structure: rates and decay are traced
    objective: str
    sampling: str
    batch: int
    augment: augment.AugmentSpec
    mesh: Mesh
    trained: str = "all"  # or "head"
    lesson: Lesson | None = None
    parents: int = 0
    accumulate: int = 1
    members: int = 1  # of the fleet that trains together
    together: str = "vmapped"  # or "unrolled": how members share a device

    @property
    def rolled(self) -> bool:
        """Whether steps run inside a device loop: not convolutions on CPU, which XLA runs serially there."""
        return jax.default_backend() != "cpu" or not self.model.convolutional


class Given(NamedTuple):
    """What a run's steps share: where examples come from, what their labels mean, and the traced numbers."""

    tables: mixture.Tables
    space: objectives.Space
    hyper: dict
    seed: Any  # int32 []
    counted: Any  # float32 [J]: 1 for the components whose loss counts, all of them unless the run masks others
    pool: resident.Pool | None = None  # None when batches are streamed


def hyper(optimizer: optimizers.OptimizerSpec, objective: objectives.ObjectiveSpec, total_steps: int) -> dict:
    """The numbers of a run that are traced, float32 scalars; with a switch also a few for each of its phases."""
    spec = {name: np.float32(getattr(objective, name)) for name in ("label_smoothing", "logit_penalty", "dropout")}
    if objective.loss == "softplus":
        spec["logit_penalty"] *= 2  # on the one output z, from the mean over the logits (0, z)
    if objective.switch:
        start, scale, penalty = map(np.array, zip(*objective.switch, strict=True))
        penalty = penalty * (2 if objective.loss == "softplus" else 1)
        phases = {"scale": np.float32(scale), "logit_penalty": np.float32(penalty)}
        spec["switch"] = {"start": np.int32(start), "reset": np.bool_(objective.reset_optimizer), **phases}
    spec |= {name: np.float32(weight) for name in keeping.TERMS if (weight := getattr(objective, name))}
    return {**optimizers.hyper(optimizer, total_steps), **spec}


@partial(jax.jit, static_argnames=("program", "x_shape"))
def create(program: Program, seed, x_shape: tuple[int, ...]) -> State:
    """The state at step 0: parameters from `seed` alone, the same trunk for any number of outputs."""
    variables = program.model.init(jax.random.key(seed, impl="threefry2x32"), jnp.zeros((1, *x_shape), jnp.float32))
    params = variables["params"]
    free = {"lr": 1.0, "weight_decay": 0.0, "total_steps": 1.0}
    return State(
        jnp.zeros((), jnp.int32),
        params,
        variables.get("batch_stats", {}),
        optimizers.build(program.optimizer, free).init(trained(program, params)),
        _weights(program),
    )


def trained(program: Program, params: dict) -> dict:
    """The part of the parameters that is learned: no gradient, no decay and no optimiser state for the rest."""
    return params if program.trained == "all" else {program.trained: params[program.trained]}


def _weights(program: Program):
    """Equal weights of the groups that exponentiated gradient steps weigh; () without such."""
    if program.lesson is None or program.lesson.kind != "exponentiated":
        return ()
    return jnp.full(2 * program.parents, 1 / (2 * program.parents), jnp.float32)


def totals(components: int, stops: bool = False) -> dict[str, np.ndarray]:
    """Zeroed sums over the steps since the last log line, per component [J]: of losses as counted, of all scores. Of a
    run that may stop also those of its window, however lines fall: of losses, scores and weights that count [3]."""
    zeros = np.zeros(components, np.float32)
    window = {"window": np.zeros(3, np.float32)} if stops else {}
    return {"loss": zeros, "score": zeros, "count": zeros, "grad_norm": np.float32(0), **window}


def learn(program: Program, state: State, sums: dict, batch: dict, given: Given) -> tuple[State, dict]:
    """One update on `batch` {x, y, component, weight, id}, x normalised."""
    key = jax.random.fold_in(jax.random.key(given.seed, impl="threefry2x32"), state.step)
    batch, learned = meshes.shard_batch(batch, program.mesh), trained(program, state.params)
    opt_state, given = _switched(program, state, learned, given)
    batch = {**batch, "x": augment.augment(batch["x"], jax.random.fold_in(key, 1), program.augment)}
    key = jax.random.fold_in(key, 2)
    grads, (each, score, updated, groups) = _gradients(program, state, learned, batch, given, key)
    step, opt_state = optimizers.build(program.optimizer, given.hyper).update(grads, opt_state, learned)
    sums = _added(sums, batch, each, score, grads, given)
    return State(
        state.step + 1,
        {**state.params, **optax.apply_updates(learned, step)},
        updated.get("batch_stats", state.batch_stats),
        opt_state,
        groups,
    ), sums


def _gradients(program: Program, state: State, learned: dict, batch: dict, given: Given, key):
    """(gradients with respect to `learned`, (losses [B], scores [B], updated collections, weights of groups)).

    With `accumulate`, of one part of the batch after the other: each has its own batch statistics, as on hardware that
    holds no more.
    """
    whole = batch["weight"].sum()

    def mean_loss(learned, stats, batch, key):  # a trunk that it does not depend on is passed forward alone
        (logits, taps), updated = program.model.apply(
            {"params": {**state.params, **learned}, "batch_stats": stats},
            batch["x"],
            train=program.trained == "all",
            dropout=given.hyper["dropout"],
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        each, score = _losses(program, logits, batch, given)
        each = each * given.counted[batch["component"]]  # masked losses leave the batch's whole weight below
        loss, groups = _loss(program, each, batch, state.groups, whole)
        if set(keeping.TERMS) & set(given.hyper):
            loss += keeping.penalty(taps["features"], batch["x"], given.counted[batch["component"]], given.hyper)
        return loss, (each, score, updated, groups)

    gradient = jax.grad(mean_loss, has_aux=True)
    if program.accumulate == 1:
        return gradient(learned, state.batch_stats, batch, key)

    def add(carry, part):
        total, stats = carry
        batch, number = part
        grads, (each, score, updated, _) = gradient(learned, stats, batch, jax.random.fold_in(key, number))
        return (jax.tree.map(jnp.add, total, grads), updated.get("batch_stats", stats)), (each, score)

    parts = jax.tree.map(lambda x: _parts(x, program), batch), jnp.arange(program.accumulate)
    start = jax.tree.map(jnp.zeros_like, learned), state.batch_stats
    unroll = 1 if program.rolled else program.accumulate
    (grads, stats), (each, score) = jax.lax.scan(add, start, parts, unroll=unroll)
    return grads, (each.T.ravel(), score.T.ravel(), {"batch_stats": stats}, state.groups)


def _parts(x, program: Program):
    """[parts, B / parts, ...] of [B, ...]: every device keeps the rows that it has."""
    parts = x.reshape(x.shape[0] // program.accumulate, program.accumulate, *x.shape[1:]).swapaxes(0, 1)
    return meshes.shard_batch(parts, program.mesh, axis=1)


def _added(sums: dict, batch: dict, each, score, grads, given: Given) -> dict:
    """`sums` with those of a batch: see `totals`."""
    by_component, window = jax.nn.one_hot(batch["component"], sums["loss"].shape[0], dtype=jnp.float32), {}
    if "window" in sums:
        weight = batch["weight"] * given.counted[batch["component"]]
        added = jnp.stack([(each * batch["weight"]).sum(), (score * weight).sum(), weight.sum()])
        window["window"] = sums["window"] + added.astype(jnp.float32)
    return {
        **window,
        "loss": sums["loss"] + each.astype(jnp.float32) @ by_component,
        "score": sums["score"] + score.astype(jnp.float32) @ by_component,
        "count": sums["count"] + by_component.sum(0),
        "grad_norm": optax.tree.norm(grads).astype(jnp.float32),
    }


def _switched(program: Program, state: State, learned: dict, given: Given):
    """The optimiser's state and what is given, as they are in force at this step."""
    numbers = objectives.at(given.hyper, state.step)
    if "switch" not in given.hyper:
        return state.opt_state, given
    switch = given.hyper["switch"]
    now = switch["reset"] & jnp.any(state.step == switch["start"])
    opt_state = optimizers.restarted(program.optimizer, numbers, state.opt_state, learned, now)
    return opt_state, given._replace(hyper=numbers)


def _losses(program: Program, logits, batch: dict, given: Given):
    """Per-example losses and scores [B]: against labels, or against what teachers say."""
    lesson = program.lesson
    if lesson is not None and lesson.distils:
        return objectives.distilled(lesson.kind, logits, batch, given.space, given.hyper)
    return objectives.loss(program.objective, logits, batch, given.space, given.hyper)


def _loss(program: Program, each, batch: dict, groups, whole):
    """(the loss of examples, the weights of groups): their part of the mean over a batch of weight `whole`, or group
    DRO's."""
    lesson = program.lesson
    if lesson is not None and not lesson.distils:
        return objectives.over_groups(lesson.kind, each, batch, groups, lesson.rate)
    return (each * batch["weight"]).sum() / whole, groups


def drawn(program: Program, given: Given, step) -> dict:
    """The batch of (seed, step) from the resident pool."""
    component, index = mixture.draw(given.tables, given.seed, step, program.batch, program.sampling)
    batch = resident.gather(given.pool, component, index)
    if program.sampling == "full":
        batch["weight"] = mixture.importance(given.tables, step, component)
    return batch


def _next(program: Program, carried: tuple, given: Given, pool) -> tuple:
    """(state, sums) of each member after an update on its own batch from the resident pool."""

    def update(own, pool):
        state, sums, given = own
        given = given._replace(pool=pool)
        return learn(program, state, sums, drawn(program, given, state.step), given)

    return fleet.each(program, update, (*carried, given), pool)


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def one(program, state, sums, given):
    own = state, sums, given._replace(pool=None)
    return fleet.over_devices(program, lambda own, pool: _next(program, own[:2], own[2], pool), own, given.pool)


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def many(program, state, sums, given, count):
    """`count` (traced) updates in one call."""

    def updates(own, pool, count):
        return jax.lax.fori_loop(0, count, lambda _, carried: _next(program, carried, own[2], pool), own[:2])

    return fleet.over_devices(program, updates, (state, sums, given._replace(pool=None)), given.pool, count)


@partial(jax.jit, static_argnames=("program",), donate_argnames=("state",))
def fed(program, state, sums, batch, given, mean, std):
    """One update of all members on a batch from the host, images still uint8."""

    def update(own, batch):
        return learn(program, *own[:2], batch, own[2])

    batch = {**batch, "x": resident.normalise(batch["x"], mean, std)}
    own = state, sums, given
    return fleet.over_devices(program, lambda own, batch: fleet.each(program, update, own, batch), own, batch)


def advance(program: Program, state: State, sums: dict, given: Given, count: int) -> tuple[State, dict]:
    """`count` updates from the resident pool, in a device loop where that is fast and one by one where it is not."""
    if program.rolled:
        return many(program, state, sums, given, np.int32(count))
    for _ in range(count):
        state, sums = one(program, state, sums, given)
    return state, sums


@partial(jax.jit, static_argnames=("program",))
def averaged(program: Program, state: State):
    """The parameters to evaluate: the averaged point of schedule-free runs, the last ones otherwise."""
    learned = trained(program, state.params)
    return {**state.params, **optimizers.eval_params(program.optimizer, state.opt_state, learned)}
