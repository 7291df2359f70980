"""Two-dimensional convolution whose kernel gradient, on CPU, may be one matrix product per kernel element.

XLA's CPU backend runs the kernel gradient as a convolution with a window as large as the image, which on some
processors is many times slower than its matrix products (openxla/xla#34273). Summing over batch
and positions, `dK[i, j] = X[i, j]^T G`, where X[i, j] holds the inputs under kernel element (i, j) and G the
output gradients, is the same number at matrix-product speed. The forward pass and the input gradient stay
XLA's, and on other platforms so does the kernel gradient.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")   # He et al. 2015, as in torchvision


def lax_conv(x, kernel, stride: int = 1, padding="SAME"):
    """XLA's own convolution with XLA's own gradients; the arguments are those of `conv`."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=DIMENSIONS)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x, kernel, stride: int = 1, padding="SAME"):
    """Convolves `x` [B, H, W, C] with `kernel` [h, w, C, D] of the same dtype into [B, H', W', D].

    `padding` is "SAME", "VALID" or ((top, bottom), (left, right)). Reverse-mode differentiation only.
    """
    return lax_conv(x, kernel, stride, padding)


def _forward(x, kernel, stride, padding):
    return lax_conv(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, residuals, g):
    x, kernel = residuals
    dx, = jax.linear_transpose(lambda x: lax_conv(x, kernel, stride, padding), x)(g)

    def products(x, g):
        return kernel_gradient(x, g, kernel.shape[:2], stride, padding)

    def xla(x, g):
        return jax.linear_transpose(lambda k: lax_conv(x, k, stride, padding), kernel)(g)[0]

    if not by_products(kernel.shape, stride):
        return dx, xla(x, g)
    # Decided when the computation is lowered, from the platform it is lowered for: jax.default_backend()
    # would be wrong for work placed on the CPU of a machine that also has a GPU. Only the chosen branch
    # reaches the compiler.
    return dx, lax.platform_dependent(x, g, cpu=products, default=xla)


conv.defvjp(_forward, _backward)


def by_products(shape: Sequence[int], stride: int) -> bool:
    """Whether, on CPU, matrix products compute the kernel gradient of a kernel of `shape` (h, w, C, D).

    Which form is faster depends on the processor: tests/benchmarks/conv_benchmark.py compares them where it
    runs. With few channels and stride 1 the products are bound by their h * w copies of the inputs, and XLA's
    form is kept. With 64 channels and more the products bound the worst case: they cost up to a third of a
    layer's speed where XLA's form is good, and save several times that where it is bad.
    """
    height, width, inputs, outputs = shape
    return height * width == 1 or stride > 1 or min(inputs, outputs) >= 64


def kernel_gradient(x, g, size: Sequence[int], stride: int, padding):
    """Gradient [h, w, C, D] of `sum(conv(x, kernel) * g)` in a kernel of `size` (h, w), by products."""
    (top, bottom), (left, right) = padding if not isinstance(padding, str) else lax.padtype_to_pads(
        x.shape[1:3], size, (stride, stride), padding)
    x = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    rows, columns = g.shape[1:3]
    flat_g = g.reshape(-1, g.shape[-1])
    wide = jnp.promote_types(g.dtype, jnp.float32)   # accumulate bfloat16 products in float32
    taps = []
    for i in range(size[0]):
        for j in range(size[1]):
            under = x[:, i:i + (rows - 1) * stride + 1:stride, j:j + (columns - 1) * stride + 1:stride]
            taps.append(jnp.matmul(under.reshape(-1, x.shape[-1]).T, flat_g, preferred_element_type=wide))
    return jnp.stack(taps).reshape(*size, x.shape[-1], g.shape[-1]).astype(g.dtype)


class Conv(nn.Module):
    """Convolution without bias: square kernel, PyTorch's symmetric padding of (size - 1) // 2."""
    channels: int
    size: int
    stride: int
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", HE_FAN_OUT, (self.size, self.size, x.shape[-1], self.channels),
                            self.param_dtype)
        pad = ((self.size - 1) // 2,) * 2
        return conv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, (pad, pad))
