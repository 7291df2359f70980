"""What rounds of discovery leave for the next: how many training items each of them still has wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals
from bottleneck.data.component import Component
from bottleneck.features import extract
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import Kept
from bottleneck.rows import Finding
from bottleneck.tasks import Task
from bottleneck.training.taught import is_right

TRAIN = ("train",)


@dataclass(frozen=True, eq=False, repr=False)
class Discovery(Task):
    """The rounds of a recipe, `chains` seed by seed: rows of metric `wrong` a round and component, and what the last
    round that was trained leaves, in a sentence."""

    recipe: str
    chains: tuple[tuple[Kept, ...], ...]
    components: tuple[Component, ...]

    KIND = "discovery"
    VERSION = 2
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        return [self.recipe, [component.name for component in self.components]]

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(
            extract.output(each, LOGITS, component, TRAIN)
            for chain in self.chains
            for each in chain
            for component in self.components
        )

    def run(self, store) -> None:
        store.write(self, list(self.findings(store)))

    def findings(self, store):
        labels = [component.splits["train"].labels for component in self.components]
        trained, end = 0, None
        for index, rounds in enumerate(zip(*self.chains, strict=True)):
            each = [self.wrong(store, source, labels) for source in rounds if self.is_there(store, source)]
            trained += bool(each)
            for j, component in enumerate(self.components) if each else ():
                at = dict(arm=self.recipe, target=component.name, split="train", step=index)
                yield Finding("wrong", intervals.two_way(np.stack([of[j] for of in each])), "fraction", at)
            if end is None and len(each) < len(rounds):
                end = index, len(rounds) - len(each)
        yield self.end(*(end or (trained, 0)), len(self.chains))

    def is_there(self, store, source: Kept) -> bool:
        return all(store.has(extract.output(source, LOGITS, component, TRAIN)) for component in self.components)

    def wrong(self, store, source: Kept, labels) -> list[np.ndarray]:
        """Of each component, whether each training item is wrong [n]."""
        logits = [store.features(source, LOGITS, component, TRAIN)["train"] for component in self.components]
        return [~right for right in is_right(source.run, logits, labels)]

    def end(self, index: int, ended: int, count: int) -> Finding:
        """How many rounds there are, and why not more."""
        which = "all" if ended == count else f"{ended} of {count}"
        said = f"{self.recipe}: all {index} rounds found examples that earlier ones have wrong."
        if ended:
            said = f"{self.recipe}: no example is left to be discovered after round {index} ({which} seeds)"
            said += ", and no synthesis is made there."
        return Finding("rounds", float(index), None, {"arm": self.recipe, "extra": {"sentence": said, "ended": ended}})
