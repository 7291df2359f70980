"""What every study has: the mixture and direct training, look by look, untrained networks, pixels, foreign sources."""

from __future__ import annotations

import dataclasses

from bottleneck import representations
from bottleneck.answer import Subject
from bottleneck.choose import Decide
from bottleneck.features import foreign
from bottleneck.features.layers import LAST
from bottleneck.features.source import Arrays, Member, Pixels
from bottleneck.items import ADAPTED, RELEASED
from bottleneck.planning import finetuning
from bottleneck.planning.planner import Planner
from bottleneck.planning.tuning import Tuning
from bottleneck.probing import TUNED
from bottleneck.released import ReleasedProbe


def add(planner: Planner, batch_norm: bool) -> None:
    """The mixture and direct runs with their probes and the verdicts of every look."""
    study, targets = planner.study, tuple(planner.episodes.targets)
    tuning, judged, probed = Tuning(planner), "direct" in study.arms, "linear_probe" in study.probe.protocols
    for look in range(len(study.looks)):
        for seed in study.block(look):
            tuning.train("mixture", seed, planner.undecided(targets, look))
            for target in targets:
                asks, direct = planner.undecided([target], look), f"direct-{target}"
                if judged:
                    tuning.train(direct, seed, asks)
                for arm, name in (("mixture", "mixture"), ("direct", direct))[: 1 + judged]:
                    protocols(planner, arm, name, seed, target, asks)
                    if batch_norm and target in planner.episodes.components:
                        adapted(planner, arm, name, seed, target, asks)
                untrained(planner, seed, target, asks)
        if judged:
            decide(planner, look)
    for target in targets if probed else ():
        planner.probe("pixels", 0, target, (Member(Pixels()),))
    steps = {planner.episodes.step(step) for step in study.keep}
    for seed in study.block(0):
        planner.train(dataclasses.replace(planner.run("mixture", seed), keep=tuple(sorted(steps))))


def protocols(planner: Planner, arm: str, name: str, seed: int, target: str, asks) -> None:
    """Every protocol of the study at the last step of one run, on one target."""
    spec, member = planner.study.probe, planner.member(name, seed)
    for protocol in spec.protocols:
        if protocol == "head":
            if planner.head(member.source, target) is not None:
                planner.probe(arm, seed, target, (member,), protocol, asks)
        elif protocol == "linear_probe":
            planner.probe(arm, seed, target, (member,), protocol, asks)
        elif arm not in spec.arms:
            continue
        elif protocol == ADAPTED:
            adapted(planner, arm, name, seed, target, asks)
        else:
            further(planner, arm, seed, target, (member,), (seed,), protocol, asks)


def further(
    planner: Planner, arm: str, index: int, target: str, members, seeds, protocol: str, asks=(), **reduced
) -> None:
    """A protocol that is for the arms and representations of `probe.arms`; `seeds`: of the members."""
    if protocol == "k_shot":
        few(planner, arm, index, target, members, asks, **reduced)
    elif protocol == "nonlinear_probe":
        planner.probe(arm, index, target, members, protocol, asks, **reduced)
    elif protocol == RELEASED:
        options = dict(kind=ReleasedProbe, spec=planner.study.probe.released, **reduced)
        planner.probe(arm, index, target, members, protocol, asks, **options)
    elif protocol in TUNED:
        finetuning.add(planner, arm, index, target, members, seeds, protocol, asks, **reduced)


def adapted(planner: Planner, arm: str, name: str, seed: int, target: str, asks) -> None:
    """Read a second time, with BatchNorm statistics re-measured on the component's probe items."""
    planner.probe(arm, seed, target, (planner.member(name, seed, adapt=True),), ADAPTED, asks)


def few(planner: Planner, arm: str, index: int, target: str, members: tuple[Member, ...], asks, **reduced) -> None:
    spec = planner.study.probe
    for shots in spec.shots:
        planner.probe(arm, index, target, members, "k_shot", asks, shots=shots, draws=spec.draws, **reduced)


def untrained(planner: Planner, seed: int, target: str, asks) -> None:
    """What an untrained network of the same seed offers at the probe's layer."""
    spec, member = planner.study.probe, planner.untrained("mixture", seed, asks=asks)
    if "linear_probe" in spec.protocols:
        planner.probe("random", seed, target, (member,), "linear_probe", asks)
    for protocol in ("nonlinear_probe", "k_shot", RELEASED, "finetune") if "random" in spec.arms else ():
        if protocol in spec.protocols:
            further(planner, "random", seed, target, (member,), (seed,), protocol, asks)


def decide(planner: Planner, look: int) -> None:
    """The verdicts of a look."""
    families = (tuple(planner.episodes.components), tuple(planner.episodes.outside))
    study, probes = planner.study, planner.probes_of("mixture", "direct")
    decider = Decide(families, probes, study.margin, look, len(study.looks), planner.deciders)
    planner.deciders = (*planner.deciders, planner.add(decider))


def add_sources(planner: Planner) -> list[Subject]:
    """Features from elsewhere: probed, and judged against direct training or another source."""
    subjects, targets = [], planner.episodes.targets
    families = (tuple(planner.episodes.components), tuple(planner.episodes.outside))
    for name, spec in planner.study.sources.items():
        for seed in range(len(spec.directories)):
            for target in targets:
                planner.probe(name, seed, target, (foreign_member(planner, name, seed, target),))
    for name, spec in planner.study.sources.items():
        references = () if spec.reference == "direct" else tuple((t, spec.reference) for t in targets)
        probes = planner.probes_of(name, spec.reference)
        decider = Decide(families, probes, planner.study.margin, 0, 1, (), name, references)
        subjects.append(Subject(name, (planner.add(decider),)))
    return subjects


def foreign_member(planner: Planner, name: str, seed: int, target: str) -> Member:
    """One network's features of one target, as another tool left them."""
    directory = planner.study.sources[name].directories[seed]
    return Member(Arrays(f"{name}/{seed}", directory, foreign.digest(directory, target)), LAST)


def seeds_of(planner: Planner):
    """source -> its seeds; of our runs those of the first look; of students the first of each set of teachers."""
    return lambda source: (
        tuple(range(len(planner.study.sources[source].directories)))
        if source in planner.study.sources
        else tuple(seed for seed in planner.study.block(0) if planner.has(source, seed))
    )


def steps_of(planner: Planner):
    """source -> its last step; 0 for foreign ones."""
    first = planner.study.run_seeds[0]
    return lambda source: 0 if source in planner.study.sources else planner.run(source, first).steps


def place_member(planner: Planner, place: representations.Place, target: str) -> Member:
    if place.source in planner.study.sources:
        return foreign_member(planner, place.source, place.seed, target)
    return planner.member(place.source, place.seed, place.step, place.layer)
