"""One evaluation: a representation meets a target by a protocol, and rows come out.

Beside the rows `rows/<task>.jsonl` lie the per-item outcomes `rows/<task>.npz`: bits, hits and, for given classifiers,
losses, [draws, test items]. They are what verdicts are made of.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib

import numpy as np
from scipy import special
from tqdm import tqdm

from bottleneck import atomic
from bottleneck import rows as row_files
from bottleneck.analysis import features, gap, information, probes, trajectory
from bottleneck.analysis.features import LOGITS
from bottleneck.data import mixture
from bottleneck.data.component import Component
from bottleneck.plan import FINETUNES, Evaluation, Plan, identity
from bottleneck.representations import external
from bottleneck.representations import members as representations
from bottleneck.representations.members import Member
from bottleneck.store import Store
from bottleneck.training.run import Run, duration


def run_of(plan: Plan, member: Member) -> Run:
    return plan.run(member.run, member.seed)


def evaluate(store: Store, evaluation: Evaluation) -> None:
    """Solves one evaluation and writes its rows, and its per-item bits and hits beside them."""
    component = store.plan.targets[evaluation.target]
    y = {split: component.splits[split].labels for split in features.SPLITS}
    if evaluation.protocol == "head":
        results = [head(store, evaluation, component, y)]
    elif evaluation.protocol == "k_shot":
        results = [k_shot(store, evaluation, y, component, draw) for draw in range(store.plan.study.probe.draws)]
    elif evaluation.protocol in FINETUNES:
        results = [finetune(store, evaluation, component, y)]
    elif evaluation.spec is not None and evaluation.spec.combine == "average":
        results = [average(store, evaluation, component, y)]
    else:
        results = [probe(store, evaluation, y, component)]
    items = {"bits": np.stack([r.bits for r in results])}
    if results[0].correct is not None:
        items["correct"] = np.stack([r.correct for r in results])
    if isinstance(results[0], Scores):
        items["loss"] = np.stack([r.loss for r in results])
    buffer = io.BytesIO()
    np.savez(buffer, **items)
    path = store.rows(evaluation)
    atomic.write(path.with_suffix(".npz"), buffer.getvalue())
    row_files.write(path, rows(store, evaluation, component, results))


def collect(store: Store, evaluation: Evaluation, layer: str | None = None) -> dict[str, np.ndarray]:
    """The representation's features per split: members joined, perhaps reduced; given from elsewhere; or pooled pixels."""
    plan, component = store.plan, store.plan.targets[evaluation.target]
    if evaluation.spec is not None and evaluation.spec.external:
        return external.load(pathlib.Path(evaluation.spec.external), component)
    if not evaluation.members:
        raw = {s: component.splits[s].fetch(np.arange(len(component.splits[s]))) for s in features.SPLITS}
        return {s: probes.pool_pixels(x) if x.ndim == 4 else x for s, x in raw.items()}
    adapt = evaluation.protocol == "linear_probe_bn"
    blocks = [
        store.features(run_of(plan, m), m.step, evaluation.target, layer or m.layer, adapt) for m in evaluation.members
    ]
    joined = {split: representations.join([b[split] for b in blocks]) for split in features.SPLITS}
    if evaluation.spec is not None and evaluation.spec.reduce:
        joined = representations.principal(joined, blocks[0]["probe"].shape[1])
    return joined


def solve(store, x, y, component, **options) -> probes.Probe:
    return probes.linear_probe(
        x,
        y,
        component.num_classes,
        scalings=store.plan.study.probe.scalings,
        task="classification" if component.num_classes else "regression",
        **options,
    )


def probe(store, evaluation, y, component) -> probes.Probe:
    return solve(store, collect(store, evaluation), y, component)


def guard(store, evaluation, component, result) -> probes.Guard | None:
    """The pretrained head is one admissible probe of the last layer: no solved probe may be worse. None where not so."""
    member = evaluation.members[0] if len(evaluation.members) == 1 else None
    if (
        evaluation.protocol != "linear_probe"
        or not component.num_classes
        or member is None
        or member.layer != "features"
    ):
        return None
    run = run_of(store.plan, member)
    if evaluation.target not in run.components:
        return None
    head_, start = (
        store.variables(run, member.step)["params"]["head"],
        run.offset[run.components.index(evaluation.target)],
    )
    own = slice(start, start + component.num_classes)
    found = probes.guard(
        result,
        store.features(run, member.step, evaluation.target, member.layer, False)["probe"],
        component.splits["probe"].labels,
        head_["kernel"][:, own],
        head_["bias"][own] if "bias" in head_ else None,
    )
    if not found.holds:
        tqdm.write(
            f"warning: the probe of {member} on {evaluation.target} is worse than the head it was pretrained with "
            f"({found.probe:.6f} > {found.head:.6f} nats): do not trust it"
        )
    return found


