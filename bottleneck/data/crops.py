"""Random-resized crops: a part of random area and aspect ratio of every training image, as it is stored.

The augmentation of Szegedy et al. 2015 (arXiv:1409.4842, section 6), with torchvision's numbers: areas uniform, aspect
ratios log-uniform in 3/4..4/3 of the study's own, ten tries to find one that fits, the middle of the image after that.
What is random is a pure function of (seed, step, row of the batch), like what the sampler draws.
"""

from __future__ import annotations

import functools
import math

import numpy as np

TRIES = 10
RATIO = (3 / 4, 4 / 3)
NUMBERS = 2 * (TRIES + 1)  # random ones, for a row


def drawn(bits: np.ndarray, area: tuple[float, float]) -> np.ndarray:
    """float64 [n, TRIES + 1, 2]: pairs of an area's share, within `area`, and an aspect ratio; then a place in [0, 1)
    across and down. `bits` uint32 [n, NUMBERS]: see `mixture.bits`."""
    uniform = np.asarray(bits).reshape(-1, TRIES + 1, 2) / 2.0**32
    low, high = np.array([area[0], math.log(RATIO[0])]), np.array([area[1], math.log(RATIO[1])])
    numbers = low + (high - low) * uniform
    numbers[..., 1] = np.exp(numbers[..., 1])
    numbers[:, TRIES] = uniform[:, TRIES]
    return numbers


def cut(drawn: np.ndarray | None, row: int, shape: tuple[int, int]):
    """What gives the box of `row` of `drawn` in an image of (width, height) pixels; None where nothing is drawn."""
    return None if drawn is None else functools.partial(box, drawn[row], shape)


def box(drawn: np.ndarray, shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, upper, right, lower), whole pixels of an image of `size` (width, height) that is to be of `shape` (height,
    width). `drawn` [TRIES + 1, 2]: a row of what the function of this name gives."""
    (width, height), own = size, shape[1] / shape[0]
    for share, ratio in drawn[:TRIES].tolist():
        pixels = share * width * height
        across, down = round(math.sqrt(pixels * ratio * own)), round(math.sqrt(pixels / (ratio * own)))
        if 0 < across <= width and 0 < down <= height:
            left, upper = (int(u * (rest + 1)) for u, rest in zip(drawn[TRIES], (width - across, height - down)))
            return left, upper, left + across, upper + down
    low, high = (ratio * own for ratio in RATIO)
    across, down = min(width, max(1, round(height * high))), min(height, max(1, round(width / low)))
    left, upper = (width - across) // 2, (height - down) // 2
    return left, upper, left + across, upper + down
