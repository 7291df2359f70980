"""What joins several diagnoses, or a diagnosis and the gaps: part of the answer."""

from __future__ import annotations

import numpy as np

from bottleneck.analysis import intervals, relatedness
from bottleneck.diagnosis.cast import over_seeds
from bottleneck.diagnosis.relatedness import Relatedness
from bottleneck.diagnosis.steps import Steps
from bottleneck.rows import Finding


def findings(store, answer, answers: list[Finding]):
    """`answers`: what the answer has found so far."""
    present = [d for d in answer.diagnoses if store.present(d)]
    yield from mixed(store, [d for d in present if isinstance(d, Steps)])
    yield from prediction(store, [d for d in present if isinstance(d, Relatedness)], answers)


def mixed(store, diagnoses: list[Steps]):
    """Accuracy balanced over components and weighted as the mixture, and its spread over components, at every step."""
    if not diagnoses:
        return
    cast = diagnoses[0].cast
    run = cast.at()[0].source.run
    tables = {d.subject: store.items(d) for d in diagnoses if d.subject in cast.components}
    if set(tables) != set(cast.components):
        return
    for protocol in ("linear", "head"):
        if not all(protocol in table for table in tables.values()):
            continue
        each = [tables[name][protocol].astype(float) for name in cast.components]  # [T, S, N] of every component
        for t, step in enumerate(cast.steps):
            at = dict(arm=cast.arm, protocol=protocol, step=step)
            for metric, weights in (
                ("accuracy_balanced", np.ones(len(each))),
                ("accuracy_mixed", np.array(run.weights(step))),
            ):
                terms = [(w / weights.sum(), table[t]) for w, table in zip(weights, each, strict=True) if w > 0]
                yield Finding(metric, intervals.across(terms), "fraction", at)
            if len(each) > 1:
                spreads = np.std([table[t].mean(1) for table in each], axis=0, ddof=1)  # [S]
                yield over_seeds("accuracy_spread", "fraction", spreads, sum(table.shape[2] for table in each), **at)


def prediction(store, diagnoses: list[Relatedness], answers: list[Finding]):
    """How well the matrix of relatedness predicts the gaps of the mixture's components."""
    gaps = {f.at["target"]: f for f in answers if f.metric == "gap" and f.unit == "bits" and f.at["arm"] == "mixture"}
    if not diagnoses or not gaps:
        return
    cast = diagnoses[0].cast
    names = [n for n in cast.components if n in gaps and gaps[n].at["extra"]["verdict"] != "untestable"]
    drawn = shares(cast.at()[0].source.run)
    rows = [row for d in diagnoses for row in store.rows(d) if row["seed"] == "all" and row["metric"] == "information"]
    cells = {(row["reference"], row["target"]): row["value"] for row in rows}
    if sum(drawn[name] > 0 for name in names) < 2:
        return
    matrix = np.array([[cells[i, j] for j in names] for i in names])
    answer = relatedness.predict(matrix, [gaps[n].value.value for n in names], [drawn[n] for n in names])
    for each in (answer.weighted, answer.best):
        extra = {"predictor": each.predictor, "p": each.p, "n": each.n, "reason": each.reason}
        extra |= {"error": each.error, "baseline": each.baseline}
        at = dict(arm="mixture", reference="direct", protocol="linear", extra=extra)
        yield Finding("relatedness", each.spearman, None, at)


def shares(run) -> dict[str, float]:
    """The share of the mixture run's examples that each component had, over all phases of its schedule."""
    stops = [*(start for start, _ in run.schedule[1:]), run.steps]
    sums = sum(np.array(w) / sum(w) * (stop - start) for (start, w), stop in zip(run.schedule, stops, strict=True))
    return dict(zip(run.components, sums / run.steps, strict=True))
