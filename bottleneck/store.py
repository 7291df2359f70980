"""A work directory, and what is held in memory while a plan is executed on it."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import pathlib
import threading

import numpy as np

from bottleneck import checkpoint
from bottleneck import rows as row_files
from bottleneck.analyses import Analysis
from bottleneck.analysis import features
from bottleneck.analysis.features import LOGITS
from bottleneck.analysis.intervals import Interval
from bottleneck.data import resident
from bottleneck.data.component import Component
from bottleneck.errors import UserError
from bottleneck.plan import FINETUNES, Evaluation, Plan, identity
from bottleneck.representations import external
from bottleneck.representations.members import Member
from bottleneck.training import loop
from bottleneck.training import mesh as meshes
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
        self._wanted: dict[tuple, set] = {}  # (run, step, target) -> layers that one pass should bring
        reads = [(m, e.target) for e in self.plan.evaluations for m in e.members] + [
            r for a in self.plan.analyses for r in a.reads
        ]
        for member, target in reads:
            run = self.plan.run(member.run, member.seed)
            self._wanted.setdefault((run.hash, member.step, target), {LOGITS}).add(member.layer)
        self._locks = collections.defaultdict(threading.Lock)  # one pass over the images, whoever asks first
        self.features = functools.lru_cache(maxsize=16)(self._features)
        self.digest = functools.cache(lambda path, target: external.digest(pathlib.Path(path), target))
        self.variables = functools.lru_cache(maxsize=4)(self._variables)

    def row(self, interval: Interval | None = None, **values) -> dict:
        """A row of this study, over all seeds unless `values` say otherwise."""
        if interval is not None:
            values = {
                "value": interval.value,
                "ci95": [interval.low, interval.high],
                "ci_unit": interval.unit,
                "n_seeds": interval.n_seeds,
                "n_examples": interval.n_examples,
                **values,
            }
        return row_files.row(
            **{
                "study": self.plan.study.name,
                "config_hash": self.config_hash,
                "seed": "all",
                "split": "test",
                "selected_on": "val",
                **values,
            }
        )

    def mine(self, tasks) -> list:
        return list(tasks)[self.shard[0] :: self.shard[1]]

    def directory(self, run: Run) -> pathlib.Path:
        """Where a run lives: by hash, whatever it was called when it was first trained."""
        found = sorted((self.workdir / "runs").glob(f"*-{run.hash}"))
        return found[0] if found else self.workdir / "runs" / run.folder

    def unfinished(self) -> bool:
        """Whether a run or an evaluation of the plan has nothing on disk to show for it yet."""
        return not (
            all((self.directory(run) / "done").is_file() for run in self.plan.runs)
            and all(self.rows(task).is_file() for task in (*self.plan.evaluations, *self.plan.analyses))
        )

    def is_done(self, run: Run) -> bool:
        """Whether a run needs no training. What is damaged does: training names and removes it."""
        try:
            return loop.is_done(run, self.directory(run))
        except checkpoint.Damaged:
            return False

    def train(self, run: Run, components: tuple[Component, ...], **options) -> None:
        loop.train(
            run,
            self.directory(run),
            components,
            self.plan.study.data,
            self.mesh,
            pool=self.pool(run, components),
            **options,
        )

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
            raise UserError(
                "workdir",
                str(path),
                f"an intact checkpoint; {error.file} does not match its SHA-256 "
                "(the stage that trained it trains it again)",
            ) from error

    def feature_directory(self, run: Run, step: int, target: str, adapt: bool) -> tuple[pathlib.Path, dict]:
        """Where features of one step for one target are cached, and the source their manifest must state."""
        source = {"run": run.hash, "step": step, "target": identity(self.plan.targets[target]), "adapt": adapt}
        name = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:16]
        return self.workdir / "features" / name, source

    def _features(self, run: Run, step: int, target: str, layer: str, adapt: bool) -> dict[str, np.ndarray]:
        """Features of one member for one target, from the cache or from one pass over the images."""
        component, data = self.plan.targets[target], self.plan.study.data
        directory, source = self.feature_directory(run, step, target, adapt)
        with self._locks[directory]:
            try:
                return features.read(directory, layer, component, source)
            except features.Stale:
                layers = {layer, LOGITS} | (set() if adapt else self._wanted.get((run.hash, step, target), set()))
                found = features.extract(
                    run,
                    self.variables(run, step),
                    component,
                    np.float32(data.mean),
                    np.float32(data.std),
                    tuple(sorted(layers)),
                    adapt=adapt,
                )
                features.write(directory, found, component, source)
                return {split: found[layer, split] for split in features.SPLITS}

    def rows(self, task: Evaluation | Analysis) -> pathlib.Path:
        """`rows/<task>.jsonl`: the task is everything the numbers depend on."""
        described = self._analysis(task) if isinstance(task, Analysis) else self._evaluation(task)
        name = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        return self.workdir / "rows" / f"{name}.jsonl"

    def _member(self, member: Member) -> list:
        return [self.plan.run(member.run, member.seed).hash, member.step, member.layer]

    def _evaluation(self, evaluation: Evaluation) -> dict:
        study = self.plan.study
        given = evaluation.spec and dataclasses.asdict(evaluation.spec)
        if given and given["external"]:  # its content, wherever it lies
            given["external"] = self.digest(given["external"], evaluation.target)
        tuned = {k: v for k, v in dataclasses.asdict(study.probe.finetune).items() if k in ("steps", "lr")}
        return {
            "study": study.name,
            "arm": evaluation.arm,
            "seed": evaluation.seed,
            "protocol": evaluation.protocol,
            "members": [self._member(m) for m in evaluation.members],
            "target": identity(self.plan.targets[evaluation.target]),
            "name": evaluation.target,
            "shots": evaluation.shots,
            "spec": given,
            "scalings": study.probe.scalings,
            "draws": study.probe.draws,
            "finetune": tuned if evaluation.protocol in FINETUNES else None,
        }

    def _analysis(self, analysis: Analysis) -> dict:
        study, kind = self.plan.study, analysis.kind
        tuned = [e for e in self.plan.evaluations if e.protocol == "finetune" and e.target == analysis.subject]
        targets = (*self.plan.components, *(target for _, target in analysis.reads))
        return {
            "study": study.name,
            "analysis": kind,
            "subject": analysis.subject,
            "reads": [[*self._member(m), target] for m, target in analysis.reads],
            "targets": {target: identity(self.plan.targets[target]) for target in targets},
            "margin": study.margin if kind in ("ladder", "steps", "seeds", "recovery") else None,
            "batch": study.analysis.batch if kind == "cka" else None,
            "competitor": study.mixture.competitor if kind == "steps" else None,
            "tuned": [study.probe.finetune.halvings, [self._evaluation(e) for e in tuned]]
            if kind == "recovery"
            else None,
        }
