"""configs/keep.py: what is planned, and that features asked for more keep what an opposed pair makes them lose."""

import pathlib

import pytest

from bottleneck import config as configs
from bottleneck import execute, sweep
from bottleneck import rows as row_files
from bottleneck import study as studies
from bottleneck.pretraining import Train
from bottleneck.price import per_step

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "keep.py"


def load(arg, overrides=None):
    return configs.load(f"{CONFIG}:{arg}", (overrides or {}).items(), studies.StudySpec, studies.spec_of)


def test_every_mixture_has_both_penalties_and_both_baselines():
    plan = sweep.plan(load("smoke,seeds=1"))
    assert [point.at["point"] for point in plan.points] == ["conflict", "private", "faint", "narrow"]
    for point in plan.points:
        made = {task.episode.name: task.episode for task in point.plan.graph.of(Train)}
        assert {"mixture", "heads", "aligned", "spread"} <= set(made)
        assert ("balanced" in made) == (point.at["point"] != "private")  # whose weights are equal already
        objectives = [made[name].objective for name in ("mixture", "aligned", "frugal", "paid", "spread")]
        assert [(o.alignment, o.spread) for o in objectives] == [(0, 0), (30, 0), (30, 0), (0, 0), (0, 0.3)]
        assert len({made[name].steps for name in ("mixture", "aligned", "spread")}) == 1


def test_what_costs_as_much_costs_as_much():
    """`paid` as many operations as `aligned`, `frugal` as the mixture."""
    plan = sweep.plan(load("seeds=1"))
    for point in plan.points:
        made = {task.episode.name: task.episode for task in point.plan.graph.of(Train)}
        spent = {name: per_step(run, point.plan.episodes.shape) * run.steps for name, run in made.items()}
        assert spent["paid"] == pytest.approx(spent["aligned"], rel=0.01)
        assert spent["frugal"] == pytest.approx(spent["mixture"], rel=0.01)


@pytest.mark.slow
def test_features_asked_for_more_keep_the_opposed_pair(tmp_path):
    config = load("smoke,seeds=2,offset=0")
    with config.unlocked():
        config.sweep.points = (config.sweep.points[0],)
        config.arms = ("mixture", "direct")
        config.representations = {}
    assert execute.study(config, tmp_path) == execute.DONE
    rows = row_files.select(row_files.read(tmp_path / "results.jsonl"), metric="information", seed="all", factor=None)
    read = {(r["arm"], r["target"]): r["value"] for r in rows if r["protocol"] == "linear_probe"}
    for recipe in ("aligned", "spread"):
        for target in ("plus", "minus"):
            assert read[recipe, target] > read["mixture", target] + 0.2
