"""Images in a folder: `split/class/*.png|jpg|jpeg`, or a `metadata.csv` with path, split, label and any
factors.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from PIL import Image

from bottleneck.data.source import DataSpec, Examples, Source, path_field
from bottleneck.errors import UserError

_SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLITS = {"train": "train", "val": "val", "test": "test", "0": "train", "1": "val", "2": "test"}
_THREADS = min(8, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True)
class FolderSpec:
    """path: a folder of `train/class/` and `test/class/` (perhaps `val/class/`), or one that holds
    `metadata`.

    The `metadata` file is a CSV with columns named by `image`, `split` (train, val, test, or 0, 1, 2 as in
    Waterbirds) and `label`; every other column is a factor, its values coded 0, 1, ... in sorted order.
    `fit`: crop cuts the middle of the image to the study's aspect ratio, stretch does not; both then resize
    by Pillow's bilinear filter.
    """

    path: str = path_field()
    metadata: str = "metadata.csv"
    image: str = "path"
    split: str = "split"
    label: str = "label"
    ignore: tuple[str, ...] = ()
    fit: Literal["crop", "stretch"] = "crop"

    randomisable = ()


def load(spec: FolderSpec, data: DataSpec, randomise: tuple[str, ...] = ()) -> Source:
    """Lists the images; they are decoded when fetched, and one that cannot be read raises UserError naming
    it.
    """
    root = pathlib.Path(spec.path).expanduser()
    if not root.is_dir():
        raise UserError("source.path", spec.path, "a folder of images")
    table = root / spec.metadata
    rows, columns = _from_csv(spec, root, table) if table.is_file() else (_from_folders(spec, root), {})
    digest = hashlib.sha256(repr((sorted(columns), spec.fit)).encode())
    for i, (split, label, path) in enumerate(rows):
        try:
            size = (root / path).stat().st_size
        except OSError:
            raise UserError("source.path", str(root / path), "an image file (there is none)") from None
        values = [columns[name][i] for name in sorted(columns)]
        digest.update(repr((split, label, path, size, values)).encode())
    splits_of = np.array([row[0] for row in rows])
    for split in ("train", "test"):
        if split not in splits_of:
            expected = f"images in {split}/CLASS/, or rows of {spec.metadata} with {spec.split}={split}"
            raise UserError("source.path", spec.path, expected)
    labels, classes = _codes([row[1] for row in rows])
    factors = {name: _codes(values)[0] for name, values in columns.items()}
    ids, splits = np.arange(len(rows), dtype=np.int32), {}
    for split in np.unique(splits_of):
        where = np.flatnonzero(splits_of == split)
        paths = [str(root / rows[i][2]) for i in where]
        splits[str(split)] = Examples(
            labels[where],
            ids[where],
            {k: v[where] for k, v in factors.items()},
            functools.partial(_fetch, paths, data.shape, spec.fit),
        )
    return Source(splits, classes, digest.hexdigest())


def _from_folders(spec, root):
    rows = []
    for split in ("train", "val", "test"):
        for folder in sorted(p for p in (root / split).glob("*") if p.is_dir()):
            files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
            rows += [(split, folder.name, f"{split}/{folder.name}/{file.name}") for file in files]
    if not rows:
        expected = f"train/CLASS/*.png|jpg and test/CLASS/*, or a {spec.metadata}"
        raise UserError("source.path", spec.path, expected)
    return rows


def _from_csv(spec, root, table):
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            header, records = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError("source.metadata", str(table), f"a readable CSV file ({error})") from None
    for key in ("image", "split", "label"):
        if getattr(spec, key) not in header:
            expected = f"a column of {spec.metadata}; here: {', '.join(header)}"
            raise UserError(f"source.{key}", getattr(spec, key), expected)
    rows = []
    for number, record in enumerate(records, start=2):
        if None in record or None in record.values():
            raise UserError("source.metadata", str(table), f"{len(header)} columns in line {number}")
        split = _SPLITS.get(record[spec.split].strip())
        if split is None:
            expected = f"train, val or test (or 0, 1, 2) in line {number}"
            raise UserError("source.metadata", record[spec.split], expected)
        rows.append((split, record[spec.label].strip(), record[spec.image].strip()))
    others = [name for name in header if name not in (spec.image, spec.split, spec.label, *spec.ignore)]
    return rows, {name: [record[name].strip() for record in records] for name in others}


def _codes(texts):
    """(int32 codes, sorted names); names that are all whole numbers are sorted as numbers."""
    names = sorted(set(texts))
    if all(name.removeprefix("-").isdecimal() for name in names):
        names.sort(key=int)
    code = {name: i for i, name in enumerate(names)}
    return np.array([code[text] for text in texts], np.int32), tuple(names)


def _fetch(paths, shape, fit, indices):
    def read(i):
        try:
            with open(paths[i], "rb") as file:
                return decode(file.read(), shape, fit)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError("source.path", paths[i], f"a readable image ({type(error).__name__})") from None

    if len(indices) < 64:
        images = [read(i) for i in indices]
    else:
        with ThreadPoolExecutor(_THREADS) as threads:  # Pillow decodes outside the interpreter's lock
            images = list(threads.map(read, indices))
    return np.stack(images) if images else np.zeros((0, *shape, 3), np.uint8)


def decode(content: bytes, shape: tuple[int, int], fit: str = "crop") -> np.ndarray:
    """An encoded image as uint8 [*shape, 3]. Raises Pillow's errors (OSError, ValueError, SyntaxError)."""
    with Image.open(io.BytesIO(content)) as picture:
        picture = picture.convert("RGB")
    height, width = shape
    box = None
    if fit == "crop":
        scale = min(picture.width / width, picture.height / height)
        dx, dy = (picture.width - width * scale) / 2, (picture.height - height * scale) / 2
        box = (dx, dy, picture.width - dx, picture.height - dy)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box))
