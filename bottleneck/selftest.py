"""Whether the tool can be trusted here: networks and features whose answer is known, through the whole pipeline.

1. The solvable network: data, training, checkpoints, features, probes and verdicts must find the modes it keeps.
2. Features planted in the cache of a trained network: the ladder must find every factor on its rung, and nothing in a
   label that is independent of the image.
3. Caches that must not be used: reordered, and in a precision that erases small signals.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import tempfile
import time

import numpy as np
from scipy import special

from bottleneck import execute
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.analysis.planted import erase
from bottleneck.features import cache, extract
from bottleneck.features.extract import Extract
from bottleneck.features.source import SPLITS, Kept
from bottleneck.planning import plan as plans
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


def carried_out(study: dict, workdir: pathlib.Path, *stages: str) -> list[dict]:
    """Runs stages of a study, quietly; returns its rows."""
    with contextlib.redirect_stdout(io.StringIO()):
        for stage in stages:
            execute.study(study, workdir, stage)
    return row_files.read(workdir / "results.jsonl") if "analyze" in stages else []


def solvable(workdir: pathlib.Path) -> list[Check]:
    """A linear network of KEPT units keeps the modes of the largest weights, as lambda_j / |lambda| of its Gram."""
    names = [f"mode{j}" for j in range(len(SOLVABLE))]
    rows = carried_out(
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
        (gap,) = row_files.select(rows, metric="gap", unit="r2", target=name)
        expected = "retained" if j < KEPT else "lost"
        checks.append(
            Check(f"solvable network, {name}", expected, gap["extra"]["verdict"], gap["extra"]["verdict"] == expected)
        )
        (cka,) = row_files.select(rows, metric="cka", target=name)
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
    carried_out(study, workdir, "pretrain", "transfer")
    last = Last(workdir, plans.plan(studies.spec(study)))
    expected = plant(last)
    rows = carried_out(study, workdir, "analyze")
    checks = []
    for (target, factor), (what, rungs) in expected.items():
        (landed,) = row_files.select(rows, metric="rung", target=target, factor=factor)
        rung = landed["extra"]["rung"]
        checks.append(Check(what, " or ".join(rungs), rung, rung in rungs))
    return [*checks, independent(rows), *refused(last)]


class Last:
    """The cached features of the mixture's last step, target by target."""

    def __init__(self, workdir: pathlib.Path, plan: plans.Plan):
        self.store, self.targets = Store(workdir), plan.targets
        passes = [e for e in plan.graph.of(Extract) if isinstance(e.source, Kept) and e.source.run.name == "mixture"]
        self.sources = {e.component.name: e.source for e in passes if e.source.step == e.source.run.steps}

    def directory(self, target: str) -> pathlib.Path:
        return self.store.features_path(extract.key(self.sources[target], self.targets[target]))

    def read(self, target: str, layer: str) -> dict[str, np.ndarray]:
        """Raises cache.Stale."""
        component = self.targets[target]
        return {split: cache.read(self.directory(target), layer, split, component) for split in SPLITS}

    def write(self, target: str, layers: dict[str, dict[str, np.ndarray]], component=None) -> None:
        whole = {
            (layer, split): x.astype(np.float32) for layer, splits in layers.items() for split, x in splits.items()
        }
        component = component or self.targets[target]
        cache.write(self.directory(target), whole, component, self.sources[target].identity)


def plant(kept: Last) -> dict[tuple, tuple[str, tuple[str, ...]]]:
    """Overwrites features of the mixture's last step; (target, factor) -> (what was planted, rungs expected)."""
    component = kept.targets["null"]  # here every factor is independent of every other and of the label
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(64, 64)))[0]
    last, early = {}, {}
    for split in SPLITS:
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
    kept.write("null", {"features": last, "layer1": early})
    labels = {split: kept.targets["colour"].splits[split].labels for split in SPLITS}
    for layer in ("layer1", "features"):
        erased = {split: erase(x, labels[split]) for split, x in kept.read("colour", layer).items()}
        kept.write("colour", {layer: erased})
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


def independent(rows: list[dict]) -> Check:
    """No reading of the null label, at any rung, layer or step, is above chance after Bonferroni's correction."""
    readings = row_files.select(rows, target="null", factor=None, metric="information", seed=0)
    readings = [r for r in readings if row_files.kind(r) in ("ladder", "steps")]
    errors = [(r["ci95"][1] - r["ci95"][0]) / (2 * special.ndtri(0.975)) for r in readings]
    limit = special.ndtri(1 - 0.025 / len(readings))
    above = sum(r["value"] - limit * se > 0 for r, se in zip(readings, errors, strict=True))
    what = "readings of a label independent of the image above chance"
    return Check(what, "0", f"{above} of {len(readings)}", above == 0)


def refused(kept: Last) -> list[Check]:
    """A cache in another order and a cache that lost its small signals are refused, with the reason."""
    component, intact = kept.targets["texture"], kept.read("texture", "features")
    reversed_splits = {s: e.take(np.arange(len(e))[::-1]) for s, e in component.splits.items()}
    permuted = dataclasses.replace(component, splits=reversed_splits)
    kept.write("texture", {"features": {split: x[::-1] for split, x in intact.items()}}, permuted)
    checks = [refusal(kept, "a cache in another order", "order")]
    coarse = {}
    for split, x in intact.items():
        shifted = np.ascontiguousarray(5 + 0.01 * x / x.std(), dtype=np.float32)
        coarse[split] = (shifted.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    kept.write("texture", {"features": coarse})
    return [*checks, refusal(kept, "a cache in bfloat16 with an offset of 5", "significant bits")]


def refusal(kept: Last, what: str, word: str) -> Check:
    try:
        kept.read("texture", "features")
    except cache.Stale as reason:
        return Check(what, "refused", "refused" if word in str(reason) else str(reason), word in str(reason))
    return Check(what, "refused", "used", False)
