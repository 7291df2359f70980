"""Penalties that ask features for more than the labels need, at one network's price and told of no component.

A feature that lowers the loss no further than those already there is not kept: `alignment` asks the features of a batch
for the geometry of its inputs, `spread` for variance in every direction.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

TERMS = ("alignment", "spread")  # fields of the objective
SIDE = 32  # larger images are pooled to about so many pixels a side
COVARIANCE = 1 / 25  # weight of the covariances beside the variances (Bardes et al. 2022)
TINY = 1e-12


def penalty(features: jax.Array, x: jax.Array, counted: jax.Array, hyper: dict):
    """What `alignment` and `spread` of `hyper`, where they are there, add to the loss of a batch: features [B, p],
    inputs [B, ...], counted [B] 1 for the examples whose loss counts, else 0."""
    wide, total = jnp.promote_types(features.dtype, jnp.float32), 0.0
    features, counted = features.astype(wide), counted.astype(wide)
    if "alignment" in hyper:
        total += hyper["alignment"] * misalignment(features, pooled(x.astype(wide)), counted)
    if "spread" in hyper:
        total += hyper["spread"] * unspread(features, counted)
    return total


def centred(a: jax.Array, counted: jax.Array) -> jax.Array:
    """The rows of `a` [B, p] that count less their mean; zeros for the others."""
    return (a - counted @ a / jnp.maximum(counted.sum(), 1)) * counted[:, None]


def pooled(x: jax.Array) -> jax.Array:
    """Images [B, H, W, C], flat, larger ones averaged over squares to about SIDE pixels a side; vectors as they are."""
    if x.ndim == 4:
        window = (1, max(1, x.shape[1] // SIDE), max(1, x.shape[2] // SIDE), 1)
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "valid") / (window[1] * window[2])
    return x.reshape(x.shape[0], -1)


def misalignment(a: jax.Array, b: jax.Array, counted: jax.Array):
    """1 - linear CKA (Kornblith et al. 2019) of two views of one batch, [B, p] and [B, q]: 0 where their Gram matrices
    agree up to scale. Of features and inputs it is small only where features keep the inputs' large directions."""
    a, b = centred(a, counted), centred(b, counted)
    gram, other = a @ a.T, b @ b.T
    norm = jnp.sqrt(jnp.square(gram).sum() * jnp.square(other).sum() + TINY)
    return 1 - (gram * other).sum() / norm


def unspread(features: jax.Array, counted: jax.Array):
    """The variance and covariance terms of VICReg (Bardes, Ponce & LeCun 2022): how far standard deviations are below
    1, on average, and the squared covariances of different features [B, p], summed over p of them."""
    kept, count = centred(features, counted), jnp.maximum(counted.sum(), 1)
    variance = jnp.square(kept).sum(0) / count
    covariance = kept.T @ kept / count
    apart = jnp.square(covariance).sum() - jnp.square(jnp.diag(covariance)).sum()
    return jax.nn.relu(1 - jnp.sqrt(variance + 1e-4)).mean() + COVARIANCE * apart / features.shape[1]
