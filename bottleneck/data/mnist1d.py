"""MNIST-1D: ten short curves, padded, stretched, shifted, sheared and hidden in noise (Greydanus and Kobak 2024,
arXiv:2011.14439). Small, and yet a linear classifier, an MLP and a CNN differ as they do on images.

Parameters are the published ones. Items differ from the published ones in their random numbers, and in that they are
normalised by the mean and deviation of the distribution rather than of the sample, so that no item depends on others.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bottleneck.data import keyed
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source

# Heights of each digit's curve at equal distances, before it is standardised and moved to begin at 0.
_DIGITS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_PADDING = (36, 60)  # zeros after the curve, fewest and most
_STRETCHED = 72  # samples of the padded curve
_SCALE, _SHEAR = 0.4, 0.75  # widths of the uniform factors
_SHIFT = 48  # largest shift is one less, around the end
_SMOOTH_NOISE, _SMOOTH, _NOISE = 0.25, 2, 0.02  # beside the curve, filtered over so many samples; and everywhere
_LENGTH = 40
_MEAN, _STD = -0.0061, 0.1548  # of all samples before they are normalised, measured on 200,000 items


@dataclasses.dataclass(frozen=True)
class Mnist1dSpec:
    """shuffled: whether one fixed permutation hides which samples are neighbours. seed: of the items, and of it."""

    shuffled: bool = False
    seed: int = 0

    randomisable = ()


def load(spec: Mnist1dSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Four splits of x float32 [n, 40], items of the ten digits in turn."""
    order = np.random.default_rng([0x3D16, spec.seed]).permutation(_LENGTH) if spec.shuffled else np.arange(_LENGTH)
    splits = {}
    for position, split in enumerate(SPLITS):
        count = data.generated_sizes()[split]
        ids = np.arange(count, dtype=np.int32) + np.int32(position << 28)
        key, labels = ("mnist1d", data.split_seed, spec.seed), (ids - ids[:1]) % len(_DIGITS)
        splits[split] = Examples(labels, ids, {}, functools.partial(_fetch, key, ids, labels, order))
    return Source(splits, tuple(str(digit) for digit in range(len(_DIGITS))), vectors=True)


def curves() -> np.ndarray:
    """float64 [10, 12]: the curves, each beginning at 0."""
    heights = np.array(_DIGITS, np.float64)
    heights = (heights - heights.mean(axis=1, keepdims=True)) / heights.std(axis=1, keepdims=True)
    return (heights - heights[:, :1]) / 6


def _fetch(key, ids, labels, order, rows):
    """float32 [n, 40]: the items at `rows`."""
    ids, labels = ids[rows], labels[rows]

    def uniform(name):
        return keyed.uniform((*key, name), ids)[:, None]

    padding = _PADDING[0] + (uniform("padding") * (_PADDING[1] - _PADDING[0] + 1)).astype(int)
    signal, inside = _stretched(curves()[labels], padding)
    signal = signal * (1 + _SCALE * (uniform("scale") - 0.5))
    turned = (np.arange(_STRETCHED) - keyed.integers((*key, "shift"), ids, _SHIFT)[:, None]) % _STRETCHED
    signal, inside = (np.take_along_axis(x, turned, axis=1) for x in (signal, inside))
    hum = gaussian_filter1d(_SMOOTH_NOISE * keyed.normal((*key, "hum"), ids, _STRETCHED), _SMOOTH, axis=1)
    signal = np.where(inside, signal, hum) + _NOISE * keyed.normal((*key, "noise"), ids, _STRETCHED)
    signal = signal - _SHEAR * (uniform("shear") - 0.5) * np.linspace(-0.5, 0.5, _STRETCHED)
    at = np.linspace(0, _STRETCHED - 1, _LENGTH)
    return ((_between(signal, np.tile(at, (len(ids), 1))) - _MEAN) / _STD).astype(np.float32)[:, order]


def _stretched(curve, padding):
    """The padded curves at 72 equal distances, and whether each of these still touches the curve, [n, 72] both."""
    length = curve.shape[1]
    at = np.linspace(0, 1, _STRETCHED) * (length + padding - 1)
    padded = np.concatenate([curve, np.zeros((len(curve), _PADDING[1]))], axis=1)
    return _between(padded, at), at < length


def _between(x, at):
    """`x` [n, m] at fractional positions `at` [n, k], linearly."""
    low = np.minimum(at.astype(int), x.shape[1] - 2)
    left, right = (np.take_along_axis(x, low + step, axis=1) for step in (0, 1))
    return left + (at - low) * (right - left)
