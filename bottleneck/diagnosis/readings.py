"""What ridge probes read from kept steps about the label and the known factors of a target.

Closed-form probes, so that every factor of every (step, layer, target) can be read; the headline probes of verdicts are
logistic and live in `evaluation`. Each (member, target) is read once per process, whichever analyses ask for it.
"""

from __future__ import annotations

import functools

import numpy as np

from bottleneck.analysis import features, gap, nonlinear, screen, solvers
from bottleneck.analysis.screen import Reading
from bottleneck.data.component import Component
from bottleneck.evaluation import collect, run_of
from bottleneck.plan import Evaluation
from bottleneck.representations.members import Member
from bottleneck.store import Store

LABEL = None  # the factor that is a component's own label


def factors(component: Component) -> dict[str | None, tuple[dict, int]]:
    """factor -> (values per split, number of values); `LABEL` first.

    Left out are factors that never vary and those of more values than a tenth of the probe items: names, not factors.
    """
    known = {LABEL: ({s: component.splits[s].labels for s in features.SPLITS}, component.num_classes)}
    for name in component.splits["probe"].factors:
        values = {s: component.splits[s].factors[name] for s in features.SPLITS}
        count = 1 + int(max(v.max(initial=0) for v in values.values()))
        if all(len(np.unique(v)) > 1 for v in values.values()) and count <= max(len(values["probe"]) // 10, 2):
            known[name] = (values, count)
    return known


class Readings:
    """Readings of one study, kept in memory: a few bits and hits per test item each."""

    def __init__(self, store: Store):
        self.store, self.seeds = store, store.plan.study.run_seeds
        self.linear = functools.lru_cache(maxsize=None)(self._linear)
        self.penalty = functools.lru_cache(maxsize=None)(self._penalty)
        self.reference = functools.lru_cache(maxsize=None)(self._reference)

    def features(self, member: Member, target: str) -> dict[str, np.ndarray]:
        return self.store.features(run_of(self.store.plan, member), member.step, target, member.layer, False)

    def _linear(self, member: Member | None, target: str) -> dict[str | None, Reading]:
        """factor -> the whitened ridge probe's reading; of pooled pixels without a member."""
        if member is None:
            x = collect(self.store, Evaluation("pixels", 0, (), target, "linear_probe"))
        else:
            x = self.features(member, target)
        return screen.screen(x, factors(self.store.plan.targets[target]))

    def prominent(self, member: Member, target: str) -> dict[str | None, Reading]:
        """factor -> the raw-scale ridge probe's reading at the penalty that serves the pretraining task best."""
        return screen.screen(
            self.features(member, target), factors(self.store.plan.targets[target]), penalty=self.penalty(member)
        )

    def _penalty(self, member: Member) -> float:
        """The raw-scale ridge penalty of the least validation error on the mixture's own labels, weighted as it is."""
        plan, total = self.store.plan, 0.0
        weights = run_of(plan, member).weights(member.step)
        for (name, component), weight in zip(plan.components.items(), weights, strict=True):
            y, classes = factors(component)[LABEL]
            total = total + weight * screen.errors(self.features(member, name), y, classes)
        return float(solvers.GRID[int(np.argmin(total))])

    def nonlinear(self, member: Member, target: str, targets: dict) -> dict[str | None, Reading]:
        return nonlinear.probe(self.features(member, target), targets)

    def linears(self, members, target: str, factor: str | None, outcome: str = "bits") -> np.ndarray:
        """`bits` or `correct` [S, N] of the members' linear readings of one factor."""
        return stack([self.linear(m, target)[factor] for m in members], outcome)

    def direct(self, component: str, layer: str | None = None) -> list[Member]:
        run = self.store.plan.run(f"direct-{component}", self.seeds[0])
        return [Member(run.name, s, run.steps, layer or self.store.plan.study.probe.layer) for s in self.seeds]

    def mixture(self, step: int | None = None, layer: str | None = None) -> list[Member]:
        steps = self.store.plan.run("mixture", self.seeds[0]).steps
        return [
            Member("mixture", s, steps if step is None else step, layer or self.store.plan.study.probe.layer)
            for s in self.seeds
        ]

    def _reference(self, target: str, factor: str | None) -> tuple[str, np.ndarray]:
        """Whose direct training reads `factor` best on `target` (chosen on validation), and its bits [S, N].

        For the label it is the target's own, as in the gap.
        """
        best = target
        if factor is not LABEL:
            names = dict.fromkeys((target, *self.store.plan.components))
            best = max(
                names, key=lambda name: np.mean([self.linear(m, target)[factor].val_bits for m in self.direct(name)])
            )
        return best, self.linears(self.direct(best), target, factor)


def stack(each: list[Reading], outcome: str = "bits") -> np.ndarray:
    """`bits` or `correct` of several readings [S, N]."""
    return np.stack([getattr(r, outcome) for r in each]).astype(float)


def rows(store: Store, kind: str, each: list, **common) -> list[dict]:
    """Rows of what was read of one factor, a Reading (or a head's Scores) per seed: bits and accuracy, and their means."""
    found, common = [], {**common, "extra": {"analysis": kind}}
    for metric, outcome in (("bits", "bits"), ("accuracy", "correct")):
        table = stack(each, outcome)
        for seed, items, read in zip(store.plan.study.run_seeds, table, each, strict=False):  # the pooled input has one
            found.append(
                store.row(
                    gap.two_way(items),
                    **common,
                    metric=metric,
                    seed=seed,
                    scaling=getattr(read, "scaling", None),
                    **{"lambda": getattr(read, "lam", None)},
                )
            )
        found.append(store.row(gap.two_way(table), **common, metric=metric))
    return found
