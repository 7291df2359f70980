"""Seals: by what a file says of its own SHA-256, or a checkpoint's `manifest.json` of every file beside it, it is known
to be what was written."""

from __future__ import annotations

import hashlib
import json
import pathlib

MANIFEST = "manifest.json"


class Damaged(RuntimeError):
    """What is not as it was written. `path` is the checkpoint, or a file's directory, `file` the first bad file."""

    def __init__(self, path, file, reason: str = "does not match its SHA-256"):
        super().__init__(f"{path} is damaged: {file} {reason}")
        self.path, self.file = pathlib.Path(path), file


def is_sealed(path: pathlib.Path) -> bool:
    """Whether `path` has been sealed: written and read back. `verify` says what has happened to it since."""
    return (path / MANIFEST).is_file()


def read(path: pathlib.Path) -> dict:
    """The manifest of `path`, whole and of at least one file. Raises Damaged."""
    manifest = record(path / MANIFEST)
    if not manifest.get("files"):
        raise Damaged(path, MANIFEST, "lists no files")
    return manifest


def record(path: pathlib.Path, old: bool = False) -> dict:
    """What `sealed` made the text of at `path`; with `old` also what was written before there were seals. Raises
    Damaged."""
    try:
        stated = json.loads(path.read_text())
        seal = stated.pop("seal", None)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(path.parent, path.name) from error
    if seal != digest_of(stated) and not (old and seal is None):
        raise Damaged(path.parent, path.name)
    return stated


def sealed(stated: dict) -> str:
    """`stated`, plain data, as JSON with its SHA-256."""
    return json.dumps({**stated, "seal": digest_of(stated)}, indent=1, sort_keys=True)


def verify(path: pathlib.Path) -> dict:
    """The manifest of `path`, after comparing every file with it. Raises Damaged."""
    manifest = read(path)
    expected, present = manifest["files"], digests(path)
    for name in sorted({*expected, *present}):
        if expected.get(name) != present.get(name):
            raise Damaged(path, name)
    return manifest


def manifest(path: pathlib.Path, meta: dict) -> str:
    """What seals `path` as it is, once it is written to its manifest; `meta` becomes part of it."""
    return sealed({"files": digests(path), **meta})


def digest_of(stated: dict) -> str:
    """The SHA-256 of plain data as JSON."""
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def digests(path: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of every file below `path` but the manifest and hidden ones."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p != path / MANIFEST and p.name[0] != ".")
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
