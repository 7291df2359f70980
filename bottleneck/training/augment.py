"""Random flips and crops of image batches, inside the compiled step; crops of stored images are cut as they are decoded
(see `data.crops`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import jax
import jax.numpy as jnp

from bottleneck.data.component import Component
from bottleneck.errors import UserError


@dataclasses.dataclass(frozen=True)
class AugmentSpec:
    """`flip`: left-right with probability 1/2. `crop`: shift by up to that many pixels each way, filling as
    `fill` says. `resized_crop`: the smallest and the largest share of an image's area of a random-resized crop, such
    as (0.08, 1), of the image as it is stored, before its component's transforms; of streamed folders and tfds sets.

    Flips change what orientation means and tints the side of a domino: off unless asked for.
    """

    flip: bool = False
    crop: int = 0
    fill: Literal["reflect", "zero"] = "reflect"
    resized_crop: tuple[float, float] | None = None

    def __post_init__(self):
        if self.crop < 0:
            raise UserError("crop", self.crop, "at least 0 pixels")
        if self.resized_crop is not None and not 0 < self.resized_crop[0] <= self.resized_crop[1] <= 1:
            raise UserError("resized_crop", self.resized_crop, "two shares of the area, 0 < smallest <= largest <= 1")

    def check(self, image_shape: tuple[int, ...]) -> None:
        """Raises UserError if images of `image_shape` (H, W, C), or vectors (d,), cannot be augmented so."""
        if (self.flip or self.crop) and len(image_shape) != 3:
            asked = "flip" if self.flip else "crop"
            raise UserError(asked, getattr(self, asked), "nothing to augment in vectors")
        if self.crop and self.crop >= min(image_shape[:2]):
            raise UserError("crop", self.crop, f"less than the image's sides, {tuple(image_shape[:2])}")

    def check_stored(self, components: Iterable[Component], feed: str) -> None:
        """Raises UserError, with its whole key, if the images of `components` cannot be cut as they are stored."""
        if self.resized_crop is None:
            return
        for component in components:
            if component.splits["train"].crop is None:
                expected = f"None: {component.name!r} has no images of files, each stored by itself, that could be cut"
                raise UserError("augment.resized_crop", self.resized_crop, expected)
        if feed != "stream":
            raise UserError(
                "train.feed",
                feed,
                "'stream', for augment.resized_crop: images on the device are no more as they are stored",
            )


def augment(x, key, spec: AugmentSpec):
    """Augments `x` [B, H, W, C] of any dtype; row b depends only on x[b], `key` and b. Filling pixels with 0
    means the value 0 in `x`: black before normalisation, mean grey after it.
    """
    if not (spec.flip or spec.crop):
        return x
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(jnp.arange(x.shape[0]))
    if spec.crop:
        offsets = jax.vmap(
            lambda k: jax.random.randint(jax.random.fold_in(k, 0), (2,), 0, 2 * spec.crop + 1, jnp.int32)
        )(keys)
        pad = ((0, 0), (spec.crop, spec.crop), (spec.crop, spec.crop), (0, 0))
        padded = jnp.pad(x, pad, mode="reflect" if spec.fill == "reflect" else "constant")
        x = _crop(_crop(padded, offsets[:, 0], 1, x.shape[1]), offsets[:, 1], 2, x.shape[2])
    if spec.flip:
        flips = jax.vmap(lambda k: jax.random.bernoulli(jax.random.fold_in(k, 1)))(keys)
        x = jnp.where(flips[:, None, None, None], x[:, :, ::-1], x)
    return x


def _crop(x, offsets, axis, size):
    """`size` pixels of each image along `axis` from its own offset: one gather of whole lines per image."""
    index = offsets[:, None] + jnp.arange(size, dtype=jnp.int32)
    return jax.vmap(lambda image, rows: jnp.take(image, rows, axis=axis - 1, mode="clip"))(x, index)
