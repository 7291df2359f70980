"""How deep a feature lies: the first rung of the ladder at which the last step reads it."""

from __future__ import annotations

from dataclasses import dataclass

from bottleneck import workers
from bottleneck.analysis import intervals, ladder, screen
from bottleneck.analysis.ridge import GRID
from bottleneck.diagnosis.cast import (
    LABEL,
    PIXELS,
    Diagnosis,
    entangled,
    entropy,
    factors,
    linear,
    linears,
    reading_findings,
    reference,
    table,
)
from bottleneck.features import extract
from bottleneck.features.source import SPLITS, Member
from bottleneck.rows import Finding

CONTROL = "control"


@dataclass(frozen=True, eq=False, repr=False)
class Climbed:
    """Readings of one target by every seed's network."""

    rungs: dict[str, list[dict]]  # prominent, linear, nonlinear: [S] dicts of factor -> Reading
    control: dict[str, list[dict]]  # of the control tasks: linear, nonlinear
    reasons: dict[int, str]  # number of classes -> why it has no control task


@dataclass(frozen=True, eq=False, repr=False)
class Ladder(Diagnosis):
    """Readings of every rung, layer and seed for the label and the factors of one target, and where each factor lands.
    `weights`: the mixture's in force at the last step, by component; none for foreign networks."""

    weights: tuple[tuple[str, float], ...] = ()

    KIND = "ladder"
    VERSION = 2

    @property
    def members(self):
        cast = self.cast
        pairs = [(m, self.component) for m in self.direct_members]
        for layer in cast.layers:
            pairs += [(m, self.component) for m in (*cast.at(layer=layer), *cast.untrained(layer))]
        pairs.append((PIXELS, self.component))
        return pairs + [(m, cast.targets[name]) for m in cast.at() for name, _ in self.weights]

    def findings(self, store):
        known = factors(self.component)
        climbed = self.climb(store, known)
        for factor in known:
            yield from self.readings(store, climbed, factor)
            yield from self.guards(store, climbed, factor, *known[factor])
            yield from self.landing(store, climbed, factor, *known[factor])

    def climb(self, store, known: dict) -> Climbed:
        """Reads every rung, once for all factors."""
        last, component = self.cast.at(), self.component
        tasks, reasons = controls(known)
        rungs = {
            "prominent": [self.prominent(store, m, known) for m in last],
            "linear": [linear(store, m, component) for m in last],
            "nonlinear": [entangled(store, m, component, {**known, **tasks}) for m in last],
        }
        control = {}
        if tasks:
            plain = [workers.call(screen.screen, store.features(m.source, m.layer, component), tasks) for m in last]
            control = {"linear": plain, "nonlinear": rungs["nonlinear"]}
        return Climbed(rungs, control, reasons)

    def prominent(self, store, member: Member, known: dict) -> dict:
        """factor -> the raw-scale ridge probe's reading at the penalty that serves the pretraining task best."""
        x = store.features(member.source, member.layer, self.component)
        return workers.call(screen.screen, x, known, penalty=self.penalty(store, member))

    def penalty(self, store, member: Member) -> float:
        """The raw-scale ridge penalty of the least validation error on the mixture's own labels, weighted as it is; of
        a foreign network, on the target's own label."""

        weighted = [(self.cast.targets[name], weight) for name, weight in self.weights or ((self.subject, 1.0),)]

        def least():
            total = 0.0
            for component, weight in weighted:
                y, classes = factors(component)[LABEL]
                x = store.features(member.source, member.layer, component)
                total = total + weight * workers.call(screen.errors, x, y, classes)
            return float(GRID[int(total.argmin())])

        read = tuple((extract.of_member(member, component), weight) for component, weight in weighted)
        return store.remember(("penalty", read), least)

    def readings(self, store, climbed: Climbed, factor: str | None):
        """What every rung, layer, untrained network, the reference and the pooled input read of one factor."""
        name, _ = reference(store, self, factor)
        last, component = self.cast.at()[0], self.component

        def each(members, **at):
            if members:
                at = {**self.at(members[0], factor=factor, protocol="linear"), **at}
                yield from reading_findings(self, [linear(store, m, component)[factor] for m in members], **at)

        for layer in self.cast.layers:
            yield from each(self.cast.at(layer=layer))
            yield from each(self.cast.untrained(layer), arm="random")
        for protocol in ("prominent", "nonlinear"):
            at = self.at(last, factor=factor, protocol=protocol)
            yield from reading_findings(self, [r[factor] for r in climbed.rungs[protocol]], **at)
        yield from each(self.cast.direct[name], arm=f"{self.cast.prefix}{name}")
        yield from each((PIXELS,), arm="pixels", layer=None)

    def guards(self, store, climbed: Climbed, factor: str | None, values: dict, count: int):
        """Selectivity against the control task, and what is read of factor combinations kept for the test."""
        last = self.cast.at()
        at = self.at(last[0], factor=factor)
        for protocol, readings in climbed.control.items():
            if (CONTROL, count) in readings[0]:
                control = table([r[CONTROL, count] for r in readings])
                selectivity = table([r[factor] for r in climbed.rungs[protocol]]) - control
                yield Finding("selectivity", intervals.two_way(selectivity), "bits", {**at, "protocol": protocol})
        known = {name: v for name, (v, _) in factors(self.component).items() if name is not LABEL}
        splits = {split: {name: v[split] for name, v in known.items()} for split in SPLITS}
        masks = ladder.disjoint(splits, factor) if factor is not LABEL else None
        if masks is None:
            return
        y = {s: values[s][masks[s]] for s in SPLITS}
        readings = []
        for m in last:
            x = {s: x[masks[s]] for s, x in store.features(m.source, m.layer, self.component).items()}
            readings.append(workers.call(screen.screen, x, {factor: (y, count)})[factor])
        at["protocol"] = "linear"
        yield Finding("disjoint_information", intervals.two_way(table(readings)), "bits", at)
        yield Finding("disjoint_accuracy", intervals.two_way(table(readings, "correct")), "fraction", at)

    def earlier(self, store, factor: str | None) -> dict[str, tuple]:
        """layer -> (trained, untrained) tables of the linear probe, of the layers before the last."""
        cast, layers = self.cast, self.cast.layers
        before = [layer for layer in layers[: layers.index(cast.at()[0].layer)] if cast.untrained(layer)]
        both = {layer: (cast.at(layer=layer), cast.untrained(layer)) for layer in before}
        return {layer: tuple(linears(store, m, self.component, factor) for m in of) for layer, of in both.items()}

    def landing(self, store, climbed: Climbed, factor: str | None, values: dict, count: int):
        """The rung of one factor, and what training added to an untrained network at the earlier layers."""
        name, whole = reference(store, self, factor)
        last = self.cast.at()[0]
        tables = {protocol: table([r[factor] for r in readings]) for protocol, readings in climbed.rungs.items()}
        control = climbed.control.get("nonlinear")
        control = table([r[CONTROL, count] for r in control]) if control and (CONTROL, count) in control[0] else None
        bits = entropy(values, count)
        landed = ladder.land(
            whole,
            tables,
            self.earlier(store, factor),
            entropy=bits,
            margin=self.margin,
            control=control,
            no_control=climbed.reasons.get(count, ""),
            paired=self.cast.paired or name == self.cast.arm,
        )
        at = self.at(factor=factor, step=last.source.step if hasattr(last.source, "step") else None)
        for layer, gain in landed.gains.items():
            where = {**at, "reference": "random", "protocol": "linear", "layer": layer}
            yield Finding("over_untrained", gain, "bits", where)
        at |= {"reference": f"{self.cast.prefix}{name}", "n_seeds": len(whole), "n_examples": whole.shape[1]}
        at["layer"] = landed.layer or (last.layer if landed.rung in tables else None)
        rung = ladder.RUNGS.index(landed.rung) if landed.rung in ladder.RUNGS else None
        extra = {
            "rung": landed.rung,
            "certain": landed.certain,
            "untrained": landed.untrained,
            "control": landed.control,
        }
        extra |= {
            "reference": f"{self.cast.prefix}{name}",
            "reference_bits": float(whole.mean()),
            "shares": landed.shares,
            "entropy": bits,
        }
        yield Finding("rung", rung, None, {**at, "extra": extra})


def controls(known: dict) -> tuple[dict, dict[int, str]]:
    """(CONTROL, K) -> a control task of K classes over the factors that are read, or why there is none"""
    values = {split: {name: v[split] for name, (v, _) in known.items() if name is not LABEL} for split in SPLITS}
    tasks, reasons = {}, {}
    for count in {count for _, count in known.values()}:
        task, reason = ladder.control(values, count, 0)
        if task is None:
            reasons[count] = reason
        else:
            tasks[CONTROL, count] = (task, count)
    return tasks, reasons
