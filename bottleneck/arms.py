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
    evidence: str = ""  # what it did, as a clause with {share}
    per_component: bool = False  # one run a component, or one run for all of them
    outside: bool = False  # asked of targets outside the mixture, too
    own_weight: bool = False  # the component alone: one-hot weights
    equal_weights: bool = False
    masked: bool = False  # the mixture's own batches, every other component's loss masked
    unique: bool = False  # only the unique examples that the mixture drew
    heads: bool = False  # a classifier per component
    randomised: bool = False  # the competing factor made independent of the label
    steps: float = 1.0  # times the mixture's
    width: float = 1.0  # times the model's


ARMS = {
    arm.name: arm
    for arm in (
        Arm("mixture", "the mixture", outside=True),
        Arm("direct", "the component alone", per_component=True, outside=True, own_weight=True),
        Arm(
            "alone",
            "the mixture's own batches, the loss of every other component masked",
            per_component=True,
            masked=True,
        ),
        Arm(
            "balanced",
            "the mixture at equal weights",
            "dilution",
            "its weight raised from {before} to {after} restores {share}",
            equal_weights=True,
        ),
        Arm(
            "scarce",
            "the component alone, on the unique examples that the mixture drew",
            "scarcity",
            "direct training on the examples that the mixture drew lacks {share}",
            per_component=True,
            own_weight=True,
            unique=True,
        ),
        Arm(
            "longer",
            "the mixture, twice as long",
            "unfinished training",
            "twice as long restores {share}",
            outside=True,
            steps=2,
        ),
        Arm(
            "longest",
            "the mixture, eight times as long (only where training is still rising)",
            outside=True,
            steps=8,
        ),
        Arm(
            "direct_half",
            "the component alone, half as long (is direct training itself still rising?)",
            per_component=True,
            outside=True,
            own_weight=True,
            steps=0.5,
        ),
        Arm(
            "heads",
            "the mixture, one classifier per component",
            "label conflict",
            "a head per component restores {share}",
            outside=True,
            heads=True,
        ),
        Arm(
            "randomised",
            "the mixture, the competing factor made independent of the label",
            "competition",
            "randomising the competing feature restores {share} of its own feature",
            outside=True,
            randomised=True,
        ),
        Arm(
            "wider",
            "the mixture, four times the width",
            "capacity",
            "four times the width restores {share}",
            outside=True,
            width=4,
        ),
    )
}
CAUSES = {arm.cause: arm.name for arm in ARMS.values() if arm.cause}
