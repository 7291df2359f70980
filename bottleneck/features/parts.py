"""Features of a pass while it is made: a file for every layer and split that grows batch by batch.

What is there when a process dies is there for the next one, which goes on behind the last whole batch: how many rows a
file holds is told by its size, and in memory lies one batch. A directory has one writer at a time; a second process
that meets the first one there makes the pass by itself, under names of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import platform
import re
import secrets
from collections.abc import Iterator

import numpy as np

from bottleneck import atomic, jobs
from bottleneck.errors import UserError

SUFFIX = ".part"
_HERE = re.sub(r"\W", "_", platform.node()) or "here"  # processes of other machines have the same numbers
_OWN = re.compile(rf"-\w+\.\d+\.[0-9a-f]{{6}}{re.escape(SUFFIX)}$")  # the end of names of a process of its own


class Parts:
    """The growing files of one pass in `directory`."""

    def __init__(self, directory: pathlib.Path, own: str = ""):
        self.directory, self.own = directory, own

    def path(self, layer: str, split: str) -> pathlib.Path:
        return self.directory / f".{layer}-{split}{self.own}{SUFFIX}"

    def rows(self, layer: str, split: str, count: int) -> int:
        """How many of `count` rows are there; 0 of a file that is none, or of another number of items."""
        path = self.path(layer, split)
        try:
            begin, shape, dtype = _header(path)
        except (OSError, ValueError, EOFError):
            return 0
        each = dtype.itemsize * int(np.prod(shape[1:]))
        whole = shape[0] == count and each
        return min(count, (path.stat().st_size - begin) // each) if whole else 0

    def keep(self, layer: str, split: str, rows: int) -> None:
        """Cuts a file behind its first `rows` rows; none are left of one without any."""
        path = self.path(layer, split)
        if not rows:
            path.unlink(missing_ok=True)
            return
        begin, shape, dtype = _header(path)
        os.truncate(path, begin + rows * dtype.itemsize * int(np.prod(shape[1:])))

    def append(self, layer: str, split: str, count: int, x: np.ndarray) -> None:
        """Adds rows `x` [b, ...] to a file that is to hold `count` of them. Raises Full."""
        path, x = self.path(layer, split), np.ascontiguousarray(x)
        with atomic.space(path), path.open("ab") as file:
            if not file.tell():
                np.lib.format.write_array_header_1_0(
                    file, {"descr": x.dtype.str, "fortran_order": False, "shape": (count, *x.shape[1:])}
                )
            file.write(x.data)

    def clear(self) -> None:
        """Removes what the cache has not taken over: of layers that an earlier try was asked for."""
        for left in self.directory.glob(f".*{SUFFIX}"):
            if not self.own and not _OWN.search(left.name):
                left.unlink()

    def whole(self, layer: str, split: str) -> np.ndarray:
        """The array of a file that holds all its rows, mapped. Raises UserError where it holds anything else."""
        path = self.path(layer, split)
        begin, shape, dtype = _header(path)
        if path.stat().st_size != begin + dtype.itemsize * int(np.prod(shape)):
            raise UserError("features", str(path), "what one process wrote (remove it, and run again)")
        return np.memmap(path, dtype, "r", begin, shape)


def _header(path: pathlib.Path) -> tuple[int, tuple[int, ...], np.dtype]:
    """(where the numbers begin, shape, dtype) of a `.npy` file that may not be whole."""
    with path.open("rb") as file, jobs.PARSING:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("of another version")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return file.tell(), shape, dtype


@contextlib.contextmanager
def claimed(directory: pathlib.Path) -> Iterator[Parts]:
    """The parts of a pass in `directory`, for one process until the cache has taken them over; what another one left
    under names of its own is removed."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".writer").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            own = f"-{_HERE}.{os.getpid()}.{secrets.token_hex(3)}"
            try:
                yield Parts(directory, own)
            finally:
                for left in directory.glob(f".*{own}{SUFFIX}"):  # of a pass that failed: nobody goes on with it
                    left.unlink()
            return
        for left in directory.glob(f".*-{_HERE}.[0-9]*{SUFFIX}"):
            if not _alive(int(left.name.split(".")[-3])):
                left.unlink(missing_ok=True)
        yield Parts(directory)


def _alive(pid: int) -> bool:
    """Whether a process of this machine still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
