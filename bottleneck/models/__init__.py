"""Networks: a spec says which, `build` makes the Flax module.

Every module maps a batch `x` [B, ...] to `(logits, taps)`. `taps` is an OrderedDict (JAX sorts the keys of a
plain one) of intermediate activations, whose last, "features", is the classifier's input [B, p] before
dropout. Compute runs in the dtype given to `build`; parameters, normalisation statistics, logits and features
are float32 (float64 when that dtype is float64). The trunk's initial parameters depend only on the key, never
on the number of outputs.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from bottleneck import identity, typed
from bottleneck.errors import UserError
from bottleneck.models import cnn1d, joined, mlp, resnet, vit

MODULES = {**joined.MEMBERS, "joined": (joined.JoinedSpec, joined.Joined)}
DTYPES = ("float32", "bfloat16", "float64")
Spec = mlp.MLPSpec | cnn1d.CNN1dSpec | resnet.ResNetSpec | vit.ViTSpec | joined.JoinedSpec


def spec(mapping: Mapping | Spec) -> Spec:
    """The frozen spec of a mapping of "name" (mlp, cnn1d, resnet, vit, joined) and that model's fields. Raises
    UserError under "model".
    """
    if isinstance(mapping, Spec):
        return mapping
    if not hasattr(mapping, "items"):
        raise UserError("model", mapping, "a dictionary with a name and that model's fields")
    fields = dict(mapping.items())
    name = fields.get("name")
    if not isinstance(name, str) or name not in MODULES:
        raise UserError("model.name", name, f"one of {', '.join(MODULES)}")
    return typed.build(MODULES[name][0], fields, "model")


def resolved(spec: Spec, image_shape: tuple[int, ...]) -> Spec:
    """`spec` with what it leaves to the images, of shape (H, W, C) or (d,), written out: the stem of a ResNet.

    Raises UserError under "model" where the model cannot see such images.
    """
    try:
        return spec.resolved(tuple(image_shape))
    except UserError as error:
        raise error.under("model") from None


def describe(spec: Spec) -> str:
    """One line: the name, and every field that is not at its default, such as "resnet depth=18 stem=large"."""
    said = identity.canonical(spec)
    return " ".join((said.pop("name"), *(f"{field}={value}" for field, value in said.items())))


def build(spec: Spec, outputs: int, dtype="float32", binary: bool = False, remat: bool = False) -> nn.Module:
    """The module of `spec`; `outputs` is the size of the logits, in pairs (0, z) where it is `binary`. With `remat` its
    blocks are computed again going backward.

    Raises UserError on a dtype that is none of DTYPES, and on `remat` of a network without blocks.
    """
    try:
        dtype = jnp.dtype(dtype)
    except TypeError:
        raise UserError("dtype", dtype, f"one of {', '.join(DTYPES)}") from None
    if dtype.name not in DTYPES:
        raise UserError("dtype", dtype.name, f"one of {', '.join(DTYPES)}")
    if dtype.name == "float64" and not jax.config.jax_enable_x64:
        raise UserError("dtype", "float64", "JAX_ENABLE_X64=1 in the environment, or another dtype")
    module = MODULES[spec.name][1]
    if remat and not hasattr(module, "remat"):
        raise UserError("train.remat", True, f"False for {spec.name}, which has no blocks to compute again")
    options = {"remat": True} if remat else {}
    return module(spec=spec, outputs=outputs, dtype=dtype, binary=binary, **options)


def widen(spec: Spec, factor: float) -> Spec:
    """The same model with `factor` times the channels (hidden units, dimensions). Raises UserError."""
    if isinstance(spec, joined.JoinedSpec):
        return dataclasses.replace(spec, members=tuple(widen(member, factor) for member in spec.members))
    width = spec.width * factor
    if isinstance(spec.width, int):
        if width != int(width):
            raise UserError("model.width", width, "a whole number of units")
        width = int(width)
    try:
        return dataclasses.replace(spec, width=width)
    except UserError as error:
        raise error.under("model") from None


def side_by_side(specs: Sequence[Spec]) -> Spec:
    """The model of several networks under one head; of one, itself."""
    return specs[0] if len(specs) == 1 else joined.JoinedSpec("joined", tuple(specs))


@functools.cache
def size(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Number of scalars of all variables of `module` for items of `shape`, none of which is made."""
    return count(jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32)))


def count(params) -> int:
    """Number of scalars in a tree of arrays or of shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
