"""Which probes a study's claims read: they must be there, as claims ask for no runs of their own."""

from __future__ import annotations

from bottleneck.claims import Claims, ReadingSpec
from bottleneck.errors import UserError
from bottleneck.planning.planner import Planner
from bottleneck.probing import HEADS, Probe


def add(planner: Planner) -> None:
    """The task that judges, where the study has claims. Raises UserError on a reading that it does not make."""
    claims = planner.study.claims
    places: dict[ReadingSpec, list[Probe]] = {}
    for probe in planner.probes:
        if probe.factor is None and probe.shots is None:
            places.setdefault(ReadingSpec(probe.target, probe.arm, probe.protocol), []).append(probe)
    read: dict[ReadingSpec, tuple[Probe, ...]] = {}
    for name, claim in claims.items():
        for key, reading in claim.readings.items():
            if reading not in places:
                near = [r for r in places if r.target == reading.target] or places
                known = ", ".join(dict.fromkeys(f"{r.arm} by {r.protocol}" for r in near))
                given = f"{reading.arm} by {reading.protocol} on {reading.target}"
                raise UserError(f"claims.{name}.{key}", given, f"what the study reads: {known}")
            read[reading] = tuple(places[reading])
            check(name, claim.metric, read[reading][0])
        sides = [read[reading] for reading in claim.readings.values()]
        apart = len({side[0].component.fingerprints["test"] for side in sides}) > 1
        if apart and len({len(side) for side in sides}) > 1:
            raise UserError(f"claims.{name}.minus", len(sides[1]), f"as many seeds or member sets: {len(sides[0])}")
    if claims:
        planner.add(Claims(claims, read, planner.study.vary))


def check(name: str, metric: str, probe: Probe) -> None:
    """Whether a probe has what the metric is made of."""
    classes = probe.component.num_classes
    if not classes:
        raise UserError(f"claims.{name}.reads", probe.target, "a target of classes")
    if metric == "auc" and (classes != 2 or probe.protocol not in HEADS):
        expected = f"'accuracy', or two classes and a protocol among {', '.join(HEADS)}"
        raise UserError(f"claims.{name}.metric", metric, expected)
