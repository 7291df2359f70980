"""Whether the tool can be trusted here: networks and features whose answer is known, through the whole pipeline.

1. The solvable network: data, training, checkpoints, features, probes and verdicts must find the modes it keeps.
2. Features planted in the cache of a trained network: the ladder must find every factor on its rung, and nothing in a
   label that is independent of the image.
3. Caches that must not be used: reordered, and in a precision that erases small signals.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time

import numpy as np
from scipy import special

from bottleneck import execute
from bottleneck import plan as plans
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.analysis import features
from bottleneck.analysis.planted import erase
from bottleneck.report.table import Table, text
from bottleneck.store import Store

SOLVABLE = (0.30, 0.24, 0.18, 0.13, 0.09, 0.06)  # weights of the modes; the network is KEPT units wide
KEPT = 3
FACTORS = ("colour", "texture", "shape", "background")


@dataclasses.dataclass(frozen=True)
class Check:
    what: str
    expected: str
    found: str
    passed: bool


def run() -> bool:
    """Prints expected against found; returns whether everything was found as expected. About a minute on 2 cores."""
    began, checks = time.monotonic(), []
    with tempfile.TemporaryDirectory() as directory:
        for part in (solvable, planted):
            checks += part(pathlib.Path(directory) / part.__name__)
    failed = sum(not check.passed for check in checks)
    lines = tuple((c.what, c.expected, c.found, "ok" if c.passed else "FAILED") for c in checks)
    print(
        text(
            Table(
                "selftest",
                "Self-test",
                "Planted truth against what the pipeline found.",
                ("what", "expected", "found", ""),
                lines,
            )
        )
    )
    print(f"\n{len(checks) - failed} of {len(checks)} as expected, in {time.monotonic() - began:.0f} s")
    return not failed


def quiet(study: dict, workdir: pathlib.Path, *stages: str) -> list[dict]:
    """Runs stages of a study; returns its rows."""
    for stage in stages:
        execute.study(study, workdir, stage)
    return row_files.read(workdir / "results.jsonl") if "analyze" in stages else []


def solvable(workdir: pathlib.Path) -> list[Check]:
    """The linear network of KEPT hidden units keeps the modes of the largest weight, each as lambda_j / |lambda| of its Gram."""
    names = [f"mode{j}" for j in range(len(SOLVABLE))]
    found = quiet(
        dict(
            name="solvable",
            seeds=1,
            data=dict(train=4000, probe=1000, val=500, test=1000),
            components={
                name: dict(source=dict(name="gaussian", index=j, dim=20, outputs=len(names), scale=1.0, noise=0.1))
                for j, name in enumerate(names)
            },
            mixture=dict(weights=dict(zip(names, SOLVABLE))),
            objective=dict(name="regression"),
            model=dict(name="mlp", width=KEPT, depth=1, activation="none", use_bias=False),
            # Weight decay balances the two layers, on which the features' variances, and so CKA, depend.
            optimizer=dict(name="sgd", lr=0.05, momentum=0.9, weight_decay=3e-3, schedule="cosine", clip=1.0),
            train=dict(steps=4000, batch=128),
            arms=("mixture", "direct"),
            analysis=dict(kinds=("cka",), comparisons=("direct",)),
        ),
        workdir,
        "pretrain",
        "transfer",
        "analyze",
    )
    checks = []
    for j, name in enumerate(names):
        (gap,) = row_files.select(found, metric="gap_r2", target=name)
        expected = "retained" if j < KEPT else "lost"
        checks.append(
            Check(f"solvable network, {name}", expected, gap["extra"]["verdict"], gap["extra"]["verdict"] == expected)
        )
        (cka,) = row_files.select(found, metric="cka", target=name)
        predicted = SOLVABLE[j] / np.linalg.norm(SOLVABLE[:KEPT]) if j < KEPT else 0.0
        checks.append(
            Check(
                f"CKA of mixture and direct, {name}",
                f"{predicted:.2f}",
                f"{cka['value']:.2f}",
                abs(cka["value"] - predicted) < 0.05,
            )
        )
    return checks


def planted(workdir: pathlib.Path) -> list[Check]:
    """Features written over those of a trained network, and what the ladder makes of them."""
    study = dict(
        name="planted",
        seeds=1,
        data=dict(image_size=12, train=4000, probe=2000, val=1000, test=2000),
        components={
            **{f: dict(source=dict(name="factors", reliability={f: 1.0}, seed=j)) for j, f in enumerate(FACTORS)},
            "null": dict(source=dict(name="factors", seed=len(FACTORS))),
        },
        mixture=dict(weights=dict.fromkeys((*FACTORS, "null"), 0.2), label_space="per_component"),
        model=dict(name="mlp", width=64, depth=2),
        optimizer=dict(name="adamw", lr=0.002, weight_decay=0.0),
        train=dict(steps=1000, batch=128),
        arms=("mixture", "direct"),
        analysis=dict(kinds=("ladder", "steps"), halvings=2),
    )
    quiet(study, workdir, "pretrain", "transfer")
    store = Store(workdir, plans.plan(studies.spec(study)), "planted")
    expected = plant(store)
    found = quiet(study, workdir, "analyze")
    checks = []
    for (target, factor), (what, rungs) in expected.items():
        (landed,) = row_files.select(found, metric="rung", target=target, factor=factor)
        rung = landed["extra"]["rung"]
        checks.append(Check(what, " or ".join(rungs), rung, rung in rungs))
    return checks + [independent(found), *refused(store)]


def plant(store: Store) -> dict[tuple, tuple[str, tuple[str, ...]]]:
    """Overwrites the cached features of the mixture's last step; (target, factor) -> (what was planted, rungs expected)."""
    component = store.plan.targets["null"]  # here every factor is independent of every other and of the label
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    last, early = {}, {}
    for split in features.SPLITS:
        signs = {f: 2.0 * component.splits[split].factors[f] - 1.0 for f in FACTORS}
        n = len(signs["shape"])
        x = rng.normal(size=(n, 64))
        x[:, 0] = 3 * signs["colour"] + rng.normal(size=n)
        x[:, 1] = 1e-3 * (3 * signs["texture"] + rng.normal(size=n))
        unit = rng.choice((-1.0, 1.0), n)
        x[:, 2:4] = np.stack([unit, unit * signs["shape"]], 1) + 0.25 * x[:, 2:4]  # their product tells the shape
        last[split] = x @ rotation
        x = rng.normal(size=(n, 64))
        x[:, 0] = 3 * signs["background"] + rng.normal(size=n)
        early[split] = x @ rotation
    cache(store, "null", {"features": last, "layer1": early})
    labels = {split: store.plan.targets["colour"].splits[split].labels for split in features.SPLITS}
    for layer in ("layer1", "features"):
        cache(
            store,
            "colour",
            {layer: {split: erase(x, labels[split]) for split, x in read(store, "colour", layer).items()}},
        )
    deeper = ("nonlinear", "earlier", "nowhere")
    return {
        ("null", "colour"): ("a factor in a direction of large variance", ("prominent",)),
        ("null", "texture"): ("a factor in a direction a thousand times smaller", ("linear",)),
        ("null", "shape"): ("a factor in the product of two units", ("nonlinear",)),
        ("null", "background"): ("a factor of an earlier layer alone", ("earlier",)),
        ("null", None): ("a label independent of the image", ("untestable",)),
        ("colour", None): ("a factor erased from real features", deeper),
        ("shape", None): ("a factor a network of its own head was trained on", ("prominent", "linear")),
    }


