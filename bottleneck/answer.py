"""The answer of a study: per target what is missing, with a verdict, and why, from the rows the probes left on disk.

Every number it adds is a row: means over seeds, gaps, verdicts, causes, bounds, exact optima, gains of concatenation.
"""

from __future__ import annotations

import numpy as np

from bottleneck import rows as row_files
from bottleneck.analysis import causes, gap, information, probes
from bottleneck.data import factors
from bottleneck.diagnosis import tasks
from bottleneck.errors import UserError
from bottleneck.plan import Evaluation
from bottleneck.store import Store

PROTOCOL = "linear_probe"  # the family of verdicts: the final step and the last layer, by linear probe


class Tables:
    """Per-item outcomes by (arm, target, protocol): [S, N] in seed order."""

    def __init__(self, store: Store):
        self.found: dict[tuple, list[Evaluation]] = {}
        self.store = store
        for evaluation in store.plan.evaluations:
            self.found.setdefault(
                (evaluation.arm, evaluation.target, evaluation.protocol, evaluation.shots), []
            ).append(evaluation)
        self.singles = {
            (e.members[0], e.target): e
            for e in store.plan.evaluations
            if len(e.members) == 1 and e.protocol == PROTOCOL
        }

    def load(self, evaluation: Evaluation, name: str) -> np.ndarray | None:
        """`bits`, `correct` or `loss` [N] of one evaluation (mean over draws of few-shot probes), None without it."""
        file = self.store.rows(evaluation).with_suffix(".npz")
        if not file.is_file():
            raise UserError(
                "workdir",
                str(self.store.workdir),
                f"the probes of {evaluation.arm} on {evaluation.target} (--stage=transfer solves them)",
            )
        with np.load(file, allow_pickle=False) as found:
            return found[name].astype(np.float64).mean(0) if name in found else None

    def items(self, key: tuple, name: str) -> np.ndarray | None:
        """The same [S, N] for every seed or member set of (arm, target, protocol, shots)."""
        tables = [self.load(evaluation, name) for evaluation in self.found.get(key, ())]
        return np.stack(tables) if tables and tables[0] is not None else None

    def probe(self, arm: str, target: str, name: str = "bits") -> np.ndarray | None:
        return self.items((arm, target, PROTOCOL, None), name)

    def head(self, arm: str, target: str, name: str = "bits") -> np.ndarray | None:
        return self.items((arm, target, "head", None), name)


def path(store: Store):
    """Where the answer's rows lie."""
    return store.workdir / "rows" / f"answer-{store.config_hash}.jsonl"


def analyze(store: Store) -> None:
    """Writes `rows/answer-<config>.jsonl` and the union `results.jsonl`."""
    tables, plan = Tables(store), store.plan
    unit = "bits" if any(c.num_classes for c in plan.targets.values()) else "r2"
    found = list(means(store, tables, unit))
    for family in (list(plan.components), [t for t in plan.targets if t not in plan.components]):
        found += answers(store, tables, family, unit)
    found += (
        bounds(store, tables) + floors(store) + optima(store) + gains(store, tables, unit) + tasks.summary(store, found)
    )
    row_files.write(path(store), found)
    row_files.union(store.workdir / "rows", store.workdir / "results.jsonl")


def means(store: Store, tables: Tables, unit: str):
    """Mean over seeds of every arm, target and protocol."""
    for (arm, target, protocol, shots), evaluations in tables.found.items():
        for name, metric in (("bits", unit), ("correct", "accuracy")):
            items = tables.items((arm, target, protocol, shots), name)
            if items is not None:
                steps = {r["train_steps"] for r in row_files.read(store.rows(evaluations[0]))}
                yield store.row(
                    gap.two_way(items),
                    arm=arm,
                    target=target,
                    protocol=protocol,
                    n_shot=shots,
                    metric=metric,
                    representation=arm,
                    train_steps=max(steps),
                )


def answers(store: Store, tables: Tables, family: list[str], unit: str) -> list[dict]:
    """Verdicts of one family, with their causes and one sentence per target."""
    plan, found = store.plan, []
    targets = {}
    for name in family:
        targets[name] = (tables.probe("direct", name), tables.probe("mixture", name), entropy(plan.targets[name]))
    for name, verdict in gap.judge(targets, plan.study.margin).items():
        arms = {
            arm: tables.probe(arm, name)
            for arm in ("mixture", "direct", *causes.CAUSES)
            if (arm, name, PROTOCOL, None) in tables.found
        }
        why, interference = causes.causes(arms), causes.interference(arms)
        correct = {arm: tables.probe(arm, name, "correct") for arm in ("direct", "mixture")}
        points = None
        if correct["direct"] is not None:
            points = gap.contrast([(100.0, correct["direct"]), (-100.0, correct["mixture"])])
            found.append(
                store.row(
                    points, arm="mixture", reference="direct", target=name, protocol=PROTOCOL, metric="gap_points"
                )
            )
        text = causes.sentence(name, verdict, why, points, interference, "bits" if unit == "bits" else "R2")
        found.append(
            store.row(
                verdict.gap,
                arm="mixture",
                reference="direct",
                target=name,
                protocol=PROTOCOL,
                metric=f"gap_{unit}",
                extra={
                    "verdict": verdict.verdict,
                    "p": verdict.p,
                    "adjusted_p": verdict.adjusted_p,
                    "sentence": text,
                    "margin": plan.study.margin,
                    "family": len(family),
                    "entropy": verdict.entropy,
                    "outside": name not in plan.components,
                    "needs": verdict.needs,
                    "provisional": verdict.provisional,
                    "causes": [c.cause for c in why if c.status == "named"] if verdict.verdict == "lost" else [],
                    "saturated": verdict.verdict == "lost" and causes.saturated(why, interference),
                },
            )
        )
        found.append(
            store.row(
                verdict.margin,
                arm="mixture",
                reference="direct",
                target=name,
                protocol=PROTOCOL,
                metric=f"margin_{unit}",
            )
        )
        if interference is not None:
            found.append(
                store.row(
                    interference,
                    arm="mixture",
                    reference="matched",
                    target=name,
                    protocol=PROTOCOL,
                    metric=f"interference_{unit}",
                )
            )
        for cause in why if verdict.verdict == "lost" else ():
            found.append(
                store.row(
                    cause.numerator,
                    arm=cause.arm,
                    reference="direct" if cause.arm == "matched" else "mixture",
                    target=name,
                    protocol=PROTOCOL,
                    metric=f"restored_{unit}",
                    extra={"cause": cause.cause, "share": cause.share, "status": cause.status},
                )
            )
    return found


