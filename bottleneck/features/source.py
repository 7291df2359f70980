"""Feature sources: whatever yields features [n, p] of a layer for a component's items.

A run's kept step, an untrained network, features that another tool left on disk, the pixels themselves: one type, and
all that comes after (probes, gaps, ladder, CKA, seeds) takes any of them.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from bottleneck import identity, jobs
from bottleneck.analysis.probes import pool_pixels
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features import batch, foreign, passes
from bottleneck.features.layers import LAST, LOGITS
from bottleneck.features.networks import loading
from bottleneck.features.networks.network import Network
from bottleneck.features.networks.preprocessing import Preprocessing
from bottleneck.features.networks.uses import Uses
from bottleneck.training.run import Run

SPLITS = ("probe", "val", "test")  # what probes read; the training split is read where a task asks for it
SOON = 3.0  # seconds: a pass that is over by then shows no bar
MEASURED = 256  # probe items on which an untrained network's BatchNorm is measured


@dataclasses.dataclass(frozen=True)
class Source:
    """Where features come from. `name` is what rows call it, and no part of its identity."""

    name: str
    head: ClassVar[bool] = False  # whether it has the layer "logits", a classifier's

    @property
    def identity(self) -> list:
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        return identity.digest(self.identity)

    @property
    def needs(self) -> tuple[str, ...]:
        """Outputs of tasks that it reads."""
        return ()

    @property
    def ancestry(self) -> dict[Run, int]:
        """The runs it stands on, and the largest step used of each: what it cost to train."""
        return {}

    @property
    def lessons(self) -> tuple[tuple[Run, int, int], ...]:
        """(run, step, images): what training it passed through that network beside its own batches."""
        return ()

    def extract(self, store, component: Component, layers: tuple[str, ...], splits: tuple[str, ...], growing) -> dict:
        """One pass: (layer, split) -> [n, p] or [n, m, C], as files of `growing` (features.parts) wherever they are
        computed, so that one batch lies in memory. Raises UserError on an unknown layer."""
        raise NotImplementedError

    def finite(self, made: dict) -> dict[str, np.ndarray]:
        """Layers of one batch. Raises UserError where they are not finite."""
        made = {layer: np.asarray(values) for layer, values in made.items()}
        for layer, values in made.items():
            if not np.isfinite(values).all():
                raise UserError("layer", layer, f"finite numbers: features of {self.name} hold NaN or infinity")
        return made


@dataclasses.dataclass(frozen=True)
class Kept(Source):
    """A kept step of one of our runs; step 0 is what it starts from: random weights, or converted ones. `adapt`:
    BatchNorm statistics re-measured on the component's own probe items (Li et al. 2017)."""

    run: Run
    step: int
    data: DataSpec
    adapt: bool = False
    stands_on: tuple[
        tuple[Run, int], ...
    ] = ()  # other runs that it took: of fine-tuning the parent, of tuning the grid
    lessons: tuple[tuple[Run, int, int], ...] = ()  # of teachers and rounds: their passes over training items
    head = True

    def __hash__(self):
        return hash(self.key)

    @property
    def identity(self) -> list:
        return ["kept", self.run.key, self.step, self.adapt, self.data.mean, self.data.std]

    @property
    def needs(self) -> tuple[str, ...]:
        return (output(self.run, self.step),)

    @property
    def ancestry(self) -> dict[Run, int]:
        return {**dict(self.stands_on), self.run: self.step}

    def extract(self, store, component, layers, splits, growing):
        model = self.run.module().clone(dtype=jnp.dtype("float32"))
        variables = passes.placed(store.variables(self.run, self.step))
        mean, std = np.float32(self.data.mean), np.float32(self.data.std)
        if self.adapt:
            variables = passes.remeasured(model, variables, component.splits["probe"], mean, std, store.stop)
        layers = tuple(sorted({*layers, LOGITS}))

        def read(x):
            return self.finite(passes.forward(model, variables, passes.placed(x, batch=True), mean, std, layers))

        return _grown(read, store, component, layers, splits, growing)


