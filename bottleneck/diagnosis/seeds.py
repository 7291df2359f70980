"""In which seeds a feature is there, and whether concatenating the seeds adds up weak evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck import workers
from bottleneck.analysis import intervals, screen, seeds
from bottleneck.diagnosis.cast import Diagnosis, factors, linear, linears, reference, testable
from bottleneck.features.join import collect
from bottleneck.rows import Finding


@dataclass(frozen=True, eq=False, repr=False)
class Seeds(Diagnosis):
    """Evidence per seed, its class, and all seeds concatenated, for the label and the factors of one target."""

    KIND = "seeds"
    VERSION = 2

    @property
    def members(self):
        return [(m, self.component) for m in (*self.direct_members, *self.cast.at(), *self.cast.untrained())]

    @property
    def arms(self) -> dict:
        """Whose seeds are concatenated: the subject's, and untrained ones, which say what width alone adds."""
        arms = {self.cast.arm: self.cast.at(), "random": self.cast.untrained()}
        return {arm: members for arm, members in arms.items() if members}

    def findings(self, store):
        known = factors(self.component)
        joined = {
            arm: workers.call(screen.screen, collect(store, members, self.component), known)
            for arm, members in self.arms.items()
            if len(members) > 1
        }
        for factor in known:
            yield from self.evidence(store, factor, *known[factor])
            for arm, readings in joined.items():
                yield from self.concatenated(store, arm, readings[factor], factor)

    def evidence(self, store, factor: str | None, values: dict, count: int):
        """In how many seeds one factor is kept."""
        members = self.cast.at()
        name, whole = reference(store, self, factor)
        bits = linears(store, members, self.component, factor)
        at = self.at(members[0], factor=factor, protocol="linear", reference=f"{self.cast.prefix}{name}")
        evidence = seeds.evidence(bits, whole, self.margin)
        for seed, items, joint in zip(self.cast.seeds, bits - self.margin * whole, evidence.seeds, strict=True):
            extra = {"joint_ci": [joint.low, joint.high], "level": joint.level}
            yield Finding("evidence", intervals.two_way(items), "bits", {**at, "seed": seed, "extra": extra})
        spread = evidence.spread
        extra = {
            "class": evidence.verdict if testable(whole, values, count) else "untestable",
            "retained": evidence.retained,
            "lost": evidence.lost,
            "undecided": evidence.undecided,
            "seed_sd": spread and spread.sd,
            "seed_sd_ci": spread and [spread.low, spread.high],
        }
        yield Finding("evidence", evidence.mean, "bits", {**at, "extra": extra})

    def concatenated(self, store, arm: str, reading, factor: str | None):
        """What one concatenation of all seeds reads, beside its members."""
        members = self.arms[arm]
        best = int(np.argmax([linear(store, m, self.component)[factor].val_bits for m in members]))
        gains = seeds.concatenation(reading.bits, linears(store, members, self.component, factor), best)
        at = self.at(members[0], factor=factor, protocol="linear", extra={"members": len(members)})
        at["arm"] = arm
        yield Finding("concatenated", gains.joined, "bits", at)
        yield Finding("concatenated_gain", gains.over_mean, "bits", at)
        yield Finding("concatenated_over_best", gains.over_best, "bits", at)
