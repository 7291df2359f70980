"""The arms: why a run exists, how it differs from the mixture's run, and what it says about a gap. One row an arm.

`mixture` is the object of study and `direct` its reference. Every other arm is an intervention: it undoes one suspected
cause, and what it restores of the gap is measured. Study, plan, causes, sentences, report and README read this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One row. What a run does not differ in stays at its default."""

    name: str
    trained: str  # what is trained, for tables
    cause: str = ""  # what it would undo; "" where it is no intervention
    evidence: str = ""  # what it did, as a clause; {share} is of the gap
    shows: str = ""  # what it is for, where that is not its cause alone
    disjoint: str = ""  # what it would undo in a disjoint label space, where that is something else
    per_component: bool = False  # one run a component, or one run for all of them
    outside: bool = False  # asked of targets outside the mixture, too
    own_weight: bool = False  # the component alone: one-hot weights
    equal_weights: bool = False
    masked: bool = False  # the mixture's own batches, every other component's loss masked
    unique: bool = False  # only the unique examples that the mixture drew
    heads: bool = False  # a classifier per component
    randomised: bool = False  # the competing factor made independent of the component's label
    steps: float = 1.0  # times the mixture's
    width: float = 1.0  # times the model's

    @property
    def reference(self) -> str:
        """The arm it is compared with: it gives something back to the mixture, or takes it from direct training."""
        return "direct" if self.own_weight else "mixture"

    def cause_in(self, label_space: str) -> str:
        """What it would undo in a label space: shared, disjoint or per_component."""
        return self.disjoint if label_space == "disjoint" and self.disjoint else self.cause


ARMS = {
    arm.name: arm
    for arm in (
        Arm("mixture", "the mixture", shows="the object of study", outside=True),
        Arm(
            "direct",
            "the component alone",
            shows="`direct - mixture` is the gap",
            per_component=True,
            outside=True,
            own_weight=True,
        ),
        Arm(
            "alone",
            "the mixture's own batches, the loss of every other component masked",
            shows="`direct - alone` is exposure, `alone - mixture` interference of the others",
            per_component=True,
            masked=True,
        ),
        Arm(
            "balanced",
            "the mixture at equal weights",
            "dilution",
            "its weight raised from {before} to {after} restores {share} of the gap",
            equal_weights=True,
        ),
        Arm(
            "scarce",
            "the component alone, on the unique examples that the mixture drew",
            "scarcity",
            "direct training on the examples that the mixture drew lacks {share} of the gap",
            shows="`direct - scarce` is scarcity, a part of exposure",
            per_component=True,
            own_weight=True,
            unique=True,
        ),
        Arm(
            "longer",
            "the mixture, longer (twice as long by default)",
            "unfinished training",
            "{times} as long restores {share} of the gap",
            outside=True,
            steps=2,
        ),
        Arm(
            "longest",
            "the mixture, longest (8 times as long by default; only where training is still rising)",
            evidence="{times} as long restores {share} of the gap",
            shows="settles unfinished training where `longer` or `direct_half` is still rising",
            outside=True,
            steps=8,
        ),
        Arm(
            "direct_half",
            "the component alone, half as long",
            shows="`direct - direct_half`: is direct training itself still rising?",
            per_component=True,
            outside=True,
            own_weight=True,
            steps=0.5,
        ),
        Arm(
            "heads",
            "the mixture, one classifier per component",
            "label conflict",
            "a head per component restores {share} of the gap",
            disjoint="telling the components apart",
            outside=True,
            heads=True,
        ),
        Arm(  # in one component alone: another for which the factor is all there is would become noise
            "randomised",
            "the mixture, the competing factor made independent of the label in the component alone",
            "competition",
            "randomising the competing feature restores {share} of the gap of its own feature",
            per_component=True,
            randomised=True,
        ),
        Arm(
            "wider",
            "the mixture, four times the width (read untrained, too)",
            "capacity",
            "four times the width restores {share} of the gap",
            outside=True,
            width=4,
        ),
    )
}
CAUSES = {arm.cause: arm.name for arm in ARMS.values() if arm.cause}


def times(factor: float) -> str:
    """How many times as long, in words."""
    return "twice" if factor == 2 else f"{factor:g} times"


def table() -> list[tuple[str, str, str]]:
    """(arm, what is trained, what it restores or shows) for every arm, in the order of `ARMS`."""
    return [(arm.name, arm.trained, _purpose(arm)) for arm in ARMS.values()]


def _purpose(arm: Arm) -> str:
    if arm.shows:
        return arm.shows
    return f"restores: {arm.cause}" + (f" ({arm.disjoint}, where label spaces are disjoint)" if arm.disjoint else "")
