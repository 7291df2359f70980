"""Random numbers keyed by name and item id: pure, vectorised, and the same in whatever order items are asked
for.

A counter-based generator in the spirit of Salmon et al. (SC 2011), with the SplitMix64 finaliser of Steele,
Lea and Flood (OOPSLA 2014) as the mixing function.
"""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import special

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(key: tuple, ids: np.ndarray) -> np.ndarray:
    """uint64 [n]: 64 random bits of each item. `key` holds integers and text, `ids` int [n]."""
    state = np.frombuffer(hashlib.sha256(repr(key).encode()).digest()[:8], dtype="<u8")
    return _mix(_mix(np.asarray(ids).astype(np.uint64) * _GAMMA + _GAMMA) ^ state)


def uniform(key: tuple, ids: np.ndarray) -> np.ndarray:
    """float64 [n] in [0, 1)."""
    return (bits(key, ids) >> np.uint64(11)) * 2.0**-53


def integers(key: tuple, ids: np.ndarray, high: int) -> np.ndarray:
    """int32 [n] in 0..high-1 (the bias of the remainder is below high / 2**64)."""
    return (bits(key, ids) % np.uint64(high)).astype(np.int32)


def octets(key: tuple, ids: np.ndarray, count: int) -> np.ndarray:
    """uint8 [n, count]: a stream of random bytes for each item."""
    words = np.arange(-(-count // 8), dtype=np.uint64) * _GAMMA
    stream = _mix(bits(key, ids)[:, None] + words)
    return stream.astype("<u8", copy=False).view(np.uint8)[:, :count]


def normal(key: tuple, ids: np.ndarray, count: int) -> np.ndarray:
    """float64 [n, count]: independent standard normals for each item, by inversion."""
    words = np.arange(count, dtype=np.uint64) * _GAMMA
    levels = _mix(bits(key, ids)[:, None] + words) >> np.uint64(12)
    return special.ndtri((levels + 0.5) * 2.0**-52)


def announce(key: tuple, ids: np.ndarray, labels: np.ndarray, reliability: float, values: int) -> np.ndarray:
    """int32 [n] in 0..values-1: equal to the label with probability `reliability`, else uniform over the
    others.

    Independent of the label at `reliability = 1 / values`. The same random numbers serve every reliability,
    so that two reliabilities differ in as few items as possible.
    """
    keep = uniform((*key, "keep"), ids) < reliability
    other = (labels + 1 + integers((*key, "other"), ids, max(values - 1, 1))) % values
    return np.where(keep, labels, other).astype(np.int32)
