"""How much fine-tuning a lost feature takes, beside the same from a random initialisation: steps and examples saved."""

from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import gap, information, recovery
from bottleneck.analysis.features import LOGITS
from bottleneck.diagnosis.readings import LABEL, Readings
from bottleneck.evaluation import finetuning, read_head
from bottleneck.store import Store

KIND = "recovery"


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Curves over fine-tuning steps and over examples for one target, and what each start saves over a random one."""
    target, found = analysis.subject, []
    component = store.plan.targets[target]
    y = {s: component.splits[s].labels for s in ("probe", "val", "test")}
    tuned = [e for e in store.plan.evaluations if e.target == target and e.protocol == "finetune"]
    whole = len(component.splits["train"])
    arms = dict.fromkeys(e.arm for e in tuned)
    shots = sorted({e.shots for e in tuned if e.shots and e.shots * component.num_classes < whole})
    _, reference = readings.reference(target, LABEL)
    bits: dict[tuple, np.ndarray] = {}  # (arm, examples, step) -> [S, N]
    sizes = [k * component.num_classes for k in shots] + [whole]
    for arm in arms:
        for k, size in zip([*shots, None], sizes, strict=True):
            runs = [finetuning(store.plan, e)[0] for e in tuned if (e.arm, e.shots) == (arm, k)]
            for step in runs[0].keep if k is None else runs[0].keep[-1:]:
                each = [
                    read_head(run, target, store.features(run, step, target, LOGITS, False), component, y)
                    for run in runs
                ]
                bits[arm, size, step] = np.stack([e.bits for e in each])
                found.append(
                    store.row(
                        gap.two_way(bits[arm, size, step]),
                        arm=arm,
                        target=target,
                        protocol="finetune",
                        metric="bits",
                        step=step,
                        n_shot=k,
                        extra={"analysis": KIND, "examples": size},
                    )
                )
    prior = information.prior(y["probe"], component.num_classes)
    if not gap.two_way(reference).low > gap.UNTESTABLE * information.entropy(prior):
        return found  # where direct training reads nothing, anything reaches it
    steps = runs[0].keep
    budgets = {
        "steps": (steps, lambda arm: [bits[arm, sizes[-1], s] for s in steps]),
        "examples": (sizes, lambda arm: [bits[arm, n, steps[-1]] for n in sizes]),
    }
    for unit, (levels, curve) in budgets.items():
        if len(levels) < 2:
            continue
        for arm in arms:
            common = dict(arm=arm, target=target, protocol="finetune")
            if arm == "random":
                continue
            saved = recovery.savings(
                np.stack(curve(arm)), np.stack(curve("random")), levels, reference, store.plan.study.margin
            )
            for name, budget in ((arm, saved.start), ("random", saved.random)):
                if name != "random" or arm == "mixture":  # once
                    found.append(
                        store.row(
                            **{**common, "arm": name},
                            metric=f"{unit}_to_recover",
                            value=budget.median,
                            n_seeds=saved.n_seeds,
                            n_examples=reference.shape[1],
                            extra={
                                "analysis": KIND,
                                "low": budget.low,
                                "high": budget.high,
                                "censored": budget.censored,
                                "target_bits": budget.target,
                            },
                        )
                    )
            found.append(
                store.row(
                    **common,
                    reference="random",
                    metric=f"log2_{unit}_saved",
                    value=saved.value,
                    ci95=[saved.low, saved.high],
                    ci_unit="seeds",
                    n_seeds=saved.n_seeds,
                    n_examples=reference.shape[1],
                    extra={
                        "analysis": KIND,
                        "at_least": saved.at_least,
                        "at_most": saved.at_most,
                        "censored": saved.censored,
                        "floored": saved.floored,
                        "faster": saved.faster,
                        "slower": saved.slower,
                        "target_bits": saved.target,
                    },
                )
            )
    return found
