"""Images in one `.npz` file: `x_train, y_train, x_test, y_test`, uint8, gray or colour. Never a pickle."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import zipfile
import zlib

import numpy as np
from PIL import Image

from bottleneck.data.source import DataSpec, Examples, Source, path_field
from bottleneck.errors import UserError

_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclasses.dataclass(frozen=True)
class ArraysSpec:
    """path: the `.npz` file, with x [N, H, W], [N, H, W, 1] or [N, H, W, 3] uint8 and y [N] integers.

    Gray images become three equal channels; images of another size than the study's are resized by Pillow's
    bilinear filter (which averages when it shrinks). Classes are the labels of y_train in increasing order,
    named by the number.
    """

    path: str = path_field()

    randomisable = ()


def load(spec: ArraysSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Splits train and test. Raises UserError on a file that is missing, damaged, or holds anything else."""
    path = os.path.expanduser(spec.path)
    try:
        stat = os.stat(path)
    except OSError as error:
        raise UserError("source.path", spec.path, f"a readable .npz file ({error.strerror})") from None
    try:
        return _load(path, data.shape, (stat.st_mtime_ns, stat.st_size))
    except _Unusable as error:
        raise UserError("source.path", spec.path, str(error)) from None


class _Unusable(Exception):
    """What the file should have been; `load` adds the key and the path."""


@functools.lru_cache(maxsize=8)  # several components often share one file
def _load(path, shape, _version):
    content = _read(path)
    digest = hashlib.sha256()
    for key in _KEYS:
        digest.update(f"{key}{content[key].dtype}{content[key].shape}".encode())
        digest.update(np.ascontiguousarray(content[key]).data)
    names = np.unique(content["y_train"])
    absent = np.setdiff1d(content["y_test"], names)
    if len(absent):
        raise _Unusable(f"every class of y_test in y_train too (absent: {', '.join(map(str, absent[:5]))})")
    splits, first = {}, 0
    for split in ("train", "test"):
        images, labels = content[f"x_{split}"], content[f"y_{split}"]
        ids = np.arange(first, first + len(labels), dtype=np.int32)
        first += len(labels)
        splits[split] = Examples(
            np.searchsorted(names, labels).astype(np.int32), ids, {}, functools.partial(_fetch, images, shape)
        )
    return Source(splits, tuple(str(name) for name in names), digest.hexdigest())


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise _Unusable("a .npz file")
            missing = [key for key in _KEYS if key not in archive.files]
            if missing:
                raise _Unusable(f"arrays {', '.join(_KEYS)} (missing: {', '.join(missing)})")
            content = {key: archive[key] for key in _KEYS}
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise _Unusable("a .npz file of plain numbers (it holds pickled objects)") from None
        raise _Unusable(f"a complete .npz file ({type(error).__name__}: {error})") from None
    for split in ("train", "test"):
        count = len(_images(content[f"x_{split}"], split))
        content[f"y_{split}"] = _labels(content[f"y_{split}"], f"y_{split}", count)
    return content


def _images(images, split):
    if images.dtype.kind == "f":
        nan = "with NaN " if np.isnan(images).any() else ""
        raise _Unusable(f"x_{split} of uint8 (it is {images.dtype} {nan}- convert to uint8, 0 to 255)")
    if images.dtype != np.uint8:
        raise _Unusable(f"x_{split} of uint8 (it is {images.dtype})")
    if images.ndim not in (3, 4) or images.ndim == 4 and images.shape[3] not in (1, 3):
        shapes = "[N, H, W], [N, H, W, 1] or [N, H, W, 3]"
        raise _Unusable(f"x_{split} of shape {shapes} (it is {list(images.shape)})")
    if 0 in images.shape:
        raise _Unusable(f"x_{split} with at least one image (it is {list(images.shape)})")
    return images


def _labels(labels, name, count):
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (count,):
        raise _Unusable(f"{name} of shape [{count}], one label for each image (it is {list(labels.shape)})")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise _Unusable(f"{name} of integers of at least 0 (it is {labels.dtype})")
    return labels


def _fetch(images, shape, indices):
    chosen = images[indices]
    chosen = chosen if chosen.ndim == 4 else chosen[..., None]
    if chosen.shape[1:3] != shape:
        chosen = resize(chosen, shape)
    return np.repeat(chosen, 3, axis=3) if chosen.shape[3] == 1 else chosen


def resize(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [n, h, w, c] to [n, *shape, c]: Pillow's bilinear filter, with support scaled up when it shrinks."""
    channels = images.shape[3]
    out = np.empty((len(images), *shape, channels), np.uint8)
    for i, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        resized = np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
        out[i] = resized[..., None] if channels == 1 else resized
    return out
