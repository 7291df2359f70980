"""The networks of an audit as feature sources: who their members are, layer by layer, trained and untrained."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

from bottleneck.auditing.spec import NetworkSpec
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.features import foreign
from bottleneck.features.layers import LAST
from bottleneck.features.networks import loading, timm
from bottleneck.features.networks.network import Network
from bottleneck.features.networks.preprocessing import InputSpec, Preprocessing
from bottleneck.features.networks.uses import EXPECTED
from bottleneck.features.source import Arrays, Foreign, Member, Source


@dataclass(frozen=True, eq=False)
class Audited:
    """One network, or the seeds of a recipe. `sources`: component -> its feature source, one a seed; `blank`: the same
    architecture untrained, for all components; None where nobody knows how to make it. `layers`: from input to output,
    the features last. `said`: lines for the reader."""

    name: str
    sources: Mapping[str, tuple[Source, ...]]
    blank: Source | None
    layers: tuple[str, ...]
    said: tuple[str, ...]

    def members(self, component: str, layer: str = LAST) -> tuple[Member, ...]:
        return tuple(Member(source, layer) for source in self.sources[component])

    def untrained(self, layer: str = LAST) -> tuple[Member, ...]:
        return (Member(self.blank, layer),) if self.blank else ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(len(next(iter(self.sources.values())))))


def audited(
    name: str, spec: NetworkSpec, components: Mapping[str, Component], data: DataSpec, untrained: bool
) -> Audited:
    """Loads a network, or looks at its arrays. Raises UserError under networks.<name>."""
    try:
        made = _arrays(name, spec, components) if spec.is_arrays else _networks(name, spec, components, data, untrained)
    except UserError as error:
        raise error.under(f"networks.{name}") from None
    return made


def _arrays(name: str, spec: NetworkSpec, components) -> Audited:
    sources = {}
    for each in spec.made_by:
        if not pathlib.Path(each.target).expanduser().is_dir():
            raise UserError("uses", each.target, f"{EXPECTED} (there is no such directory)")
    for target, component in components.items():
        for made_by in spec.made_by:
            try:
                foreign.load(made_by.target, component)
            except UserError as error:
                raise UserError("uses", error.value, error.expected) from None
        digests = [foreign.digest(each.target, target) for each in spec.made_by]
        _differ(spec, digests)
        sources[target] = tuple(
            Arrays(f"{name}/{seed}", each.target, digest)
            for seed, (each, digest) in enumerate(zip(spec.made_by, digests))
        )
    many = f", {len(spec.made_by)} networks" if len(spec.made_by) > 1 else ""
    return Audited(name, sources, None, (LAST,), (f"{name}: features on disk{many}",))


def _differ(spec: NetworkSpec, contents: list[str]) -> None:
    """Raises UserError where two seeds are the same network."""
    if len(set(contents)) < len(contents):
        raise UserError("uses", spec.uses, "another network for every seed (two hold the same)")


def _networks(name: str, spec: NetworkSpec, components, data: DataSpec, untrained: bool) -> Audited:
    shapes = {component.shape for component in components.values()}
    if len(shapes) > 1:
        raise UserError("uses", spec.uses, "components whose inputs have one shape")
    stated = spec.input is not None or spec.made_by[0].kind == "timm"
    prepare = Preprocessing(_input(spec), data.mean, data.std, shapes.pop(), stated)
    sources, said = [], []
    for seed, made_by in enumerate(spec.made_by):
        held = loading.load(made_by, spec.features, prepare.shape, spec.channels_last)
        layers = (*(layer for layer in spec.layers if layer != LAST), LAST) if spec.layers else held.default
        try:
            held.check(layers)
        except UserError as error:
            raise UserError("layers", error.value, error.expected) from None
        how = dict(channels_last=spec.channels_last, held=None if made_by.weights else held)
        at = (made_by, spec.features, prepare, held.content, held.structure)
        sources.append(Foreign(f"{name}/{seed}", *at, **how))
        said.append(f"{name}: {held.said}; {prepare.said}")
    _differ(spec, [source.content for source in sources])
    if len({source.structure for source in sources}) > 1:
        raise UserError("uses", spec.uses, "seeds of one recipe: networks of one structure and code")
    blank = Foreign(f"{name}-untrained/0", *at, **how, untrained=0) if untrained and _has_blank(held) else None
    if untrained and blank is None:
        said.append(f"{name}: no untrained copy, as nothing says how its parameters are drawn")
    return Audited(name, dict.fromkeys(components, tuple(sources)), blank, layers, tuple(said))


def _has_blank(held: Network) -> bool:
    return held.blank is not None and held.blank(0) is not None


def _input(spec: NetworkSpec) -> InputSpec:
    """What a network is shown: what its spec says, or timm."""
    first = spec.made_by[0]
    if spec.input is not None or first.kind != "timm":
        return spec.input or InputSpec()
    return InputSpec(**timm.configuration(first.target))
