"""A whole study carried out in a directory, without drawing its report, and what its answer says."""

import pathlib

from bottleneck import execute
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.planning import plan as plans
from bottleneck.store import Store
from bottleneck.tasks import STAGES


class Answer:
    """The rows of a study's answer."""

    def __init__(self, config, workdir: pathlib.Path):
        plan, store = plans.plan(studies.spec(config)), Store(workdir)
        execute.carry_out(plan.graph, store, STAGES)
        store.outcomes.refresh()
        assert not store.outcomes.left()
        self.rows = store.rows(plan.answer)

    def one(self, **values) -> dict:
        (row,) = row_files.select(self.rows, **values)
        return row

    def part(self, metric: str, target: str) -> dict:
        """The row of a gap or a part of it, in the unit that is no accuracy."""
        return next(r for r in row_files.select(self.rows, metric=metric, target=target) if r["unit"] != "points")

    def verdict(self, target: str) -> str:
        return self.part("gap", target)["extra"]["verdict"]

    def statuses(self, target: str) -> dict[str, str]:
        """cause -> its status."""
        return {r["extra"]["cause"]: r["extra"]["status"] for r in self.restored(target)}

    def restored(self, target: str) -> list[dict]:
        return row_files.select(self.rows, metric="restored", target=target)

    def mean(self, arm: str, target: str, factor: str | None = None) -> float:
        """Information of an arm, over all seeds."""
        where = dict(metric="information", arm=arm, target=target, factor=factor, protocol="linear_probe")
        return self.one(**where)["value"]

    def said(self, target: str) -> str:
        """The verdict and the causes in a few lines, for the message of a test that fails."""
        lines = [f"{target} is {self.verdict(target)}: gap {self.part('gap', target)['value']:.3f}"]
        lines += [
            f"{row['extra']['cause']}: {row['extra']['status']} ({row['extra']['evidence']}; {row['extra']['reason']})"
            for row in self.restored(target)
        ]
        return "\n".join(lines)
