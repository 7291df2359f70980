"""A feature source meets a target: the task that probes it, or reads its classifier, and leaves rows.

Beside the rows lie the per-item outcomes, what verdicts are made of: `information` and `correct`, [test items], or
[draws, test items] of few-shot probes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bottleneck import workers
from bottleneck.analysis import concatenation, information, intervals, nonlinear, probes
from bottleneck.data.component import Component
from bottleneck.features import extract
from bottleneck.features.join import collect
from bottleneck.features.layers import LAST, LOGITS
from bottleneck.features.source import SPLITS, Kept, Member
from bottleneck.models.head import columns
from bottleneck.price import price, work
from bottleneck.rows import Finding
from bottleneck.tasks import Asked

SCORED = ("val", "test")  # splits that a fitted classifier is calibrated on and read on
TUNED = ("finetune", "probe_finetune", "dropout_finetune", "two_stage", "warm_start")  # they train networks further
START = "two_stage_start"  # beside "two_stage" of several networks: the mean of their logits, from which it starts
HEADS = ("head", *TUNED, START)  # protocols that read a network's own classifier


@dataclass(frozen=True)
class Scores:
    """What a classifier that was not fitted here says about the test split (see probes.Probe)."""

    bits: np.ndarray  # [n] information (R2 items for regression)
    correct: np.ndarray | None
    val_loss: float  # nats, calibrated on val, where it is not chosen (mean squared error for regression)
    scalings: dict = dataclasses.field(default_factory=dict)
    dim: int | None = None  # of the widest probe among several


@dataclass(frozen=True, eq=False, repr=False)
class Probe(extract.Reads):
    """One representation meeting one target by one protocol. `arm` is the arm or the name of the representation, `seed`
    the run's, or the index of the member set."""

    arm: str
    seed: int
    target: str
    component: Component
    members: tuple[Member, ...]
    protocol: str = "linear_probe"
    scalings: tuple[str, ...] = probes.SCALINGS
    shots: int | None = None
    draws: int = 1
    reduce: str = ""  # see features.join.collect
    average: bool = False
    head: int | None = None  # where the target's classes start among the logits; None: it has none there
    factor: str | None = None  # the factor that is made independent of the label in this variant of the target
    asks: tuple[Asked, ...] = ()

    KIND = "probe"
    VERSION = 3
    STAGE = "transfer"

    @property
    def identity(self):
        named = [self.arm, self.seed, self.target, self.protocol, self.factor]
        how = [self.scalings, self.shots, self.draws, self.reduce, self.average, self.head]
        train = self.component.fingerprints["train"]  # class frequencies of its training items are part of the null
        unit = ["draws and items"] if self.protocol == "k_shot" else []  # of one network's interval: it was items alone
        return [named, how, [member.identity for member in self.members], train, *unit]

    @property
    def reads(self):
        layers = (LOGITS,) if self.protocol in HEADS else ()
        return tuple(
            dict.fromkeys(
                (member.source, layer, self.component)
                for member in self.members
                for layer in layers or (member.layer, *((LOGITS,) if self._guarded(member) else ()))
            )
        )

    @property
    def is_plain(self) -> bool:
        """Whether it is the linear probe of its members' joined features on the target as it is."""
        special = self.reduce or self.average or self.shots
        return self.protocol == "linear_probe" and self.factor is None and not special

    @property
    def is_concatenation(self) -> bool:
        """Whether it joins members that differ."""
        return self.is_plain and len(self.members) > 1 and len(set(named(self.members))) == len(self.members)

    def _guarded(self, member: Member) -> bool:
        """The pretrained head is one admissible probe of its own layer: no solved probe may be worse."""
        alone = self.protocol == "linear_probe" and len(self.members) == 1 and member.layer == LAST
        return alone and self.head is not None and member.source.head and self.component.num_classes > 0

    @property
    def labels(self) -> dict[str, np.ndarray]:
        return {split: self.component.splits[split].labels for split in SPLITS}

    @property
    def null(self) -> np.ndarray | None:
        """The probe of no features [K]: the same for every arm (design: one p for all arms)."""
        return null(self.component)

    def holds(self, store) -> int:
        layer = LOGITS if self.protocol in HEADS else ""
        return sum(store.features_size(m.source, layer or m.layer, self.component) for m in self.members)

    def run(self, store) -> None:
        if self.protocol in HEADS:
            results = [read_head(self.classifier(store), self)]
        elif self.protocol == "nonlinear_probe":
            results = [self.entangled(store)]
        elif self.protocol == "k_shot":
            results = [self.few(store, draw) for draw in range(self.draws)]
        elif self.average:
            results = [self.ensemble(store)]
        else:
            results = [self.solve(self.features(store), self.labels, rejected=True)]
        items = {"information": np.stack([r.bits for r in results])}
        if results[0].correct is not None:
            items["correct"] = np.stack([r.correct for r in results])
        found = list(findings(self, results, self.guard(store, results[0]), store.made))
        if self.is_concatenation:
            without = self.without(store, results[0])
            items["carried"] = np.stack([each.information for each in without])
            if results[0].correct is not None:
                items["carried_correct"] = np.stack([each.correct for each in without])
            found += carried(self, without, found[0].at)
        store.write(self, found, items)

    def features(self, store) -> dict[str, np.ndarray]:
        return collect(store, self.members, self.component, self.reduce, self.seed)

    def without(self, store, fitted: probes.Probe) -> list[concatenation.Without]:
        """What the joined features no longer say without each member, one by one."""
        widths = [store.features(m.source, m.layer, self.component)["probe"].shape[1] for m in self.members]
        return workers.call(concatenation.without, fitted, self.features(store), self.labels, widths)

    def classifier(self, store) -> dict[str, np.ndarray]:
        """split -> logits [n, outputs] of the network's own classifier; of several members the logarithm of their mean
        probability of the target's classes (the mean itself for regression), as logits that would give it."""
        each = [store.features(member.source, LOGITS, self.component) for member in self.members]
        if len(each) == 1:
            return each[0]
        classes = slice(self.head, self.head + self.component.output_dim)
        joined = {}
        for split in SPLITS:
            outputs = np.stack([logits[split][:, classes].astype(np.float64) for logits in each])
            mean = outputs.mean(0)
            if self.component.num_classes:
                mean = information.mean_prediction(outputs)
            joined[split] = each[0][split].astype(np.float64)
            joined[split][:, classes] = mean
        return joined

    def entangled(self, store) -> Scores:
        """A non-linear probe (see analysis.nonlinear), its information beyond the same null as that of linear ones."""
        y, null = self.labels, self.null
        known = {"label": (y, self.component.num_classes)}
        read = workers.call(nonlinear.probe, self.features(store), known)["label"]
        own = information.prior(y["probe"], len(null))
        shift = {split: np.log2(own[y[split]]) - np.log2(null[y[split]]) for split in ("val", "test")}
        loss = -np.log(2) * (read.val_bits + np.log2(own[y["val"]]).mean())
        return Scores(read.bits + shift["test"], read.correct, float(loss))

    def solve(self, x: dict, y: dict, rejected: bool = False) -> probes.Probe:
        count = self.component.num_classes
        task = "classification" if count else "regression"
        how = dict(scalings=self.scalings, task=task, prior=self.null, rejected=rejected)
        return workers.call(probes.linear_probe, x, y, count, **how)

    def few(self, store, draw: int) -> probes.Probe:
        """A probe on `shots` examples a class: the subset depends on the seed and the draw, not on the arm."""
        x, y = self.features(store), self.labels
        chosen = probes.k_shot(y["probe"], self.shots, self.seed, draw)
        return self.solve({**x, "probe": x["probe"][chosen]}, {**y, "probe": y["probe"][chosen]})

    def ensemble(self, store) -> Scores:
        """A probe per member, predictions averaged: the control for concatenation."""
        outputs, dim = [], 0
        for member in self.members:
            x = collect(store, (member,), self.component)
            weights, intercept = self.alone(store, member, x)
            dim = max(dim, len(weights))
            outputs.append({split: x[split] @ weights + intercept for split in SCORED})
        if not self.component.num_classes:
            mean = {s: np.mean([o[s] for o in outputs], axis=0) for s in SCORED}
            return dataclasses.replace(squared(mean, self.labels), dim=dim)
        mean = {s: information.mean_prediction([o[s] for o in outputs]) for s in SCORED}
        return dataclasses.replace(score(mean, self.labels, self.null), dim=dim)

    def alone(self, store, member: Member, x: dict) -> tuple[np.ndarray, np.ndarray]:
        """The linear probe of one member: several averages may ask for it."""

        def solve():
            fitted = self.solve(x, self.labels)
            return fitted.weights, fitted.intercept

        items = [self.component.fingerprints[split] for split in ("train", *SPLITS)]
        return store.remember(("alone", *named((member,)), *items, self.scalings), solve)

    def guard(self, store, result) -> probes.Guard | None:
        """Whether the solved probe is at least as good as the head it was pretrained with. None where that cannot be
        asked."""
        member = self.members[0] if self.members else None
        if member is None or not self._guarded(member) or self.reduce:
            return None
        source = member.source
        head = store.variables(source.run, source.step)["params"]["head"]
        classes = slice(self.head, self.head + self.component.num_classes)
        x, y = store.features(source, member.layer, self.component)["probe"], self.labels["probe"]
        kernel, bias = columns(head["kernel"], head.get("bias"), source.run.objective.loss == "softplus")
        held = probes.guard(result, x, y, kernel[:, classes], None if bias is None else bias[classes])
        if not held.holds:
            tqdm.write(
                f"warning: the probe of {member} on {self.target} is worse than the head it was pretrained with "
                f"({held.probe:.6f} > {held.head:.6f} nats): do not trust it"
            )
        return held


