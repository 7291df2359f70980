"""Which diagnoses a study asks for: whose features each one reads."""

from __future__ import annotations

from bottleneck.analysis import trajectory
from bottleneck.arms import ARMS
from bottleneck.diagnosis.cast import Cast
from bottleneck.diagnosis.gradients import Gradients
from bottleneck.diagnosis.ladder import Ladder
from bottleneck.diagnosis.recovery import Recovery
from bottleneck.diagnosis.relatedness import Relatedness
from bottleneck.diagnosis.seeds import Seeds
from bottleneck.diagnosis.similarity import Similarity
from bottleneck.diagnosis.steps import Steps
from bottleneck.features.layers import LAST, POSITIONS, tap_and_mode
from bottleneck.features.source import Member
from bottleneck.planning.planner import Planner
from bottleneck.planning.references import foreign_member
from bottleneck.probing import Probe
from bottleneck.tasks import Task


class Diagnoses:
    """The diagnoses of the mixture's kept steps and of foreign sources. `taps`: the layers of the mixture's model."""

    def __init__(self, planner: Planner, taps: tuple[str, ...]):
        self.planner, self.taps, self.study = planner, taps, planner.study
        self.seeds = planner.study.block(0)  # later looks are for verdicts

    def add(self) -> tuple[Task, ...]:
        kinds, tasks = self.study.analysis.kinds, []
        if kinds:
            cast = self.cast()
            tasks += [task for kind in kinds for task in self.of(kind, cast)]
            tasks += [task for name in self.study.sources for kind in kinds for task in self.of_source(kind, name)]
        return tuple(self.planner.add(task) for task in tasks)

    def of(self, kind: str, cast: Cast) -> list[Task]:
        """The tasks of one kind about our own runs."""
        study, names, margin = self.study, cast.targets, self.study.margin
        last = self.planner.run("mixture", self.seeds[0])
        if kind == "ladder":
            weights = tuple(zip(last.components, last.weights(last.steps)))
            return [Ladder(name, cast, margin, weights=weights) for name in names]
        if kind == "steps":
            head = {name: self.planner.head(cast.at()[0].source, name) for name in names}
            heads = "head" in study.probe.protocols
            each = [
                Steps(name, cast, margin, head=head[name] if heads else None, competitor=study.mixture.competitor)
                for name in names
            ]
            return [*each, Gradients("", cast)]
        if kind == "seeds":
            return [Seeds(name, cast, margin) for name in names]
        if kind == "relatedness":
            return [Relatedness(name, cast) for name in names]
        if kind == "recovery":
            return [Recovery(name, cast, margin, curves=self.curves(name)) for name in names]
        return [Similarity(comparison, cast, batch=study.analysis.batch) for comparison in study.analysis.comparisons]

    def of_source(self, kind: str, name: str) -> list[Task]:
        """The same about features from elsewhere, as far as they go: one layer, no steps, no head of ours."""
        targets = self.planner.episodes.targets
        casts = {target: self.foreign_cast(name, target) for target in targets}
        if kind == "ladder":
            return [Ladder(target, cast, self.study.margin) for target, cast in casts.items()]
        if kind == "seeds":
            return [Seeds(target, cast, self.study.margin) for target, cast in casts.items()]
        return []

    def layers(self) -> list[str]:
        """The layers looked at, from input to output, the probe's among them."""
        given, depth = self.study.analysis.layers, {tap: i for i, tap in enumerate(self.taps)}
        spaced = [layer for layer in given if tap_and_mode(layer)[1] == POSITIONS]  # samples, for CKA alone
        layers = {*(self.taps if spaced or not given else given), self.study.probe.layer, *spaced}
        return sorted(layers, key=lambda layer: (depth.get(layer.partition(".")[0], 0), layer))

    def steps(self) -> list[int]:
        spec, last = self.study.analysis, self.planner.run("mixture", self.seeds[0]).steps
        wanted = set(spec.kinds) & {"steps"} or ("cka" in spec.kinds and "steps" in spec.comparisons)
        return list(trajectory.log_steps(last, spec.halvings)) if wanted else [0, last]

    def cast(self) -> Cast:
        """The mixture's networks and direct training's."""
        planner, study, targets = self.planner, self.study, self.planner.episodes.targets
        layer, last = study.probe.layer, planner.run("mixture", self.seeds[0]).steps
        places = [(step, layer) for step in self.steps()]
        places += [(step, each) for each in self.layers() for step in (0, last)]
        trained = {
            (step, each): tuple(planner.member("mixture", seed, step, each) for seed in self.seeds)
            for step, each in dict.fromkeys(sorted(places, key=lambda p: (p[0], self.layers().index(p[1]))))
        }
        bare = {each: tuple(planner.untrained("mixture", seed, each) for seed in self.seeds) for each in self.layers()}
        direct, components = self.direct(self.seeds), tuple(planner.episodes.components)
        return Cast("mixture", self.seeds, layer, trained, direct, targets, components, bare)

    def direct(self, seeds) -> dict[str, tuple[Member, ...]]:
        return {
            name: tuple(self.planner.member(f"direct-{name}", seed) for seed in seeds)
            for name in self.planner.episodes.targets
        }

    def foreign_cast(self, name: str, target: str) -> Cast:
        """One foreign recipe on one target, beside as many seeds of direct training as both have."""
        planner, spec = self.planner, self.study.sources[name]
        seeds = self.seeds[: len(spec.directories)]
        members = tuple(foreign_member(planner, name, i, target) for i in range(len(seeds)))
        targets, components = planner.episodes.targets, tuple(planner.episodes.components)
        return Cast(name, seeds, LAST, {(None, LAST): members}, self.direct(seeds), targets, components)

    def curves(self, target: str) -> tuple:
        """(arm, training examples, step) -> fine-tuned networks, from the fine-tuning that the study has asked for."""
        planner, component = self.planner, self.planner.episodes.targets[target]
        whole, curves = len(component.splits["train"]), {}
        tuned: list[Probe] = [p for p in planner.probes if p.target == target and p.protocol == "finetune"]
        tuned = [p for p in tuned if p.arm in (*ARMS, "random")]  # member sets of representations have no seeds
        for probe in (p for p in tuned if p.seed in self.seeds):
            size = whole if probe.shots is None else probe.shots * component.num_classes
            if probe.shots is not None and size >= whole:
                continue
            source = probe.members[0].source
            for step in source.run.keep:
                member = planner.kept(source.run, step, source.name.partition("@")[0], LAST)
                curves.setdefault((probe.arm, size, step), []).append(member)
        return tuple((place, tuple(members)) for place, members in curves.items())
