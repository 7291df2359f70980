"""Per-item outcomes of probes as tables [seeds, test items]: what every statistic is computed from."""

from __future__ import annotations

import numpy as np

from bottleneck.analysis.causes import SPLIT
from bottleneck.probing import Probe

PROTOCOL = "linear_probe"  # the family of verdicts: the final step and the last layer, by linear probe
RELEASED = "released_probe"  # the one of the papers, trained by stochastic gradients
LARGEST = "correct at the largest test accuracy"  # an outcome of that: chosen on the very items that it is of
ADAPTED = "linear_probe_bn"  # the same with BatchNorm statistics re-measured on the component's probe items


class Items:
    """Tables of the probes that were carried out; those that ended empty are left out."""

    def __init__(self, store, probes):
        self.store = store
        self.probes: dict[tuple, list[Probe]] = {}
        for probe in probes:
            if store.present(probe):
                self.probes.setdefault(self._place(probe), []).append(probe)

    @staticmethod
    def _place(probe: Probe) -> tuple:
        return probe.arm, probe.target, probe.protocol, probe.shots, probe.factor

    def of(self, probe: Probe, outcome: str = "information") -> np.ndarray | None:
        """One probe's outcome [D, N]: few-shot probes have D draws, others one. None where it has none ("correct" of
        R2)."""
        items = self.store.items(probe)
        return items[outcome].astype(np.float64) if outcome in items else None

    def draws(
        self, arm: str, target: str, outcome: str = "information", protocol: str = PROTOCOL, shots=None, factor=None
    ) -> np.ndarray | None:
        """[S, D, N] in the order of seeds or member sets; None where nothing was read."""
        each = [self.of(probe, outcome) for probe in self.probes.get((arm, target, protocol, shots, factor), ())]
        return np.stack(each) if each and each[0] is not None else None

    def table(self, arm: str, target: str, outcome: str = "information", **where) -> np.ndarray | None:
        """The same as means over draws, [S, N]."""
        draws = self.draws(arm, target, outcome, **where)
        return None if draws is None else draws.mean(1)

    def tables(self, arms, target: str, **where) -> dict[str, np.ndarray]:
        """arm -> [S, N], of the arms that were read."""
        each = {arm: self.table(arm, target, **where) for arm in arms}
        return {arm: table for arm, table in each.items() if table is not None}

    def adapted(self, target: str, outcome: str = "information") -> dict[str, np.ndarray] | None:
        """The arms of the split as re-measured; None where not all of them were read so."""
        tables = self.tables(SPLIT, target, outcome=outcome, protocol=ADAPTED)
        return tables if len(tables) == len(SPLIT) else None
