"""A small convolutional network for vectors whose numbers stand in order (Greydanus and Kobak 2024, for MNIST-1D).

Each convolution is one matrix product on its windows laid side by side, which is as fast as any other on a CPU, inside
a device loop too.
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

KERNELS = (5, 3, 3)  # of the three layers, each of stride 2, padded by one at both ends
LEAST = 5  # numbers of a vector, so that every layer has a window


@dataclasses.dataclass(frozen=True)
class CNN1dSpec:
    """Three convolutions of `width` channels."""

    name: Literal["cnn1d"]
    width: int = 25

    def __post_init__(self):
        if self.width < 1:
            raise UserError("width", self.width, "at least 1")

    def resolved(self, image_shape: tuple[int, ...]) -> CNN1dSpec:
        """Itself. Raises UserError unless what it sees are vectors, (d,)."""
        if len(image_shape) != 1:
            raise UserError("name", self.name, "'mlp', 'resnet' or 'vit', for images")
        if image_shape[0] < LEAST:
            raise UserError("name", self.name, f"'mlp', for vectors of fewer than {LEAST} numbers")
        return self


class CNN1d(nn.Module):
    """Taps: layer1, layer2 ([B, positions, width], after activation), features (the last layer's, flattened)."""

    spec: CNN1dSpec
    outputs: int
    dtype: Any
    binary: bool = False
    convolutional = False  # see above

    @nn.compact
    def __call__(self, x, train: bool = False, dropout=0.0):
        wide, he = parameter_dtype(self.dtype), nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
        h, taps = x.astype(self.dtype)[..., None], collections.OrderedDict()
        for layer, size in enumerate(KERNELS, 1):
            padded = jnp.pad(h, ((0, 0), (1, 1), (0, 0)))
            stop = padded.shape[1] - size + 1
            windows = jnp.concatenate([padded[:, i : i + stop : 2] for i in range(size)], axis=2)
            dense = nn.Dense(self.spec.width, dtype=self.dtype, param_dtype=wide, kernel_init=he, name=f"layer{layer}")
            h = taps[f"layer{layer}"] = jax.nn.relu(dense(windows))
        del taps[f"layer{len(KERNELS)}"]
        taps["features"] = jnp.asarray(h.reshape(len(h), -1), wide)
        return classify(self, taps["features"], train=train, dropout=dropout), taps
