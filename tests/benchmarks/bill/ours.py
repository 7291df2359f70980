"""A study as a user starts it, held at its first call of the device and stepped from outside."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable

CONFIG = pathlib.Path(__file__).with_name("study.py")


def arguments(case, workdir: str) -> list[str]:
    """The command that trains `case`."""
    return [
        "main",
        f"--config={CONFIG}",
        f"--config.model={case.model}",
        f"--config.data.image_size={case.size}",
        f"--config.train.batch={case.batch}",
        f"--config.train.dtype={case.dtype}",
        f"--workdir={workdir}",
        "--stage=pretrain",
    ]


class Training:
    """The run at hand, its programs, its resident pool and its state."""

    def __init__(self, feed, advance: Callable, state, sums, step: int):
        import jax

        from bottleneck import models

        self.devices = jax.local_device_count()
        self.feed, self.step, self.carried = feed, step, (state, sums)
        self.parameters, self._advance = models.count(state.params), advance

    def advance(self, steps: int) -> None:
        """So many updates, ended when the device has made them."""
        import jax

        self.carried = self._advance(self.feed, *self.carried, self.step, self.step + steps)
        self.step += steps
        jax.block_until_ready(self.carried)

    def device_mib(self) -> float | None:
        return device_mib()


def device_mib() -> float | None:
    """The most that was in use of this process's accelerator so far; None where it does not say, as a CPU."""
    import jax

    used = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return used and used / 2**20


def hold(argv: list[str], act: Callable[[Training], None]) -> None:
    """Carries out a command of `bottleneck.main` up to the first call of the device, `act`s, and ends it there."""
    from bottleneck import main
    from bottleneck.training import feed

    original = feed.Feed.advance

    def held(self, state, sums, start, stop):
        act(Training(self, original, state, sums, start))
        raise KeyboardInterrupt

    feed.Feed.advance = held
    try:
        main.main(argv)
    finally:
        feed.Feed.advance = original


def train(case, act: Callable[[Training], None]) -> None:
    """`act`s on the training of `case`, in a work directory that is not kept."""
    with tempfile.TemporaryDirectory() as workdir:
        hold(arguments(case, workdir), act)
