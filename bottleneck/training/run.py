"""A run: one training episode as plain data. Direct training is the run with one-hot weights; fine-tuning has `init`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bottleneck import models
from bottleneck.errors import UserError
from bottleneck.training import augment, objectives, optimizers


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """How runs train; durations as numbers of steps or text: "300 steps", "5 epochs" (of the mixture's examples),
    "100000 examples". `feed`: training images on the devices, or streamed from the host; the same batches either way."""

    steps: int | str = 1000
    batch: int = 128
    sampling: Literal["iid", "stratified"] = "iid"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    feed: Literal["resident", "stream"] = "resident"
    log_every: int = 500
    save_every: int = 5000

    def __post_init__(self):
        for field in ("batch", "log_every", "save_every"):
            if getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")


def duration(value: int | str, *, batch: int, examples: int, key: str) -> int:
    """A duration in steps. `examples` is the size of one epoch. Raises UserError if it is not at least one step."""
    per_unit = {
        "": 1,
        "steps": 1,
        "step": 1,
        "epochs": examples / batch,
        "epoch": examples / batch,
        "examples": 1 / batch,
    }
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) *([a-z]*)", str(value).strip())
    try:
        number, unit = float(found[1]), found[2]
    except (TypeError, ValueError):  # no match, or no number
        number, unit = 0.0, "unknown"
    if unit not in per_unit or number == float("inf"):
        raise UserError(key, value, "steps as a number, or text such as '300 steps', '5 epochs', '100000 examples'")
    found = round(number * per_unit[unit])
    if found < 1:
        raise UserError(key, value, "at least one step")
    return found


@dataclasses.dataclass(frozen=True)
class Run:
    """One training episode as plain data. `identity` is what makes it this run; names and kept steps are not part of it."""

    name: str  # arm, or arm-target
    seed: int
    components: tuple[str, ...]  # every component it may draw from, in order
    data: tuple[str, ...]  # identity of each component (hash)
    schedule: tuple[tuple[int, tuple[float, ...]], ...]  # (from step, weights)
    label_space: str
    offset: tuple[int, ...]  # per component: see objectives.Space
    blocks: tuple[int, ...]  # per component: its number of classes
    outputs: int
    model: Any = dataclasses.field(hash=False)  # dict
    optimizer: optimizers.OptimizerSpec
    objective: objectives.ObjectiveSpec
    augment: augment.AugmentSpec
    train: TrainSpec  # with `steps` resolved to a number
    init: str = ""  # "", or "hash@step" of another run
    head: str = "fresh"  # with init: "fresh", or the probe whose classifier it starts from
    keep: tuple[int, ...] = dataclasses.field(default=(), compare=False)

    @property
    def identity(self) -> dict:
        plain = dataclasses.asdict(self)
        drawn = [j for j in range(len(self.components)) if any(w[j] for _, w in self.schedule)]
        for key in ("components", "data", "offset", "blocks"):
            plain[key] = [plain[key][j] for j in drawn]
        plain["schedule"] = [[start, [w[j] for j in drawn]] for start, w in self.schedule]
        for key in ("name", "keep"):
            del plain[key]
        for key in ("log_every", "save_every", "feed"):
            del plain["train"][key]
        return plain

    @cached_property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        return f"{self.name}-s{self.seed}-{self.hash}"

    @property
    def steps(self) -> int:
        return self.train.steps

    def weights(self, step: int) -> tuple[float, ...]:
        """The mixture's weights in force at `step`, in the order of `components`."""
        return [w for start, w in self.schedule if start <= step][-1]

    def module(self):
        return models.build(self.model, self.outputs, self.train.dtype)

    def space(self) -> objectives.Space:
        """Which logits each component's examples use in the loss."""
        columns = np.arange(self.outputs)
        offset, blocks = np.asarray(self.offset, np.int32), np.asarray(self.blocks, np.int32)
        mask = (columns >= offset[:, None]) & (columns < (offset + blocks)[:, None])
        return objectives.Space(offset, mask if self.label_space == "per_component" else np.ones_like(mask))
