"""Carries out a study in a work directory: checks, dry run, then its stages in order."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import pathlib

import jax
import numpy as np

from bottleneck import answer, atomic, models, rows, stages
from bottleneck import config as configs
from bottleneck import plan as plans
from bottleneck import study as studies
from bottleneck.data import component as components
from bottleneck.errors import UserError
from bottleneck.evaluation import finetuning
from bottleneck.plan import FINETUNES, Plan
from bottleneck.report import tables
from bottleneck.store import Store


def study(config, workdir: pathlib.Path | None, stage: str = "all", shard: str = "0/1", dry_run: bool = False) -> None:
    """Runs `stage` (or all of them) of the study `config` asks for. Raises UserError, before anything is written."""
    share = parse_shard(shard)
    plan = plans.plan(studies.spec(config))
    workdir = workdir or pathlib.Path("runs") / plan.study.name
    usable(workdir)
    if dry_run:
        print(describe(plan))
        return
    plain = json.dumps(configs.to_dict(config), sort_keys=True, indent=1)
    config_hash = digest(plain)
    store = Store(workdir, plan, config_hash, share)  # its mesh refuses a batch that the devices do not divide
    for component in (*plan.targets.values(), *plan.variants.values()) if store.unfinished() else ():
        components.touch(component)
    compilation_cache(workdir)
    atomic.write(workdir / "configs" / f"{config_hash}.json", plain)
    if stage in ("pretrain", "all"):
        stages.pretrain(store)
    if stage in ("transfer", "all"):
        stages.transfer(store)
    if stage in ("analyze", "all"):
        stages.analyze(store)
    if stage in ("report", "all"):
        report(store)


def report(store: Store) -> None:
    """Prints the summary and writes report.html from the rows of this plan."""
    from bottleneck.report import html  # loads matplotlib, which training on a pod does not need

    found, provenance = outcome(store)
    print(tables.terminal(found))
    print(f"\nreport: {html.write(store.workdir, found, {**provenance, 'config': store.config_hash})}")


def outcome(store: Store) -> tuple[list[dict], dict]:
    """The rows of a finished study and the provenance of its first run. Raises UserError when it is not finished."""
    paths = [store.rows(task) for task in (*store.plan.evaluations, *store.plan.analyses)] + [answer.path(store)]
    missing = [p for p in paths if not p.is_file()]
    if missing:
        raise UserError(
            "workdir",
            str(store.workdir),
            f"the rows of this study; {len(missing)} tasks have none (--stage=all makes them)",
        )
    provenance = json.loads((store.directory(store.plan.runs[0]) / "provenance.json").read_text())
    return [row for p in paths for row in rows.read(p)], provenance


def compare(first: tuple, second: tuple) -> None:
    """Sets two finished studies, each (config, work directory), side by side: printed, and compare.html in the first."""
    from bottleneck.report import compare as pages

    sides = []
    for config, workdir in (first, second):
        plain = json.dumps(configs.to_dict(config), sort_keys=True, indent=1)
        store = Store(workdir, plans.plan(studies.spec(config)), digest(plain))
        found, provenance = outcome(store)
        sides.append(
            (f"{store.plan.study.name} ({workdir.name})", found, {**provenance, "config": configs.to_dict(config)})
        )
    print(pages.terminal(*sides))
    print(f"comparison: {pages.write(first[1] / 'compare.html', *sides)}")


def digest(plain: str) -> str:
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def parse_shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UserError("--shard", text, "i/n with 0 <= i < n, such as 0/4")
    return int(index), int(count)


def usable(workdir: pathlib.Path) -> None:
    """Raises UserError when `workdir` cannot be a work directory."""
    for path in (workdir, *workdir.parents):
        if path.exists():
            if not path.is_dir() or not os.access(path, os.W_OK):
                raise UserError("--workdir", str(workdir), f"a directory that can be written ({path} is not)")
            return


def compilation_cache(workdir: pathlib.Path) -> None:
    """Compiled steps outlive the process: in JAX_COMPILATION_CACHE_DIR, else in the work directory."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str((workdir / ".jax_cache").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def describe(plan: Plan) -> str:
    """What a plan would run, and what it costs: runs, steps, image-forwards, parameters, bytes."""
    shape = next(iter(plan.targets.values())).splits["train"].fetch(np.arange(1)).shape[1:]
    lines, total_steps, total_bytes, sizes = [], 0, 0, {}
    tuned = [finetuning(plan, e)[0] for e in plan.evaluations if e.protocol in FINETUNES]
    by_name = collections.defaultdict(list)
    for run in (*plan.runs, *tuned):
        by_name["fine-tuning" if run.init else run.name].append(run)
    for name, runs in by_name.items():
        run = max(runs, key=lambda r: r.steps)
        key = (json.dumps(run.model, sort_keys=True), run.outputs)
        if key not in sizes:
            x = jax.ShapeDtypeStruct((1, *shape), np.float32)
            variables = jax.eval_shape(lambda k, x, m=run.module(): m.init(k, x), jax.random.key(0), x)
            sizes[key] = models.count(variables)
        kept = sum(len({*r.keep, r.steps}) for r in runs) * sizes[key] * 4
        total_steps += sum(r.steps for r in runs)
        total_bytes += kept
        lines.append((name, len(runs), f"{run.steps:,}", f"{sizes[key]:,}", f"{kept / 2**20:.1f}"))
    passes = {(m.run, m.seed, m.step, e.target) for e in plan.evaluations for m in e.members}
    passes |= {(m.run, m.seed, m.step, target) for a in plan.analyses for m, target in a.reads}
    images = sum(sum(len(plan.targets[t].splits[s]) for s in ("probe", "val", "test")) for *_, t in passes)
    text = tables.text(
        tables.Table("plan", "Plan", "", ("run", "number", "steps", "parameters", "kept MiB"), tuple(lines))
    )
    return (
        f"{text}\n\n{len(plan.runs) + len(tuned)} runs, {total_steps:,} steps, {total_steps * plan.study.train.batch:,} training images; "
        f"{images:,} image-forwards for features; {len(plan.evaluations)} probes; {len(plan.analyses)} analyses; "
        f"checkpoints {total_bytes / 2**20:.1f} MiB"
    )
