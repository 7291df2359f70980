"""The released probe protocol meets a target: read honestly, and as its numbers were reported (analysis.released)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bottleneck import identity
from bottleneck.analysis import intervals, released
from bottleneck.analysis.released import ReleasedSpec
from bottleneck.items import LARGEST
from bottleneck.probing import Probe, findings, score
from bottleneck.rows import Finding


@dataclass(frozen=True, eq=False, repr=False)
class ReleasedProbe(Probe):
    """A probe trained as the papers' was. Its rows: decay and epoch chosen on validation; and the largest test accuracy
    over both, `selected_on` "test", which enters no verdict. Their per-item outcomes lie beside them by other names."""

    spec: ReleasedSpec = ReleasedSpec()

    @property
    def identity(self):
        return [*super().identity, identity.canonical(dataclasses.asdict(self.spec))]

    def run(self, store) -> None:
        x, y = self.features(store), self.labels
        fitted = released.probe(x, y, self.component.num_classes, self.spec, self.seed)
        honest = score({split: fitted.chosen.logits(x[split]) for split in ("val", "test")}, y, self.null)
        largest = fitted.released.classes(x["test"]) == y["test"]
        items = {"information": honest.bits[None], "correct": honest.correct[None], LARGEST: largest[None]}
        found = findings(self, [honest], None, store.made)
        rows = [self.said(finding, fitted.chosen, fitted.updates) for finding in found]
        at = next(row.at for row in rows if row.metric == "accuracy")
        value = intervals.few_shot([(1.0, largest[None, None])])
        reported = Finding("accuracy", value, "fraction", {**at, "selected_on": "test"})
        store.write(self, [*rows, self.said(reported, fitted.released, fitted.updates)], items)

    def said(self, finding: Finding, reading: released.Reading, updates: int) -> Finding:
        """A finding with the decay and epoch it is of."""
        extra = {**finding.at.get("extra", {}), "epoch": reading.epoch, "updates": updates}
        extra["at_edge"] = released.edge(reading.weight_decay, self.spec)
        at = {"dim": len(reading.weights), "lambda": reading.weight_decay, "extra": extra}
        return dataclasses.replace(finding, at={**finding.at, **at})
