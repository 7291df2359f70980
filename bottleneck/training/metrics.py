"""metrics.jsonl: one line for each stretch of steps, written while the device already works on the next one."""

from __future__ import annotations

import json
import pathlib
import time

import jax
import numpy as np

from bottleneck import atomic
from bottleneck.errors import UserError
from bottleneck.training.run import Run


class Diverged(UserError):
    """The loss or the gradient of a run is not finite: it needs another learning rate."""


class Metrics:
    """The metrics of a run's sums, which trains as one of `members`: speeds are of all of them together. `path` None:
    nothing is written, only checked (all but the first process)."""

    def __init__(self, run: Run, path: pathlib.Path | None, step: int, members: int = 1):
        self.run, self.path, self._images = run, path, run.train.batch * members
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
        if self.path is not None:
            atomic.append(self.path, json.dumps(line))

    def check(self, step: int, sums: dict) -> dict:
        """`sums` on the host. Raises Diverged where the loss or the gradient up to `step` is not finite."""
        sums = jax.device_get(sums)
        if not np.isfinite(sums["loss"].sum() + sums["grad_norm"]):
            raise Diverged(
                "optimizer.lr",
                self.run.optimizer.lr,
                "a rate at which the loss stays finite "
                f"({self.run.folder}: loss {sums['loss'].sum()}, gradient norm {sums['grad_norm']} before step {step})",
            )
        return sums


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
