"""Features and outcomes that are planted instead of trained: what probes, choosers and answers are tested on."""

import numpy as np

from bottleneck.features.source import SPLITS, Arrays, Member
from bottleneck.rows import Finding
from bottleneck.store import Store


class Held(Store):
    """A work directory whose features are given: source's name -> split -> [n, p], or (name, layer) -> the same."""

    def __init__(self, workdir, given=None, variables=None):
        super().__init__(workdir)
        self.given = given or {}
        if variables is not None:
            self.variables = lambda run, step: variables

    def features(self, source, layer, component):
        return self.given.get((source.name, layer)) or self.given[source.name]

    def present(self, task):
        return task.done(self)


def member(name: str) -> Member:
    return Member(Arrays(name, "nowhere", name))


def label_features(component, flip: float = 0.0, width: int = 3, seed: int = 0) -> dict:
    """split -> [n, 1 + width]: the label of two classes as a sign, wrong in a share of the items, beside noise."""
    rng, features = np.random.default_rng(seed), {}
    for split in SPLITS:
        labels = component.splits[split].labels
        sign = np.where(rng.random(len(labels)) < flip, 1.0 - labels, labels) * 2.0 - 1.0
        features[split] = np.column_stack([sign, rng.normal(size=(len(labels), width))]).astype(np.float32)
    return features


def outcome(store, probe, table, correct=None) -> None:
    """Leaves the outcome of a probe: information [N] or [draws, N], accuracy likewise."""
    items = {"information": np.atleast_2d(np.asarray(table, np.float64))}
    if correct is not None:
        items["correct"] = np.atleast_2d(correct)
    at = {"arm": probe.arm, "target": probe.target, "seed": probe.seed, "train_steps": 20}
    store.write(probe, [Finding("information", float(items["information"].mean()), "bits", at)], items)


def bits(mean: float, seed: int, n: int = 37, spread: float = 0.05) -> np.ndarray:
    """Information [N] of one seed: a mean, and noise that is the items' and the seed's."""
    rng = np.random.default_rng([seed, round(1000 * abs(mean))])
    return mean + spread * (np.random.default_rng(7).normal(size=n) + 0.3 * rng.normal() + rng.normal(size=n))
