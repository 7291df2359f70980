"""How alike representations are: debiased CKA within components, with everything it must not be printed without."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from scipy import special

from bottleneck.analyses import Analysis
from bottleneck.analysis import cka, features
from bottleneck.diagnosis.readings import Readings
from bottleneck.diagnosis.steps import KIND as STEPS
from bottleneck.diagnosis.steps import over_seeds
from bottleneck.evaluation import collect
from bottleneck.plan import Evaluation
from bottleneck.representations.members import Member
from bottleneck.store import Store

KIND = "cka"
PIXELS = "pixels"


@dataclasses.dataclass(frozen=True)
class Items:
    """Test items of some components, and representations of them: name -> [n, p]."""

    x: dict[str, np.ndarray]
    groups: np.ndarray
    ids: np.ndarray  # [n, 2] component and example


def rows(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """The records of every pair of one declared comparison."""
    return {"layers": layers, "steps": steps, "seeds": seeds, "direct": direct}[analysis.subject](
        store, readings, analysis
    )


def gather(store: Store, readings: Readings, members, targets) -> Items:
    """The members' features of the test items of all `targets`, one below the other; positions are samples."""
    x, groups, ids = {}, [], []
    blocks = {m: [readings.features(m, target)["test"] for target in targets] for m in members}
    positions = {block.shape[1] for found in blocks.values() for block in found if block.ndim == 3}
    for j, target in enumerate(targets):
        own = store.plan.targets[target].splits["test"].ids
        for each in positions or {1}:
            own = np.repeat(own, each)
        groups.append(np.full(len(own), j))
        ids.append(np.stack([groups[-1], own], 1))
    for member, found in blocks.items():
        x[str(member)] = np.concatenate([features.samples(b)[0] if b.ndim == 3 else b for b in found])
    if not positions:
        x[PIXELS] = np.concatenate(
            [collect(store, Evaluation(PIXELS, 0, (), t, "linear_probe"))["test"] for t in targets]
        )
    return Items(x, np.concatenate(groups), np.concatenate(ids))


def records(store: Store, items: Items, compared, reference: str, *, target: str | None = None) -> list[dict]:
    """Rows of `compared`: (a, b, label of a, label of b, floors, ceiling, seed)."""
    pairs = [
        cka.Pair(
            str(a),
            str(b),
            {label: str(m) for label, m in floors.items()} | ({"pooled input": PIXELS} if PIXELS in items.x else {}),
            ceiling and tuple(map(str, ceiling)),
        )
        for a, b, _, _, floors, ceiling, _ in compared
    ]
    found = []
    for (a, b, x, y, _, _, seed), record in zip(
        compared,
        cka.records(
            items.x,
            items.groups,
            pairs,
            ids=items.ids,
            eval_mode=True,
            spatial=features.tap_and_mode(compared[0][0].layer)[1],
            batch=store.plan.study.analysis.batch,
        ),
        strict=True,
    ):
        found.append(
            store.row(
                arm="mixture",
                target=target,
                reference=reference,
                members=[str(a), str(b)],
                metric="cka",
                value=record.value,
                seed=seed,
                selected_on=None,
                ci95=list(record.ci95),
                ci_unit="minibatches",
                n_seeds=1,
                n_examples=record.n,
                layer=a.layer,
                step=a.step,
                extra={"analysis": KIND, "x": x, "y": y, "record": dataclasses.asdict(record)},
            )
        )
    return found


def members_of(analysis: Analysis) -> list[Member]:
    """The mixture's members it reads, each once."""
    return list(dict.fromkeys(m for m, _ in analysis.reads if m.run == "mixture"))


def at(member: Member, **changes) -> Member:
    return dataclasses.replace(member, **changes)


