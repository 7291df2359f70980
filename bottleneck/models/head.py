"""What the models share: the dtype of their parameters, and the linear classifier with feature dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def parameter_dtype(dtype):
    """Dtype of parameters, statistics, features and logits: float32, or float64 to compute in float64."""
    return jnp.promote_types(dtype, jnp.float32)


def classify(module: nn.Module, features, use_bias: bool = True, kernel_init=None, *, train: bool, dropout):
    """Logits [B, module.outputs] of `features` [B, p], from the layer "head"; called inside a compact method. None, and
    no such layer, of a module without outputs: a member of a joined one.

    When training, `features` first go through inverted dropout at `dropout`, which may be traced: one
    executable then serves every rate. Only the literal 0 needs no "dropout" key. A `binary` module has one output z for
    each pair of logits, which are (0, z).
    """
    literal_zero = isinstance(dropout, int | float) and dropout == 0
    if not module.outputs:
        return None
    if train and not literal_zero:
        keep = 1 - jnp.asarray(dropout, features.dtype)
        kept = jax.random.bernoulli(module.make_rng("dropout"), keep, features.shape)
        features = jnp.where(kept, features / keep, 0)
    wide, own = features.dtype, {} if kernel_init is None else {"kernel_init": kernel_init}
    count = module.outputs // 2 if module.binary else module.outputs
    z = nn.Dense(count, use_bias=use_bias, dtype=wide, param_dtype=wide, name="head", **own)(features)
    return jnp.stack([jnp.zeros_like(z), z], axis=-1).reshape(len(z), -1) if module.binary else z


def columns(kernel, bias, binary: bool):
    """(kernel [p, K], bias [K] or None) with a column for every logit, of a classifier's as the network holds them."""
    if not binary:
        return kernel, bias
    wide = np.stack([np.zeros_like(kernel), kernel], axis=-1).reshape(len(kernel), -1)
    return wide, None if bias is None else np.stack([np.zeros_like(bias), bias], axis=-1).ravel()
