"""How related the components are: what the features of one's direct training read of another's label."""

from __future__ import annotations

from dataclasses import dataclass

from bottleneck.diagnosis.cast import LABEL, Diagnosis, linear, reading_findings


@dataclass(frozen=True, eq=False, repr=False)
class Relatedness(Diagnosis):
    """One column of the matrix: every component's direct features on one target."""

    KIND = "relatedness"
    VERSION = 2

    @property
    def members(self):
        return [(m, self.component) for m in self.direct_members]

    def findings(self, store):
        for name in dict.fromkeys((*self.cast.components, self.subject)):
            members = self.cast.direct[name]
            readings = [linear(store, m, self.component)[LABEL] for m in members]
            at = {**self.at(members[0]), "arm": f"direct-{name}", "reference": name, "protocol": "linear"}
            yield from reading_findings(self, readings, **at)
