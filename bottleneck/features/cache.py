"""Features on disk: one `.npy` per layer and split, and a manifest that says of which items and whether they can be
trusted.

Reading checks ids and digests: a cache whose rows are in another order, that was cut short, or whose precision erases
small signals is refused, never used.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
import types

import numpy as np

from bottleneck import atomic, jobs
from bottleneck.analysis.precision import objection, offset
from bottleneck.data.component import Component
from bottleneck.features.layers import tap_and_mode

MAPPED = 2**27  # bytes: larger files are mapped, so that the system may take their pages back
PASS = {"compute": "float32", "mode": "evaluation"}  # BatchNorm uses stored statistics, dropout is off


class Stale(RuntimeError):
    """A cached feature file that does not belong to the items or the source asked for, or cannot be trusted."""


def write(directory: pathlib.Path, layers: dict, component: Component, source: list) -> None:
    """Writes `layers`, (layer, split) -> [n, ...], and then the manifest that makes them valid; others stay valid.

    `source` says where they come from. Every file appears by atomic rename: two processes may meet here, and each then
    writes the whole file. Those that grew beside (features.parts) take their places last of all, so that a pass whose
    files were being read when it was killed need not be made again.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        before = _manifest(directory)
    except Stale:
        before = {}
    stated = json.loads(json.dumps({**PASS, "source": source}))  # as it will be read
    files = before["files"] if all(before.get(k) == v for k, v in stated.items()) else {}
    grown = {}
    for (layer, split), x in layers.items():
        path = directory / f"{layer}-{split}.npy"
        if isinstance(x, np.memmap) and pathlib.Path(x.filename).parent.resolve() == directory.resolve():
            grown[path] = x.filename
        files[path.name] = {
            "sha256": _settled(path, x.filename) if path in grown else _put(path, x),
            "ids": _ids(component, split),
            "spatial": tap_and_mode(layer)[1],
            "shape": x.shape,
            "dtype": x.dtype.name,
            "offset": float(offset(x)),
            "objection": objection(x),
        }
    for path, beside in grown.items():
        os.replace(beside, path)
    atomic.write(directory / "manifest.json", json.dumps({"files": files, **stated}, indent=1))


def _settled(path: pathlib.Path, beside: pathlib.Path) -> str:
    """Has the disk hold the file that is to take the place of `path`. The SHA-256."""
    with atomic.space(path), open(beside, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put(path: pathlib.Path, x: np.ndarray) -> str:
    """Writes `x`, without a copy of the whole. The SHA-256."""
    digest = hashlib.sha256()
    with atomic.replacing(path) as file:

        def write(data):
            digest.update(data)
            file.write(data)

        # No file to NumPy, which would write one in a way of its own that does not say when the disk is full.
        np.save(types.SimpleNamespace(write=write), x, allow_pickle=False)
    return digest.hexdigest()


def holds(directory: pathlib.Path, layers, splits) -> bool:
    """Whether all of `layers` and `splits` were written, by their names alone."""
    try:
        files = _manifest(directory)["files"]
    except Stale:
        return False
    names = [f"{layer}-{split}.npy" for layer in layers for split in splits]
    return all(name in files and (directory / name).is_file() for name in names)


def damage(directory: pathlib.Path) -> str:
    """What is wrong with a manifest that is there and cannot be read, in words."""
    if (directory / "manifest.json").exists():
        try:
            _manifest(directory)
        except Stale as reason:
            return str(reason)
    return ""


def size(directory: pathlib.Path, layer: str, splits) -> int:
    """The bytes of one layer, as the manifest says. Raises Stale."""
    files = _manifest(directory)["files"]
    try:
        records = [files[f"{layer}-{split}.npy"] for split in splits]
        return sum(math.prod(record["shape"]) * np.dtype(record["dtype"]).itemsize for record in records)
    except (KeyError, TypeError) as error:
        raise Stale(f"{directory} says nothing of {layer}") from error


def read(directory: pathlib.Path, layer: str, split: str, component: Component) -> np.ndarray:
    """One layer of one split, [n, ...], of a large file mapped. Raises Stale with the reason when it is not what was
    asked for."""
    manifest, path = _manifest(directory), directory / f"{layer}-{split}.npy"
    record = manifest["files"].get(path.name)
    if record is None or not path.is_file():
        raise Stale(f"{path} is missing")
    if record["ids"] != _ids(component, split):
        raise Stale(f"{path}: the items of {split} are others, or in another order")
    if record["objection"]:
        raise Stale(f"{path}: {record['objection']}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != record["sha256"]:
            raise Stale(f"{path} is damaged")
    mapped = "r" if path.stat().st_size > MAPPED else None
    with jobs.PARSING:
        return np.load(path, mmap_mode=mapped, allow_pickle=False)


def _ids(component: Component, split: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(component.splits[split].ids)).hexdigest()


def _manifest(directory: pathlib.Path) -> dict:
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
        if isinstance(manifest["files"], dict):
            return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Stale(f"{directory} has no readable manifest") from error
    raise Stale(f"{directory} has no readable manifest")