def named(members: tuple[Member, ...]) -> tuple[tuple[str, str], ...]:
    """What makes members the same, whatever they are called."""
    return tuple((member.source.key, member.layer) for member in members)


def null(component: Component) -> np.ndarray | None:
    """The class frequencies [K] that a probe of no features gives; None for regression."""
    if not component.num_classes:
        return None
    y = {split: component.splits[split].labels for split in SPLITS}
    return information.null(y, component.num_classes, train=component.splits["train"].labels)


def read_head(logits: dict[str, np.ndarray], probe: Probe, split: str = "test") -> Scores:
    """The classifier as it is, read at the target's own classes (calibrated on val). `split`: which one is read."""
    y = {**probe.labels, "test": probe.labels[split]}
    logits = {"val": logits["val"], "test": logits[split]}
    if not probe.component.num_classes:
        return squared(logits, y)
    classes = slice(probe.head, probe.head + probe.component.num_classes)
    return score({s: x[:, classes].astype(np.float64) for s, x in logits.items()}, y, probe.null)


def score(logits: dict[str, np.ndarray], y: dict, null: np.ndarray) -> Scores:
    """Scores of given log-probabilities or logits [n, K] for val and test, calibrated on val."""
    calibration = information.calibrate(logits["val"], y["val"], null)
    calibrated = information.apply(calibration, logits["test"])
    correct = logits["test"].argmax(1) == y["test"]
    return Scores(information.bits(calibrated, y["test"], null), correct, calibration.val_log_loss)


