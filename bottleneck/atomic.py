"""Files that are whole or absent, and what is said when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator
from typing import BinaryIO

from bottleneck.errors import UserError

_FULL = ("ENOSPC", "EDQUOT", "No space left on device", "Disk quota exceeded")  # as libraries without errno say it


class Full(UserError):
    """There was no space (or quota) left to write `path`; nothing half written counts, and the same command goes on."""

    def __init__(self, path: pathlib.Path):
        left = f"{free(path) / 2**20:,.1f} MiB are free"
        super().__init__("disk", str(path), f"space or quota to write it ({left}); then run it again")


def free(path: pathlib.Path) -> int:
    """Bytes that are free where `path` is, or is to be."""
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())
    return shutil.disk_usage(place).free


def is_full(error: BaseException) -> bool:
    """Whether `error`, or what caused it, is a full disk or an exhausted quota: an OSError or a library's words."""
    known = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if known or any(word in str(error) for word in _FULL):
        return True
    cause = error.__cause__ or error.__context__
    return cause is not None and is_full(cause)


@contextlib.contextmanager
def space(path: pathlib.Path):
    """Around whatever writes `path`: a full disk raises Full, every other error passes."""
    try:
        yield
    except Full:
        raise
    except Exception as error:
        if is_full(error):
            raise Full(path) from error
        raise


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end: a reader (or a kill) sees either the old bytes or the new ones,
    never a mixture.

    Raises Full. A write that fails leaves no temporary file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    with space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write(path: pathlib.Path, data: bytes | str) -> None:
    """Writes a small file, whole or not at all. Raises Full."""
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def append(path: pathlib.Path, line: str) -> None:
    """Adds one line to a file that readers cut at the first incomplete line. Raises Full."""
    data = memoryview(f"{line}\n".encode())
    with space(path), open(path, "ab", buffering=0) as f:
        while data:
            data = data[f.write(data) :]