@dataclasses.dataclass(frozen=True)
class Pixels(Source):
    """The images themselves, average-pooled to at most 1,024 numbers; vectors as they are."""

    name: str = "pixels"

    @property
    def identity(self) -> list:
        return ["pixels"]

    def pooled(self, x: np.ndarray) -> np.ndarray:
        """[n, H, W, C] or [n, d] -> [n, at most 1,024 or d]."""
        return pool_pixels(x) if x.ndim == 4 else x

    def extract(self, store, component, layers, splits, growing):
        def read(x):
            return {LAST: self.pooled(x)}

        return _grown(read, store, component, (LAST,), splits, growing)


def _grown(read, store, component: Component, layers: tuple[str, ...], splits, growing) -> dict:
    """One pass of `read` over `splits`: (layer, split) -> [n, ...]."""
    whole = {}
    for split in splits:
        examples = component.splits[split]
        size = passes.batch_size(examples)
        whole |= passes.grown(examples, read, store.stop, layers, split, growing, size)
    return whole


@dataclasses.dataclass(frozen=True)
class Arrays(Source):
    """Features that another tool left in a directory (see features.foreign); their content is their identity."""

    directory: str = ""
    content: str = ""  # digest of the files of the targets read

    @property
    def identity(self) -> list:
        return ["arrays", self.content]

    def extract(self, store, component, layers, splits, growing):
        read = foreign.load(self.directory, component)
        if set(layers) != {LAST}:
            raise UserError("layer", sorted(layers), f"{LAST!r}, the one layer of {self.directory}")
        return {(LAST, split): read[split] for split in splits}


@dataclasses.dataclass(frozen=True)
class Foreign(Source):
    """A network that is not ours (features.networks): what it is made by, the layer that is its "features" ("": found),
    what it is shown, and the SHA-256 of its weights and of its structure and code, which are its identity. `untrained`:
    the same architecture from this seed, with BatchNorm statistics of the component's probe items where it can be told
    to measure them. `held`: itself, where no file has its weights."""

    uses: Uses = Uses("", "")
    last: str = ""
    prepare: Preprocessing | None = None
    content: str = ""
    structure: str = ""
    channels_last: bool = False
    untrained: int | None = None
    held: Network | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def identity(self) -> list:
        weights = {"untrained": self.untrained} if self.untrained is not None else {"weights": self.content}
        return ["network", weights, self.structure, self.last, self.prepare.identity]

    def network(self) -> Network:
        """Itself, in memory. Raises UserError where its weights are others by now."""
        loaded = self.held or loading.load(self.uses, self.last, self.prepare.shape, self.channels_last)
        if (loaded.content, loaded.structure) != (self.content, self.structure):
            raise UserError("networks", self.name, "the weights and code that were there when the audit began")
        return loaded if self.untrained is None else loaded.blank(self.untrained)

    def extract(self, store, component, layers, splits, growing):
        with loading.ONE:
            loaded, size = self.network(), batch.of(4 * math.prod(self.prepare.shape))
            loaded.check(layers)
            if self.untrained is not None and loaded.measure:
                some = component.splits["probe"].take(np.arange(min(MEASURED, len(component.splits["probe"]))))
                loaded.measure(self.shown(some, size, store.stop))
            items, whole = sum(len(component.splits[split]) for split in splits), {}
            with jobs.progress(f"{self.name} on {component.name}", items, "image", delay=SOON) as bar:
                for split in splits:
                    place = (layers, split, growing, size, bar.update)
                    whole |= passes.grown(
                        component.splits[split], lambda x: self.read(loaded, x, layers), store.stop, *place
                    )
        return whole

    def read(self, loaded: Network, x, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Layers of one batch of the study's items. Raises UserError where they are not finite."""
        return self.finite(loaded.read(self.prepare(x), layers))

    def shown(self, examples, size: int, stop):
        """Whole batches of what the network is shown."""
        for x, rows in batch.padded(examples, size, stop.check):
            yield self.prepare(x[: len(rows)])


@dataclasses.dataclass(frozen=True)
class Member:
    """One layer of one feature source: what representations are lists of."""

    source: Source
    layer: str = LAST

    def __str__(self):
        return f"{self.source.name}:{self.layer}"

    @property
    def identity(self) -> list:
        return [*self.source.identity, self.layer]


def output(run: Run, step: int) -> str:
    """The name of a kept step among the outputs of tasks."""
    return f"runs/{run.key}@{step}"
