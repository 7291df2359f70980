"""When a feature was learned, or lost: probes and head at every kept step of the mixture run."""

from __future__ import annotations

import io

import numpy as np

from bottleneck import atomic
from bottleneck.analyses import Analysis
from bottleneck.analysis import gap, information, spectrum, trajectory
from bottleneck.analysis.features import LOGITS
from bottleneck.analysis.intervals import Interval
from bottleneck.diagnosis.readings import LABEL, Readings, factors, stack
from bottleneck.diagnosis.readings import rows as reading_rows
from bottleneck.evaluation import read_head, run_of
from bottleneck.store import Store

KIND = "steps"
GROUP = 10  # items in val and in test: smaller groups are not looked at


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Readings of every step and seed for the label and the factors of one target, and a verdict per factor."""
    target, layer = analysis.subject, store.plan.study.probe.layer
    known = factors(store.plan.targets[target])
    steps = sorted({m.step for m, _ in analysis.reads if m.run == "mixture"})
    members = {step: readings.mixture(step) for step in steps}
    found, outcomes = [], {}
    for factor in known:
        for step in steps:
            each = [readings.linear(m, target)[factor] for m in members[step]]
            found += reading_rows(
                store,
                KIND,
                each,
                arm="mixture",
                target=target,
                factor=factor,
                protocol="linear",
                layer=layer,
                step=step,
            )
        found.append(verdict(store, readings, target, factor, known[factor], members))
    outcomes["linear"] = np.stack([readings.linears(members[s], target, LABEL, "correct") for s in steps])
    chosen = {"linear": readings.linears(members[steps[-1]], target, LABEL, "val_correct")}
    if has_head(store, target):
        heads = {step: [head(store, m, target) for m in members[step]] for step in steps}
        for step in steps:
            found += reading_rows(
                store, KIND, heads[step], arm="mixture", target=target, protocol="head", layer=layer, step=step
            )
        outcomes["head"] = np.stack([stack(heads[s], "correct") for s in steps])
        chosen["head"] = np.stack([head(store, m, target, "val").correct for m in members[steps[-1]]]).astype(float)
    for protocol, correct in outcomes.items():
        found += groups(store, target, protocol, steps, correct, chosen[protocol])
    for step in steps:
        found += shape(store, readings, target, members[step])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, steps=steps, **{protocol: table.astype(bool) for protocol, table in outcomes.items()})
    atomic.write(store.rows(analysis).with_suffix(".npz"), buffer.getvalue())
    return found


def verdict(store: Store, readings: Readings, target: str, factor, values, members: dict) -> dict:
    """When one factor was learned: the peak chosen on validation, everything read on test."""
    name, reference = readings.reference(target, factor)
    steps = sorted(members)
    test = np.stack([readings.linears(members[s], target, factor) for s in steps])
    val = np.array([[readings.linear(m, target)[factor].val_bits for m in members[s]] for s in steps])
    y, count = values
    entropy = information.entropy(information.prior(y["probe"], count))
    found = trajectory.learning(steps, test, val, reference, entropy=entropy, margin=store.plan.study.margin)
    extra = {
        "analysis": KIND,
        "verdict": found.verdict,
        "peak": found.peak,
        "last": found.last,
        "since": found.since,
        "peak_bits": found.best.value,
        "last_bits": found.end.value,
        "init_bits": found.init.value,
        "rise": found.rise and found.rise.value,
        "rise_ci": found.rise and [found.rise.low, found.rise.high],
        "reference": f"direct-{name}",
        "reference_bits": found.reference.value,
    }
    return store.row(
        found.forgetting,
        arm="mixture",
        target=target,
        factor=factor,
        protocol="linear",
        layer=members[steps[-1]][0].layer,
        step=steps[-1],
        reference=f"direct-{name}",
        metric="learning",
        extra=extra,
    )


def has_head(store: Store, target: str) -> bool:
    """Whether the mixture's head has classes for the target."""
    run = store.plan.run("mixture", store.plan.study.run_seeds[0])
    return target in run.components or (
        run.label_space == "shared" and store.plan.targets[target].output_dim == run.outputs
    )


def head(store: Store, member, target: str, split: str = "test"):
    """What the pretrained classifier says of a split (calibrated on val, which its hits do not depend on)."""
    component, run = store.plan.targets[target], run_of(store.plan, member)
    logits, y = (
        store.features(run, member.step, target, LOGITS, False),
        {s: component.splits[s].labels for s in ("probe", "val", "test")},
    )
    return read_head(run, target, {"val": logits["val"], "test": logits[split]}, component, {**y, "test": y[split]})


