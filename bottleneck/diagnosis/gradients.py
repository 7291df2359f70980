"""Whether a component's gradient starves: its norm and its direction at every kept step of the mixture run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.diagnosis.cast import Diagnosis, over_seeds
from bottleneck.features.source import Kept
from bottleneck.training import gradients

ITEMS = 1000  # training items per component


@dataclass(frozen=True, eq=False, repr=False)
class Gradients(Diagnosis):
    """Gradient norms per component, cosines between components and with the mixture's, in evaluation mode."""

    KIND = "gradients"
    VERSION = 2

    @property
    def members(self):
        return [
            (m, self.cast.targets[name])
            for step in self.cast.steps
            for m in self.cast.at(step)
            for name in self.cast.components
        ]

    @property
    def identity(self):
        trains = [self.cast.targets[name].fingerprints["train"] for name in self.cast.components]
        return [super().identity, trains]

    @property
    def reads(self):
        return ()

    @property
    def kept(self) -> tuple[Kept, ...]:
        """Whose variables it reads."""
        return tuple(dict.fromkeys(member.source for member, _ in self.members))

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(output for source in self.kept for output in source.needs)

    def findings(self, store):
        names, batches = self.cast.components, {}
        for name in names:
            train = self.cast.targets[name].splits["train"]
            chosen = np.arange(min(ITEMS, len(train)))
            batches[name] = (train.fetch(chosen), train.labels[chosen])
        for step in self.cast.steps:
            each = [self.gradient(store, member.source, batches) for member in self.cast.at(step)]
            at = dict(arm=self.cast.arm, step=step, split="train")
            for j, name in enumerate(names):
                n = len(batches[name][1])
                yield over_seeds("gradient_norm", "nats", [g.norms[j] for g in each], n, target=name, **at)
                along = [g.with_mixture[j] for g in each]
                yield over_seeds("gradient_cosine", None, along, n, target=name, reference="mixture", **at)
                for i in range(j):
                    cosines = [g.cosines[i, j] for g in each]
                    yield over_seeds("gradient_cosine", None, cosines, n, target=name, reference=names[i], **at)

    def gradient(self, store, source: Kept, batches: dict):
        data, run = source.data, source.run
        mean, std = np.float32(data.mean), np.float32(data.std)
        variables, weights = store.variables(run, source.step), run.weights(source.step)
        return gradients.gradients(run, variables, batches, weights, mean, std, source.step)
