"""Where a run's batches come from: the resident pool inside the step, or the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bottleneck.data import mixture, resident, stream
from bottleneck.data.component import Component
from bottleneck.data.source import DataSpec
from bottleneck.models import statistics
from bottleneck.training import mesh as meshes
from bottleneck.training import step as steps
from bottleneck.training.run import Run
from bottleneck.training.step import State
from bottleneck.training.taught import Taught

STATISTICS_BATCHES = 32  # for BatchNorm at an averaged point


class Feed:
    """The batches of `runs`, a fleet or one, drawn from the train splits of `components` (as `restrict` gives them)."""

    def __init__(
        self,
        runs: Sequence[Run],
        code: steps.Program,
        components: tuple[Component, ...],
        data: DataSpec,
        pool: resident.Pool | None = None,
        taught: Taught | None = None,
    ):
        self.runs, self.run, self.code = runs, runs[0], code
        self.components, self.data, self.taught = components, data, taught
        self.run.augment.check_stored(components, "stream" if pool is None else "resident")
        sizes = [len(c.splits["train"]) for c in components]
        if pool is not None and len(pool.id) != sum(sizes):
            raise ValueError(f"a pool of {len(pool.id)} examples, for components of {sum(sizes)}")
        if pool is not None and taught is not None:
            said, rows = meshes.replicate(tuple(taught), code.mesh)
            pool = pool._replace(taught=said, rows=rows)
        each = [_shared(run, sizes) for run in runs]
        self.tables = each[0].tables
        self.given = meshes.spread(each, code.mesh)._replace(pool=pool)
        zeros = steps.totals(len(components), self.run.train.stops)
        self.zeros = meshes.spread([zeros] * len(runs), code.mesh)
        self.scale = np.float32(data.mean), np.float32(data.std)
        self._stream, self._at = None, -1
        self.x_shape = components[0].splits["train"].fetch(np.arange(1)).shape[1:]

    def host_batches(self, start: int, stop: int, area: tuple[float, float] | None = None):
        train = self.run.train
        drawn = self.tables, self.run.seed, train.batch, train.sampling
        rows = meshes.rows(self.code.mesh, train.batch)
        own = stream.batches(self.components, *drawn, start, stop, rows=rows, taught=self.taught, area=area)
        return (meshes.whole(batch, self.code.mesh) for batch in own)

    def advance(self, state: State, sums: dict, start: int, stop: int) -> tuple[State, dict]:
        """The state at step `stop`, from the one at `start`, and the sums with what was added on the way."""
        if self.given.pool is not None:
            return steps.advance(self.code, state, sums, self.given, stop - start)
        if self._at != start:
            self._stream = self.host_batches(start, self.run.steps, self.run.augment.resized_crop)
        for _ in range(start, stop):
            state, sums = steps.fed(self.code, state, sums, next(self._stream), self.given, *self.scale)
        self._at = stop
        return state, sums

    @property
    def lone(self) -> steps.Program:
        """The program of one member by itself."""
        return dataclasses.replace(self.code, members=1)

    def of(self, tree, index: int):
        """What member `index` has of a tree of all members."""
        return meshes.member(tree, index, self.code.members, self.code.mesh)

    def close(self) -> None:
        """Ends the workers of a stream that stands half-way: the process would wait for all that is fetched ahead."""
        if self._stream is not None:
            self._stream.close()

    def evaluation_point(self, state: State, step: int, index: int = 0) -> dict:
        """The variables of one member to keep: averaged where the optimiser averages, BatchNorm statistics then
        measured there; converted weights that a run begins with as they are.

        They are means over batches of the run's own distribution, drawn past `step`.
        """
        state, code = self.of(state, index), self.lone
        given = step == 0 and self.runs[index].pretrained
        params = state.params if given else steps.averaged(code, state)
        point = {"params": params, "batch_stats": state.batch_stats}
        averages = code.optimizer.name == "schedule_free" and state.batch_stats and code.trained == "all"
        if averages and not given:
            point["batch_stats"] = statistics.mean(code.model, point, self._images(step, index))
        return {name: tree for name, tree in point.items() if tree}

    def _images(self, step: int, index: int):
        if (pool := self.given.pool) is not None:
            given = self.of(self.given._replace(pool=None), index)._replace(pool=pool)
            return (steps.drawn(self.code, given, np.int32(step + i))["x"] for i in range(STATISTICS_BATCHES))
        batches = self.host_batches(step, step + STATISTICS_BATCHES)
        return (resident.normalise(batch["x"], *self.scale) for batch in batches)


def _shared(run: Run, sizes: list[int]) -> steps.Given:
    """What the steps of one run share, but for the pool."""
    train = run.train
    tables = mixture.tables(run.components, sizes, run.schedule, train.batch, train.steps, train.sampling)
    numbers = steps.hyper(run.optimizer, run.objective, run.steps)
    return steps.Given(tables, run.space(), numbers, np.int32(run.seed), run.counted())
