"""Fully connected networks, for images (flattened) and vectors.

With `activation="none"`, depth 1 and no biases this is the two-layer linear bottleneck network, whose optimum
and whose order of learning are known in closed form (Baldi & Hornik 1989; Saxe, McClelland & Ganguli 2014).
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from bottleneck.errors import UserError
from bottleneck.models.head import classify, parameter_dtype


@dataclasses.dataclass(frozen=True)
class MLPSpec:
    """`depth` hidden layers of `width` units, 0 for a linear classifier; `use_bias` covers the classifier too. `init`:
    kernels of the hidden layers by their inputs (He et al. 2015, truncated; LeCun's for the classifier), or all kernels
    uniform by inputs and outputs ("xavier": Glorot & Bengio 2010). Biases start at 0. `residual`: every hidden layer
    but the first adds to its input.
    """

    name: Literal["mlp"]
    width: int = 128
    depth: int = 2
    activation: Literal["relu", "tanh", "none"] = "relu"
    use_bias: bool = True
    init: Literal["he", "xavier"] = "he"
    residual: bool = False

    def __post_init__(self):
        for field, least in (("width", 1), ("depth", 0)):
            if getattr(self, field) < least:
                raise UserError(field, getattr(self, field), f"at least {least}")

    def resolved(self, image_shape: tuple[int, ...]) -> MLPSpec:
        """Itself: images of any shape are flattened."""
        return self


class MLP(nn.Module):
    """Taps: layer1 ... layer{depth-1}, features (the last hidden layer), [B, width] after activation; at depth 0 the
    features are the input, [B, d]."""

    spec: MLPSpec
    outputs: int
    dtype: Any
    binary: bool = False
    convolutional = False

    @nn.compact
    def __call__(self, x, train: bool = False, dropout=0.0):
        spec, wide = self.spec, parameter_dtype(self.dtype)
        activate = {"relu": jax.nn.relu, "tanh": jnp.tanh, "none": lambda h: h}[spec.activation]
        gain = 2.0 if spec.activation == "relu" else 1.0
        init = nn.initializers.variance_scaling(gain, "fan_in", "truncated_normal")
        init, of_head = (nn.initializers.xavier_uniform(),) * 2 if spec.init == "xavier" else (init, None)
        h = x.reshape(x.shape[0], -1).astype(self.dtype)
        taps = collections.OrderedDict()
        for layer in range(1, spec.depth + 1):
            before = h
            h = nn.Dense(
                spec.width,
                use_bias=spec.use_bias,
                dtype=self.dtype,
                param_dtype=wide,
                kernel_init=init,
                name=f"layer{layer}",
            )(h)
            h = activate(h) + before if spec.residual and layer > 1 else activate(h)
            taps["features" if layer == spec.depth else f"layer{layer}"] = h
        taps["features"] = jnp.asarray(h, wide)
        return classify(self, taps["features"], spec.use_bias, of_head, train=train, dropout=dropout), taps