def source(store: Store, target: str) -> tuple[pathlib.Path, dict]:
    """Where the features of the mixture's last step for `target` lie, and what their manifest must say."""
    run = store.plan.run("mixture", 0)
    return store.feature_directory(run, run.steps, target, False)


def read(store: Store, target: str, layer: str) -> dict[str, np.ndarray]:
    directory, stated = source(store, target)
    return features.read(directory, layer, store.plan.targets[target], stated)


def cache(store: Store, target: str, layers: dict[str, dict[str, np.ndarray]]) -> None:
    directory, stated = source(store, target)
    found = {(layer, split): x.astype(np.float32) for layer, splits in layers.items() for split, x in splits.items()}
    features.write(directory, found, store.plan.targets[target], stated)


def independent(found: list[dict]) -> Check:
    """No reading of the null label, at any rung, layer or step, is above chance after Bonferroni's correction."""
    readings = [
        r
        for r in row_files.select(found, target="null", factor=None, metric="bits", seed=0)
        if (r["extra"] or {}).get("analysis")
    ]
    errors = [(r["ci95"][1] - r["ci95"][0]) / (2 * special.ndtri(0.975)) for r in readings]
    above = sum(
        r["value"] - special.ndtri(1 - 0.025 / len(readings)) * se > 0 for r, se in zip(readings, errors, strict=True)
    )
    return Check(
        "readings of a label independent of the image above chance", "0", f"{above} of {len(readings)}", above == 0
    )


def refused(store: Store) -> list[Check]:
    """A cache in another order and a cache that lost its small signals are refused, with the reason."""
    directory, stated = source(store, "texture")
    component, intact = store.plan.targets["texture"], read(store, "texture", "features")
    permuted = dataclasses.replace(
        component, splits={s: e.take(np.arange(len(e))[::-1]) for s, e in component.splits.items()}
    )
    features.write(directory, {("features", s): x[::-1] for s, x in intact.items()}, permuted, stated)
    checks = [refusal(store, "a cache in another order", "order")]
    coarse = {}
    for split, x in intact.items():
        truncated = np.ascontiguousarray(5 + 0.01 * x / x.std(), dtype=np.float32).view(np.uint32) & np.uint32(
            0xFFFF0000
        )
        coarse["features", split] = truncated.view(np.float32)
    features.write(directory, coarse, component, stated)
    return checks + [refusal(store, "a cache in bfloat16 with an offset of 5", "significant bits")]


def refusal(store: Store, what: str, word: str) -> Check:
    try:
        read(store, "texture", "features")
    except features.Stale as reason:
        return Check(what, "refused", "refused" if word in str(reason) else str(reason), word in str(reason))
    return Check(what, "refused", "used", False)
