"""Whether a component's gradient starves: its norm and its direction at every kept step of the mixture run."""

from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import gradients
from bottleneck.diagnosis.readings import Readings
from bottleneck.diagnosis.steps import over_seeds
from bottleneck.evaluation import run_of
from bottleneck.store import Store

ITEMS = 1000  # training items per component


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Gradient norms per component, and cosines between components and with the mixture's gradient."""
    plan, names = store.plan, tuple(store.plan.components)
    batches = {}
    for name, component in plan.components.items():
        train = component.splits["train"]
        chosen = np.arange(min(ITEMS, len(train)))
        batches[name] = (train.fetch(chosen), train.labels[chosen])
    data, found = plan.study.data, []
    for step in sorted({m.step for m, _ in analysis.reads}):
        each = []
        for member in readings.mixture(step):
            run = run_of(plan, member)
            each.append(
                gradients.gradients(
                    run,
                    store.variables(run, step),
                    batches,
                    run.weights(step),
                    np.float32(data.mean),
                    np.float32(data.std),
                )
            )

        def emit(metric, values, target, reference=None, step=step):
            found.append(
                over_seeds(
                    store,
                    values,
                    len(batches[target][1]),
                    arm="mixture",
                    step=step,
                    metric=metric,
                    target=target,
                    reference=reference,
                    split="train",
                    selected_on=None,
                )
            )

        for j, name in enumerate(names):
            emit("gradient_norm", [g.norms[j] for g in each], name)
            emit("gradient_cosine", [g.with_mixture[j] for g in each], name, "mixture")
            for i in range(j):
                emit("gradient_cosine", [g.cosines[i, j] for g in each], name, names[i])
    return found
