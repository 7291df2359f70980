"""What a network costs at inference: parameters and operations, counted on its traced computation. Nothing compiles."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Literal

from bottleneck.features.layers import LOGITS, spatial, tap_and_mode


@dataclass(frozen=True)
class Cost:
    """Of one item. What no layer asked for depends on, such as the classifier above them, is not counted."""

    parameters: int
    flops: int  # two for every multiply-add of matrix products and convolutions; what is done item by item is left out
    widths: tuple[int, ...]  # numbers of each layer


@functools.cache
def cost(module: nn.Module, shape: tuple[int, ...], layers: tuple[str, ...]) -> Cost:
    """One forward pass of a model (see models.build) at an item of `shape`, (H, W, C) or (d,), as far as `layers` need
    it."""
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    params = variables["params"]
    statistics = {name: leaves for name, leaves in variables.items() if name != "params"}

    def forward(params, statistics, x):
        logits, taps = module.apply({"params": params, **statistics}, x, train=False)
        taps = {**taps, LOGITS: logits}
        return [spatial(taps[tap], mode) for tap, mode in map(tap_and_mode, layers)]

    traced = jax.make_jaxpr(forward)(params, statistics, x)
    flops, needed = _needed(traced.jaxpr)
    leaves = traced.jaxpr.invars[: len(jax.tree.leaves(params))]
    used = sum(math.prod(leaf.aval.shape) for leaf in leaves if leaf in needed)
    return Cost(used, flops, tuple(math.prod(out.shape) for out in traced.out_avals))


def operations(function: Callable, *shapes: tuple[int, ...]) -> int:
    """Operations of any function of float32 arrays of these shapes."""
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return _needed(jax.make_jaxpr(function)(*given).jaxpr)[0]


def _needed(jaxpr) -> tuple[int, set]:
    """Operations of the equations that the outputs depend on, and the variables that they depend on."""
    flops, needed = 0, {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            flops += _flops(equation)
            needed |= {v for v in equation.invars if not isinstance(v, Literal)}
    return flops, needed


def _flops(equation) -> int:
    """Of one equation, with what is inside it; a scan runs as often as it says."""
    name, out = equation.primitive.name, equation.outvars[0].aval
    if name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][0]
        return 2 * math.prod(out.shape) * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, equation.params["dimension_numbers"]
        return 2 * math.prod(out.shape) * math.prod(kernel) // kernel[numbers.rhs_spec[0]]
    inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
    return equation.params.get("length", 1) * sum(_needed(each)[0] for each in inner if hasattr(each, "eqns"))
