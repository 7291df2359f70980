"""Vision transformers (Dosovitskiy et al. 2021): pre-norm blocks, learned position embedding, class token.

Ti, S and B have the sizes of DeiT (Touvron et al. 2021); "tiny" (64 dimensions, 4 blocks) is for images of
16-32 pixels on a CPU.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from bottleneck.errors import UserError
from bottleneck.models.head import classify, parameter_dtype

# Dimensions, blocks, heads.
SIZES = {"tiny": (64, 4, 2), "Ti": (192, 12, 3), "S": (384, 12, 6), "B": (768, 12, 12)}


@dataclasses.dataclass(frozen=True)
class ViTSpec:
    """`patch` in pixels; `width` multiplies the number of attention heads, each of 32 or 64 dimensions. `gelu`: its
    approximation by tanh, or exact by the error function (Hendrycks & Gimpel 2016), as weights from PyTorch want it."""

    name: Literal["vit"]
    variant: Literal["tiny", "Ti", "S", "B"] = "tiny"
    patch: int = 4
    width: float = 1.0
    gelu: Literal["tanh", "erf"] = "tanh"

    def __post_init__(self):
        if self.patch < 1:
            raise UserError("patch", self.patch, "at least 1 pixel")
        heads = SIZES[self.variant][2] * self.width
        if heads < 1 or heads != int(heads):
            raise UserError("width", self.width, f"a multiple of 1/{SIZES[self.variant][2]}: whole heads")

    def resolved(self, image_shape: tuple[int, ...]) -> ViTSpec:
        """Itself. Raises UserError unless the patches tile images of `image_shape` (H, W, C)."""
        if len(image_shape) != 3:
            raise UserError("name", self.name, "'mlp', for vectors")
        if any(side % self.patch for side in image_shape[:2]):
            raise UserError("patch", self.patch, f"a divisor of the image's sides, {tuple(image_shape[:2])}")
        return self


class ViT(nn.Module):
    """Taps: block1 ... ([B, 1 + patches, p], class token first), features (the normed class token [B, p])."""

    spec: ViTSpec
    outputs: int
    dtype: Any
    binary: bool = False
    remat: bool = False
    convolutional = False

    @nn.compact
    def __call__(self, x, train: bool = False, dropout=0.0):
        spec, wide = self.spec, parameter_dtype(self.dtype)
        spec.resolved(x.shape[1:])
        dims, depth, heads = SIZES[spec.variant]
        dims, heads = int(dims * spec.width), int(heads * spec.width)
        small = nn.initializers.normal(0.02)

        # The patches' convolution has stride = size: a matrix product on the patches laid out flat.
        batch, height, width, channels = x.shape
        p = spec.patch
        x = x.reshape(batch, height // p, p, width // p, p, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch, -1, p * p * channels).astype(self.dtype)
        h = nn.Dense(dims, dtype=self.dtype, param_dtype=wide, name="patches")(x)
        token = self.param("class_token", nn.initializers.zeros, (1, 1, dims), wide).astype(self.dtype)
        h = jnp.concatenate([jnp.broadcast_to(token, (batch, 1, dims)), h], axis=1)
        h += self.param("position", small, (1, h.shape[1], dims), wide).astype(self.dtype)
        taps, block = collections.OrderedDict(), nn.remat(Block) if self.remat else Block
        for i in range(1, depth + 1):
            h = block(heads, self.dtype, wide, spec.gelu == "tanh", name=f"block{i}")(h)
            taps[f"block{i}"] = h
        taps["features"] = nn.LayerNorm(1e-6, dtype=wide, param_dtype=wide, name="norm")(h[:, 0])
        return classify(self, taps["features"], train=train, dropout=dropout), taps


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); softmax in float32 or wider."""

    heads: int
    dtype: Any
    param_dtype: Any
    approximate: bool  # the GELU, by tanh

    @nn.compact
    def __call__(self, x):
        dims = x.shape[-1]
        norm = functools.partial(nn.LayerNorm, epsilon=1e-6, dtype=self.dtype, param_dtype=self.param_dtype)
        dense = functools.partial(
            nn.Dense, dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=nn.initializers.xavier_uniform()
        )

        h = norm(name="norm1")(x)
        q, k, v = (
            dense(dims, name=name)(h).reshape(*h.shape[:2], self.heads, -1) for name in ("query", "key", "value")
        )
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, preferred_element_type=self.param_dtype)
        weights = jax.nn.softmax(scores / (dims // self.heads) ** 0.5).astype(self.dtype)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
        x = x + dense(dims, name="out")(h)

        h = jax.nn.gelu(dense(4 * dims, name="mlp1")(norm(name="norm2")(x)), self.approximate)
        return x + dense(dims, name="mlp2")(h)
