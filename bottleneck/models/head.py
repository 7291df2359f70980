"""What the models share: the dtype of their parameters, and the linear classifier with feature dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn


def parameter_dtype(dtype):
    """Dtype of parameters, statistics, features and logits: float32, or float64 to compute in float64."""
    return jnp.promote_types(dtype, jnp.float32)


def classify(module: nn.Module, features, use_bias: bool = True, *, train: bool, dropout):
    """Logits [B, module.outputs] of `features` [B, p], from the layer "head"; called inside a compact method. None, and
    no such layer, of a module without outputs: a member of a joined one.

    When training, `features` first go through inverted dropout at `dropout`, which may be traced: one
    executable then serves every rate. Only the literal 0 needs no "dropout" key.
    """
    literal_zero = isinstance(dropout, int | float) and dropout == 0
    if not module.outputs:
        return None
    if train and not literal_zero:
        keep = 1 - jnp.asarray(dropout, features.dtype)
        kept = jax.random.bernoulli(module.make_rng("dropout"), keep, features.shape)
        features = jnp.where(kept, features / keep, 0)
    return nn.Dense(module.outputs, use_bias=use_bias, dtype=features.dtype, param_dtype=features.dtype, name="head")(
        features
    )
