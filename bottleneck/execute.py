"""Starts a study: compilation cache, plan, dry run, stages in order."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib

import jax

from bottleneck import answer, checkpoint, config as configs, models, stages, study as studies
from bottleneck.errors import UserError


def study(config, workdir: pathlib.Path | None, stage: str, shard: str, dry_run: bool) -> int:
    plan = studies.plan(studies.spec(config))
    plain = json.dumps(configs.to_dict(config), sort_keys=True, indent=1)
    config_hash = hashlib.sha256(plain.encode()).hexdigest()[:12]
    workdir = workdir or pathlib.Path("runs") / plan.study.name
    jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(workdir / ".jax_cache")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    checkpoint.write_atomic(workdir / "configs" / f"{config_hash}.json", plain)
    store = stages.Store(workdir, plan, config_hash)
    if stage in ("pretrain", "all"):
        stages.pretrain(store)
    if stage in ("transfer", "all"):
        stages.transfer(store)
    if stage in ("analyze", "all"):
        answer.analyze(store)
    return 0
