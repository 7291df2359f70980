"""metrics.jsonl: one line for each stretch of steps, written while the device already works on the next one."""

from __future__ import annotations

import json
import pathlib
import time

import jax
import numpy as np

from bottleneck import atomic, checkpoint
from bottleneck.errors import UserError
from bottleneck.training.run import Run


class Diverged(UserError):
    """The loss or the gradient of a run is not finite: it needs another learning rate."""


class Metrics:
    """The metrics of the sums of a run, which trains as one of `members`: speeds are of all of them together. Where it
    does not write (all processes but the first), it only checks."""

    def __init__(self, run: Run, directory: pathlib.Path, step: int, members: int = 1, writes: bool = True):
        self.run, self.directory, self.writes = run, directory, writes
        self._images = run.train.batch * members
        self._step, self._began = step, time.monotonic()
        self._due: tuple | None = None

    def due(self, step: int, sums: dict, **further) -> None:
        """The line of `sums` up to `step`, with what is `further` to be said, is to be written by the next `flush`."""
        now = time.monotonic()
        speed = round((step - self._step) * self._images / max(now - self._began, 1e-9))
        self._due = step, sums, {"images_per_second": speed, **further}
        self._step, self._began = step, now

    def flush(self) -> None:
        """Writes the line that is due, if one is. Raises Diverged where the loss is not finite, and atomic.Full."""
        if self._due is None:
            return
        (step, sums, further), self._due = self._due, None
        sums = self.check(step, sums)
        each = zip(self.run.components, sums["score"], sums["count"], strict=True)
        line = {
            "step": step,
            "loss": float(sums["loss"].sum() / sums["count"].sum()),
            "score": {name: float(score / count) for name, score, count in each if count},
            "grad_norm": float(sums["grad_norm"]),
            **further,
        }
        if self.writes:
            atomic.append(self.directory / "metrics.jsonl", json.dumps(line))

    def check(self, step: int, sums: dict) -> dict:
        """`sums` on the host. Raises Diverged where the loss or the gradient up to `step` is not finite."""
        sums = jax.device_get(sums)
        if not np.isfinite(sums["loss"].sum() + sums["grad_norm"]):
            found = f"loss {sums['loss'].sum()}, gradient norm {sums['grad_norm']} before step {step}"
            expected = f"a rate at which the loss stays finite ({self.run.folder}: {found}); {self._newest()}"
            raise Diverged("optimizer.lr", self.run.optimizer.lr, expected)
        return sums

    def _newest(self) -> str:
        """Where the run's parameters were finite last, in words."""
        places = [self.directory / name for name in ("checkpoints", "resume")]
        sealed = [(step, place) for place in places for step in checkpoint.steps(place)]
        if not sealed:
            return "it has no checkpoint yet"
        step, place = max(sealed)
        return f"its last good checkpoint is {place / str(step)}"


def truncate(path: pathlib.Path, step: int) -> None:
    """Drops the lines past `step`, from which a run goes on, and one cut short by a kill."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except ValueError:
            break
    atomic.write(path, "".join(line + "\n" for line in kept))
