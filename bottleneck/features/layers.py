"""Layers of a network and how their space is read.

A layer is a tap of the model or "logits", with a named spatial mode: `stage2` is average-pooled over maps [B, H, W, C]
or tokens [B, T, C] (class token included) to [B, C], `stage2.flattened` is [B, H W C], and `stage2.positions` keeps [B,
H W, C], which `samples` turns into one sample per position. A tap without space [B, C] is the same pooled and
flattened, and has no positions. Flattened and positions cost 4 H W C bytes per image (5,000 images of a 16 x 16 x 32
map: 164 MB).
"""

from __future__ import annotations

import numpy as np

from bottleneck.errors import UserError

LOGITS = "logits"
LAST = "features"  # the classifier's input
POOLED, FLATTENED, POSITIONS = ("pooled", "flattened", "positions")


def tap_and_mode(layer: str) -> tuple[str, str]:
    """`layer` as (tap, spatial mode): "stage2" is ("stage2", "pooled"). A dot that no mode follows is of the tap's
    name, as those of other networks have them ("layer1.0")."""
    tap, _, mode = layer.rpartition(".")
    return (tap, mode) if tap and mode in (FLATTENED, POSITIONS) else (layer, POOLED)


def spatial(tap, mode: str):
    """A tap [B, ..., C] pooled to [B, C], flattened to [B, size of the rest] or as positions [B, number of them, C]."""
    if mode == POOLED:
        return tap.mean(tuple(range(1, tap.ndim - 1))) if tap.ndim > 2 else tap
    if mode == FLATTENED:
        return tap.reshape(len(tap), -1)
    if tap.ndim < 3:
        raise UserError("layer", POSITIONS, "maps or tokens; this layer is a vector per image, which has no positions")
    return tap.reshape(len(tap), -1, tap.shape[-1])


def samples(x: np.ndarray, *items: np.ndarray) -> tuple[np.ndarray, ...]:
    """Positions as samples: `x` [n, m, C] to [n m, C], and every array of `items` [n, ...] (labels, ids, factors) too.

    The m samples of an image stand next to each other. They are not independent: intervals are over images.
    """
    count, positions, channels = x.shape
    return x.reshape(count * positions, channels), *(np.repeat(item, positions, axis=0) for item in items)
