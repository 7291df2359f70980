"""The task that leaves features on disk: one pass of a source over a component's items, for all layers that anybody
reads."""

from __future__ import annotations

from dataclasses import dataclass

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

    KIND = "extract"
    VERSION = 1
    STAGE = "transfer"
    PASSING = True

    @property
    def key(self) -> str:
        return key(self.source, self.component)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.source.needs

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(f"features/{self.key}:{layer}" for layer in self.layers)

    def run(self, store) -> None:
        store.extract(self.source, self.component, self.layers)


class Reads(Task):
    """A task that reads features."""

    @property
    def reads(self) -> tuple[tuple[Source, str, Component], ...]:
        """(source, layer, component), each once."""
        raise NotImplementedError

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(output(*read) for read in self.reads))


def key(source: Source, component: Component) -> str:
    """The key of the pass of `source` over `component`, whatever layers it brings."""
    contents = tuple(component.fingerprints[split] for split in SPLITS)
    place = (source.key, contents)
    if place not in _keys:
        _keys[place] = identity.digest([Extract.KIND, Extract.VERSION, *place])
    return _keys[place]


def output(source: Source, layer: str, component: Component) -> str:
    """The name of a layer's features among the outputs of tasks."""
    return f"features/{key(source, component)}:{layer}"


def of_member(member: Member, component: Component) -> str:
    return output(member.source, member.layer, component)
