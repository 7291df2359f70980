"""A run: one training episode as plain data. Direct training is the run with one-hot weights; fine-tuning has `init`;
`alone` counts the loss of one component only; `scarce` sees only the examples that a mixture drew.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from bottleneck import identity, models
from bottleneck.data import mixture
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.training import augment, objectives, optimizers


@dataclasses.dataclass(frozen=True)
class TrainSpec:
    """How runs train; durations as numbers of steps or text: "300 steps", "5 epochs" (of the mixture's examples),
    "100000 examples". `sampling`: see `data.mixture`; with "full" every step sees all training items, and `batch` means
    nothing. `feed`: training images on the devices, or streamed from the host; either way the same batches.

    For memory: the gradient of a batch is the sum over `accumulate` parts, one after the other (BatchNorm then has the
    statistics of parts); `remat` keeps of the blocks of a residual network or a ViT their inputs alone, and computes
    the rest again going backward. `fleet`: how many runs that share a program train together at most; None: by rule
    (training.fleet).

    A run with `stop_at_loss` or `stop_at_accuracy` looks every `stop_window`, at the mean loss (penalties on logits
    included, those on features and L2 not) and accuracy of the window's batches as they were met, and stops where one
    is below, the other at least, what is asked. The steps that are left are not made: what is kept of a later step, the
    last one too, is what it stopped with, and a row's price counts the steps that were made.
    """

    steps: int | str = 1000
    batch: int = 128
    sampling: Literal["iid", "stratified", "full"] = "iid"
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    feed: Literal["resident", "stream"] = identity.field(default="resident")
    accumulate: int = 1
    remat: bool = identity.field(default=False)
    fleet: int | None = identity.field(default=None)
    log_every: int = identity.field(default=500)
    save_every: int = identity.field(default=5000)
    stop_at_loss: float | None = None
    stop_at_accuracy: float | None = None
    stop_window: int | str = "1 epoch"

    def __post_init__(self):
        for field in ("batch", "log_every", "save_every", "accumulate", "fleet"):
            if getattr(self, field) is not None and getattr(self, field) < 1:
                raise UserError(field, getattr(self, field), "at least 1")
        if self.sampling == "full" and self.feed == "stream":
            raise UserError("feed", self.feed, "'resident' where every step sees all training items")
        if self.stop_at_loss is not None and not self.stop_at_loss >= 0:
            raise UserError("stop_at_loss", self.stop_at_loss, "a number of at least 0")
        if self.stop_at_accuracy is not None and not 0 < self.stop_at_accuracy <= 1:
            raise UserError("stop_at_accuracy", self.stop_at_accuracy, "a fraction above 0, at most 1")

    @property
    def stops(self) -> bool:
        """Whether it may end before its last step."""
        return self.stop_at_loss is not None or self.stop_at_accuracy is not None

    def reached(self, loss: float, accuracy: float) -> bool:
        """Whether a window of this mean loss and accuracy is one to stop after."""
        below = self.stop_at_loss is not None and loss < self.stop_at_loss
        return below or self.stop_at_accuracy is not None and accuracy >= self.stop_at_accuracy


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
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?) *([a-z]*)", str(value).strip())
    try:
        number, unit = float(match[1]), match[2]
    except (TypeError, ValueError):  # no match, or no number
        number, unit = 0.0, "unknown"
    if unit not in per_unit or number == float("inf"):
        raise UserError(key, value, "steps as a number, or text such as '300 steps', '5 epochs', '100000 examples'")
    steps = round(number * per_unit[unit])
    if steps < 1:
        raise UserError(key, value, "at least one step")
    return steps


CONVERTED = "weights:"  # `Run.init` of converted weights, before their digest
Schedule = tuple[tuple[int, tuple[float, ...]], ...]  # (from step, a weight for each component)


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a run makes of its parents' predictions on its training items; `taught` lays them out as arrays.

    Distillation, one head a parent: "hard", cross-entropy against the parent's predicted class (the pseudo-labels of
    Zhang et al. 2022), or "soft", against its probabilities. Group DRO, over the groups of items that each parent has
    right and wrong: "max", the largest group's mean loss, or "exponentiated", weights that follow the losses by
    exponentiated gradient steps of size `rate` (Sagawa et al. 2020). `examples`: drawn as they are; half of them from
    those on which the parents agree to be right or wrong ("agreement"); or as many of each group ("groups").
    `shuffled`: what the parents have right and wrong is given to other items of the component, a control.
    """

    kind: Literal["hard", "soft", "max", "exponentiated"]
    examples: Literal["drawn", "agreement", "groups"] = "drawn"
    shuffled: bool = False
    rate: float = 0.01

    @property
    def distils(self) -> bool:
        return self.kind in ("hard", "soft")


@dataclasses.dataclass(frozen=True)
class Draws:
    """What a run draws of one `component`, as the sampler's identity: with the run's seed it says which examples.

    The components that are drawn at all, their numbers of training examples, and what else the sampler reads. The list
    of examples is no part of it: `restrict` makes it when it is needed.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    schedule: Schedule
    steps: int
    batch: int
    sampling: str
    component: str

    def __post_init__(self):
        if self.component not in self.names:
            raise ValueError(f"{self.component} is none of those drawn, {', '.join(self.names)}")

    @property
    def size(self) -> int:
        """The number of training examples of `component`."""
        return self.sizes[self.names.index(self.component)]

    def examples(self, seed: int) -> np.ndarray:
        """The distinct examples of `component` that are drawn, ascending indices into its training examples."""
        tables = mixture.tables(self.names, self.sizes, self.schedule, self.batch, self.steps, self.sampling)
        component = self.names.index(self.component)
        return np.asarray(mixture.unique(tables, seed, self.steps, self.batch, self.sampling, component))


@dataclasses.dataclass(frozen=True)
class Run:
    """One training episode as plain data. `key` says what makes it this run; names and kept steps do not."""

    VERSION: ClassVar[int] = 1  # of what training makes of a run: another number redoes all of them

    name: str = identity.field(compare=False)  # arm, or arm-target
    seed: int
    components: tuple[str, ...]  # every component it may draw from, in order
    data: tuple[str, ...]  # identity of each component's training examples
    schedule: Schedule
    label_space: str
    offset: tuple[int, ...]  # per component: see objectives.Space
    blocks: tuple[int, ...]  # per component: its number of classes
    outputs: int
    model: models.Spec  # resolved: see models.resolved
    optimizer: optimizers.OptimizerSpec
    objective: objectives.ObjectiveSpec
    augment: augment.AugmentSpec
    train: TrainSpec  # with `steps` resolved to a number
    init: str = ""  # "", or "key@step" of another run; "key@step,key@step" of the members of a joined model; or
    # "weights:" and the digest of converted ones (see converted)
    head: str = "fresh"  # with init: "fresh", the probe whose classifier it starts from, or "mean" of the members' own
    parents: tuple[str, ...] = ()  # "key@step" of what it learns from besides `init`, such as teachers
    tuned: str = ""  # key of the choice that gives its learning rate and weight decay
    only: str | None = None  # the component whose loss counts; None: every component's
    unique: Draws | None = None  # components are restricted to what these draw: see `restrict`
    trained: Literal["all", "head"] = "all"  # "head": the trunk stays as `init` has it, in evaluation mode
    init_seed: int | None = None  # of the initial parameters; None: `seed`, which is of everything else
    lesson: Lesson | None = None  # what it learns from the predictions of its parents; None: labels alone
    sizes: tuple[int, ...] = identity.field(default=(), compare=False)  # training items of each component
    keep: tuple[int, ...] = identity.field(default=(), compare=False)

    def __post_init__(self):
        for name in filter(None, (self.only, self.unique and self.unique.component)):
            if name not in self.components:
                raise ValueError(f"{name} is none of the run's components, {', '.join(self.components)}")
        whole = self.objective.alignment or self.objective.spread or self.lesson and not self.lesson.distils
        if self.train.accumulate > 1 and whole:
            expected = "1 where a loss is of the batch as a whole (objective.alignment and spread, rounds)"
            raise UserError("train.accumulate", self.train.accumulate, expected)

    @property
    def identity(self) -> dict:
        """What the parameters depend on, as canonical plain data: components that are never drawn are left out."""
        drawn = self.drawn
        named = {key: [getattr(self, key)[j] for j in drawn] for key in ("components", "data", "offset", "blocks")}
        return {**identity.canonical(self), **identity.canonical({**named, "schedule": self._schedule(drawn)})}

    @cached_property
    def key(self) -> str:
        return identity.digest({"kind": "train", "version": self.VERSION, "run": self.identity})

    def __hash__(self):
        return hash(self.key)  # not of every field again, each time it is looked up

    @property
    def folder(self) -> str:
        return f"{self.name}-s{self.seed}-{self.key}"

    @property
    def steps(self) -> int:
        return self.train.steps

    @property
    def pretrained(self) -> bool:
        """Whether its step 0 is a network with converted weights: one that has seen data that are not the study's."""
        return self.init.startswith(CONVERTED)

    @property
    def heads(self) -> int:
        """How many classifiers the network has, each over all outputs: a student has one for each teacher."""
        return len(self.parents) if self.lesson is not None and self.lesson.distils else 1

    def weights(self, step: int) -> tuple[float, ...]:
        """The mixture's weights in force at `step`, in the order of `components`."""
        return [w for start, w in self.schedule if start <= step][-1]

    def module(self):
        binary = self.objective.loss == "softplus"
        return models.build(self.model, self.heads * self.outputs, self.train.dtype, binary, self.train.remat)

    def space(self) -> objectives.Space:
        """Which logits each component's examples use in the loss."""
        columns = np.arange(self.outputs)
        offset, blocks = np.asarray(self.offset, np.int32), np.asarray(self.blocks, np.int32)
        mask = (columns >= offset[:, None]) & (columns < (offset + blocks)[:, None])
        return objectives.Space(offset, mask if self.label_space == "per_component" else np.ones_like(mask))

    def counted(self) -> np.ndarray:
        """float32 [J]: 1 for the components whose loss counts, 0 for those that `only` masks."""
        return np.array([self.only in (None, name) for name in self.components], np.float32)

    def draws(self, sizes: Sequence[int], component: str) -> Draws:
        """What this run draws of `component`; `sizes`: how many training examples each of its components has."""
        drawn = self.drawn
        names, sizes = (tuple(values[j] for j in drawn) for values in (self.components, sizes))
        return Draws(names, sizes, self._schedule(drawn), self.steps, self.train.batch, self.train.sampling, component)

    @property
    def drawn(self) -> list[int]:
        """The components with a positive weight at any time."""
        return [j for j in range(len(self.components)) if any(weights[j] for _, weights in self.schedule)]

    def _schedule(self, among: list[int]) -> Schedule:
        return tuple((start, tuple(weights[j] for j in among)) for start, weights in self.schedule)


def restrict(run: Run, components: tuple[Component, ...]) -> tuple[Component, ...]:
    """`components` as `run` trains on them: of the one `run.unique` names, the training examples that were drawn only.

    To be called before a pool is made of them and before `loop.train`. Raises ValueError where the component has
    another number of training examples than the draws are of.
    """
    if run.unique is None:
        return components
    where = run.components.index(run.unique.component)
    whole = components[where]
    train = whole.splits["train"]
    if len(train) != run.unique.size:
        raise ValueError(f"{len(train)} training examples of {whole.name}, where {run.unique.size} are drawn from")
    some = dataclasses.replace(whole, splits={**whole.splits, "train": train.take(run.unique.examples(run.seed))})
    return (*components[:where], some, *components[where + 1 :])
