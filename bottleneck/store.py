"""A work directory, and what is held in memory while a plan is executed on it."""
from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib

import numpy as np

from bottleneck import checkpoint
from bottleneck.analysis import features
from bottleneck.analysis.features import LOGITS
from bottleneck.data import resident
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.plan import Evaluation, Plan, identity
from bottleneck.training import loop, mesh as meshes
from bottleneck.training.run import Run


@dataclasses.dataclass
class Store:
    """`rows`, `variables` and `features` of a plan's tasks; `shard` = (i, n) takes every n-th task of a stage."""
    workdir: pathlib.Path
    plan: Plan
    config_hash: str
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self):
        self.mesh = meshes.make(self.plan.study.train.batch)
        self._pool: tuple[tuple, object] = ((), None)
        self.features = functools.lru_cache(maxsize=16)(self._features)
        self.variables = functools.lru_cache(maxsize=4)(self._variables)

    def mine(self, tasks) -> list:
        return list(tasks)[self.shard[0]::self.shard[1]]

    def directory(self, run: Run) -> pathlib.Path:
        """Where a run lives: by hash, whatever it was called when it was first trained."""
        found = sorted((self.workdir / "runs").glob(f"*-{run.hash}"))
        return found[0] if found else self.workdir / "runs" / run.folder

    def unfinished(self) -> bool:
        """Whether a run or an evaluation of the plan has nothing on disk to show for it yet."""
        return not (all((self.directory(run) / "done").is_file() for run in self.plan.runs)
                    and all(self.rows(evaluation).is_file() for evaluation in self.plan.evaluations))

    def is_done(self, run: Run) -> bool:
        """Whether a run needs no training. What is damaged does: training names and removes it."""
        try:
            return loop.is_done(run, self.directory(run))
        except checkpoint.Damaged:
            return False

    def train(self, run: Run, components: tuple[Component, ...], **options) -> None:
        loop.train(run, self.directory(run), components, self.plan.study.data, self.mesh, pool=self.pool(run, components), **options)

    def pool(self, run: Run, components: tuple[Component, ...]):
        """The resident pool of a run's components; the last one used stays on the devices. None when streaming."""
        if run.train.feed == "stream":
            return None
        key = (run.components, run.data)
        if self._pool[0] != key:
            self._pool = ((), None)
            self._pool = (key, meshes.replicate(resident.pool(components, self.plan.study.data), self.mesh))
        return self._pool[1]

    def _variables(self, run: Run, step: int) -> dict:
        """A kept step's variables. Raises UserError when it is missing or damaged."""
        path = self.directory(run) / "checkpoints" / str(step)
        if not checkpoint.is_sealed(path):
            raise UserError("workdir", str(path), "a trained run (--stage=pretrain trains it)")
        try:
            return checkpoint.load(path)
        except checkpoint.Damaged as error:
            raise UserError("workdir", str(path), f"an intact checkpoint; {error.file} does not match its SHA-256 "
                            "(the stage that trained it trains it again)") from error

    def _features(self, run: Run, step: int, target: str, layer: str, adapt: bool) -> dict[str, np.ndarray]:
        """Features of one member for one target, from the cache or from one pass over the images."""
        component, data = self.plan.targets[target], self.plan.study.data
        source = {"run": run.hash, "step": step, "target": identity(component), "adapt": adapt}
        name = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:16]
        directory = self.workdir / "features" / name
        try:
            return features.read(directory, layer, component, source)
        except features.Stale:
            layers = tuple(sorted({layer, self.plan.study.probe.layer, LOGITS}))
            found = features.extract(run, self.variables(run, step), component, np.float32(data.mean), np.float32(data.std),
                                     layers, adapt=adapt)
            features.write(directory, found, component, source)
            return {split: found[layer, split] for split in features.SPLITS}

    def rows(self, evaluation: Evaluation) -> pathlib.Path:
        """`rows/<task>.jsonl`: the task is everything the numbers depend on."""
        study = self.plan.study
        described = {
            "study": study.name, "arm": evaluation.arm, "seed": evaluation.seed, "protocol": evaluation.protocol,
            "members": [[self.plan.run(m.run, m.seed).hash, m.step, m.layer] for m in evaluation.members],
            "target": identity(self.plan.targets[evaluation.target]), "name": evaluation.target, "shots": evaluation.shots,
            "spec": evaluation.spec and dataclasses.asdict(evaluation.spec), "scalings": study.probe.scalings,
            "draws": study.probe.draws, "finetune": dataclasses.asdict(study.probe.finetune)}
        task = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        return self.workdir / "rows" / f"{task}.jsonl"
