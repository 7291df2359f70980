"""A signal asks for an end: the work in hand is brought to a point it can be resumed from, then the process stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

HANDLED = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """Work was stopped by a signal and saved: the same command goes on from there. `main` exits with code 3."""


class Stop:
    """Whether an end was asked for, and by which signal ("" as long as none came)."""

    def __init__(self):
        self.asked, self.name = False, ""

    def ask(self, number: int, frame=None) -> None:
        """The handler. The first signal counts; a second one changes nothing, since saving has begun."""
        self.asked, self.name = True, self.name or signal.Signals(number).name


@contextlib.contextmanager
def graceful() -> Iterator[Stop]:
    """Inside it, SIGTERM and SIGINT set `stop.asked` instead of ending the process; the handlers before it come back.

    Python handles signals in the main thread only; in another one (a notebook's worker) nothing changes and `asked`
    stays False.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        for number in HANDLED:
            signal.signal(number, stop.ask)
        yield stop
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by C code, which Python cannot set again
                signal.signal(number, handler)
