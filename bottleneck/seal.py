"""The seal of a checkpoint: `manifest.json`, with the SHA-256 of every file beside it and of itself."""

from __future__ import annotations

import hashlib
import json
import pathlib

MANIFEST = "manifest.json"


class Damaged(RuntimeError):
    """A checkpoint that is not what was written. `path` is the checkpoint, `file` the first bad file."""

    def __init__(self, path, file, reason: str = "does not match its SHA-256"):
        super().__init__(f"{path} is damaged: {file} {reason}")
        self.path, self.file = pathlib.Path(path), file


def is_sealed(path: pathlib.Path) -> bool:
    """Whether `path` has been sealed: written and read back. `verify` says what has happened to it since."""
    return (path / MANIFEST).is_file()


def read(path: pathlib.Path) -> dict:
    """The manifest of `path`, whole and of at least one file. Raises Damaged."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        seal, files = manifest.pop("seal"), manifest["files"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(path, MANIFEST) from error
    if seal != digest_of(manifest):
        raise Damaged(path, MANIFEST)
    if not files:
        raise Damaged(path, MANIFEST, "lists no files")
    return manifest


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
    stated = {"files": digests(path), **meta}
    return json.dumps({**stated, "seal": digest_of(stated)}, indent=1, sort_keys=True)


def digest_of(manifest: dict) -> str:
    """The SHA-256 of a manifest without its own."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def digests(path: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of every file below `path` but the manifest and hidden ones."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and p != path / MANIFEST and p.name[0] != ".")
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
