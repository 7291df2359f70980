"""Small files that are whole or absent."""

from __future__ import annotations

import os
import pathlib
import threading


def write(path: pathlib.Path, data: bytes | str) -> None:
    """Writes a small file so that a reader (or a kill) sees either the old bytes or the new ones, never a mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with open(temporary, "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)
