"""How deep a feature lies: the first rung of the ladder at which the mixture's last step reads it."""
from __future__ import annotations

import numpy as np

from bottleneck.analyses import Analysis
from bottleneck.analysis import gap, information, ladder, screen
from bottleneck.analysis.features import SPLITS
from bottleneck.diagnosis.readings import LABEL, Readings, factors, rows as reading_rows
from bottleneck.store import Store

KIND = "ladder"
CONTROL = "control"


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Readings of every rung, layer and seed for the label and the factors of one target, and where each factor lands."""
    target, last = analysis.subject, readings.mixture()
    component, known = store.plan.targets[target], factors(store.plan.targets[target])
    layers = list(dict.fromkeys(m.layer for m, _ in analysis.reads if m.run == "mixture"))
    trained = {layer: readings.mixture(layer=layer) for layer in layers}
    untrained = {layer: readings.mixture(0, layer) for layer in layers}
    controls = controls_of(component, known, readings.seeds[0])
    prominent = [readings.prominent(m, target) for m in last]
    nonlinear = [readings.nonlinear(m, target, {**known, **controls}) for m in last]
    controlled = [screen.screen(readings.features(m, target), controls) for m in last]

    found = []
    for factor in known:
        common = dict(target=target, factor=factor, step=last[0].step)
        for arm, members in (("mixture", trained), ("random", untrained)):
            for layer in layers:
                found += emit(store, [readings.linear(m, target)[factor] for m in members[layer]], arm=arm, protocol="linear", layer=layer,
                              **{**common, "step": members[layer][0].step})
        for protocol, each in (("prominent", prominent), ("nonlinear", nonlinear)):
            found += emit(store, [r[factor] for r in each], arm="mixture", protocol=protocol, layer=last[0].layer, **common)
        name, reference = readings.reference(target, factor)
        found += emit(store, [readings.linear(m, target)[factor] for m in readings.direct(name)], arm=f"direct-{name}", protocol="linear",
                      layer=last[0].layer, **{**common, "step": readings.direct(name)[0].step})
        found += emit(store, [readings.linear(None, target)[factor]], arm="pixels", protocol="linear", **{**common, "step": None})

        key = (CONTROL, known[factor][1])
        tables = {protocol: stack([r[factor] for r in each]) for protocol, each in
                  (("prominent", prominent), ("linear", [readings.linear(m, target) for m in last]), ("nonlinear", nonlinear))}
        control_tables = {"linear": stack([r[key] for r in controlled]), "nonlinear": stack([r[key] for r in nonlinear])} \
            if key in controls else {}
        for protocol, table in control_tables.items():
            found.append(store.row(gap.two_way(tables[protocol] - table), arm="mixture", protocol=protocol, layer=last[0].layer, **common,
                                   metric="selectivity_bits", extra={"analysis": KIND}))
        found += disjoint(store, readings, target, factor, last, common)
        earlier = {layer: (readings.linears(trained[layer], target, factor), readings.linears(untrained[layer], target, factor))
                   for layer in layers if layer != last[0].layer}
        values, count = known[factor]
        entropy = information.entropy(information.prior(values["probe"], count))
        landing = ladder.land(reference, tables, earlier, entropy=entropy, control=control_tables.get("nonlinear"),
                              margin=store.plan.study.margin)
        for layer, gain in landing.gains.items():
            found.append(store.row(gain, arm="mixture", reference="random", protocol="linear", layer=layer, **common, metric="over_untrained_bits",
                                   extra={"analysis": KIND}))
        found.append(store.row(
            arm="mixture", **common, metric="rung", layer=landing.layer or (last[0].layer if landing.rung in tables else None),
            n_seeds=len(last), n_examples=reference.shape[1],
            value=ladder.RUNGS.index(landing.rung) if landing.rung in ladder.RUNGS else None, reference=f"direct-{name}",
            extra={"analysis": KIND, "rung": landing.rung, "certain": landing.certain, "untrained": landing.untrained,
                   "reference": f"direct-{name}", "reference_bits": float(reference.mean()), "entropy": entropy, "shares": landing.shares}))
    return found


def controls_of(component, known: dict, seed: int) -> dict:
    """(CONTROL, K) -> a control task of K classes, a random function of the combination of factors, for every K there is."""
    factored = {s: component.splits[s].factors for s in SPLITS}
    tasks = {count: ladder.control(factored, count, seed) for _, count in known.values() if factored["probe"]}
    return {(CONTROL, count): (task, count) for count, task in tasks.items() if task is not None}


def disjoint(store: Store, readings: Readings, target: str, factor: str | None, members, common: dict) -> list[dict]:
    """What is read of a factor when probes are fitted on some combinations of factor values and tested on others."""
    component = store.plan.targets[target]
    splits = {s: component.splits[s].factors for s in SPLITS}
    masks = ladder.disjoint(splits, factor) if factor is not LABEL else None
    if masks is None:
        return []
    values, count = factors(component)[factor]
    y = {s: values[s][masks[s]] for s in masks}
    each = [screen.screen({s: x[masks[s]] for s, x in readings.features(m, target).items()}, {factor: (y, count)})[factor] for m in members]
    return [store.row(gap.two_way(table), arm="mixture", protocol="linear", layer=members[0].layer, **common, metric=f"disjoint_{metric}",
                      extra={"analysis": KIND}) for metric, table in (("bits", stack(each)), ("accuracy", stack(each, "correct")))]


def stack(each, outcome: str = "bits") -> np.ndarray:
    """[S, N] of one outcome."""
    return np.stack([getattr(r, outcome) for r in each]).astype(float)


def emit(store: Store, each, **common) -> list[dict]:
    return reading_rows(store, KIND, stack(each), stack(each, "correct"), readings=each, **common)
