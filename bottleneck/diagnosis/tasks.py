"""Carries out the analyses of a plan: one task, one file of rows; tasks of one subject share what they read."""

from __future__ import annotations

import collections

from bottleneck import jobs
from bottleneck import rows as row_files
from bottleneck.diagnosis import gradients, ladder, recovery, relatedness, seeds, similarity, steps
from bottleneck.diagnosis.readings import Readings
from bottleneck.store import Store

KINDS = {
    "ladder": ladder,
    "steps": steps,
    "seeds": seeds,
    "cka": similarity,
    "relatedness": relatedness,
    "recovery": recovery,
    "gradients": gradients,
}


def run(store: Store) -> None:
    """Every analysis of this shard that has no rows yet."""
    (store.workdir / "rows").mkdir(parents=True, exist_ok=True)
    waiting = collections.defaultdict(list)
    for analysis in store.mine(store.plan.analyses):
        if not store.rows(analysis).is_file():
            waiting[analysis.subject].append(analysis)
    readings = Readings(store)
    jobs.carry_out(
        "analyze",
        "task",
        list(waiting.values()),
        lambda analysis: row_files.write(store.rows(analysis), KINDS[analysis.kind].rows(store, readings, analysis)),
    )


def summary(store: Store, answers: list[dict]) -> list[dict]:
    """Rows that join several analyses, or an analysis and the gaps."""
    analyses = store.plan.analyses
    found = [r for a in analyses if a.kind == "relatedness" for r in row_files.read(store.rows(a))]
    return steps.mixed(store, analyses) + relatedness.prediction(store, found, answers)
