"""Networks: `build` turns the `model` entry of a config into a Flax module.

Every module maps a batch `x` [B, ...] to `(logits, taps)`. `taps` is an OrderedDict (JAX sorts the keys of a
plain one) of intermediate activations, whose last, "features", is the classifier's input [B, p] before
dropout. Compute runs in the dtype given to `build`; parameters, normalisation statistics, logits and features
are float32 (float64 when that dtype is float64). The trunk's initial parameters depend only on the key, never
on the number of outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from bottleneck import config
from bottleneck.errors import UserError
from bottleneck.models import mlp, resnet, vit

MODULES = {
    "mlp": (mlp.MLPSpec, mlp.MLP),
    "resnet": (resnet.ResNetSpec, resnet.ResNet),
    "vit": (vit.ViTSpec, vit.ViT),
}
DTYPES = ("float32", "bfloat16", "float64")


def build(spec: Mapping, outputs: int, dtype="float32", image_shape: tuple[int, ...] | None = None) -> nn.Module:
    """The module of `spec`, a mapping of "name" ("mlp", "resnet", "vit") and the fields of that model's spec.

    `outputs` is the size of the logits. With `image_shape` (H, W, C) the model is also checked against the
    images. Raises UserError under "model".
    """
    name, parsed = _parse(spec)
    if image_shape is not None and hasattr(parsed, "check"):
        try:
            parsed.check(image_shape)
        except UserError as error:
            raise error.under("model") from None
    try:
        dtype = jnp.dtype(dtype)
    except TypeError:
        raise UserError("dtype", dtype, f"one of {', '.join(DTYPES)}") from None
    if dtype.name not in DTYPES:
        raise UserError("dtype", dtype.name, f"one of {', '.join(DTYPES)}")
    if dtype.name == "float64" and not jax.config.jax_enable_x64:
        raise UserError("dtype", "float64", "JAX_ENABLE_X64=1 in the environment, or another dtype")
    return MODULES[name][1](spec=parsed, outputs=outputs, dtype=dtype)


def widen(spec: Mapping, factor: float) -> dict:
    """The same model with `factor` times the channels (hidden units, dimensions). Raises UserError."""
    _, parsed = _parse(spec)
    width = parsed.width * factor
    if isinstance(parsed.width, int):
        if width != int(width):
            raise UserError("model.width", width, "a whole number of units")
        width = int(width)
    widened = {**config.to_dict(spec), "width": width}
    _parse(widened)
    return widened


def count(params) -> int:
    """Number of scalars in a tree of arrays or of shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def _parse(spec):
    if not hasattr(spec, "items"):
        raise UserError("model", spec, "a dictionary with a name and that model's fields")
    fields = dict(spec.items())
    name = fields.pop("name", None)
    if not isinstance(name, str) or name not in MODULES:
        raise UserError("model.name", name, f"one of {', '.join(MODULES)}")
    return name, config.build(MODULES[name][0], fields, "model")
