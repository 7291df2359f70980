"""Published results as data: what a study reads of its own, against what was published, and the task that judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bottleneck import identity
from bottleneck.analysis import claims as judging
from bottleneck.errors import UserError
from bottleneck.features import extract
from bottleneck.features.layers import LOGITS
from bottleneck.items import Items
from bottleneck.price import ancestors
from bottleneck.probing import Probe
from bottleneck.rows import Finding, fixed
from bottleneck.tasks import Task


@dataclass(frozen=True)
class ReadingSpec:
    """Which rows: an arm, recipe or representation, on a target (a component, or one outside), by a protocol."""

    target: str
    arm: str = "mixture"
    protocol: str = "head"


@dataclass(frozen=True)
class ClaimSpec:
    """One number of somebody's, under their protocol. What is read (less `minus`, of a contrast), in percent.

    `published` with its `sd`, or None where there are only pictures, or nothing: then `above` or `below`, a criterion
    of our own. `reduced` says what differs from the original; such a claim is judged by `above` or `below` alone, which
    give the direction. With none of them it is measured, and not judged. The rule and its margins: `analysis.claims`.
    """

    says: str  # in words, as a clause
    reads: ReadingSpec
    source: str = ""  # who published it, and where
    minus: ReadingSpec | None = None
    metric: Literal["accuracy", "auc"] = "accuracy"
    published: float | None = None
    sd: float | None = None
    above: float | None = None
    below: float | None = None
    reduced: str = ""

    def __post_init__(self):
        judged = self.above is not None or self.below is not None
        if self.published is not None and not self.source:
            raise UserError("source", self.source, "who published the number, and where")
        if self.sd is not None and (self.published is None or self.sd < 0):
            raise UserError("sd", self.sd, "the standard deviation of a published number")
        if self.published is not None and judged != bool(self.reduced):
            expected = "'above' or 'below' where the protocol is reduced, and nowhere else beside a published number"
            raise UserError("above", self.above, expected)
        if None not in (self.above, self.below) and not self.above < self.below:
            raise UserError("below", self.below, "a number larger than 'above'")

    @property
    def readings(self) -> dict[str, ReadingSpec]:
        """config key -> what is read."""
        return {"reads": self.reads} | ({"minus": self.minus} if self.minus else {})

    @property
    def band(self) -> judging.Band | None:
        return judging.band(self.published, self.sd, self.above, self.below, bool(self.reduced))


@dataclass(frozen=True, eq=False, repr=False)
class Claims(Task):
    """Judges the claims of a study. `probes`: those of every reading, by seed or member set."""

    claims: dict[str, ClaimSpec]
    probes: dict[ReadingSpec, tuple[Probe, ...]]
    vary: str = "both"

    KIND = "claims"
    VERSION = 2
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        read = [[reading, [probe.key for probe in probes]] for reading, probes in self.probes.items()]
        return [identity.canonical(self.claims), read, *([] if self.vary == "both" else [self.vary])]

    @property
    def reads(self):
        """The logits of what is read by its order, not by its decisions."""
        by_order = {reading for c in self.claims.values() if c.metric == "auc" for reading in c.readings.values()}
        probes = [probe for reading in by_order for probe in self.probes[reading]]
        return tuple(dict.fromkeys((m.source, LOGITS, p.component) for p in probes for m in p.members))

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super().needs, *(extract.output(*read) for read in self.reads))))

    @property
    def joined(self):
        return tuple({probe.key: probe for probes in self.probes.values() for probe in probes}.values())

    def run(self, store) -> None:
        store.write(self, [fixed(finding, self.vary) for finding in self.findings(store)])

    def findings(self, store) -> Iterator[Finding]:
        for name, claim in self.claims.items():
            sides = [self.table(store, reading, claim.metric) for reading in claim.readings.values()]
            if any(side is None for side in sides):
                continue  # nobody asked for the runs
            probes = [self.present(store, reading) for reading in claim.readings.values()]
            shared = len({probe[0].component.fingerprints["test"] for probe in probes}) == 1
            ours = judging.difference(*sides, *[None] * (2 - len(sides)), shared)
            networks = {run for side in probes for p in side for run, step in ancestors(p.members).items() if step}
            yield Finding("claim", ours, "points", self.at(name, claim, ours, len(networks)))

    def present(self, store, reading: ReadingSpec) -> list[Probe]:
        return [probe for probe in self.probes[reading] if store.present(probe)]

    def table(self, store, reading: ReadingSpec, metric: str) -> np.ndarray | None:
        """[seeds or member sets, test items], in percent."""
        present = self.present(store, reading)
        items = Items(store, present)
        if not present:
            return None
        if metric == "accuracy":
            return 100.0 * np.concatenate([items.of(probe, "correct") for probe in present])
        return 100.0 * np.stack([ordered(store, probe) for probe in present])

    def at(self, name: str, claim: ClaimSpec, ours, networks: int) -> dict:
        """The row's other keys: what was read, of how many trained networks, and the judgement."""
        probes, band, status = self.probes[claim.reads], claim.band, judging.judge(ours, claim.band)
        extra = {"claim": name, **{f.name: getattr(claim, f.name) for f in dataclasses.fields(claim)}}
        extra |= {key: dataclasses.asdict(reading) for key, reading in claim.readings.items()}
        extra |= {"band": band and [band.low, band.high], "status": status}
        extra |= {"networks": networks, "sentence": sentence(claim, ours, status, len(probes[0].members))}
        return dict(
            arm=claim.reads.arm,
            target=claim.reads.target,
            protocol=claim.reads.protocol,
            reference=claim.minus and claim.minus.arm,
            extra=extra,
        )


def ordered(store, probe: Probe) -> np.ndarray:
    """What every test item [n] says of the area under the ROC curve for telling class 1 from class 0."""
    logits = probe.classifier(store)["test"]
    score = logits[:, probe.head + 1].astype(np.float64) - logits[:, probe.head]
    return judging.auc_items(score, probe.labels["test"] == 1)


def sentence(claim: ClaimSpec, ours, status: str, networks: int) -> str:
    """One claim, what it was held against and what became of it, in words."""
    each = f" of {networks} networks" if networks > 1 else ""
    sets = f"{ours.n_seeds} {'sets' if networks > 1 else 'seeds'}{each}"
    if ours.n_seeds == 1:
        sets = f"over the items of one {'set' if networks > 1 else 'network'}{each} alone"
    words = f"{claim.says}: {status}, {ours.value:.1f} ({ours.low:.1f} to {ours.high:.1f}; {sets})"
    if claim.published is not None:
        sd = f" +- {claim.sd:g}" if claim.sd is not None else ""
        words += f" against a published {claim.published:g}{sd}"
    if claim.band is not None and claim.band.inside == judging.SAME:
        words += f", asked to lie {limits(claim)}"
    return words + (f"; reduced: {claim.reduced}" if claim.reduced else "") + "."


def limits(claim: ClaimSpec) -> str:
    """The direction in words."""
    ends = (("above", claim.above), ("below", claim.below))
    return " and ".join(f"{side} {end:g}" for side, end in ends if end is not None)
