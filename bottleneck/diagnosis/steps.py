"""When a feature was learned, or lost: probes and head at every kept step of the mixture run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bottleneck.analysis import intervals, spectrum, trajectory
from bottleneck.diagnosis.cast import (
    LABEL,
    Diagnosis,
    entropy,
    factors,
    linear,
    linears,
    over_seeds,
    reading_findings,
    reference,
    table,
)
from bottleneck.features.layers import LOGITS
from bottleneck.features.source import SPLITS
from bottleneck.probing import Probe, read_head
from bottleneck.rows import Finding

GROUP = 10  # items in val and in test: smaller groups are not looked at


@dataclass(frozen=True, eq=False, repr=False)
class Steps(Diagnosis):
    """Readings of every step and seed for the label and the factors of one target, and a verdict per factor. `head`:
    where the target's classes start among the logits, None without any; `competitor`: the factor of the worst groups.
    """

    head: int | None = None
    competitor: str | None = None

    KIND = "steps"
    VERSION = 3

    @property
    def members(self):
        steps = [(m, self.component) for step in self.cast.steps for m in self.cast.at(step)]
        return [(m, self.component) for m in self.direct_members] + steps

    @property
    def reads(self):
        if self.head is None:
            return super().reads
        sources = dict.fromkeys(m.source for step in self.cast.steps for m in self.cast.at(step))
        return (*super().reads, *((source, LOGITS, self.component) for source in sources))

    def run(self, store) -> None:
        outcomes = {"linear": np.stack([self.correct(store, step) for step in self.cast.steps])}
        if self.head is not None:
            heads = {step: self.heads(store, step) for step in self.cast.steps}
            outcomes["head"] = np.stack([table(each, "correct") for each in heads.values()])
        findings = list(self.findings(store))
        for step, each in heads.items() if self.head is not None else ():
            at = self.at(self.cast.at(step)[0], protocol="head")
            findings += reading_findings(self, each, **at)
        findings += self.groups(store, outcomes)
        steps = np.array(self.cast.steps)
        items = {"steps": steps, **{protocol: whole.astype(bool) for protocol, whole in outcomes.items()}}
        store.write(self, findings, items)

    def findings(self, store):
        known = factors(self.component)
        for factor in known:
            for step in self.cast.steps:
                members = self.cast.at(step)
                at = self.at(members[0], factor=factor, protocol="linear")
                yield from reading_findings(self, [linear(store, m, self.component)[factor] for m in members], **at)
            yield self.learning(store, factor, *known[factor])
        for step in self.cast.steps:
            yield from self.shape(store, step)

    def learning(self, store, factor: str | None, values: dict, count: int) -> Finding:
        """When one factor was learned: the peak chosen on validation, everything read on test."""
        name, whole = reference(store, self, factor)
        steps, component = self.cast.steps, self.component
        test = np.stack([linears(store, self.cast.at(s), component, factor) for s in steps])
        val = np.array([[linear(store, m, component)[factor].val_bits for m in self.cast.at(s)] for s in steps])
        course = trajectory.learning(steps, test, val, whole, entropy=entropy(values, count), margin=self.margin)
        extra = {
            "verdict": course.verdict,
            "peak": course.peak,
            "last": course.last,
            "since": course.since,
            "peak_bits": course.best.value,
            "last_bits": course.end.value,
            "init_bits": course.init.value,
            "rise": course.rise and course.rise.value,
            "rise_ci": course.rise and [course.rise.low, course.rise.high],
            "reference_bits": course.reference.value,
        }
        at = self.at(self.cast.at()[0], factor=factor, protocol="linear", reference=f"direct-{name}", extra=extra)
        return Finding("learning", course.forgetting, "bits", at)

    def correct(self, store, step, outcome: str = "correct") -> np.ndarray:
        """[S, N] of the linear probe of the label."""
        return linears(store, self.cast.at(step), self.component, LABEL, outcome)

    def heads(self, store, step, split: str = "test") -> list:
        """What the pretrained classifiers say of a split (calibrated on val, which their hits do not depend on)."""
        reader = Probe("mixture", 0, self.subject, self.component, (), "head", head=self.head)
        logits = [store.features(m.source, LOGITS, self.component) for m in self.cast.at(step)]
        return [read_head(each, reader, split) for each in logits]

    def groups(self, store, outcomes: dict[str, np.ndarray]):
        """Spread over seeds; and the worst group, label x value of a factor (the competitor, if the mixture names one):
        the worst on val at the last step. `outcomes`: protocol -> correct [T, S, N] on test."""
        last = self.cast.last
        chosen = {"linear": self.correct(store, last, "val_correct")}
        if self.head is not None:
            chosen["head"] = table(self.heads(store, last, "val"), "correct")
        cells = self.cells()
        for protocol, correct in outcomes.items():
            worst = min(cells, key=lambda cell: chosen[protocol][:, cell[1]].mean(), default=None)
            for t, step in enumerate(self.cast.steps):
                at = self.at(protocol=protocol, step=step)
                if correct.shape[1] > 1:
                    spread = correct[t].mean(1).std(ddof=1)
                    counts = {"n_seeds": correct.shape[1], "n_examples": correct.shape[2]}
                    yield Finding("accuracy_seed_sd", spread, "fraction", {**at, **counts})
                if worst is not None:
                    interval = intervals.proportion(correct[t][:, worst[2]])
                    yield Finding("accuracy_worst_group", interval, "fraction", {**at, "extra": {"group": worst[0]}})

    def cells(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """Groups of at least GROUP items in val and test: their name, and masks of both."""
        splits = {split: self.component.splits[split] for split in SPLITS}
        labels = {split: examples.labels for split, examples in splits.items()}
        names = [name for name in factors(self.component) if name is not LABEL and self.competitor in (None, name)]
        cells = []
        for label in np.unique(labels["val"]):
            for name in names:
                for value in np.unique(splits["val"].factors[name]):
                    masks = [(labels[s] == label) & (splits[s].factors[name] == value) for s in ("val", "test")]
                    if min(mask.sum() for mask in masks) >= GROUP:
                        cells.append((f"label {label}, {name} {value}", *masks))
        return cells

    def shape(self, store, step):
        """Effective rank, participation ratio and class separation of the features, over seeds."""
        labels, members = self.component.splits["test"].labels, self.cast.at(step)
        units = {"effective_rank": "dimensions", "participation_ratio": "dimensions", "class_separation": "fraction"}
        values: dict[str, list] = {metric: [] for metric in units}
        for member in members:
            x = store.features(member.source, member.layer, self.component)["test"]
            shape = spectrum.spectrum(x)
            values["effective_rank"].append(shape.effective_rank)
            values["participation_ratio"].append(shape.participation_ratio)
            several = len(np.unique(labels)) > 1
            values["class_separation"].append(spectrum.class_separation(x, labels) if several else np.nan)
        for metric, each in values.items():
            yield over_seeds(metric, units[metric], each, len(labels), **self.at(members[0]))
