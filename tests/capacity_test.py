"""configs/capacity.py: what its points are, that every size is tuned, and that specialists cost what is claimed."""

import pathlib

import numpy as np
import pytest

from bottleneck import config as configs
from bottleneck import study as studies
from bottleneck import sweep
from bottleneck.choose import Tune

CAPACITY = str(pathlib.Path(__file__).parents[1] / "configs" / "capacity.py")


def plan(arg):
    return sweep.plan(configs.load(f"{CAPACITY}:{arg}", (), studies.StudySpec, studies.spec_of))


@pytest.fixture(scope="module")
def cpu():
    return plan("seeds=2")


def test_widths_span_two_decades_of_parameters(cpu):
    same = {"architecture": "mlp", "depth": 2, "train": 4000}
    of = [p.at["parameters"] for p in cpu.points if same.items() <= p.at.items()]
    assert max(of) >= 100 * min(of) and len(of) == 4
    assert {p.at["depth"] for p in cpu.points} == {2, 4} and {p.at["train"] for p in cpu.points} == {1000, 4000}
    assert {p.at["architecture"] for p in cpu.points} == {"mlp", "linear mlp"}
    assert [(axis.name, axis.per) for axis in cpu.curve.axes][-1] == ("parameters", "decade")


def test_every_size_is_tuned_for_itself(cpu):
    for point in cpu.points:
        tuned = [task for task in point.plan.tasks if isinstance(task, Tune)]
        assert {tuple(dict(task.weights)) for task in tuned} >= {("easy", "rare", "shadowed"), ("easy",), ("rare",)}
        assert all({lr for lr, _ in task.grid} == {0.03, 0.1, 0.3} and len(task.grid) == 6 for task in tuned)


def test_specialists_cost_together_what_the_mixture_costs(cpu):
    """In steps and, each being the mixture's network, at inference."""
    runs = [task.episode for task in cpu.points[0].plan.tasks if hasattr(task, "episode") and task.episode.seed == 1]
    mixture = next(run for run in runs if run.name == "mixture")
    specialists = [run for run in runs if run.name.startswith("specialists-")]
    assert len(specialists) == 3 and {run.model for run in specialists} == {mixture.model}
    assert abs(sum(run.steps for run in specialists) - mixture.steps) <= 2
    assert {"specialists", "direct", "alone", "longer", "direct_half", "random"} <= set(cpu.curve.places[0].arms)


def own(place, train, **more):
    """A file of somebody's own images."""
    rng, arrays = np.random.default_rng(0), {}
    for split, count in dict(train=train, test=2000, **more).items():
        arrays |= {f"x_{split}": rng.integers(0, 256, (count, 8, 8), np.uint8), f"y_{split}": np.arange(count) % 3}
    np.savez(place / "own.npz", **arrays)
    return place / "own.npz"


def test_on_somebody_s_own_images_it_plans(tmp_path):
    made = plan(f"smoke,data={own(tmp_path, 7000)}")
    assert made.points[0].plan.study.mixture.weights == dict(plain=0.45, tinted=0.45, rotated=0.1)


@pytest.mark.parametrize("train, more, most", [(7000, {}, 4000), (2000, {}, 1400), (2000, dict(val=300), 1600)])
def test_the_axis_of_training_items_says_what_is_there(train, more, most, tmp_path):
    made = plan(f"data={own(tmp_path, train, **more)}")
    assert {point.at["train"] for point in made.points} == {most, most // 4}
    for point in made.points:
        there = {len(component.splits["train"]) for component in point.plan.targets.values()}
        assert there == {point.at["train"]}


def test_points_of_the_full_form_differ_in_what_is_there(tmp_path):
    path = own(tmp_path, 9000)
    config = configs.load(f"{CAPACITY}:full,data={path}", (), studies.StudySpec, studies.spec_of)
    assert {point["data"]["train"] for point in config.sweep.points} == {6300, 630}
