"""Tuning: candidates of the first seed over a grid of learning rates and weight decays; all seeds follow the choice."""

from __future__ import annotations

import dataclasses

from bottleneck.arms import ARMS
from bottleneck.choose import Tune
from bottleneck.features.source import Kept, Member
from bottleneck.planning.planner import Planner
from bottleneck.training.run import Run

TUNING = "tuning"  # the protocol of candidates, which are no arms
MIXTURE_SETTINGS = ("alone", "scarce")  # arms that take the mixture's choice


class Tuning:
    """Asks for runs, tuned where the study has a grid. `direct` of a component is chosen by its own validation log-
    loss, arms that train the mixture by the weighted mean of all components'."""

    def __init__(self, planner: Planner):
        self.planner = planner
        optimizer = planner.study.optimizer
        self.grid = planner.study.grid.pairs(optimizer.lr, optimizer.weight_decay)

    def train(self, name: str, seed: int, asks=()) -> None:
        """Asks for the run of this name and seed; with a grid, for its candidates and the choice first."""
        if len(self.grid) == 1:
            self.planner.train(self.planner.run(name, seed), asks)
            return
        chooser, candidates = self.choose(name, asks)
        tuned = dataclasses.replace(self.planner.plain_run(name, seed), tuned=chooser.key)
        self.planner.call(name, seed, tuned, tuple((candidate, candidate.steps) for candidate in candidates))
        self.planner.train(tuned, asks, chooser=chooser.output)

    def choose(self, name: str, asks) -> tuple[Tune, list[Run]]:
        """The chooser of an arm's settings, and its candidates: runs of the first seed."""
        planner = self.planner
        arm, _, target = name.partition("-")
        if arm in MIXTURE_SETTINGS:
            return self.choose("mixture", asks)
        plain = planner.plain_run(name, planner.study.run_seeds[0])
        weights = {target: 1.0} if ARMS[arm].own_weight else planner.study.mixture.weights
        probes = []
        candidates = [
            dataclasses.replace(plain, optimizer=dataclasses.replace(plain.optimizer, lr=lr, weight_decay=decay))
            for lr, decay in self.grid
        ]
        for index, ((lr, decay), candidate) in enumerate(zip(self.grid, candidates, strict=True)):
            planner.train(candidate, asks, grids=(tuple(candidates),))
            member = Member(
                Kept(f"{name} lr {lr:g} decay {decay:g}", candidate, candidate.steps, planner.study.data),
                planner.study.probe.layer,
            )
            options = dict(protocol=TUNING, asks=asks)
            probes += [planner.probe(str(index), plain.seed, met, (member,), **options) for met in weights]
        chooser = Tune(self.grid, tuple(probes), tuple(weights.items()))
        return planner.add(chooser), candidates
