"""How much memory there is, and the C library's: kept by the process that trains, instead of returned at every step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
from collections.abc import Iterator

MOST = 2**31 - 1  # bytes of one allocation that are kept, and of all that is free at the end of the heap
MOST_OLD = 2**25  # of older versions, the most that they take
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # malloc.h
_GROUP = pathlib.Path("/sys/fs/cgroup")
_OWN = pathlib.Path("/proc/self/cgroup")


def available() -> float:
    """The bytes that this process may use: the machine's, or those of its control group (a container, a SLURM job);
    infinitely many where nothing says."""
    most = [float("inf")]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not everywhere
        most.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _limits():
        with contextlib.suppress(ValueError, OSError):  # ValueError: "max"
            most.append(int(path.read_text()))
    return min(most)


def _limits() -> Iterator[pathlib.Path]:
    """Where the limits of this process's control group, and of those that it is in, may lie; versions 2 and 1."""
    yield from (_GROUP / "memory.max", _GROUP / "memory" / "memory.limit_in_bytes")
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, own = line.split(":", 2)
        root, name = (_GROUP, "memory.max") if not kinds else (_GROUP / "memory", "memory.limit_in_bytes")
        if not kinds or "memory" in kinds.split(","):
            place = root / own.lstrip("/")
            yield from (each / name for each in (place, *place.parents) if each.is_relative_to(root))


def keep() -> None:
    """Lets glibc keep what is freed. To be called before anything has started a thread; nothing elsewhere.

    By default it maps the temporaries of a training step anew at every step, tens of thousands of pages that the system
    clears one by one; and threads have heaps of their own, which hold nothing as large as these.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, or none
        mallopt = ctypes.CDLL(None).mallopt
        if not mallopt(_MMAP_THRESHOLD, MOST):
            mallopt(_MMAP_THRESHOLD, MOST_OLD)
        for parameter, value in ((_TRIM_THRESHOLD, MOST), (_ARENA_MAX, 1)):
            mallopt(parameter, value)
