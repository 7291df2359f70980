"""A signal asks for an end: the work in hand is brought to a point it can be resumed from, then the process stops."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

HANDLED = (signal.SIGTERM, signal.SIGINT)
AGAIN = 0.05  # seconds after which a signal comes once more, whose Stopped was swallowed


class Stopped(BaseException):
    """Work was stopped by a signal and saved: the same command goes on from there. `main` exits with code 3.

    No Exception: what puts up with damaged files and the like must not put up with this.
    """


class Stop:
    """Whether an end was asked for, and by which signal ("" as long as none came). `raises`: whether that raises
    Stopped at once, or is left to who looks."""

    def __init__(self):
        self.asked, self.name, self.raises = False, "", False

    def ask(self, number: int, frame=None) -> None:
        """The handler. The first signal counts; a second one changes nothing, since saving has begun."""
        if not self.asked:
            self.asked, self.name = True, signal.Signals(number).name
            if self.raises:
                raise Stopped(self.name)

    def swallowed(self, unraisable) -> bool:
        """Whether what could not be raised (in a callback of the garbage collector, a finaliser) is our Stopped: the
        signal then comes again."""
        if not isinstance(unraisable.exc_value, Stopped):
            return False
        self.asked = False
        main = threading.main_thread().ident  # it alone is woken, and handles signals
        threading.Timer(AGAIN, signal.pthread_kill, [main, signal.Signals[self.name]]).start()
        return True

    def check(self) -> None:
        """Raises Stopped where an end was asked for."""
        if self.asked:
            raise Stopped(self.name)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Inside it a signal is only noted: the work looks at `asked` where it can be gone on from. Raises Stopped at
        its end if one came."""
        before, self.raises = self.raises, False
        try:
            yield
        finally:
            self.raises = before
        self.check()


@contextlib.contextmanager
def graceful() -> Iterator[Stop]:
    """Inside it, SIGTERM and SIGINT raise Stopped, or are noted by the `stop` that it gives, instead of ending the
    process; the handlers before it come back. Inside another one it gives that one's.

    Python handles signals in the main thread only; in another one (a notebook's worker) nothing changes and `asked`
    stays False.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before, hook = {number: signal.getsignal(number) for number in HANDLED}, sys.unraisablehook
    outer = getattr(before[HANDLED[0]], "__self__", None)
    if isinstance(outer, Stop):
        yield outer
        return
    stop.raises = True
    try:
        for number in HANDLED:
            signal.signal(number, stop.ask)
        sys.unraisablehook = lambda unraisable: stop.swallowed(unraisable) or hook(unraisable)
        yield stop
    finally:
        stop.raises = False  # too late to stop anything
        sys.unraisablehook = hook
        for number, handler in before.items():
            if handler is not None:  # None: set by C code, which Python cannot set again
                signal.signal(number, handler)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Around imports of compiled modules: raised in their midst, Stopped would be swallowed or crash them. A signal is
    noted, and Stopped raised at the end, where no other work around it looks for it."""
    with graceful() as stop, stop.noted() if stop.raises else contextlib.nullcontext():
        yield
