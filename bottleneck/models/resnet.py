"""Residual networks (He et al. 2016) for small and for large images.

Depths 20, 32, 44, 56 are the CIFAR networks: three stages of 16, 32, 64 channels and parameter-free shortcuts
(subsampling, zero-padded channels). Depths 18, 34, 50, 152 have four stages and projection shortcuts, behind
either a 3x3 stem ("small") or the ImageNet stem ("large": 7x7, stride 2, then max-pooling). In bottleneck
blocks the stride sits in the 3x3 convolution, as in torchvision.

The large stem is for images of more than 64 pixels: up to there, CIFAR, Tiny ImageNet and downsampled ImageNet
(Chrabaszcz et al. 2017) are read through a 3x3 stem, and the large one would leave at most 2x2 positions.
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

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}  # per stage
LARGE = 64  # pixels of the shorter side beyond which images are large


@dataclasses.dataclass(frozen=True)
class ResNetSpec:
    """`width` multiplies every channel count. `stem` None: by the image size, see `resolved`.

    `zero_residual` starts the last normalisation scale of every block at 0, so that blocks start as the
    identity.
    """

    name: Literal["resnet"]
    depth: Literal[8, 18, 20, 32, 34, 44, 50, 56, 152] = 20
    width: float = 1.0
    stem: Literal["small", "large"] | None = None
    zero_residual: bool = False

    def __post_init__(self):
        if not 0 < self.width < float("inf"):
            raise UserError("width", self.width, "a number above 0")
        if self.stem == "large" and self.depth not in BLOCKS:
            raise UserError("stem", self.stem, f"'small' for depth {self.depth}; large: {tuple(BLOCKS)}")

    def resolved(self, image_shape: tuple[int, ...]) -> ResNetSpec:
        """With the stem for images of `image_shape` (H, W, C) written out. Raises UserError for vectors."""
        if len(image_shape) != 3:
            raise UserError("name", self.name, "'mlp', for vectors")
        large = self.depth in BLOCKS and min(image_shape[:2]) > LARGE
        return dataclasses.replace(self, stem=self.stem or ("large" if large else "small"))


def convolution(channels: int, size: int, stride: int, **options) -> nn.Conv:
    """A square convolution without bias, padded symmetrically by (size - 1) // 2 as in PyTorch."""
    return nn.Conv(
        channels,
        (size, size),
        stride,
        padding=(size - 1) // 2,
        use_bias=False,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
        **options,
    )


class ResNet(nn.Module):
    """Taps: stem, stage1 ... (maps [B, H, W, C] after the last activation), features (their spatial mean)."""

    spec: ResNetSpec
    outputs: int
    dtype: Any
    binary: bool = False
    remat: bool = False
    convolutional = True
    batch_norm_momentum = 0.9

    @nn.compact
    def __call__(self, x, train: bool = False, dropout=0.0):
        spec, wide = self.spec, parameter_dtype(self.dtype)
        cifar = spec.depth not in BLOCKS
        blocks = ((spec.depth - 2) // 6,) * 3 if cifar else BLOCKS[spec.depth]
        base = max(1, round((16 if cifar else 64) * spec.width))
        large = spec.resolved(x.shape[1:]).stem == "large"

        conv = functools.partial(convolution, dtype=self.dtype, param_dtype=wide)
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=self.batch_norm_momentum,
            epsilon=1e-5,
            dtype=self.dtype,
            param_dtype=wide,
            force_float32_reductions=wide == jnp.float32,
        )  # else float64 statistics
        kind = Bottleneck if spec.depth in (50, 152) else Block
        block = functools.partial(
            nn.remat(kind) if self.remat else kind,
            conv=conv,
            norm=norm,
            projection=not cifar,
            zero_residual=spec.zero_residual,
        )

        h = conv(base, 7 if large else 3, 2 if large else 1, name="stem")(x.astype(self.dtype))
        h = jax.nn.relu(norm(name="stem_norm")(h))
        if large:
            h = nn.max_pool(h, (3, 3), (2, 2), ((1, 1), (1, 1)))
        taps = collections.OrderedDict(stem=h)
        for stage, number in enumerate(blocks, 1):
            for i in range(number):
                stride = 2 if stage > 1 and i == 0 else 1
                name = f"stage{stage}_block{i + 1}"
                h = block(channels=base * 2 ** (stage - 1), stride=stride, name=name)(h)
            taps[f"stage{stage}"] = h
        taps["features"] = jnp.mean(h, (1, 2), dtype=wide)
        return classify(self, taps["features"], train=train, dropout=dropout), taps


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    channels: int
    stride: int
    conv: Any
    norm: Any
    projection: bool
    zero_residual: bool

    @nn.compact
    def __call__(self, x):
        h = self.conv(self.channels, 3, self.stride, name="conv1")(x)
        h = jax.nn.relu(self.norm(name="norm1")(h))
        h = self.conv(self.channels, 3, 1, name="conv2")(h)
        h = self.norm(scale_init=_last_scale(self.zero_residual), name="norm2")(h)
        return jax.nn.relu(h + _shortcut(self, x, h.shape[-1]))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the last has four times the channels."""

    channels: int
    stride: int
    conv: Any
    norm: Any
    projection: bool
    zero_residual: bool

    @nn.compact
    def __call__(self, x):
        h = jax.nn.relu(self.norm(name="norm1")(self.conv(self.channels, 1, 1, name="conv1")(x)))
        h = jax.nn.relu(self.norm(name="norm2")(self.conv(self.channels, 3, self.stride, name="conv2")(h)))
        h = self.conv(4 * self.channels, 1, 1, name="conv3")(h)
        h = self.norm(scale_init=_last_scale(self.zero_residual), name="norm3")(h)
        return jax.nn.relu(h + _shortcut(self, x, h.shape[-1]))


def _last_scale(zero):
    return nn.initializers.zeros if zero else nn.initializers.ones


def _shortcut(block, x, channels):
    if block.stride == 1 and x.shape[-1] == channels:
        return x
    if block.projection:
        return block.norm(name="shortcut_norm")(block.conv(channels, 1, block.stride, name="shortcut")(x))
    x = x[:, :: block.stride, :: block.stride]
    before = (channels - x.shape[-1]) // 2
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, channels - x.shape[-1] - before)))
