"""A parent for each of several processes: JAX's runtime ends one that has lost another, without a word of ours.

The parent says the line and gives the exit status. The process that works does not outlive it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from bottleneck import processes
from bottleneck.processes import LOST, SUPERVISED, Place, unfound
from bottleneck.signals import HANDLED

LAST = 10  # seconds that the first process waits for others to end before it
_ENDED = "bottleneck/ended"


def supervise(argv: list[str], where: Place) -> int:
    """Carries out the command in a child and returns its exit status. Where the runtime has ended the child, the last
    line on standard error says why: the processes never found each other (2), or another one is gone (3)."""
    reading, writing = os.pipe()
    environment = {**os.environ, SUPERVISED: f"{os.getpid()}:{writing}"}
    command = [sys.executable, "-m", "bottleneck.main", *argv[1:]]
    child = subprocess.Popen(command, env=environment, pass_fds=(writing,))
    os.close(writing)
    before = {}
    for number in HANDLED:
        before[number] = signal.signal(number, lambda number, frame: child.send_signal(number))
    try:
        code = child.wait()
        found = os.read(reading, 1)  # nothing where the child never wrote
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
    if code in (-signal.SIGABRT, -signal.SIGSEGV):
        print(f"stopped: {LOST}" if found else f"error: {unfound(where)}", file=sys.stderr, flush=True)
        return 3 if found else 2
    return 128 - code if code < 0 else code


def supervised() -> bool:
    """Whether a parent waits for this process; it does not outlive it."""
    if SUPERVISED not in os.environ:
        return False
    with contextlib.suppress(AttributeError, OSError):  # Linux alone
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != processes.parent()[0]:
        os._exit(3)
    return True


@dataclass
class End:
    """How a command ended."""

    code: int = 1


@contextlib.contextmanager
def ending() -> Iterator[End]:
    """Around a command. One of several processes that ends otherwise than with status 0 ends here, and leaves the
    others behind: at its regular end it would wait for them. The first one, which they depend on, goes last."""
    end = End()
    try:
        yield end
    except BaseException:
        if not processes.joined():
            raise
        traceback.print_exc()
    if end.code and processes.joined():
        _go(end.code)


def _go(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.suppress(Exception):  # the runtime may be gone
        processes.client().key_value_set(f"{_ENDED}/{processes.index()}", str(code))
        patience = time.monotonic() + LAST
        while processes.first() and _left_behind() and time.monotonic() < patience:
            time.sleep(0.1)
    os._exit(code)


def _left_behind() -> bool:
    """Whether others have not come to their end."""
    return len(processes.client().key_value_dir_get(_ENDED)) < processes.count()