def squared(predicted: dict[str, np.ndarray], y: dict) -> Scores:
    """Scores of given predictions [n, m] of a regression target."""
    errors = ((y["val"] - predicted["val"]) ** 2).sum(1)
    return Scores(information.r2_items(y["test"], predicted["test"]), None, float(errors.mean()))


def findings(probe: Probe, results: list, guard: probes.Guard | None, made: Callable):
    """Information and accuracy of the chosen probe, and of every scaling that was not chosen. `made`: see price.

    Of few-shot probes, the mean over draws, and the standard deviation over draws of the mean information.
    """
    result, count = results[0], probe.component.num_classes
    unit = "bits" if count else "r2"
    at = place(probe, made)
    extra = {"price": work(probe, probe.protocol in HEADS, made)}
    if began := sorted({run.init for m in probe.members for run in m.source.ancestry if run.pretrained}):
        extra["init"] = began[0]  # the price counts what was trained here
    if probe.protocol == "k_shot":
        spread = float(np.std([r.bits.mean() for r in results], ddof=1)) if len(results) > 1 else None
        extra |= {"draws": len(results), "draw_sd": spread}
    elif hasattr(result, "scaling"):
        extra |= {"at_edge": result.at_edge, "iterations": result.iterations, "chosen": True}
        extra |= {"guard": dataclasses.asdict(guard)} if guard else {}
        at |= dict(scaling=result.scaling, grad_norm=result.grad_norm, dim=result.weights.shape[0])
        at["lambda"] = result.lam
    bits = np.stack([r.bits for r in results])[None]
    yield Finding("information", intervals.few_shot([(1.0, bits)]), unit, {**at, "extra": extra})
    if result.correct is not None:
        correct = np.stack([r.correct for r in results])[None]
        yield Finding("accuracy", intervals.few_shot([(1.0, correct)]), "fraction", {**at, "extra": extra})
    counts = {"n_seeds": 1, "n_examples": len(probe.labels["val"])}
    loss = result.val_loss if isinstance(result, Scores) else result.scalings[result.scaling].val_loss
    yield Finding(
        "log_loss" if count else "squared_error", loss, "nats" if count else None, {**at, "split": "val", **counts}
    )
    if probe.protocol in ("head", "linear_probe"):
        yield from stops(probe, at, made)
    for scaling, condition in result.scalings.items():
        if scaling != result.scaling:
            yield from rejected(scaling, condition, unit, at, len(probe.labels["test"]))


