"""configs/weights.py: one component's weight to the extremes, some of them held out, `alone` at every point."""

import pytest

from bottleneck import sweep
from bottleneck.law import Law
from bottleneck.pretraining import Train
from tests.configs_test import as_npz, load


def test_shares_reach_the_extremes_and_others_keep_their_proportions():
    made = sweep.plan(load("weights"))
    shares = [point.plan.episodes.shares for point in made.points]
    assert shares[0]["rare"] == pytest.approx(0.003, abs=1e-4) and shares[-1]["rare"] == pytest.approx(0.9, abs=1e-4)
    assert all(s["easy"] / s["plus"] == pytest.approx(shares[0]["easy"] / shares[0]["plus"], rel=0.02) for s in shares)
    law = next(task for task in made.tasks if isinstance(task, Law))
    assert [point.held_out for point in law.points] == [False, True] * 5 + [False]
    names = [train.episode.name for train in made.graph.of(Train)]
    assert names.count("alone-rare") == names.count("mixture") == 4 * 11 and names.count("direct-rare") == 4


@pytest.mark.parametrize("arg, points", [("smoke", 6), ("full", 17)])
def test_forms_plan(arg, points):
    made = sweep.plan(load("weights", arg, {"data.train": "400"} if arg == "full" else None))
    assert len(made.points) == points and any(isinstance(task, Law) for task in made.tasks)


def test_on_somebody_s_own_images(tmp_path):
    small = {"data.probe": "300", "data.val": "150", "data.test": "None"}
    made = sweep.plan(load("weights", f"smoke,data={as_npz(tmp_path)}", small))
    assert list(made.points[0].at) == ["mixture.weights.rotated"] and set(made.points[0].plan.targets) >= {"rotated"}