def bounds(store: Store, tables: Tables) -> list[dict]:
    """The population bound on each component's gap, from the mixture's head: for log-losses and constant weights."""
    plan = store.plan
    if (
        "head" not in plan.study.probe.protocols
        or plan.study.mixture.schedule
        or plan.study.objective.name == "regression"
    ):
        return []
    drawn = {name: w for name, w in plan.study.mixture.weights.items() if w > 0}
    losses = {arm: {name: tables.head(arm, name, "loss") for name in drawn} for arm in ("mixture", "direct")}
    if any(t is None for arm in losses.values() for t in arm.values()):
        return []
    total = sum(drawn.values())
    found = gap.population_bound(losses["mixture"], losses["direct"], {n: w / total for n, w in drawn.items()})
    return [
        store.row(interval, arm="mixture", reference="direct", target=name, protocol="head", metric="bound_bits")
        for name, interval in found.items()
    ]


def floors(store: Store) -> list[dict]:
    """What saying the commonest class scores. Random networks and raw pixels are evaluations like any other."""
    return [
        store.row(
            arm="majority",
            target=name,
            metric="accuracy",
            n_examples=len(c.splits["test"]),
            value=probes.majority(c.splits["probe"].labels, c.splits["test"].labels),
        )
        for name, c in store.plan.targets.items()
        if c.num_classes
    ]


def optima(store: Store) -> list[dict]:
    """Exact Bayes accuracies of procedural components, for direct training, the shared head and a head per component."""
    plan = store.plan
    specs = {name: plan.study.components[name] for name in plan.components}
    if plan.study.mixture.schedule or any(s.source.get("name") != "factors" or s.transforms for s in specs.values()):
        return []
    values = {s.source.get("values", 2) for s in specs.values()}
    if len(values) != 1:
        return []
    reliable = {
        n: {f: r for f, r in s.source.get("reliability", {}).items() if f not in s.randomise} for n, s in specs.items()
    }
    found = factors.bayes(reliable, plan.study.mixture.weights, values.pop())
    return [
        store.row(arm="bayes", reference=kind, target=name, metric="accuracy", value=answer["accuracy"])
        for name, kinds in found.items()
        for kind, answer in kinds.items()
    ]


def gains(store: Store, tables: Tables, unit: str) -> list[dict]:
    """What each declared representation adds: over one whole run, and over the mean of its own members beside the same
    for direct runs."""
    found, plan = [], store.plan
    for (arm, target, _, _), evaluations in tables.found.items():
        spec = evaluations[0].spec
        if spec is None or spec.external or "|" in arm:
            continue
        common = dict(arm=arm, target=target, protocol=PROTOCOL, representation=arm)
        whole = tables.probe(spec.patterns[0].partition("/")[0], target)
        if whole is not None:  # the budget that Time-Cat claims; for a short member, what shorter training does
            over = gap.contrast([(1.0, tables.probe(arm, target)), (-1.0, whole)], paired=False)
            found.append(store.row(over, **common, metric=f"over_single_{unit}"))
        if len(evaluations[0].members) == 1:
            continue
        pair = []
        for name in (arm, f"{arm}|direct"):
            alone = np.stack([members_mean(tables, e) for e in tables.found[name, target, PROTOCOL, None]])
            pair += [tables.probe(name, target), alone]
        gain = causes.concatenation_gain(
            *pair, direct=tables.probe("direct", target), entropy=entropy(plan.targets[target])
        )
        for metric, interval in (("gain", gain.gain), ("control_gain", gain.control), ("excess_gain", gain.excess)):
            found.append(
                store.row(
                    interval, **common, metric=f"{metric}_{unit}", extra={"verdict": gain.verdict, "note": gain.note}
                )
            )
    return found


def entropy(component) -> float:
    """H(y) in bits under the class frequencies of the probe split; 1 for regression, whose ceiling is R2 = 1."""
    if not component.num_classes:
        return 1.0
    return information.entropy(information.prior(component.splits["probe"].labels, component.num_classes))


def members_mean(tables: Tables, evaluation: Evaluation) -> np.ndarray:
    """Mean over the members of one set of each member's own items [N], where each was probed alone."""
    alone = [tables.singles[member, evaluation.target] for member in dict.fromkeys(evaluation.members)]
    return np.mean([tables.load(single, "bits") for single in alone], axis=0)
