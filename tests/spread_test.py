"""Initialisation or order: points that differ in what their seeds vary are compared, and the planted one decides."""

import numpy as np
import pytest

from bottleneck import execute, sweep
from bottleneck import rows as row_files
from bottleneck.report import spread_figure, tables
from bottleneck.spread import Spread
from tests.sweep_test import swept

VARIED = tuple(dict(point=dict(varied=v), vary=v, **changes) for v, changes in (
    ("both", {}), ("init", dict(seeds=8, arms=("mixture",))), ("order", dict(seeds=8, arms=("mixture",)))
))  # fmt: skip


class Planted:
    """A store whose seeds lie apart by `sd` bits, by target and by what they vary."""

    def __init__(self, task, sd):
        self.items_of = {}
        for point in task.points:
            for probe in point.probes:
                rng = np.random.default_rng([probe.seed, *f"{point.vary} {probe.target}".encode()])
                item = np.random.default_rng(0).normal(size=37)
                value = 0.5 + sd[probe.target, point.vary] * rng.normal() + 0.1 * item + 0.02 * rng.normal(size=37)
                self.items_of[probe.key] = {"information": value[None]}

    def present(self, task):
        return True

    def items(self, probe):
        return self.items_of[probe.key]


def task_of(points=VARIED) -> Spread:
    (task,) = (task for task in sweep.plan(swept(points=points)).tasks if isinstance(task, Spread))
    return task


@pytest.fixture(scope="module")
def rows():
    sd = {(t, v): 0.1 for t in ("first", "second") for v in ("both", "init", "order")}
    sd |= {("first", "init"): 0.2, ("first", "order"): 0.01, ("second", "init"): 0.0, ("second", "order"): 0.0}
    task = task_of()
    return [row_files.row(finding, "spread", 1) for finding in task.findings(Planted(task, sd))]


def find(rows, **keys):
    (row,) = row_files.select(rows, **keys)
    return row


def test_the_planted_spread_is_found(rows):
    held = {(r["target"], r["extra"]["vary"]): r for r in row_files.select(rows, metric="spread")}
    assert len(held) == 6 and held["first", "init"]["point"] == {"varied": "init"}
    assert held["first", "init"]["ci95"][0] < 0.2 < held["first", "init"]["ci95"][1]
    assert held["first", "order"]["n_seeds"] == 8 and held["first", "both"]["n_seeds"] == 2
    assert held["second", "init"]["ci95"][0] == 0.0


def test_what_decides_is_said(rows):
    first, second = (find(rows, metric="spread_ratio", target=name) for name in ("first", "second"))
    assert first["value"] > 50 and first["ci95"][0] > 1 and first["unit"] == "ratio" and first["reference"] == "order"
    assert "initialisation decides more" in first["extra"]["sentence"]
    assert "no seed is shown to differ" in second["extra"]["sentence"]


def test_only_points_that_train_the_same_are_compared():
    other = dict(point=dict(varied="wide"), vary="order", model=dict(width=9))
    assert [point.at["varied"] for point in task_of((*VARIED, other)).points] == ["both", "init", "order"]
    plain = sweep.plan(swept(points=VARIED[:1]))
    assert not any(isinstance(task, Spread) for task in plain.tasks)


def test_the_section_has_a_figure_and_a_table(rows):
    shown = spread_figure.section({"spread": rows})
    figure, table = shown.parts
    assert [line[0] for line in table.rows] == ["first", "second"] and len(table.header) == 5
    assert "first: order alone" in figure.panels[0] and shown.sentence.startswith("first: between seeds")
    assert spread_figure.section({}) is None and "Spread between seeds" in tables.terminal(rows)


def test_a_sweep_over_what_varies(tmp_path):
    few = tuple({**point, "seeds": 2} for point in VARIED)
    assert execute.study(swept([("train.steps", "6")], points=few), tmp_path) == execute.DONE
    found = row_files.read(tmp_path / "results.jsonl")
    assert {r["target"] for r in row_files.select(found, metric="spread_ratio")} == {"first", "second"}
    assert "Initialisation or order" in (tmp_path / "report.html").read_text()