def k_shot(store, evaluation, y, component, draw) -> probes.Probe:
    x, chosen = collect(store, evaluation), probes.k_shot(y["probe"], evaluation.shots, draw)
    return solve(
        store,
        {**x, "probe": x["probe"][chosen]},
        {**y, "probe": y["probe"][chosen]},
        component,
        prior=information.prior(y["probe"], component.num_classes),
    )


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a classifier that was not fitted here says about the test split (see probes.Probe)."""

    bits: np.ndarray
    correct: np.ndarray | None
    log_loss: float  # nats, calibrated on val (mean squared error for regression)
    loss: np.ndarray  # [n] bits, uncalibrated (squared error for regression)
    scalings: dict = dataclasses.field(default_factory=dict)


def score(log_q: dict[str, np.ndarray], y: dict, num_classes: int) -> Scores:
    """Scores of given log-probabilities or logits [n, K] for val and test, calibrated on val."""
    prior = information.prior(y["probe"], num_classes)
    calibration = information.calibrate(log_q["val"], y["val"], prior)
    calibrated = information.apply(calibration, log_q["test"])
    return Scores(
        information.bits(calibrated, y["test"], prior),
        log_q["test"].argmax(1) == y["test"],
        information.log_loss(calibrated, y["test"]),
        -information.bits(information.log_softmax(log_q["test"]), y["test"], np.ones(num_classes)),
    )


def squared(predicted: dict[str, np.ndarray], y: dict) -> Scores:
    """Scores of given predictions [n, m] of a regression target."""
    errors = ((y["test"] - predicted["test"]) ** 2).sum(1)
    return Scores(information.r2_items(y["test"], predicted["test"]), None, float(errors.mean()), errors)


def head(store, evaluation, component, y) -> Scores:
    """The pretrained classifier as it is, read at the target's own classes."""
    member = evaluation.members[0]
    run = run_of(store.plan, member)
    logits = store.features(run, member.step, evaluation.target, LOGITS, False)
    return read_head(run, evaluation.target, logits, component, y)


def read_head(run: Run, target: str, logits, component, y) -> Scores:
    if not component.num_classes:
        return squared(logits, y)
    start = run.offset[run.components.index(target)] if target in run.components else 0
    return score(
        {s: x[:, start : start + component.num_classes].astype(np.float64) for s, x in logits.items()},
        y,
        component.num_classes,
    )


def average(store, evaluation, component, y) -> Scores:
    """A probe per member, predictions averaged: an ensemble, the control for concatenation."""
    splits = features.SPLITS
    found = []
    for member in evaluation.members:
        alone = dataclasses.replace(evaluation, members=(member,), spec=None)
        x = collect(store, alone)
        fitted = solve(store, x, y, component)
        found.append({s: x[s] @ fitted.weights + fitted.intercept for s in splits})
    if not component.num_classes:
        return squared({s: np.mean([f[s] for f in found], axis=0) for s in splits}, y)
    return score(
        {s: np.log(np.mean([special.softmax(f[s], axis=1) for f in found], axis=0)) for s in splits},
        y,
        component.num_classes,
    )


def finetune(store, evaluation, component, y) -> Scores:
    """Trains the whole network on the target's train split, from the member, and reads its head.

    `probe_finetune` (LP-FT, Kumar et al. 2022) starts from the linear probe's classifier, `finetune` from a fresh one.
    """
    member = evaluation.members[0]
    run, examples = finetuning(store.plan, evaluation)
    if not store.is_done(run):
        parent = run_of(store.plan, member)
        start = store.variables(parent, member.step)
        trunk = {k: v for k, v in start["params"].items() if k != "head"}
        if run.head != "fresh":
            fitted = solve(
                store, store.features(parent, member.step, evaluation.target, "features", False), y, component
            )
            trunk["head"] = {"kernel": fitted.weights.astype(np.float32), "bias": fitted.intercept.astype(np.float32)}
        store.train(run, (examples,), initial={**start, "params": trunk})
    return read_head(
        run, evaluation.target, store.features(run, run.steps, evaluation.target, LOGITS, False), component, y
    )


