"""Fine-tuning: direct training on a target with a start, as runs of the graph, read by the head they end with."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from bottleneck.analysis import probes as solved
from bottleneck.data.component import Component
from bottleneck.features import extract
from bottleneck.features.layers import LAST
from bottleneck.features.source import SPLITS, Kept, Member
from bottleneck.planning.planner import Planner
from bottleneck.pretraining import Start
from bottleneck.probing import null


def add(planner: Planner, arm: str, seed: int, target: str, member: Member, protocol: str, asks) -> None:
    """The whole network on the target's training items, from `member`; with "finetune", on so many shots of them too.

    `probe_finetune` (LP-FT, Kumar et al. 2022) starts from the linear probe's classifier, `finetune` from a fresh one.
    """
    shots = (None, *planner.study.probe.finetune.shots) if protocol == "finetune" else (None,)
    for count in shots:
        tuned = run(planner, seed, target, member.source, protocol, count, asks)
        source = planner.kept(tuned, tuned.steps, f"{protocol}-{member.source.run.name}-{target}/{seed}", LAST).source
        planner.probe(arm, seed, target, (Member(source, LAST),), protocol, asks, shots=count)


def run(planner: Planner, seed: int, target: str, parent: Kept, protocol: str, shots: int | None, asks):
    """The fine-tuned run, asked for."""
    component = whole = planner.episodes.targets[target]
    if shots:
        rows = solved.k_shot(whole.splits["train"].labels, shots, seed, 0)
        component = few(whole, rows, shots, seed)
    tuned = planner.episodes.finetuned(parent.run, parent.step, target, component, protocol, seed, shots)
    start = Start(parent.run, parent.step)
    if protocol == "probe_finetune":
        scalings = planner.study.probe.scalings
        needs = (extract.output(parent, LAST, whole),)
        start = Start(parent.run, parent.step, needs, partial(solved_head, parent, whole, scalings))
        planner.read(parent, LAST, whole, asks)
    planner.keep(parent)
    planner.parents[tuned.key] = ((parent.run, parent.step), *parent.stands_on)
    planner.train(tuned, asks, start, (component,))
    return tuned


def few(component: Component, rows: np.ndarray, shots: int, seed: int) -> Component:
    """The component with so many training items per class."""
    train = component.splits["train"].take(rows)
    fingerprint = f"{component.fingerprints['train']} {shots} shots {seed}"
    return dataclasses.replace(
        component,
        splits={**component.splits, "train": train},
        fingerprints={**component.fingerprints, "train": fingerprint},
    )


def solved_head(parent: Kept, component: Component, scalings: tuple[str, ...], store) -> dict[str, np.ndarray]:
    """The linear probe's classifier on raw features: kernel [p, K] and bias [K]."""
    y = {split: component.splits[split].labels for split in SPLITS}
    task = "classification" if component.num_classes else "regression"
    x = store.features(parent, LAST, component)
    probe = solved.linear_probe(x, y, component.num_classes, scalings=scalings, task=task, prior=null(component))
    return {"kernel": probe.weights.astype(np.float32), "bias": probe.intercept.astype(np.float32)}
