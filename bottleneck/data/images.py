"""Encoded images to uint8 colour of one size. Nothing is dropped or saturated: what has no plain meaning is refused.

Orientation tags are applied, transparency is laid over a background, 16-bit levels are scaled by their range. Images of
32-bit integers or floats state no range, and are refused. Of animations and files of several pages the first is read.
A JPEG that is to shrink is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size that is large enough.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
WHITE = (255, 255, 255)
THREADS = max(8, os.cpu_count() or 1)  # more than cores where these are few: reading waits for disks
DECODER = 2  # of the bits that `decode` makes of a file; part of how every item that is decoded looks
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # by content, whatever the suffix says
_JPEG = ("JPEG", "MPO")
_BITS_PER_SAMPLE, _ORIENTATION = 258, 274  # tags of TIFF and Exif


class Unreadable(ValueError):
    """Why an image cannot be read, in a few words."""


def header(content: bytes, whole: bool = False) -> tuple[int, int, str]:
    """(width, height, mode) as stored. Raises Unreadable on what `decode` would refuse.

    Unless the `whole` image is decoded, damage behind the header is not seen.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check(picture)
            stored = (*picture.size, picture.mode)
            if whole:
                ImageOps.exif_transpose(picture, in_place=True)
            return stored
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        raise _unreadable(error) from None


def decode(
    content: bytes,
    shape: tuple[int, int],
    fit: str = "crop",
    background: tuple = WHITE,
    cut: Callable[[tuple[int, int]], tuple] | None = None,
) -> np.ndarray:
    """An encoded image as uint8 [*shape, 3], by Pillow's bilinear filter. Raises Unreadable.

    fit: `crop` cuts the middle to the aspect ratio of `shape`, `stretch` does not. `cut`: what gives the box (left,
    upper, right, lower) to see instead, in an image of (width, height) pixels.
    """
    wanted = shape[::-1]
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check(picture)
            size = _upright(picture)
            whole = (0, 0, *size)
            box = cut(size) if cut else middle(size, wanted) if fit == "crop" else whole
            _shrink(picture, min((box[2] - box[0]) / wanted[0], (box[3] - box[1]) / wanted[1]))
            ImageOps.exif_transpose(picture, in_place=True)
            opaque = _opaque(picture, background)
        scale = [decoded / stored for decoded, stored in zip(opaque.size, size, strict=True)] * 2
        box = tuple(min(side * by, end) for side, by, end in zip(box, scale, opaque.size * 2, strict=True))
        return np.asarray(opaque.resize(wanted, Image.Resampling.BILINEAR, box=box))
    except Exception as error:
        raise _unreadable(error) from None


def many(read, rows, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [n, *shape, 3] of `read(row)` for every row, in threads where there are many."""
    pictures = np.empty((len(rows), *shape, 3), np.uint8)

    def put(i):
        pictures[i] = read(rows[i])

    if len(rows) < 64:
        for i in range(len(rows)):
            put(i)
    else:
        with ThreadPoolExecutor(THREADS) as threads:  # Pillow decodes outside the interpreter's lock
            list(threads.map(put, range(len(rows))))
    return pictures


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box (left, upper, right, lower) of an image of `size` with the aspect ratio of `wanted`.

    Never outside the image, not even by a rounding error, which Pillow would refuse.
    """
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = (min(side, asked * scale) for side, asked in zip(size, wanted, strict=True))
    left, upper = (size[0] - width) / 2, (size[1] - height) / 2
    return left, upper, min(left + width, size[0]), min(upper + height, size[1])


def resize(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [n, h, w, c] to [n, *shape, c]: Pillow's bilinear filter, with support scaled up when it shrinks."""
    channels = images.shape[3]
    out = np.empty((len(images), *shape, channels), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        resized = np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
        out[i] = resized[..., None] if channels == 1 else resized
    return out


def _upright(picture):
    """(width, height) once the orientation tag is applied; a JPEG need not be decoded to know it."""
    if picture.format not in _JPEG:
        picture.load()  # tags may lie behind the pixels
    return picture.size[::-1] if picture.getexif().get(_ORIENTATION) in (5, 6, 7, 8) else picture.size


def _shrink(picture, ratio):
    """Has a JPEG decoded at 1/2, 1/4 or 1/8 of its size where it is to be made smaller by at least as much."""
    factor = max(each for each in (1, 2, 4, 8) if each <= max(1, ratio))
    if picture.format in _JPEG and factor > 1:
        picture.draft(None, tuple(side // factor for side in picture.size))


def _check(picture):
    if picture.mode in ("F", "LAB") or picture.mode == "I" and picture.format not in ("PPM", "PNG"):
        kind = {"F": "floating-point pixels", "LAB": "Lab colours"}.get(picture.mode, "32-bit integer pixels")
        raise Unreadable(f"{kind}, whose range the file does not state; 8 or 16 bits are read")


def _opaque(picture, background):
    """`picture` as 8-bit RGB, over `background` where it is transparent."""
    if picture.mode.startswith("I"):
        layered = _sixteen_bits(picture)
    elif picture.has_transparency_data:
        layered = picture.convert("RGBA")
    else:
        picture.load()
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    ground = Image.new("RGBA", picture.size, (*background, 255))
    return Image.alpha_composite(ground, layered.convert("RGBA")).convert("RGB")


def _sixteen_bits(picture):
    """Gray of up to 16 bits, scaled by its range to 8; a transparent gray level stays transparent."""
    bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0]
    levels, top = np.asarray(picture).astype(np.int64), 2**bits - 1
    gray = Image.fromarray(((levels * 255 + top // 2) // top).astype(np.uint8))
    transparent = picture.info.get("transparency")
    if not isinstance(transparent, int):
        return gray
    layered = gray.convert("RGBA")
    layered.putalpha(Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8)))
    return layered


def _unreadable(error):
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, Image.UnidentifiedImageError):
        return Unreadable("no image in a format that is read: PNG, JPEG, WebP, BMP, GIF, TIFF, PPM")
    return Unreadable(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'damaged'}")
