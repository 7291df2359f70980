"""What representations add: to their own members, beyond each of their controls, and member by member.

A control whose member sets have the same seeds is compared set by set, with the mean over a set's own members where it
has several networks; any other control is compared with its sets or seeds as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bottleneck.analysis import concatenation, intervals
from bottleneck.choose import entropy
from bottleneck.data.component import Component
from bottleneck.features.source import Kept
from bottleneck.items import PROTOCOL, Items
from bottleneck.price import ancestors
from bottleneck.probing import Probe, named
from bottleneck.representations import REDUCTIONS, RepresentationSpec, alone, derived, source_of
from bottleneck.rows import Finding

NETWORKS = ("mixture", "longer", "longest")  # arms that are one network, of the same data: controls of everything
OUTCOMES = {"information": 1.0, "correct": 100.0}  # outcome -> what makes bits, or points, of it


class Gains:
    """The findings about the representations of a study. `unit`: of information."""

    def __init__(self, items: Items, declared: dict[str, RepresentationSpec], targets: dict[str, Component], unit: str):
        self.items, self.declared, self.targets, self.unit = items, declared, targets, unit
        self.derived = derived(declared)
        plain = [p for group in items.probes.values() for p in group if p.is_plain]
        self.by_members = {(named(p.members), p.target): p for p in reversed(plain)}

    def findings(self) -> Iterator[Finding]:
        for arm, spec in self.declared.items():
            for target in self.targets:
                if self.group(arm, target):
                    yield from self.about(arm, spec, target)

    def about(self, arm: str, spec: RepresentationSpec, target: str) -> Iterator[Finding]:
        """All that is said of one representation on one target."""
        at = dict(arm=arm, target=target, protocol=PROTOCOL, representation=arm)
        yield from self.over_single(arm, spec, target, at)
        yield from self.gain(arm, target, at)
        yield from self.beyond(arm, spec, target, at)
        if spec.is_concatenation:
            yield from self.reduced(arm, spec, target)
            yield from self.added(arm, target, at)
            yield from self.carried(arm, target, at)

    def group(self, arm: str, target: str) -> list[Probe]:
        """The probes of an arm, one a seed or member set."""
        return self.items.probes.get((arm, target, PROTOCOL, None, None), [])

    def over_single(self, arm: str, spec: RepresentationSpec, target: str, at: dict) -> Iterator[Finding]:
        """Over one whole run: the budget that Time-Cat claims; of a short member, what shorter training does."""
        source = spec.patterns[0].partition("/")[0]
        whole = self.items.table(source, target) if source != arm else None
        if whole is not None:
            over = intervals.contrast([(1.0, self.items.table(arm, target)), (-1.0, whole)], paired=False)
            yield Finding("over_single", self.over(arm, target, over), self.unit, at)

    def gain(self, arm: str, target: str, at: dict) -> Iterator[Finding]:
        """Over the mean of its own members, beside the same for direct runs."""
        if len(self.group(arm, target)[0].members) < 2:
            return
        (cat, own), (direct_cat, direct_own) = (
            (self.items.table(name, target), self.members(name, target)) for name in (arm, f"{arm}|direct")
        )
        if own is None:
            return
        if direct_own is None:
            over = concatenation.over_sets(intervals.two_way(cat - own))
            yield Finding("gain", over, self.unit, {**at, "extra": {"verdict": "", "note": "nothing alike is direct"}})
            return
        direct = self.items.table("direct", target)
        gain = concatenation.concatenation_gain(
            cat, own, direct_cat, direct_own, direct=direct, entropy=entropy(self.targets[target])
        )
        extra = {"verdict": gain.verdict, "note": gain.note}
        for metric, value in (("gain", gain.gain), ("control_gain", gain.control), ("excess_gain", gain.excess)):
            yield Finding(metric, value, self.unit, {**at, "extra": extra})

    def beyond(self, arm: str, spec: RepresentationSpec, target: str, at: dict) -> Iterator[Finding]:
        """Over every control."""
        seen: set[str] = set()
        if len(self.group(arm, target)[0].members) > 1:
            for names, positions in self.patterns(arm, spec, target):
                seen.add(names)
                yield from self.over_own(arm, target, names, positions, "member", at)
        for control, kind in self.controls(arm, spec):
            if control not in seen and self.group(control, target):
                seen.add(control)
                yield from self.over_other(arm, target, control, kind, at)

    def controls(self, arm: str, spec: RepresentationSpec) -> Iterator[tuple[str, str]]:
        """(arm, what it is) of the controls of a representation, beside its members."""
        yield from ((name, each.kind) for name, each in self.derived.items() if each.of == arm and not each.first)
        yield from ((name, "declared") for name in spec.against)
        yield from ((name, "one network") for name in NETWORKS if name != arm and name not in spec.against)

    def reduced(self, arm: str, spec: RepresentationSpec, target: str) -> Iterator[Finding]:
        """What its reductions to the dimension of one member keep beyond its members."""
        for name, each in self.derived.items():
            if each.of == arm and each.kind in REDUCTIONS and self.group(name, target) and name not in self.declared:
                at = dict(arm=name, target=target, protocol=PROTOCOL, representation=arm)
                for names, positions in self.patterns(arm, spec, target):
                    yield from self.over_own(name, target, names, positions, "member", at)

    # Tables of what is compared

    def patterns(self, arm: str, spec: RepresentationSpec, target: str) -> Iterator[tuple[str, slice]]:
        """(the arm by which they are probed alone, their places in a set) of the members of every pattern."""
        for i in range(len(spec.patterns)):
            place = slice(i * spec.n, (i + 1) * spec.n)
            single = self.single(self.group(arm, target)[0].members[place][0], target)
            if single is not None:
                yield single.arm, place

    def single(self, member, target: str) -> Probe | None:
        return self.by_members.get((named((member,)), target))

    def members(self, arm: str, target: str, place: slice = slice(None), outcome: str = "information"):
        """[U, N]: the mean over a set's own members, each alone; None where one was not read."""
        sets = [[self.single(m, target) for m in dict.fromkeys(p.members[place])] for p in self.group(arm, target)]
        return self.means(sets, outcome)

    def means(self, sets: list[list[Probe | None]], outcome: str) -> np.ndarray | None:
        """[U, N] means over the probes of each set; None where one is missing or has no such outcome."""
        if not sets or not all(all(probes) and probes for probes in sets):
            return None
        tables = [[self.items.of(probe, outcome) for probe in probes] for probes in sets]
        if any(table is None for each in tables for table in each):
            return None
        return np.stack([np.mean([table[0] for table in each], axis=0) for each in tables])

    def own(self, arm: str, target: str, control: str) -> list[list[Probe]] | None:
        """The networks of an arm that a set stands on or else shares its seeds with, set by set; None where they are
        not its own."""
        networks = self.group(control, target)
        if any(len(probe.members) > 1 or not isinstance(probe.members[0].source, Kept) for probe in networks):
            return None
        runs = {probe.members[0].source.run: probe for probe in networks}
        sets = []
        for probe in self.group(arm, target):
            by_run = [runs[run] for run in ancestors(probe.members) if run in runs]
            seeds = {member.source.run.seed for member in probe.members if isinstance(member.source, Kept)}
            sets.append(by_run or [each for run, each in runs.items() if run.seed in seeds])
        keys = [probe.key for probes in sets for probe in probes]
        return sets if all(sets) and len(set(keys)) == len(keys) else None

    def alike(self, arm: str, control: str, target: str) -> bool:
        """Whether the member sets of both stand, set by set, on runs of the same seeds."""
        ours, others = (
            [{(run.seed, run.init_seed) for run in ancestors(probe.members)} for probe in self.group(name, target)]
            for name in (arm, control)
        )
        return all(ours) and ours == others

    # Rows

    def over_own(self, arm: str, target: str, control: str, place: slice, kind: str, at: dict) -> Iterator[Finding]:
        """Over the mean of a set's own members at some places."""
        for outcome in OUTCOMES:
            base = arm if arm in self.declared else self.derived[arm].of
            yield from self.row(arm, target, control, kind, outcome, self.members(base, target, place, outcome), at)

    def over_other(self, arm: str, target: str, control: str, kind: str, at: dict) -> Iterator[Finding]:
        """Over a control by itself; over the mean of a set's own networks where it has them."""
        own = self.own(arm, target, control)
        same = control in self.derived or self.alike(arm, control, target)
        for outcome in OUTCOMES:
            table = self.means(own, outcome) if own else self.items.table(control, target, outcome)
            yield from self.row(arm, target, control, kind, outcome, table, at, paired=bool(own) or same)

    def row(self, arm, target, control, kind, outcome, table, at, paired=True) -> Iterator[Finding]:
        ours = self.items.table(arm, target, outcome)
        if table is None or ours is None:
            return
        scale, paired = OUTCOMES[outcome], paired and len(ours) == len(table)
        held = intervals.contrast([(scale, ours), (-scale, table)], paired=paired)
        unit = self.unit if outcome == "information" else "points"
        extra = {"control": kind, "paired": paired}
        yield Finding("beyond", self.over(arm, target, held), unit, {**at, "reference": control, "extra": extra})

    def over(self, arm: str, target: str, interval: intervals.Interval) -> intervals.Interval:
        """The interval, over member sets where the arm has such."""
        several = len(self.group(arm, target)[0].members) > 1
        return concatenation.over_sets(interval) if several else interval

    def added(self, arm: str, target: str, at: dict) -> Iterator[Finding]:
        """What the second, third, ... member of a set adds to those before it: conditional usable information. The
        steps add up to what the whole set has over its first member."""
        group = self.group(arm, target)
        prefixes = [
            [self.by_members.get((named(probe.members[:k]), target)) for probe in group]
            for k in range(1, len(group[0].members) + 1)
        ]
        for outcome, scale in OUTCOMES.items():
            tables = [self.means([[probe] for probe in each], outcome) for each in prefixes]
            if any(table is None for table in tables):
                return
            unit = self.unit if outcome == "information" else "points"
            for k in range(1, len(tables)):
                held = intervals.contrast([(scale, tables[k]), (-scale, tables[k - 1])])
                orders = [[str(member) for member in probe.members[: k + 1]] for probe in group]
                extra = {"position": k + 1, "after": [names[:-1] for names in orders]}
                members = [names[-1] for names in orders]
                yield Finding("added", self.over(arm, target, held), unit, {**at, "members": members, "extra": extra})

    def carried(self, arm: str, target: str, at: dict) -> Iterator[Finding]:
        """What the probe loses when the member of a place says nothing, over member sets."""
        group = self.group(arm, target)
        for outcome, unit in (("carried", self.unit), ("carried_correct", "points")):
            tables = [self.items.of(probe, outcome) for probe in group]
            if any(table is None for table in tables):
                continue
            scale = 100.0 if unit == "points" else 1.0
            for place in range(len(group[0].members)):
                held = intervals.two_way(scale * np.stack([table[place] for table in tables]))
                weights = [self.weight(probe, place) for probe in group]
                extra = {"position": place + 1, "mean_abs_weight": float(np.mean(weights))}
                members = [str(probe.members[place]) for probe in group]
                yield Finding("carried", self.over(arm, target, held), unit, {**at, "members": members, "extra": extra})

    def weight(self, probe: Probe, place: int) -> float:
        """Mean |w| of a member's standardised units."""
        rows = [r for r in self.items.store.rows(probe) if r["metric"] == "carried"]
        return next(r["extra"]["mean_abs_weight"] for r in rows if r["extra"]["position"] == place + 1)


def described(declared: dict[str, RepresentationSpec]) -> dict[str, dict]:
    """Arm -> what its rows say where it is there for a representation: of which, and as what."""
    members = {arm: (name, "member") for name, spec in declared.items() for arm in alone(name, spec)}
    repeated = {a: (source_of(spec.patterns[0]), "repeated") for a, spec in declared.items() if spec.repeat > 1}
    controls = {arm: (each.of, each.kind) for arm, each in derived(declared).items()}
    every = {**members, **repeated, **controls}
    return {arm: {"control_of": of, "control": kind} for arm, (of, kind) in every.items()}
