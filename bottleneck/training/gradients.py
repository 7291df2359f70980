"""The gradients of a run's components at one kept step: which of them still pull, and whether they pull together.

If a common feature once learned answers the minority's examples too, their loss and with it their gradient dies before
their own feature is learned: gradient starvation (Pezeshki et al. 2021). Conflict shows as a negative cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bottleneck.data.resident import normalise
from bottleneck.errors import UserError
from bottleneck.training import objectives
from bottleneck.training import step as steps
from bottleneck.training.run import Run

CHUNK = 128  # examples of one backward pass: the memory of a training step of that size


@dataclass(frozen=True)
class Gradients:
    """Gradients g_j of the mean loss of each component. Cosines are nan where a gradient is exactly 0."""

    names: tuple[str, ...]
    norms: np.ndarray  # [J], |g_j|, not multiplied by the weight
    cosines: np.ndarray  # [J, J]
    with_mixture: np.ndarray  # [J], cosine of g_j and sum_i weight_i g_i


def gradients(run: Run, variables: dict, batches: dict, weights, mean, std, step: int = 0) -> Gradients:
    """Per-component gradients with respect to all parameters, at the kept step whose `variables` are given.

    `batches`: name of one of `run.components` -> (x uint8 or float [n, ...], labels [n], or [n, m] for regression), any
    numbers of examples; `weights` [len(run.components)]: those in force at that step, of any scale; `mean`, `std`:
    the study's normalisation. The loss is the run's own at `step` (label space, smoothing, logit penalty; no weight
    decay), the network in evaluation mode: BatchNorm with its running statistics, no dropout, no augmentation. Hence it
    is the gradient at the point that is evaluated, not that of a training step. Computed in float32 at highest
    precision.

    Memory: one backward pass of `CHUNK` examples, and J gradients on the host. Raises UserError for a name that the
    run does not have and for a component with a positive weight that is not in `batches`.
    """
    weights, names = np.asarray(weights, np.float64), tuple(batches)
    if weights.shape != (len(run.components),):
        raise UserError("weights", weights.tolist(), f"one number for each of {', '.join(run.components)}")
    for name, weight in zip(run.components, weights, strict=True):
        if weight > 0 and name not in batches:
            raise UserError("batches", names, f"examples of {name} too, which is part of the mixture")
    for name, (x, y) in batches.items():
        if name not in run.components or len(x) != len(y) or not len(x):
            raise UserError(
                "batches", (name, len(x), len(y)), f"some examples, as many labels, of {', '.join(run.components)}"
            )

    model = run.module().clone(dtype=jnp.dtype("float32"))
    hyper = objectives.at(steps.hyper(run.optimizer, run.objective, run.steps), step)
    shared = run.space(), hyper, mean, std
    where = [run.components.index(name) for name in names]
    by_component = []
    for component, (x, y) in zip(where, batches.values(), strict=True):
        total = jax.tree.map(jnp.zeros_like, variables["params"])
        for batch in _chunks(x, y, component):
            total = _add(model, run.objective.name, total, variables, batch, *shared)
        by_component.append([np.asarray(leaf) / len(x) for leaf in jax.tree.leaves(jax.device_get(total))])

    gram = np.zeros((len(names), len(names)))
    for leaves in zip(*by_component, strict=True):
        stacked = np.stack([leaf.ravel() for leaf in leaves]).astype(np.float64)
        gram += stacked @ stacked.T
    norms, share = np.sqrt(gram.diagonal()), weights[where]
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = gram / norms[:, None] / norms
        with_mixture = gram @ share / norms / np.sqrt(share @ gram @ share)
    return Gradients(names, norms, np.clip(cosines, -1.0, 1.0), np.clip(with_mixture, -1.0, 1.0))


def _chunks(x, y, component: int):
    """Batches of one shape; the last is padded with its first example at weight 0, so that sums stay exact."""
    for start in range(0, len(x), CHUNK):
        valid = min(CHUNK, len(x) - start)
        rows = np.concatenate([np.arange(start, start + valid), np.full(CHUNK - valid, start)])
        yield {
            "x": np.asarray(x)[rows],
            "y": np.asarray(y)[rows],
            "component": np.full(CHUNK, component, np.int32),
            "weight": (np.arange(CHUNK) < valid).astype(np.float32),
        }


@partial(jax.jit, static_argnames=("model", "objective"))
def _add(model, objective, total, variables, batch, space, hyper, mean, std):
    """`total` plus the gradient of the weighted sum of the losses of `batch`."""

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, normalise(batch["x"], mean, std), train=False)
        return (objectives.loss(objective, logits, batch, space, hyper)[0] * batch["weight"]).sum()

    with jax.default_matmul_precision("highest"):
        return jax.tree.map(jnp.add, total, jax.grad(loss)(variables["params"]))
