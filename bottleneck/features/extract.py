"""The task that leaves features on disk: one pass of a source over a component's items, for all layers that anybody
reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bottleneck import identity
from bottleneck.data.component import Component
from bottleneck.features.source import SPLITS, Member, Source
from bottleneck.tasks import Asked, Task

_keys: dict[tuple, str] = {}


@dataclass(frozen=True, eq=False, repr=False)
class Extract(Task):
    """One pass. `layers` are what it should bring, no part of its key: more layers are one more pass, and no new
    features."""

    source: Source
    component: Component
    layers: tuple[str, ...] = ()
    asks: tuple[Asked, ...] = ()
    splits: tuple[str, ...] = SPLITS

    KIND = "extract"
    VERSION = 1
    STAGE = "transfer"
    PASSING = True

    @property
    def key(self) -> str:
        return key(self.source, self.component, self.splits)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.source.needs

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(output(self.source, layer, self.component, self.splits) for layer in self.layers)

    def run(self, store) -> None:
        store.extract(self.source, self.component, self.layers, self.splits)


class Reads(Task):
    """A task that reads features."""

    @property
    def reads(self) -> tuple[tuple[Source, str, Component], ...]:
        """(source, layer, component), each once."""
        raise NotImplementedError

    @cached_property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(output(*read) for read in self.reads))


def key(source: Source, component: Component, splits: tuple[str, ...] = SPLITS) -> str:
    """The key of the pass of `source` over `splits` of `component`, whatever layers it brings."""
    place = (source.key, *map(component.fingerprints.__getitem__, splits))
    known = _keys.get(place)
    if known is None:
        known = _keys[place] = identity.digest([Extract.KIND, Extract.VERSION, source.key, place[1:]])
    return known


def output(source: Source, layer: str, component: Component, splits: tuple[str, ...] = SPLITS) -> str:
    """The name of a layer's features among the outputs of tasks; other splits than what probes read are named."""
    others = "" if splits == SPLITS else f":{','.join(splits)}"
    return f"features/{key(source, component, splits)}:{layer}{others}"


def of_member(member: Member, component: Component) -> str:
    return output(member.source, member.layer, component)
