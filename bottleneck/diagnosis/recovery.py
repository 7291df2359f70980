"""How much fine-tuning a lost feature takes, beside the same from a random initialisation: steps and examples saved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals, recovery
from bottleneck.diagnosis.cast import LABEL, Diagnosis, factors, reference, testable
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import Member
from bottleneck.probing import Probe, read_head
from bottleneck.rows import Finding


@dataclass(frozen=True, eq=False, repr=False)
class Recovery(Diagnosis):
    """Curves over fine-tuning steps and over examples for one target, and what each start saves over a random one.

    `curves`: (arm, training examples, step) -> one fine-tuned network per seed, in the order of seeds.
    """

    curves: tuple[tuple[tuple[str, int, int], tuple[Member, ...]], ...] = ()

    KIND = "recovery"
    VERSION = 2

    @property
    def identity(self):
        return [
            self.subject,
            self.cast.arm,
            self.margin,
            [(place, [m.identity for m in ms]) for place, ms in self.curves],
        ]

    @property
    def members(self):
        tuned = [(Member(m.source, LOGITS), self.component) for _, members in self.curves for m in members]
        return [(m, self.component) for m in self.direct_members] + tuned

    def findings(self, store):
        bits = {place: self.bits(store, members) for place, members in self.curves}
        whole = max(examples for _, examples, _ in bits)
        for (arm, examples, step), table in bits.items():
            shots = None if examples == whole else examples // self.component.num_classes
            at = dict(arm=arm, target=self.subject, protocol="finetune", step=step, n_shot=shots)
            yield Finding("information", intervals.two_way(table), "bits", {**at, "extra": {"examples": examples}})
        _, direct = reference(store, self, LABEL)
        if not testable(direct, *factors(self.component)[LABEL]):
            return  # where direct training reads nothing, anything reaches it
        steps = sorted({step for _, examples, step in bits if examples == whole})
        sizes = sorted({examples for _, examples, step in bits if step == steps[-1]})
        if len(steps) > 1:
            yield from self.saved("steps", "log2 steps", steps, lambda arm, s: bits[arm, whole, s], direct)
        if len(sizes) > 1:
            yield from self.saved("examples", "log2 examples", sizes, lambda arm, n: bits[arm, n, steps[-1]], direct)

    def bits(self, store, members: tuple[Member, ...]) -> np.ndarray:
        reader = Probe("mixture", 0, self.subject, self.component, (), "finetune", head=0)
        return np.stack([read_head(store.features(m.source, LOGITS, self.component), reader).bits for m in members])

    def saved(self, unit: str, log_unit: str, levels, read, direct: np.ndarray):
        """Over one kind of budget: what recovery takes from every start, and what that saves over a random one."""
        for arm in dict.fromkeys(arm for (arm, _, _), _ in self.curves if arm != "random"):
            curve, random = (np.stack([read(a, level) for level in levels]) for a in (arm, "random"))
            savings = recovery.savings(curve, random, levels, direct, self.margin)
            at = dict(target=self.subject, protocol="finetune", n_seeds=savings.n_seeds, n_examples=direct.shape[1])
            for name, budget in ((arm, savings.start), ("random", savings.random)):
                if name != "random" or arm == self.cast.arm:  # once
                    extra = {
                        "low": budget.low,
                        "high": budget.high,
                        "censored": budget.censored,
                        "target_bits": budget.target,
                    }
                    yield Finding("recovery", budget.median, unit, {**at, "arm": name, "extra": extra})
            extra = {
                "at_least": savings.at_least,
                "at_most": savings.at_most,
                "censored": savings.censored,
                "floored": savings.floored,
                "faster": savings.faster,
                "slower": savings.slower,
                "target_bits": savings.target,
            }
            at |= {
                "arm": arm,
                "reference": "random",
                "ci95": [savings.low, savings.high],
                "ci_unit": "seeds",
                "extra": extra,
            }
            yield Finding("saved", savings.value, log_unit, at)
