"""One writer for each shard of a work directory.

A lock is a file in WORKDIR/locks that its holder keeps under `flock`, with the holder's host, process and command
inside. The kernel gives the lock up when the holder ends, however it ends: a file whose lock is free was left by a
killed process and is taken over. NFS (since Linux 2.6.12), Lustre mounted with `flock`, GPFS and CephFS pass the lock
on to other hosts. Where a mount keeps locks to its host (`local_lock`, `localflock`), a live holder on another host
looks like a killed one: taking over from another host is therefore said in one line. Where there is no `flock` at all,
what the file says decides: a process of this host is looked up, one of another host counts as alive until its file is
removed by hand.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from typing import IO

from bottleneck import atomic
from bottleneck.errors import UserError

_GUARD = ".guard"  # held for the moment in which locks are compared, taken or given back
_NONE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # the file system has no flock


@contextlib.contextmanager
def hold(workdir: pathlib.Path, shard: tuple[int, int] = (0, 1)) -> Iterator[None]:
    """Holds shard `(index, count)` of `workdir`: other shards of the same count are welcome beside it.

    Raises UserError naming the holder where this shard is held already, or any shard of another count (one would redo
    the other's work). Of the processes of one multi-process run, only the first may call it.
    """
    workdir, (index, count) = pathlib.Path(workdir), shard
    folder = workdir / "locks"
    with atomic.space(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{index}-of-{count}"
    with _guarded(folder):
        for other in sorted(folder.glob("*-of-*")):
            same_count = other.name.endswith(f"-of-{count}")
            if (other == path or not same_count) and (holder := _live(other)):
                raise _refusal(workdir, shard, holder)
        held = _take(path, shard)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError), _guarded(folder):  # the directory may be gone
            path.unlink(missing_ok=True)
        os.close(held)


def _take(path: pathlib.Path, shard: tuple[int, int]) -> int:
    """The descriptor of the lock file at `path`, locked, which says that this process holds it."""
    left = _read(path)
    if left.get("host") not in (None, socket.gethostname()):
        print(f"{path}: the lock of {_described(left)} was left behind; taking it over", flush=True)
    record = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "command": shlex.join(sys.argv)[:200],
        "shard": f"{shard[0]}/{shard[1]}",
    }
    with atomic.space(path):
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(held)
            os.ftruncate(held, 0)
            os.write(held, json.dumps(record).encode())
        except OSError:
            path.unlink(missing_ok=True)
            os.close(held)
            raise
    return held


def _live(path: pathlib.Path) -> dict | None:
    """What the lock file at `path` says, if its holder is alive."""
    try:
        with open(path, "r+") as file:
            known = _flock(file)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read(path)
    except PermissionError:  # another user's
        return {**_read(path), "file": str(path)}
    record = _read(path)
    return None if known or not record or _ended(record) else {**record, "file": str(path)}


def _flock(file: int | IO) -> bool:
    """Locks `file`; False where the file system has no locks. Raises BlockingIOError where another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NONE:
            return False
        raise
    return True


def _ended(record: dict) -> bool:
    """Whether the process of `record` is known to be gone: one of this host that does not exist."""
    if record.get("host") != socket.gethostname():
        return False
    try:
        os.kill(record["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


@contextlib.contextmanager
def _guarded(folder: pathlib.Path) -> Iterator[None]:
    """One process at a time looks at the locks and takes one: none is taken between another's look and its taking."""
    with atomic.space(folder), open(folder / _GUARD, "a") as file:
        with contextlib.suppress(OSError):  # without flock, the moment is unguarded
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: pathlib.Path) -> dict:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _described(record: dict) -> str:
    if not record:
        return "a process that has not said which"
    who = f"process {record.get('pid')} on {record.get('host')}"
    return f"{who}, since {record.get('since')} (shard {record.get('shard')}: {record.get('command')})"


def _refusal(workdir: pathlib.Path, shard: tuple[int, int], holder: dict) -> UserError:
    asked, by_hand = f"{shard[0]}/{shard[1]}", f"; if it is gone, remove {holder['file']}" if "file" in holder else ""
    rule = "no other process on this shard" if holder.get("shard", asked) == asked else "shards of one number"
    return UserError("workdir", str(workdir), f"{rule}: it is held by {_described(holder)}{by_hand}")
