"""What the config declares as representations, each beside the same of direct runs, its members and its controls."""

from __future__ import annotations

import dataclasses

from bottleneck import representations
from bottleneck.errors import UserError
from bottleneck.features.source import Member
from bottleneck.items import PROTOCOL
from bottleneck.planning import checks
from bottleneck.planning.episodes import UNTRAINED
from bottleneck.planning.planner import Planner
from bottleneck.planning.references import further, place_member, seeds_of, steps_of
from bottleneck.representations import Derived, RepresentationSpec, alone


def add(planner: Planner) -> None:
    """Their probes on every target. Raises UserError."""
    declared = planner.study.represented
    sources, made = known(planner) if declared else set(), representations.derived(declared)
    singles = {arm: RepresentationSpec(p) for n, spec in declared.items() for arm, p in alone(n, spec).items()}
    checks.arms(planner.study, {**singles, **declared})
    for name, spec in declared.items():
        for pattern in spec.patterns:
            if representations.source_of(pattern) not in sources:
                expected = f"sources among {', '.join(sorted(sources))}"
                raise UserError(f"representations.{name}.members", spec.members, expected)
        both(planner, name, spec)
    if "linear_probe" in planner.study.probe.protocols:
        for name, spec in declared.items():
            members(planner, name, spec)
        for name, each in made.items():
            if name not in declared:
                control(planner, name, each)
    against(planner)


def known(planner: Planner) -> set[str]:
    """The sources that a pattern may name."""
    ours = {train.episode.name for train in planner.trains.values() if not train.continues}
    return ours - {UNTRAINED} | per_target(planner) | {*planner.study.sources}


def per_target(planner: Planner) -> set[str]:
    """The sources of which every target has a run of its own."""
    own = {recipe for recipe, each in planner.study.recipes.items() if each.like == "direct"}
    return own | {"direct"} & {*planner.study.arms}


def compared(planner: Planner, spec: RepresentationSpec) -> bool:
    """Whether there is the same of direct runs: of recipes there is nothing alike."""
    recipes = {representations.source_of(pattern) for pattern in spec.patterns} & {*planner.study.recipes}
    return "direct" in planner.study.arms and not recipes


def both(planner: Planner, name: str, spec: RepresentationSpec) -> None:
    """A representation and the same of direct runs, by every protocol that is asked of them."""
    sides = [(name, False), (f"{name}|direct", True)][: 1 + compared(planner, spec)]
    wanted, arms = planner.study.probe.protocols, planner.study.probe.arms
    for target in planner.episodes.targets:
        for arm, of_direct in sides:
            for index, (seeds, held) in enumerate(placed(planner, name, spec, target, of_direct)):
                if PROTOCOL in wanted:
                    probe(planner, arm, index, target, held, spec)
                if "head" in wanted and spec.combine == "average":
                    averaged_heads(planner, arm, index, target, held)
                for protocol in wanted if arm in arms else ():
                    further(planner, arm, index, target, held, seeds, protocol, reduce=spec.reduce)


def averaged_heads(planner: Planner, arm: str, index: int, target: str, members: tuple[Member, ...]) -> None:
    """The averaged predictions of the members' own classifiers, where all have the target's classes in one place."""
    heads = {planner.head(member.source, target) for member in members}
    if len(heads) == 1 and None not in heads:
        planner.probe(arm, index, target, members, "head", average=True, head=heads.pop())


def members(planner: Planner, name: str, spec: RepresentationSpec) -> None:
    """The members one by one, where nobody has asked for them whatever the verdicts."""
    for arm, pattern in alone(name, spec).items():
        read = {
            (p.members[0].source.key, p.members[0].layer, p.target)
            for p in planner.probes
            if p.is_plain and len(p.members) == 1 and not p.asks
        }
        single = RepresentationSpec(pattern)
        wanted = {
            (member.source.key, member.layer, target)
            for target in planner.episodes.targets
            for of_direct in (False, True)[: 1 + compared(planner, spec)]
            for _, (member,) in placed(planner, name, single, target, of_direct)
        }
        if not wanted <= read:
            if arm in planner.study.represented:
                raise UserError(f"representations.{arm}", arm, f"another name: it is a member of {name!r} alone")
            both(planner, arm, single)


def control(planner: Planner, name: str, each: Derived) -> None:
    """A control of a concatenation, or its first members."""
    for target in planner.episodes.targets:
        for index, (_, held) in enumerate(placed(planner, each.of, each.spec, target)):
            probe(planner, name, index, target, each.take(held), each.spec)


def against(planner: Planner) -> None:
    """Raises UserError where a declared control is nothing that is read."""
    arms = {probe.arm for probe in planner.probes if probe.protocol == PROTOCOL and probe.factor is None}
    for name, spec in planner.study.represented.items():
        for other in spec.against:
            if other == name or other not in arms:
                expected = f"other representations, or arms that are probed: {', '.join(sorted(arms - {name}))}"
                raise UserError(f"representations.{name}.against", other, expected)


def placed(
    planner: Planner, name: str, spec: RepresentationSpec, target: str, of_direct: bool = False
) -> list[tuple[tuple[int, ...], tuple[Member, ...]]]:
    """The member sets of a representation for one target, with their seeds; `of_direct`: with direct runs in the place
    of all others."""
    patterns, own = [], per_target(planner)
    for pattern in spec.patterns:
        source = representations.source_of(pattern)
        base = f"direct-{target}" if of_direct else f"{source}-{target}" if source in own else source
        patterns.append(pattern.replace(source, base, 1))
    spec = dataclasses.replace(spec, members=tuple(patterns))
    sets = representations.sets(spec, seeds_of(planner), steps_of(planner), f"representations.{name}")
    return [
        (tuple(place.seed for place in places), tuple(place_member(planner, place, target) for place in places))
        for places in sets
    ]


def probe(planner: Planner, arm: str, index: int, target: str, members, spec: RepresentationSpec) -> None:
    planner.probe(arm, index, target, members, reduce=spec.reduce, average=spec.combine == "average")
