"""How related the components are: what the features of one's direct training read of another's label."""
from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import relatedness
from bottleneck.diagnosis.readings import LABEL, Readings, rows as reading_rows
from bottleneck.store import Store

KIND = "relatedness"


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """One column of the matrix: every component's direct features on one target."""
    target, found = analysis.subject, []
    for name in dict.fromkeys((*store.plan.components, target)):
        members = readings.direct(name)
        found += reading_rows(store, KIND, readings.linears(members, target, LABEL), readings.linears(members, target, LABEL, "correct"),
                              readings=[readings.linear(m, target)[LABEL] for m in members], arm=f"direct-{name}", reference=name,
                              target=target, protocol="linear", layer=members[0].layer, step=members[0].step)
    return found


def prediction(store: Store, found: list[dict], answers: list[dict]) -> list[dict]:
    """How well the matrix predicts the gaps of the mixture's components, from the rows of both."""
    names = list(store.plan.components)
    cells = {(r["reference"], r["target"]): r["value"] for r in found if r["seed"] == "all" and r["metric"] == "bits"
             and r["extra"]["analysis"] == KIND}
    gaps = {r["target"]: r["value"] for r in answers if r["metric"] == "gap_bits"}
    if not cells or sum(w > 0 for w in store.plan.study.mixture.weights.values()) < 2:
        return []
    matrix = np.array([[cells[i, j] for j in names] for i in names])
    answer = relatedness.predict(matrix, [gaps[n] for n in names], [store.plan.study.mixture.weights[n] for n in names])
    return [store.row(metric="relatedness_spearman", value=each.spearman, arm="mixture", reference="direct", protocol="linear",
                      extra={"analysis": KIND, "predictor": each.predictor, "p": each.p, "n": each.n, "reason": each.reason,
                             "error": each.error, "baseline": each.baseline}) for each in (answer.weighted, answer.best)]
