"""In which seeds a feature is there, and whether concatenating the seeds adds up weak evidence."""

from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import gap, information, screen, seeds
from bottleneck.diagnosis.readings import Readings, factors
from bottleneck.representations import members as representations
from bottleneck.store import Store

KIND = "seeds"


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Evidence per seed, its class, and all seeds concatenated, for the label and the factors of one target."""
    target, found = analysis.subject, []
    known = factors(store.plan.targets[target])
    arms = {"mixture": readings.mixture(), "random": readings.mixture(0)}
    joined = {arm: screen.screen(concatenate(readings, members, target), known) for arm, members in arms.items()}
    for factor in known:
        bits = {arm: readings.linears(members, target, factor) for arm, members in arms.items()}
        name, reference = readings.reference(target, factor)
        member = arms["mixture"][0]
        common = dict(
            arm="mixture",
            target=target,
            factor=factor,
            protocol="linear",
            layer=member.layer,
            step=member.step,
            reference=f"direct-{name}",
        )
        evidence = seeds.evidence(bits["mixture"], reference, store.plan.study.margin)
        d = bits["mixture"] - store.plan.study.margin * reference
        for seed, table, joint in zip(readings.seeds, d, evidence.seeds, strict=True):
            found.append(
                store.row(
                    gap.two_way(table),
                    **common,
                    metric="evidence_bits",
                    seed=seed,
                    extra={"analysis": KIND, "joint_ci": [joint.low, joint.high], "level": joint.level},
                )
            )
        spread, (y, count) = evidence.spread, known[factor]
        entropy = information.entropy(information.prior(y["probe"], count))
        testable = gap.two_way(reference).low > gap.UNTESTABLE * entropy
        found.append(
            store.row(
                evidence.mean,
                **common,
                metric="evidence_bits",
                extra={
                    "analysis": KIND,
                    "class": evidence.verdict if testable else "untestable",
                    "retained": evidence.retained,
                    "lost": evidence.lost,
                    "undecided": evidence.undecided,
                    "seed_sd": spread and spread.sd,
                    "seed_sd_ci": spread and [spread.low, spread.high],
                },
            )
        )
        for arm, members in arms.items():
            if len(members) == 1:
                continue
            whole = joined[arm][factor].bits
            best = int(np.argmax([readings.linear(m, target)[factor].val_bits for m in members]))
            gains = seeds.concatenation(whole, bits[arm], best)
            common.update(arm=arm, step=members[0].step, reference=None)
            for metric, interval in (
                ("concatenated_bits", gains.joined),
                ("concatenated_gain_bits", gains.over_mean),
                ("concatenated_over_best_bits", gains.over_best),
            ):
                found.append(
                    store.row(interval, **common, metric=metric, extra={"analysis": KIND, "members": len(members)})
                )
    return found


def concatenate(readings: Readings, members, target: str) -> dict[str, np.ndarray]:
    blocks = [readings.features(m, target) for m in members]
    return {split: representations.join([b[split] for b in blocks]) for split in blocks[0]}
