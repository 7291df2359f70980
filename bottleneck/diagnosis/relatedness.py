"""How related the components are: what the features of one's direct training read of another's label."""

from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import relatedness
from bottleneck.diagnosis.readings import LABEL, Readings
from bottleneck.diagnosis.readings import rows as reading_rows
from bottleneck.store import Store

KIND = "relatedness"


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """One column of the matrix: every component's direct features on one target."""
    target, found = analysis.subject, []
    for name in dict.fromkeys((*store.plan.components, target)):
        members = readings.direct(name)
        found += reading_rows(
            store,
            KIND,
            [readings.linear(m, target)[LABEL] for m in members],
            arm=f"direct-{name}",
            reference=name,
            target=target,
            protocol="linear",
            layer=members[0].layer,
            step=members[0].step,
        )
    return found


def prediction(store: Store, found: list[dict], answers: list[dict]) -> list[dict]:
    """How well the matrix predicts the gaps of the mixture's components, from the rows of both."""
    gaps = {r["target"]: r for r in answers if r["metric"] == "gap_bits"}
    names = [name for name in store.plan.components if gaps and gaps[name]["extra"]["verdict"] != "untestable"]
    cells = {
        (r["reference"], r["target"]): r["value"]
        for r in found
        if r["seed"] == "all" and r["metric"] == "bits" and r["extra"]["analysis"] == KIND
    }
    drawn = shares(store)
    if not cells or sum(drawn[name] > 0 for name in names) < 2:
        return []
    matrix = np.array([[cells[i, j] for j in names] for i in names])
    answer = relatedness.predict(matrix, [gaps[n]["value"] for n in names], [drawn[n] for n in names])
    return [
        store.row(
            metric="relatedness_spearman",
            value=each.spearman,
            arm="mixture",
            reference="direct",
            protocol="linear",
            extra={
                "analysis": KIND,
                "predictor": each.predictor,
                "p": each.p,
                "n": each.n,
                "reason": each.reason,
                "error": each.error,
                "baseline": each.baseline,
            },
        )
        for each in (answer.weighted, answer.best)
    ]


def shares(store: Store) -> dict[str, float]:
    """The share of the mixture run's examples that each component had, over all phases of its schedule."""
    run = store.plan.run("mixture", store.plan.study.run_seeds[0])
    stops = [*(start for start, _ in run.schedule[1:]), run.steps]
    found = sum(np.array(w) / sum(w) * (stop - start) for (start, w), stop in zip(run.schedule, stops, strict=True))
    return dict(zip(run.components, found / run.steps, strict=True))
