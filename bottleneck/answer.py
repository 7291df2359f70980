"""The answer of a study: per target what is missing, with a verdict, and why, from the rows the probes left on disk.

Every number it adds is a row: means over seeds, gaps and their parts, verdicts, causes, bounds, exact optima, gains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bottleneck.analysis import causes, concatenation, gap, intervals, probes, sentences
from bottleneck.analysis.causes import SPLIT
from bottleneck.arms import ARMS
from bottleneck.choose import Decide, entropy
from bottleneck.data import factors
from bottleneck.data.component import Component
from bottleneck.diagnosis import summary
from bottleneck.gains import Gains, described
from bottleneck.items import ADAPTED, LARGEST, PROTOCOL, Items
from bottleneck.probing import Probe
from bottleneck.rows import Finding, fixed
from bottleneck.study import StudySpec
from bottleneck.tasks import Task


@dataclass(frozen=True, eq=False, repr=False)
class Subject:
    """Whose features are judged: the mixture's, or a foreign source's; and the decisions about them, look by look."""

    arm: str
    deciders: tuple[Decide, ...]


def priced(rows: list[dict]) -> dict:
    """The price keys of what has these rows, one a seed or member set: the largest of each."""
    keys = ("train_steps", "image_forwards", "component_examples", "dim")
    extra = {"price": (rows[0]["extra"] or {}).get("price")}
    return {**{key: max((r[key] for r in rows if r[key] is not None), default=None) for key in keys}, "extra": extra}


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Task):
    """Joins all probes of a study. `not_asked`: (arm, target) -> why an arm was not asked of a target, in words."""

    study: StudySpec
    targets: dict[str, Component]
    subjects: tuple[Subject, ...]
    probes: tuple[Probe, ...]
    diagnoses: tuple[Task, ...]
    not_asked: dict[tuple[str, str], str]
    raised: dict[str, tuple[float, float]]  # target -> its weight in the mixture and at equal weights, shares
    drawn: dict[str, float]  # target -> the expected share of its unique examples that the mixture draws

    KIND = "answer"
    VERSION = 6
    STAGE = "analyze"
    JOINS = True

    @property
    def identity(self):
        asked = [f"{arm} {target} {reason}" for (arm, target), reason in self.not_asked.items()]
        names = [(name, name in self.study.components) for name in self.targets]
        fixed = [self.study.vary] if self.study.vary != "both" else []
        represented = [[name, spec.reads, spec.against] for name, spec in self.study.represented.items()]
        return [names, self.study.margin, self.study.mixture, self.study.arms, sorted(asked), represented, *fixed]

    @property
    def needs(self) -> tuple[str, ...]:
        deciders = [decider for subject in self.subjects for decider in subject.deciders]
        tasks = (*self.probes, *deciders, *self.diagnoses)
        return tuple(dict.fromkeys(output for task in tasks for output in task.makes))

    @property
    def joined(self):
        return self.probes

    def run(self, store) -> None:
        items = Items(store, self.probes)
        answers = list(self.means(store, items))
        for subject in self.subjects:
            answers += self.judged(store, items, subject)
        gains = Gains(items, self.study.represented, self.targets, self.unit)
        answers += [*self.floors(), *self.optima(), *gains.findings()]
        answers = [*answers, *summary.findings(store, self, answers)]
        store.write(self, [fixed(finding, self.study.vary) for finding in answers])

    @property
    def unit(self) -> str:
        return "bits" if any(component.num_classes for component in self.targets.values()) else "r2"

    def means(self, store, items: Items) -> Iterator[Finding]:
        """Mean over seeds, or member sets, of every arm, target and protocol."""
        said = described(self.study.represented)
        for (arm, target, protocol, shots, factor), group in items.probes.items():
            where = dict(protocol=protocol, shots=shots, factor=factor)
            at = dict(arm=arm, target=target, protocol=protocol, n_shot=shots, factor=factor, representation=arm)
            at |= priced([store.rows(probe)[0] for probe in group])
            at["extra"] |= said.get(arm, {})
            several = len(group[0].members) > 1
            metrics = {"information": ("information", self.unit), "correct": ("accuracy", "fraction")}
            for outcome, (metric, unit) in {**metrics, LARGEST: metrics["correct"]}.items():
                draws = items.draws(arm, target, outcome, **where)
                if draws is not None:
                    mean = intervals.few_shot([(1.0, draws)]) if unit == self.unit else intervals.proportion(draws)
                    chosen = {"selected_on": "test"} if outcome == LARGEST else {}
                    yield Finding(metric, concatenation.over_sets(mean) if several else mean, unit, {**at, **chosen})

    def judged(self, store, items: Items, subject: Subject) -> Iterator[Finding]:
        """Verdicts on one subject, with the parts of each gap, its causes and one sentence per target."""
        for look, decider in enumerate(subject.deciders, 1):
            if store.present(decider):
                for name, verdict in decider.verdicts(store).items():
                    final = look == len(subject.deciders) or verdict.verdict != "inconclusive"
                    if final:
                        yield from self.judged_target(items, subject, decider, name, verdict, look)

    def judged_target(self, items, subject, decider, name, verdict, look) -> Iterator[Finding]:
        arm, reference = subject.arm, dict(decider.references).get(name, "direct")
        family = next(family for family in decider.families if name in family)
        lost = verdict.verdict == "lost"
        parts, why, more = self.explained(items, name, lost) if arm == "mixture" else (None, (), {})
        points = self.points(items, arm, reference, name)
        saturated = lost and causes.saturated(why, more.get("variant_interference"))
        text = sentences.sentence(
            name,
            verdict,
            parts,
            why,
            points,
            "bits" if self.unit == "bits" else "R2",
            **more,
            of=gap.MIXTURE if arm == "mixture" else arm,
            against=gap.DIRECT if reference == "direct" else reference,
        )
        at = dict(arm=arm, reference=reference, target=name, protocol=PROTOCOL, look=look)
        extra = {
            "verdict": verdict.verdict,
            "p": verdict.p,
            "adjusted_p": verdict.adjusted_p,
            "sentence": text,
            "margin": self.study.margin,
            "family": len(family),
            "entropy": verdict.entropy,
            "outside": name not in self.study.components,
            "needs": verdict.needs,
            "provisional": verdict.provisional and verdict.scope == "this recipe",
            "causes": [c.cause for c in why if c.status == "named"],
            "saturated": saturated,
        }
        yield Finding("gap", verdict.gap, self.unit, {**at, "extra": extra})
        if points is not None:
            yield Finding("gap", points, "points", at)
        yield Finding("margin", verdict.margin, self.unit, at)
        yield from self.parts(items, name, parts, look)
        yield from self.restored(name, why, look)
        if arm == "mixture" and name in self.study.components:
            yield from self.bound(items, name, look)

    def explained(self, items: Items, name: str, lost: bool) -> tuple[causes.Split | None, tuple, dict]:
        """How the gap of one of the mixture's targets splits, what causes a lost one, and what else is said."""
        evidence, parts = self.evidence(items, name), None
        if "alone" in evidence.arms:
            parts = causes.split(*(evidence.arms[a] for a in SPLIT), adapted=items.adapted(name))
        why = causes.causes(evidence) if lost else ()
        apart, rising = causes.interference(evidence.variant), causes.rising(evidence) if why else None
        return parts, why, dict(rising=rising, variant_interference=apart)

    def evidence(self, items: Items, name: str) -> causes.Evidence:
        """All that was read on one target."""
        arms = items.tables(ARMS, name)
        factor = self.study.mixture.competitor
        variant = items.tables((*SPLIT, "randomised"), name, factor=factor) if factor else {}
        reasons = {arm: reason for (arm, target), reason in self.not_asked.items() if target == name}
        return causes.Evidence(
            arms=arms,
            variant=variant,
            untrained_wider=items.table("wider_untrained", name),
            not_asked=reasons,
            label_space=self.study.mixture.label_space,
            margin=self.study.margin,
            entropy=entropy(self.targets[name]),
            weights=self.raised.get(name),
            drawn=self.drawn.get(name),
            adapted=items.adapted(name) or {},
            longer=self.study.longer.factors,
        )

    def points(self, items: Items, arm: str, reference: str, name: str):
        """The gap in accuracy points; None for regression."""
        correct = items.tables((arm, reference), name, outcome="correct")
        if len(correct) < 2:
            return None
        return intervals.contrast([(100.0, correct[reference]), (-100.0, correct[arm])])

    def parts(self, items: Items, name: str, parts, look: int) -> Iterator[Finding]:
        """Exposure, interference and, with BatchNorm, normalisation: they add up to the gap."""
        if parts is None:
            return
        each = [(parts, self.unit)]
        correct = items.tables(SPLIT, name, outcome="correct")
        if len(correct) == len(SPLIT):
            adapted = items.adapted(name, "correct")
            scaled = adapted and {arm: 100.0 * table for arm, table in adapted.items()}
            each.append((causes.split(*(100.0 * correct[a] for a in SPLIT), adapted=scaled), "points"))
        for split, unit in each:
            at = dict(target=name, protocol=ADAPTED if split.normalisation else PROTOCOL, look=look)
            holds = {"extra": {"holds": self.exposure_contains}}
            yield Finding("exposure", split.exposure, unit, {**at, **holds, "arm": "alone", "reference": "direct"})
            yield Finding("interference", split.interference, unit, {**at, "arm": "mixture", "reference": "alone"})
            if split.normalisation is not None:
                yield Finding(
                    "normalisation", split.normalisation, unit, {**at, "arm": "mixture", "reference": "direct"}
                )

    @property
    def exposure_contains(self) -> str:
        optimizer = self.study.optimizer
        return sentences.exposure_contains(optimizer.name != "sgd", optimizer.clip is not None)

    def restored(self, name: str, why, look: int) -> Iterator[Finding]:
        for cause in why:
            factor = self.study.mixture.competitor if ARMS[cause.arm].randomised else None
            at = dict(arm=cause.arm, target=name, protocol=PROTOCOL, factor=factor, look=look)
            at["reference"] = ARMS[cause.arm].reference
            half = cause.half and [cause.half.low, cause.half.high]
            extra = {"cause": cause.cause, "share": cause.share, "half": half, "status": cause.status}
            extra |= {"evidence": cause.evidence_words, "reason": cause.reason}
            yield Finding("restored", cause.numerator, self.unit, {**at, "extra": extra})

    def bound(self, items: Items, name: str, look: int) -> Iterator[Finding]:
        """How large the gap can be at most, in the population: the mixture's head is itself a linear probe."""
        head, direct = items.table("mixture", name, protocol="head"), items.table("direct", name)
        if head is None or self.unit != "bits":
            return
        bound = gap.bound(direct, head)
        at = dict(arm="mixture", reference="direct", target=name, protocol="head", look=look)
        yield Finding(
            "bound", bound.interval if not bound.reason else None, self.unit, {**at, "extra": {"reason": bound.reason}}
        )

    def floors(self) -> Iterator[Finding]:
        """What saying the commonest class scores. Random networks and raw pixels are probes like any other."""
        for name, component in self.targets.items():
            if component.num_classes:
                probe, test = component.splits["probe"].labels, component.splits["test"].labels
                at = dict(arm="majority", target=name, n_examples=len(test))
                yield Finding("accuracy", probes.majority(probe, test), "fraction", at)

    def optima(self) -> Iterator[Finding]:
        """Exact Bayes accuracies of procedural components, for direct training, a shared head and a head each."""
        specs = self.study.components
        if self.study.mixture.schedule or any(s.source["name"] != "factors" or s.transforms for s in specs.values()):
            return
        values = {s.source.get("values", 2) for s in specs.values()}
        if len(values) != 1:
            return
        reliable = {
            name: {f: r for f, r in s.source.get("reliability", {}).items() if f not in s.randomise}
            for name, s in specs.items()
        }
        for name, kinds in factors.bayes(reliable, self.study.mixture.weights, values.pop()).items():
            for kind, optimum in kinds.items():
                at = dict(arm="bayes", reference=kind, target=name)
                yield Finding("accuracy", optimum["accuracy"], "fraction", at)