def groups(store: Store, target: str, protocol: str, steps, correct: np.ndarray, chosen: np.ndarray) -> list[dict]:
    """Spread over seeds; and the worst group, label x value of a factor (the competitor, if the mixture names one).

    `correct` [T, S, N] on test. The group is the worst on val at the last step, by `chosen` [S, N_val].
    """
    found, splits = [], store.plan.targets[target].splits
    common = dict(arm="mixture", target=target, protocol=protocol)
    for t, step in enumerate(steps):
        if correct.shape[1] > 1:
            found.append(
                store.row(
                    **common,
                    step=step,
                    metric="accuracy_seed_sd",
                    value=correct[t].mean(1).std(ddof=1),
                    n_seeds=correct.shape[1],
                    n_examples=correct.shape[2],
                    extra={"analysis": KIND},
                )
            )
    competitor = store.plan.study.mixture.competitor
    names = [name for name in factors(store.plan.targets[target]) if name is not LABEL and competitor in (None, name)]
    cells = [
        (
            f"label {label}, {name} {value}",
            *((splits[s].labels == label) & (splits[s].factors[name] == value) for s in ("val", "test")),
        )
        for name in names
        for label in np.unique(splits["val"].labels)
        for value in np.unique(splits["val"].factors[name])
    ]
    cells = [cell for cell in cells if min(cell[1].sum(), cell[2].sum()) >= GROUP]
    if cells:
        group, _, items = min(cells, key=lambda cell: chosen[:, cell[1]].mean())
        for t, step in enumerate(steps):
            found.append(
                store.row(
                    gap.two_way(correct[t][:, items]),
                    **common,
                    step=step,
                    metric="accuracy_worst_group",
                    extra={"analysis": KIND, "group": group},
                )
            )
    return found


def shape(store: Store, readings: Readings, target: str, members) -> list[dict]:
    """Effective rank, participation ratio and class separation of the features, over seeds."""
    labels = store.plan.targets[target].splits["test"].labels
    values = {"effective_rank": [], "participation_ratio": [], "class_separation": []}
    for member in members:
        x = readings.features(member, target)["test"]
        found = spectrum.spectrum(x)
        values["effective_rank"].append(found.effective_rank)
        values["participation_ratio"].append(found.participation_ratio)
        values["class_separation"].append(
            spectrum.class_separation(x, labels) if len(np.unique(labels)) > 1 else np.nan
        )
    return [
        over_seeds(
            store,
            table,
            len(labels),
            arm="mixture",
            target=target,
            layer=members[0].layer,
            step=members[0].step,
            metric=metric,
            selected_on=None,
        )
        for metric, table in values.items()
    ]


def over_seeds(store: Store, values, n_examples: int, **common) -> dict:
    """A row of one number per seed: mean and t interval over seeds; no interval with one seed."""
    values = np.asarray(values, float)
    extra = {"analysis": KIND, "values": values.tolist(), **common.pop("extra", {})}
    if len(values) == 1 or not np.isfinite(values).all():
        return store.row(value=values.mean(), n_seeds=len(values), n_examples=n_examples, extra=extra, **common)
    interval = gap.two_way(values[:, None])
    return store.row(Interval(**{**vars(interval), "n_examples": n_examples}), extra=extra, **common)


def mixed(store: Store, analyses) -> list[dict]:
    """Accuracy balanced over components and weighted as the mixture, and its spread over components, at every step."""
    plan, found = store.plan, []
    tables = {}
    for analysis in analyses:
        if analysis.kind == KIND and analysis.subject in plan.components:
            with np.load(store.rows(analysis).with_suffix(".npz"), allow_pickle=False) as kept:
                tables[analysis.subject] = dict(kept)
    if set(tables) != set(plan.components):
        return []
    run = plan.run("mixture", plan.study.run_seeds[0])
    steps = next(iter(tables.values()))["steps"]
    for protocol in ("linear", "head"):
        if not all(protocol in table for table in tables.values()):
            continue
        each = [tables[name][protocol].astype(float) for name in plan.components]  # [T, S, N] of every component
        for t, step in enumerate(steps.tolist()):
            common = dict(arm="mixture", protocol=protocol, step=step, extra={"analysis": KIND})
            for metric, weights in (
                ("accuracy_balanced", np.ones(len(each))),
                ("accuracy_mixed", np.array(run.weights(step))),
            ):
                terms = [(w / weights.sum(), table[t]) for w, table in zip(weights, each, strict=True) if w > 0]
                found.append(store.row(gap.across(terms), metric=metric, **common))
            if len(each) > 1:
                spreads = np.std([table[t].mean(1) for table in each], axis=0, ddof=1)  # [S]
                found.append(
                    over_seeds(
                        store,
                        spreads,
                        sum(table.shape[2] for table in each),
                        arm="mixture",
                        protocol=protocol,
                        step=step,
                        metric="accuracy_spread",
                    )
                )
    return found
