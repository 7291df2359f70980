"""How many steps a call of the device makes, so that a signal is answered within about two calls."""

from __future__ import annotations

import time

import jax

SECONDS = 1.0  # of one call; one more may be under way when a signal comes


class Pace:
    """`count` steps fit into a call: one at first, then at most twice as many as before, as measured.

    The device always has one call queued while the host waits for the one before. The first call is not measured, as it
    compiles. How steps are grouped into calls changes no bit of the result.
    """

    def __init__(self):
        self.count = 1
        self._under_way = None  # (steps, an array that the call makes)
        self._ended: float | None = None  # when the call before that one did

    def called(self, count: int, made: jax.Array) -> None:
        """A call of `count` steps was just dispatched, `made` being part of its result; waits for the one before."""
        before, self._under_way = self._under_way, (count, made)
        if before is None:
            return
        jax.block_until_ready(before[1])
        now = time.monotonic()
        if self._ended is not None:
            fitting = int(before[0] * SECONDS / max(now - self._ended, 1e-6))
            self.count = max(1, self.count // 2, min(fitting, 2 * self.count))
        self._ended = now

    def pause(self) -> None:
        """The host has waited for the device, or kept it waiting: the next call is not measured."""
        self._under_way = self._ended = None
