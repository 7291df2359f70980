"""What a network is shown: images of the study, at the size, crop and scale that the network was trained with."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image

from bottleneck import identity
from bottleneck.data import images
from bottleneck.errors import UserError, reason
from bottleneck.features.networks import uses

FILTERS = {name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos")}


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """The shorter side is resized to `size` / `crop` pixels and the middle `size` x `size` cut out, then `mean` and
    `std` (in units of [0, 1]) are taken off: how torchvision and timm evaluate (their filters differ: see what the
    weights were published with). Without a size images stay as the study
    has them; without `mean` and `std` they are normalised as the study says. `function`, MODULE:FUNCTION, does all of
    that instead: of a Pillow image it makes an array or tensor [3, h, w] or [h, w, 3], always the same one."""

    size: int | None = None
    crop: float = 1.0
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    function: str = ""

    def __post_init__(self):
        if self.size is not None and self.size < 1:
            raise UserError("size", self.size, "at least 1 pixel")
        if not 0 < self.crop <= 1:
            raise UserError("crop", self.crop, "a share of the side in (0, 1]")
        if self.std is not None and min(self.std) <= 0:
            raise UserError("std", self.std, "three positive numbers")
        if (self.mean is None) != (self.std is None):
            raise UserError("mean", self.mean, "both mean and std, or neither")
        if self.function and ":" not in self.function:
            raise UserError("function", self.function, "MODULE:FUNCTION")
        if self.function and (self.size, self.crop, self.mean) != (None, 1.0, None):
            raise UserError("function", self.function, "nothing beside it: it does all of the preprocessing")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """`spec`, and the study's mean and std, which count where it has none of its own. `stored`: the shape of the
    study's items, (H, W, 3) or (d,); `stated`: whether somebody has said what the network is to be shown."""

    spec: InputSpec
    study_mean: tuple[float, ...]
    study_std: tuple[float, ...]
    stored: tuple[int, ...] = ()
    stated: bool = True

    @property
    def mean(self) -> tuple[float, ...]:
        return self.spec.mean or self.study_mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.spec.std or self.study_std

    @property
    def identity(self) -> list:
        if self.spec.function:
            return ["function", self.spec.function, *self.checked]
        return [identity.canonical(self.spec), self.mean, self.std]

    @property
    def said(self) -> str:
        """In words, for the reader."""
        spec = self.spec
        if spec.function:
            shape, low, high = self.checked[:3]
            return f"prepared by {spec.function}: {shape[1]} x {shape[0]} pixels, a test image from {low:g} to {high:g}"
        numbers = ", ".join(f"{m:g}/{s:g}" for m, s in zip(self.mean, self.std))
        size = "as the study has them"
        if spec.size:
            size = f"{spec.size} x {spec.size}, the middle {100 * spec.crop:g}% by {spec.interpolation} filter"
            if self.stored and min(self.stored[:2]) < math.floor(spec.size / spec.crop):
                size += f", enlarged from {self.stored[1]} x {self.stored[0]}"
        unsaid = "" if self.stated else "nobody has said what it was trained on (input), so "
        return f"{unsaid}images {size}; mean/std {numbers}"

    @functools.cached_property
    def checked(self) -> tuple:
        """(shape, smallest, largest number, digest) of what the user's function makes of a test image of the study's
        size, and a digest of its code. Raises UserError."""
        function = self._user()
        return (*_checked(self.spec.function, function, self.stored or (40, 48, 3)), uses.code([function]))

    def _user(self) -> Callable:
        return uses.function(*self.spec.function.rsplit(":", 1))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the network is shown: (h, w, 3), or (d,)."""
        if len(self.stored) != 3:
            return self.stored
        if self.spec.function:
            return self.checked[0]
        return (self.spec.size, self.spec.size, 3) if self.spec.size else self.stored

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [n, H, W, 3] to float32 [n, h, w, 3]; vectors [n, d] stay as they are."""
        if pictures.ndim != 4:
            return np.asarray(pictures, np.float32)
        if self.spec.function:
            made = [channels_last(self._user()(Image.fromarray(picture))) for picture in pictures]
            if odd := next((each.shape for each in made if each.shape != self.shape), None):
                raise UserError("input.function", self.spec.function, f"images of {self.shape}, not of {odd}")
            return np.stack(made)
        if self.spec.size:
            shape = (self.spec.size, self.spec.size)
            pictures = images.many(lambda i: self.resized(pictures[i]), range(len(pictures)), shape)
        scaled = pictures.astype(np.float32) / np.float32(255)
        return (scaled - np.float32(self.mean)) / np.float32(self.std)

    def resized(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] to [size, size, 3]."""
        size = self.spec.size
        whole, (height, width) = math.floor(size / self.spec.crop), picture.shape[:2]
        shorter = min(height, width)
        if shorter != whole:
            sides = (math.floor(whole * width / shorter), math.floor(whole * height / shorter))
            resized = Image.fromarray(picture).resize(sides, FILTERS[self.spec.interpolation])
            picture = np.asarray(resized)
        top, left = (round((side - size) / 2) for side in picture.shape[:2])
        return picture[top : top + size, left : left + size]


def channels_last(x) -> np.ndarray:
    """An array or tensor [3, h, w] or [h, w, 3] as float32 [h, w, 3]."""
    x = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, np.float32)
    return x.transpose(1, 2, 0) if x.ndim == 3 and x.shape[0] == 3 and x.shape[2] != 3 else x


def _checked(name: str, function: Callable, stored: tuple[int, ...]) -> tuple:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, stored, np.uint8))
    try:
        once, again = channels_last(function(picture)), channels_last(function(picture))
    except Exception as error:  # the user's code may raise anything
        raise UserError("input.function", name, f"a function of one Pillow image ({reason(error)})") from error
    if once.ndim != 3 or once.shape[2] != 3 or not np.isfinite(once).all():
        raise UserError("input.function", name, f"finite numbers [3, h, w] or [h, w, 3], not {list(once.shape)}")
    if not np.array_equal(once, again):
        raise UserError("input.function", name, "the same numbers for the same image (this draws at random)")
    digest = hashlib.sha256(np.ascontiguousarray(once).tobytes()).hexdigest()
    return once.shape, float(once.min()), float(once.max()), digest