def layers(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Layers x layers of one network, beside the same layers of an untrained one and of a second seed."""
    members, names = members_of(analysis), list(store.plan.components)
    items, last = gather(store, readings, members, names), max(m.step for m in members)
    first, other = readings.seeds[0], readings.seeds[:2][-1]
    own = [m for m in members if (m.seed, m.step) == (first, last)]
    compared = [
        (
            a,
            b,
            a.layer,
            b.layer,
            {"random init": at(a, step=0)},
            (b, at(b, seed=other)) if other != first else None,
            first,
        )
        for a, b in itertools.combinations(own, 2)
    ]
    return records(store, items, compared, "layers") if compared else []


def seeds(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Seed x seed at the last step: how alike two networks of one recipe are, which is the ceiling of the others."""
    members, names = members_of(analysis), list(store.plan.components)
    items, last = gather(store, readings, members, names), max(m.step for m in members)
    compared = [
        (a, b, f"seed {a.seed}", f"seed {b.seed}", {"random init": at(a, step=0)}, None, a.seed)
        for a, b in itertools.combinations([m for m in members if m.step == last], 2)
    ]
    return records(store, items, compared, "seeds") if compared else []


def direct(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """The mixture's features beside those of direct training, on the items of each component.

    Both start from the same untrained network, which is the floor; the two direct networks of the ceiling do not.
    """
    found = []
    for name in store.plan.components:
        own, trained = readings.direct(name), readings.mixture()
        items = gather(store, readings, [*trained, *own, *readings.mixture(0)], [name])
        compared = [
            (
                a,
                b,
                "mixture",
                f"direct-{name}",
                {"random init": at(a, step=0)},
                tuple(own[:2]) if len(own) > 1 else None,
                a.seed,
            )
            for a, b in zip(trained, own, strict=True)
        ]
        found += records(store, items, compared, "direct", target=name)
    return found


def steps(store: Store, readings: Readings, analysis: Analysis) -> list[dict]:
    """Step x step of one seed; and for all seeds, step by step, to the start, the end, another seed and direct training."""
    members, names = members_of(analysis), list(store.plan.components)
    items, last = gather(store, readings, members, names), max(m.step for m in members)
    first, other = readings.seeds[0], readings.seeds[:2][-1]
    own = [m for m in members if m.seed == first]
    compared = [
        (
            a,
            b,
            str(a.step),
            str(b.step),
            {"random init": at(a, step=0)} if a.step else {},
            (b, at(b, seed=other)) if other != first else None,
            first,
        )
        for a, b in itertools.combinations(own, 2)
    ]
    found = records(store, items, compared, "steps")
    del items.x[PIXELS]
    whole = cka.minibatch(items.x, items.groups, store.plan.study.analysis.batch)
    for step in sorted({m.step for m in members}):
        common = dict(arm="mixture", step=step, layer=own[0].layer, metric="cka", selected_on=None)
        for reference, beside in (("init", 0), ("last", last)):
            values = [whole.value(str(m), str(at(m, step=beside))) for m in readings.mixture(step)]
            found.append(over_seeds(store, values, len(items.groups), reference=reference, **common))
        if len(readings.seeds) > 1:
            table = np.array(
                [[whole.value(str(a), str(b)) for b in readings.mixture(step)] for a in readings.mixture(step)]
            )
            found.append(
                store.row(
                    **pairs_of_seeds(table),
                    n_seeds=len(table),
                    n_examples=len(items.groups),
                    reference="seed",
                    extra={"analysis": STEPS},
                    **common,
                )
            )
    for j, name in enumerate(names):
        own_items = items.groups == j
        alone = cka.minibatch(
            {member: x[own_items] for member, x in items.x.items()}
            | {str(d): readings.features(d, name)["test"] for d in readings.direct(name)},
            None,
            store.plan.study.analysis.batch,
        )
        for step in sorted({m.step for m in members}):
            values = [
                alone.value(str(m), str(d)) for m, d in zip(readings.mixture(step), readings.direct(name), strict=True)
            ]
            found.append(
                over_seeds(
                    store,
                    values,
                    int(own_items.sum()),
                    arm="mixture",
                    target=name,
                    step=step,
                    layer=own[0].layer,
                    metric="cka",
                    reference="direct",
                    selected_on=None,
                )
            )
    return found


def pairs_of_seeds(table: np.ndarray) -> dict:
    """Mean over the pairs of S seeds of a symmetric `table` [S, S]; jackknife over seeds, as pairs share them (S > 2)."""
    count = len(table)

    def mean(kept):
        return table[np.ix_(kept, kept)][np.triu_indices(len(kept), 1)].mean()

    value = mean(np.arange(count))
    if count < 3:
        return {"value": value}
    left = np.array([mean(np.delete(np.arange(count), s)) for s in range(count)])
    half = special.stdtrit(count - 1, 0.975) * np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    return {"value": value, "ci95": [value - half, value + half], "ci_unit": "seeds"}