def finetuning(plan: Plan, evaluation: Evaluation) -> tuple[Run, Component]:
    """The run of a fine-tuning evaluation, and the component it trains on: the target, or so many shots of it."""
    study, member, component = plan.study, evaluation.members[0], plan.targets[evaluation.target]
    parent, spec = run_of(plan, member), study.probe.finetune
    if evaluation.shots:
        rows = probes.k_shot(component.splits["train"].labels, evaluation.shots, evaluation.seed)
        component = dataclasses.replace(
            component,
            splits={**component.splits, "train": component.splits["train"].take(rows)},
            identity={**component.identity, "shots": [evaluation.shots, evaluation.seed]},
        )
    steps = duration(
        spec.steps,
        batch=study.train.batch,
        key="probe.finetune.steps",
        examples=len(plan.targets[evaluation.target].splits["train"]),
    )
    layout = mixture.label_space("shared", [component.output_dim])
    run = Run(
        f"{evaluation.protocol}-{member.run}-{evaluation.target}",
        evaluation.seed,
        (evaluation.target,),
        (identity(component),),
        ((0, (1.0,)),),
        "shared",
        (0,),
        (component.output_dim,),
        layout.outputs,
        parent.model,
        dataclasses.replace(study.optimizer, lr=spec.lr),
        study.objective,
        study.augment,
        dataclasses.replace(study.train, steps=steps),
        init=f"{parent.hash}@{member.step}",
        head=f"probe:{','.join(study.probe.scalings)}" if evaluation.protocol == "probe_finetune" else "fresh",
        keep=(steps,) if evaluation.shots else trajectory.log_steps(steps, spec.halvings)[1:],
    )
    return run, component


def rows(store: Store, evaluation: Evaluation, component: Component, results: list) -> list[dict]:
    """The rows of one solved evaluation: bits and accuracy of the chosen probe, and of every scaling beside it.

    Of few-shot probes, the mean over draws, and the standard deviation over draws of the mean bits beside it.
    """
    plan, runs, result = store.plan, {}, results[0]
    for member in evaluation.members:
        run = run_of(plan, member)
        runs[run] = max(runs.get(run, 0), member.step)
    own = sum(
        int(mixture.drawn(tables(plan, run), step, run.train.batch)[run.components.index(evaluation.target)])
        for run, step in runs.items()
        if evaluation.target in run.components
    )
    tuned = (
        duration(
            plan.study.probe.finetune.steps,
            batch=plan.study.train.batch,
            key="probe.finetune.steps",
            examples=len(component.splits["train"]),
        )
        if evaluation.protocol in FINETUNES
        else 0
    )
    first = evaluation.members[0] if evaluation.members else None
    n = {s: len(component.splits[s]) for s in features.SPLITS}
    common = dict(
        arm=evaluation.arm,
        label_space=next(iter(runs)).label_space if runs else None,
        target=evaluation.target,
        representation=evaluation.arm,
        members=[str(m) for m in evaluation.members],
        protocol=evaluation.protocol,
        n_shot=evaluation.shots,
        seed=evaluation.seed,
        train_steps=sum(runs.values()) + tuned,
        image_forwards=sum(n.values()) * len(set(evaluation.members)),
        component_examples=own + tuned * plan.study.train.batch,
        layer=first and first.layer,
        step=first and first.step,
    )
    few = evaluation.protocol == "k_shot"
    chosen, extra = None if few else getattr(result, "scaling", None), {}
    if few:
        extra = {
            "draws": len(results),
            "draw_sd": float(np.std([r.bits.mean() for r in results], ddof=1)) if len(results) > 1 else None,
        }
    if chosen is not None:
        extra.update(at_edge=result.at_edge, iterations=result.iterations, chosen=True)
        if (held := guard(store, evaluation, component, result)) is not None:
            extra["guard"] = dataclasses.asdict(held)
        common.update(scaling=chosen, **{"lambda": result.lam}, grad_norm=result.grad_norm, dim=result.weights.shape[0])
    metric = "bits" if component.num_classes else "r2"
    found = [store.row(gap.two_way(np.mean([r.bits for r in results], 0)[None]), **common, metric=metric, extra=extra)]
    if result.correct is not None:
        found.append(
            store.row(
                gap.two_way(np.mean([r.correct for r in results], 0)[None]), **common, metric="accuracy", extra=extra
            )
        )
    for scaling, condition in result.scalings.items() if chosen else ():
        if scaling != chosen:
            common.update(scaling=scaling, **{"lambda": condition.lam}, grad_norm=condition.grad_norm)
            for name, value in ((metric, condition.bits), ("accuracy", condition.accuracy)):
                if value is not None:
                    found.append(
                        store.row(
                            **common,
                            metric=name,
                            value=value,
                            n_seeds=1,
                            n_examples=n["test"],
                            extra={"at_edge": condition.at_edge, "iterations": condition.iterations, "chosen": False},
                        )
                    )
    return found


def tables(plan: Plan, run: Run) -> mixture.Tables:
    sizes = [len(c.splits["train"]) for c in plan.pool_of(run)]
    return mixture.tables(run.components, sizes, run.schedule, run.train.batch)
