"""Images in one `.npz` file, `x_train, y_train, x_test, y_test` and perhaps `x_val, y_val`, uint8. Never a pickle."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import zipfile
import zlib
from collections import Counter
from typing import Literal

import numpy as np

from bottleneck import identity
from bottleneck.data import content, images, reading, source
from bottleneck.data.source import DataSpec, Examples, Source
from bottleneck.errors import UserError

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SHAPES = "[N, H, W], [N, H, W, 1] or [N, H, W, 3]"


@dataclasses.dataclass(frozen=True)
class ArraysSpec:
    """path: the `.npz` file, with x [N, H, W], [N, H, W, 1] or [N, H, W, 3] uint8 and y [N] integers.

    An item is known by the SHA-256 of its bytes, repeats numbered. `x_val, y_val` are used where both are there. Gray
    images become three equal channels; images of another size than the study's are resized by Pillow's bilinear filter
    (which averages when it shrinks), or, with fit="pad", laid on the middle of black. Classes are the labels of y_train
    in increasing order, named by the number.
    """

    path: str = identity.field()
    fit: Literal["stretch", "pad"] = "stretch"

    randomisable = ()


def stamp(spec: ArraysSpec) -> tuple:
    """Another one once the file is another."""
    path = os.path.abspath(os.path.expanduser(spec.path))
    try:
        (file,) = content.listed(("arrays", path), lambda: content.status(os.path.dirname(path), [path]))
    except OSError as error:
        raise UserError("source.path", spec.path, f"a readable .npz file ({error.strerror})") from None
    return (file.path, file.size, file.mtime)


def load(spec: ArraysSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Splits train, test and perhaps val. Raises UserError on a file that is missing, damaged or of other arrays."""
    path, *version = stamp(spec)
    try:
        read = _load(path, tuple(version))
    except _Unusable as error:
        raise UserError("source.path", spec.path, str(error)) from None
    for width, height in read.notes.sizes if spec.fit == "pad" else ():
        if height > data.shape[0] or width > data.shape[1]:
            raise UserError("source.fit", "pad", f"'stretch', for images of {width} x {height} pixels")
    splits = {
        split: dataclasses.replace(part, fetch=functools.partial(_fetch, part.fetch, data.shape, spec.fit))
        for split, part in read.splits.items()
    }
    return dataclasses.replace(read, splits=splits)


class _Unusable(Exception):
    """What the file should have been; `load` adds the key and the path."""


@functools.lru_cache(maxsize=8)  # several components often share one file
def _load(path, _version):
    """The source, its images as they are in the file."""
    held, remarks = _read(path)
    names = np.unique(held["y_train"])
    labels, hashes = {}, {}
    for split in ("train", "val", "test"):
        if f"x_{split}" in held:
            if len(absent := np.setdiff1d(held[f"y_{split}"], names)):
                shown = ", ".join(map(str, absent[:5]))
                raise _Unusable(f"every class of y_{split} in y_train too (absent: {shown})")
            labels[split] = np.searchsorted(names, held[f"y_{split}"]).astype(np.int32)
            hashes[split] = [
                hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in held[f"x_{split}"]
            ]
    splits, sizes, modes = {}, Counter(), Counter()
    for split, called in source.content_names(hashes, labels).items():
        pictures = held[f"x_{split}"]
        items = source.items(called, [bytes.fromhex(digest) for digest in hashes[split]])
        splits[split] = Examples(labels[split], np.arange(len(called)), {}, pictures.__getitem__, items)
        sizes[pictures.shape[2], pictures.shape[1]] += len(pictures)
        modes["uint8 colour" if pictures.shape[3:] == (3,) else "uint8 gray"] += len(pictures)
        remarks += _suspicions(pictures, split)
    file = identity.digest([sorted(parts) for parts in hashes.values()])
    notes = reading.Notes(sizes, modes, (), tuple(remarks))
    return Source(source.ordered(splits), tuple(str(name) for name in names), {}, file, notes)


def _suspicions(pictures, split):
    flat = pictures.reshape(len(pictures), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    if high.max() <= 1:
        yield f"x_{split} spans {low.min()} to {high.max()} of 0 to 255: were images in units of [0, 1] cast to uint8?"
    elif constant := int(np.sum(low == high)):
        yield f"{constant:,} images of x_{split} are constant, every pixel the same"


def _read(path):
    """(the arrays that are used, remarks on the others)"""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in _KEYS if key not in archive.files]
            if missing:
                here = ", ".join(archive.files) or "nothing"
                raise _Unusable(f"arrays {', '.join(_KEYS)} (missing: {', '.join(missing)}; here: {here})")
            val = [key for key in ("x_val", "y_val") if key in archive.files]
            used = (*_KEYS, *val) if len(val) == 2 else _KEYS
            held = {key: archive[key] for key in used}
            remarks = [f"array {key} is not used" for key in archive.files if key not in used]
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _Unusable(_damage(path, error)) from None
    for split in [key.removeprefix("x_") for key in held if key.startswith("x_")]:
        count = len(_images(held[f"x_{split}"], split))
        held[f"y_{split}"] = _labels(held[f"y_{split}"], f"y_{split}", count)
    return held, remarks


def _damage(path, error):
    if "Object arrays" in str(error):
        return "a .npz file of plain numbers (it holds pickled objects)"
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as unreadable:
        return f"a readable .npz file ({unreadable.strerror})"
    if start.startswith(b"\x93NUM"):
        return "a .npz file, which holds named arrays (this is a single one, as of np.save)"
    if not start.startswith(b"PK"):
        said = f"it begins with {start}" if start else "it is empty"
        return f"a .npz file, which is a zip archive (this file is none: {said})"
    return f"a complete .npz file ({type(error).__name__}: {error})"


def _images(pictures, split):
    if pictures.dtype != np.uint8:
        nan = " with NaN" if pictures.dtype.kind == "f" and np.isnan(pictures).any() else ""
        raise _Unusable(f"x_{split} of uint8 (it is {pictures.dtype}{nan} - convert to uint8, 0 to 255)")
    if pictures.ndim not in (3, 4) or pictures.ndim == 4 and pictures.shape[3] not in (1, 3):
        raise _Unusable(f"x_{split} of shape {_SHAPES} (it is {list(pictures.shape)})")
    if 0 in pictures.shape:
        raise _Unusable(f"x_{split} with at least one image (it is {list(pictures.shape)})")
    return pictures


def _labels(labels, name, count):
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (count,):
        one_hot = ": one-hot? give the index" if labels.ndim == 2 and len(labels) == count else ""
        shown = f"it is {list(labels.shape)}{one_hot}"
        raise _Unusable(f"{name} of shape [{count}], one label for each image ({shown})")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise _Unusable(f"{name} of integers of at least 0 (it is {labels.dtype})")
    return labels


def _fetch(stored, shape, fit, indices):
    chosen = stored(indices)
    chosen = chosen if chosen.ndim == 4 else chosen[..., None]
    if fit == "pad":
        before = [(size - old) // 2 for size, old in zip(shape, chosen.shape[1:3], strict=True)]
        after = [size - old - lead for size, old, lead in zip(shape, chosen.shape[1:3], before, strict=True)]
        chosen = np.pad(chosen, ((0, 0), *zip(before, after, strict=True), (0, 0)))
    elif chosen.shape[1:3] != shape:
        chosen = images.resize(chosen, shape)
    return np.repeat(chosen, 3, axis=3) if chosen.shape[3] == 1 else chosen
