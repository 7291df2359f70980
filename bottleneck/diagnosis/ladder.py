"""How deep a feature lies: the first rung of the ladder at which the mixture's last step reads it."""

from __future__ import annotations

import dataclasses

from bottleneck.analyses import Analysis
from bottleneck.analysis import gap, information, ladder, screen
from bottleneck.analysis.features import SPLITS
from bottleneck.diagnosis.readings import LABEL, Readings, factors, stack
from bottleneck.diagnosis.readings import rows as reading_rows
from bottleneck.representations.members import Member
from bottleneck.store import Store

KIND = "ladder"
CONTROL = "control"


@dataclasses.dataclass(frozen=True)
class Rungs:
    """Readings of one target by every seed's network: protocol -> [S] dicts of factor -> Reading."""

    last: list[Member]
    trained: dict[str, list[Member]]  # layer -> members at the last step
    untrained: dict[str, list[Member]]  # the same at step 0
    by: dict[str, list[dict]]  # prominent, linear, nonlinear, at the probe's layer
    control: dict[str, list[dict]]  # of the control tasks: linear, nonlinear


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Readings of every rung, layer and seed for the label and the factors of one target, and where each factor lands."""
    target, found = analysis.subject, []
    known = factors(store.plan.targets[target])
    rungs = climb(store, readings, analysis, known)
    for factor in known:
        found += read(store, readings, rungs, target, factor)
        found += guards(store, readings, rungs, target, factor, known[factor])
        found += landing(store, readings, rungs, target, factor, known[factor])
    return found


def climb(store: Store, readings: Readings, analysis: Analysis, known: dict) -> Rungs:
    """Reads every rung, once for all factors."""
    target, last = analysis.subject, readings.mixture()
    layers = list(dict.fromkeys(m.layer for m, _ in analysis.reads if m.run == "mixture"))
    tasks = controls(store.plan.targets[target], known)
    by = {
        "prominent": [readings.prominent(m, target) for m in last],
        "linear": [readings.linear(m, target) for m in last],
        "nonlinear": [readings.nonlinear(m, target, {**known, **tasks}) for m in last],
    }
    control = (
        {"linear": [screen.screen(readings.features(m, target), tasks) for m in last], "nonlinear": by["nonlinear"]}
        if tasks
        else {}
    )
    return Rungs(
        last,
        {layer: readings.mixture(layer=layer) for layer in layers},
        {layer: readings.mixture(0, layer) for layer in layers},
        by,
        control,
    )


def controls(component, known: dict) -> dict:
    """(CONTROL, K) -> a control task of K classes, a random function of the combination of factors, for every K there is."""
    factored = {s: component.splits[s].factors for s in SPLITS}
    tasks = {count: ladder.control(factored, count, 0) for _, count in known.values() if factored["probe"]}
    return {(CONTROL, count): (task, count) for count, task in tasks.items() if task is not None}


def read(store: Store, readings: Readings, rungs: Rungs, target: str, factor: str | None) -> list[dict]:
    """Rows of what every rung, layer, untrained network, the reference and the pooled input read of one factor."""
    found, layer = [], rungs.last[0].layer
    name, _ = readings.reference(target, factor)

    def emit(each, arm, protocol="linear", layer=layer, step=rungs.last[0].step):
        found.extend(
            reading_rows(
                store, KIND, each, arm=arm, target=target, factor=factor, protocol=protocol, layer=layer, step=step
            )
        )

    for arm, members in (("mixture", rungs.trained), ("random", rungs.untrained)):
        for tap, own in members.items():
            emit([readings.linear(m, target)[factor] for m in own], arm, layer=tap, step=own[0].step)
    for protocol in ("prominent", "nonlinear"):
        emit([each[factor] for each in rungs.by[protocol]], "mixture", protocol)
    emit(
        [readings.linear(m, target)[factor] for m in readings.direct(name)],
        f"direct-{name}",
        step=readings.direct(name)[0].step,
    )
    emit([readings.linear(None, target)[factor]], "pixels", layer=None, step=None)
    return found


def guards(store: Store, readings: Readings, rungs: Rungs, target: str, factor: str | None, known: tuple) -> list[dict]:
    """Selectivity against the control task, and what is read when some factor combinations are kept for the test."""
    common = dict(
        arm="mixture",
        target=target,
        factor=factor,
        layer=rungs.last[0].layer,
        step=rungs.last[0].step,
        extra={"analysis": KIND},
    )
    values, count = known
    found = []
    for protocol, each in rungs.control.items():
        if (CONTROL, count) in each[0]:
            selectivity = stack([r[factor] for r in rungs.by[protocol]]) - stack([r[CONTROL, count] for r in each])
            found.append(store.row(gap.two_way(selectivity), **common, protocol=protocol, metric="selectivity_bits"))
    component = store.plan.targets[target]
    masks = ladder.disjoint({s: component.splits[s].factors for s in SPLITS}, factor) if factor is not LABEL else None
    if masks is not None:
        y = {s: values[s][masks[s]] for s in SPLITS}
        each = [
            screen.screen({s: x[masks[s]] for s, x in readings.features(m, target).items()}, {factor: (y, count)})[
                factor
            ]
            for m in rungs.last
        ]
        for metric, table in (("bits", stack(each)), ("accuracy", stack(each, "correct"))):
            found.append(store.row(gap.two_way(table), **common, protocol="linear", metric=f"disjoint_{metric}"))
    return found


def landing(
    store: Store, readings: Readings, rungs: Rungs, target: str, factor: str | None, known: tuple
) -> list[dict]:
    """The rung of one factor, and what training added to an untrained network at the earlier layers."""
    values, count = known
    name, reference = readings.reference(target, factor)
    last = rungs.last[0]
    tables = {protocol: stack([r[factor] for r in each]) for protocol, each in rungs.by.items()}
    control = rungs.control.get("nonlinear")
    before = list(rungs.trained)[: list(rungs.trained).index(last.layer)]  # they go from input to output
    earlier = {
        layer: tuple(readings.linears(own[layer], target, factor) for own in (rungs.trained, rungs.untrained))
        for layer in before
    }
    found = ladder.land(
        reference,
        tables,
        earlier,
        entropy=information.entropy(information.prior(values["probe"], count)),
        margin=store.plan.study.margin,
        control=stack([r[CONTROL, count] for r in control]) if control and (CONTROL, count) in control[0] else None,
    )
    common = dict(arm="mixture", target=target, factor=factor, step=last.step)
    lines = [
        store.row(
            gain,
            **common,
            reference="random",
            protocol="linear",
            layer=layer,
            metric="over_untrained_bits",
            extra={"analysis": KIND},
        )
        for layer, gain in found.gains.items()
    ]
    word = found.rung if found.rung in ladder.RUNGS else None
    return [
        *lines,
        store.row(
            **common,
            metric="rung",
            layer=found.layer or (last.layer if word in tables else None),
            reference=f"direct-{name}",
            value=word and ladder.RUNGS.index(word),
            n_seeds=len(rungs.last),
            n_examples=reference.shape[1],
            extra={
                "analysis": KIND,
                "rung": found.rung,
                "certain": found.certain,
                "untrained": found.untrained,
                "reference": f"direct-{name}",
                "reference_bits": float(reference.mean()),
                "shares": found.shares,
                "entropy": information.entropy(information.prior(values["probe"], count)),
            },
        ),
    ]
