"""What a representation costs to train and to use: counted from runs, steps and shapes, never measured."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from bottleneck.data import mixture
from bottleneck.features.layers import LAST, LOGITS
from bottleneck.features.source import SPLITS, Kept, Member, Pixels
from bottleneck.models.cost import cost, operations
from bottleneck.training import keeping
from bottleneck.training.run import Run

BACKWARD = 2  # times the forward pass: the usual count, of gradients by activations and by parameters


def ancestors(members: tuple[Member, ...]) -> dict[Run, int]:
    """The distinct runs that members stand on, each with the largest step used of it: snapshots of one run cost one."""
    steps: dict[Run, int] = {}
    for member in members:
        for run, step in member.source.ancestry.items():
            steps[run] = max(steps.get(run, 0), step)
    return steps


def lessons(members: tuple[Member, ...]) -> dict[tuple[Run, int], int]:
    """(run, step) -> images that training passed through networks beside its own batches; one pass serves all."""
    images: dict[tuple[Run, int], int] = {}
    for member in members:
        for run, step, count in member.source.lessons:
            images[run, step] = max(images.get((run, step), 0), count)
    return images


def planned(run: Run, step: int) -> int:
    """The steps made of a run up to `step` that does not stop before its end; `store.made` of one that may."""
    return step


def price(probe, made: Callable[[Run, int], int] = planned) -> dict:
    """The price of a probe's row, by the row's keys, for all of its members together.

    `train_steps`: optimiser steps of all distinct ancestor runs (parents, teachers, candidates of a grid), each to the
    largest step used. `image_forwards`: images passed through networks, one network and image each: of training, steps
    times batch of every ancestor (images of which a run masks the loss included); of teachers and rounds, their passes
    over training items; and probe, val and test items once through every distinct network that is read. What
    re-measures BatchNorm statistics is not counted. `component_examples`: how often training drew items of the target.
    """
    steps, examples = {run: made(run, step) for run, step in ancestors(probe.members).items()}, 0
    for run, step in steps.items():
        if probe.target in run.components:
            batch, sampling = run.train.batch, run.train.sampling
            tables = mixture.tables(run.components, run.sizes, run.schedule, batch, kind=sampling)
            examples += int(mixture.drawn(tables, step, batch, sampling)[run.components.index(probe.target)])
    networks = {m.source.key for m in probe.members if not isinstance(m.source, Pixels)}
    read = len(networks) * sum(len(probe.component.splits[split]) for split in SPLITS)
    trained = sum(step * run.train.batch for run, step in steps.items())
    return {
        "train_steps": sum(steps.values()),
        "image_forwards": trained + sum(lessons(probe.members).values()) + read,
        "component_examples": examples,
    }


def work(probe, heads: bool, made: Callable[[Run, int], int] = planned) -> dict[str, int | None]:
    """What no key of a row holds: parameters used at inference, operations per image there, operations of training.

    Of all distinct networks together, as far as the layers read need them, and of the probe's own classifier on all
    that they give (a linear reduction folds into it); `heads`: of the networks' own classifiers instead. A multiply-add
    is two operations. `training_flops` takes a step to cost three forward passes of its batch, one where the head
    alone is trained, and a teacher's pass one; penalties on features are counted beside it. None where a member is no
    network of ours.
    """
    read: dict[str, tuple[Run, dict[str, None]]] = {}
    for member in probe.members:
        source = member.source
        if not isinstance(source, Kept):
            return dict.fromkeys(("parameters", "inference_flops", "training_flops"))
        read.setdefault(source.key, (source.run, {}))[1][LOGITS if heads else member.layer] = None
    shape = probe.component.shape
    costs = [cost(run.module(), shape, tuple(layers)) for run, layers in read.values()]
    parameters, flops = sum(c.parameters for c in costs), sum(c.flops for c in costs)
    if not heads:
        inputs, outputs = sum(sum(c.widths) for c in costs), probe.component.output_dim
        classifiers = len({repr(member.identity) for member in probe.members}) if probe.average else 1
        flops += 2 * inputs * outputs
        parameters += inputs * outputs + outputs * classifiers
    training = sum(per_step(run, shape) * made(run, step) for run, step in ancestors(probe.members).items())
    training += sum(forward(run, shape) * images for (run, _), images in lessons(probe.members).items())
    return {"parameters": parameters, "inference_flops": flops, "training_flops": training}


def per_step(run: Run, shape: tuple[int, ...]) -> int:
    """Operations of one step of training: of the network and, by a trace with its gradient, of what `keeping` adds."""
    passes = forward(run, shape) * (1 + BACKWARD * (run.trained == "all")) * run.train.batch
    if terms := tuple(name for name in keeping.TERMS if getattr(run.objective, name)):
        passes += penalties(terms, run.train.batch, cost(run.module(), shape, (LAST,)).widths[0], shape)
    return passes


@functools.cache
def penalties(terms: tuple[str, ...], batch: int, width: int, shape: tuple[int, ...]) -> int:
    """Operations of penalties on a batch's features, and of their gradient."""

    def penalty(features, x):
        return keeping.penalty(features, x, jnp.ones(batch), dict.fromkeys(terms, 1.0))

    return operations(jax.value_and_grad(penalty), (batch, width), (batch, *shape))


def forward(run: Run, shape: tuple[int, ...]) -> int:
    """Operations of one whole forward pass of one image."""
    return cost(run.module(), shape, (LOGITS,)).flops