def place(probe: Probe, made: Callable) -> dict:
    """Row keys: what was probed, by what, at which price."""
    first = probe.members[0] if probe.members else None
    return dict(
        arm=probe.arm,
        target=probe.target,
        factor=probe.factor,
        representation=probe.arm,
        protocol=probe.protocol,
        members=[str(m) for m in probe.members],
        n_shot=probe.shots,
        seed=probe.seed,
        **price(probe, made),
        layer=first and first.layer,
        step=getattr(first and first.source, "step", None),
        label_space=next((run.label_space for m in probe.members for run in m.source.ancestry), None),
    )


def carried(probe: Probe, without: list[concatenation.Without], at: dict):
    """What each member of a concatenation carries: what is lost when it says nothing, in order."""
    unit = "bits" if probe.component.num_classes else "r2"
    for position, (member, each) in enumerate(zip(probe.members, without, strict=True), 1):
        extra = {"position": position, "mean_abs_weight": each.weight}
        at = {**at, "members": [str(member)], "extra": extra}
        yield Finding("carried", intervals.two_way(each.information), unit, at)
        if each.correct is not None:
            yield Finding("carried", intervals.two_way(100.0 * each.correct), "points", at)


def stops(probe: Probe, at: dict, made: Callable):
    """Where the one run that is read stopped, if it may before its end."""
    runs = {member.source.run for member in probe.members if isinstance(member.source, Kept)}
    for run in runs if len(runs) == 1 else ():
        if run.train.stops:
            yield Finding("stopped_at", made(run, run.steps), "steps", {**at, "n_seeds": 1})


def rejected(scaling: str, condition: probes.Condition, unit: str, at: dict, n_examples: int):
    """What a scaling that validation did not choose would have read."""
    extra = {"at_edge": condition.at_edge, "iterations": condition.iterations, "chosen": False}
    at = {**at, "scaling": scaling, "lambda": condition.lam, "grad_norm": condition.grad_norm, "extra": extra}
    for metric, value, said in (("information", condition.bits, unit), ("accuracy", condition.accuracy, "fraction")):
        if value is not None:
            yield Finding(metric, value, said, {**at, "n_seeds": 1, "n_examples": n_examples})
