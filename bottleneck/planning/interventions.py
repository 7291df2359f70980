"""Which interventions are asked of which targets: their runs, their probes, and the choosers that decide on demand."""

from __future__ import annotations

from bottleneck.analysis.causes import SPLIT
from bottleneck.arms import ARMS, CAUSES, Arm
from bottleneck.choose import Choose, Compete, Expose, Rise
from bottleneck.items import ADAPTED
from bottleneck.planning.planner import Planner
from bottleneck.planning.references import adapted
from bottleneck.planning.tuning import Tuning


class Interventions:
    """Every arm beyond the mixture and direct training. An arm is one row of `arms.ARMS`; what is said here of an arm
    by name is what decides whether it is trained."""

    def __init__(self, planner: Planner, batch_norm: bool):
        self.planner, self.study, self.episodes = planner, planner.study, planner.episodes
        self.batch_norm = batch_norm
        self.tuning = Tuning(planner)

    def add(self) -> None:
        for name in ("alone", "balanced", "longer", "direct_half", "heads", "wider"):
            self.intervene(ARMS[name], "lost")
        self.untrained_wider()
        components = tuple(self.episodes.components)
        if "scarce" in self.study.arms:
            probes = self.planner.probes_of(*SPLIT) + self.planner.probes_of(*SPLIT, protocol=ADAPTED)
            self.intervene(ARMS["scarce"], "exposed", self.planner.add(Expose(components, probes, self.study.looks)))
        if "longest" in self.study.arms:
            probes = self.planner.probes_of("mixture", "direct", "longer", "direct_half")
            targets = tuple(self.episodes.targets)
            rise = Rise(targets, probes, self.study.looks, self.study.margin)
            self.intervene(ARMS["longest"], "rising", self.planner.add(rise))
        if self.study.mixture.competitor is not None:
            self.compete()

    def targets(self, arm: Arm) -> list[str]:
        """The targets an arm may be asked of."""
        scarce = arm.unique
        return [
            name
            for name in self.episodes.targets
            if not self.episodes.unasked(arm, name) and not (scarce and self.episodes.never_scarce(name))
        ]

    def intervene(self, arm: Arm, question: str, chooser: Choose | None = None) -> None:
        """The runs of an arm, and their probes on every target they are asked of."""
        for look in range(len(self.study.looks)):
            for seed in self.study.block(look):
                for target in self.targets(arm):
                    asks = self.planner.asked(question, [target], look, chooser)
                    name = f"{arm.name}-{target}" if arm.per_component else arm.name
                    self.tuning.train(name, seed, asks)
                    self.planner.probe(arm.name, seed, target, (self.planner.member(name, seed),), asks=asks)
                    if arm.masked and self.batch_norm:
                        adapted(self.planner, arm.name, name, seed, target, asks)

    def untrained_wider(self) -> None:
        """The wider network at its step 0: what width alone reads."""
        for look in range(len(self.study.looks)):
            for seed in self.study.block(look) if "wider" in self.study.arms else ():
                for target in self.targets(ARMS["wider"]):
                    asks = self.planner.asked("lost", [target], look)
                    member = self.planner.member("wider", seed, 0)
                    self.planner.probe("wider_untrained", seed, target, (member,), asks=asks)

    def compete(self) -> None:
        """Competition is judged on the feature that competes with the label's own: mixture, direct, alone and
        `randomised` are read on the component's variant in which the competitor says nothing. Nothing more is trained
        for that."""
        targets = self.targets(ARMS["randomised"])
        for name in ("mixture", "direct"):
            self.read_variants(name, targets, "lost")
        factor = self.study.mixture.competitor
        probes = self.planner.probes_of("mixture", "direct", factor=factor)
        chooser = self.planner.add(Compete(tuple(targets), probes, self.study.looks, factor))
        self.read_variants(
            "alone", [t for t in targets if not self.episodes.unasked(ARMS["alone"], t)], "competes", chooser
        )
        self.intervene(ARMS["randomised"], "competes", chooser)
        self.read_variants("randomised", targets, "competes", chooser)

    def read_variants(self, arm: str, targets: list[str], question: str, chooser: Choose | None = None) -> None:
        for look in range(len(self.study.looks)):
            for seed in self.study.block(look):
                for target in targets:
                    asks = self.planner.asked(question, [target], look, chooser)
                    name = f"{arm}-{target}" if ARMS[arm].per_component else arm
                    component, factor = self.episodes.variants[target], self.study.mixture.competitor
                    options = dict(asks=asks, component=component, factor=factor)
                    self.planner.probe(arm, seed, target, (self.planner.member(name, seed),), **options)

    def not_asked(self) -> dict[tuple[str, str], str]:
        """(arm, target) -> why an arm that tells a cause is not asked of a target, whatever its verdict."""
        reasons = {
            (arm, target): self.episodes.unasked(ARMS[arm], target)
            for arm in CAUSES.values()
            for target in self.episodes.targets
        }
        return {place: reason for place, reason in reasons.items() if reason}
