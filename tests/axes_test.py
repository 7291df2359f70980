"""Which axes a sweep's points have, which must stay the same along one, and how coordinates count."""

import pytest

from bottleneck import axes
from bottleneck.axes import Axis

CENTRE = {"model.width": 32, "model.depth": 2, "data.train": 1000, "parameters": 500}
ONE_BY_ONE = [
    CENTRE,
    CENTRE | {"model.width": 64, "parameters": 1500},
    CENTRE | {"model.depth": 4, "parameters": 900},
    CENTRE | {"data.train": 4000},
]


def test_along_a_plain_axis_all_others_stay_the_same():
    assert axes.beside("model.width", ONE_BY_ONE) == ["model.depth", "data.train"]
    assert axes.varying(ONE_BY_ONE) == ["model.width", "model.depth", "data.train", "parameters"]


def test_along_a_computed_axis_what_leaves_it_as_it_is_stays_the_same():
    assert axes.beside("parameters", ONE_BY_ONE) == ["data.train"]
    named = [{**point, "model.name": name} for point in ONE_BY_ONE for name in ("mlp", "resnet")]
    assert axes.beside("parameters", named) == ["data.train", "model.name"]
    assert axes.beside("parameters", ONE_BY_ONE[:2]) == []


def test_points_that_share_nothing_are_all_compared_along_a_computed_axis():
    scattered = [{"a": i, "b": 10 - i, "parameters": 2 * i} for i in range(3)]
    assert axes.beside("parameters", scattered) == []


@pytest.mark.parametrize(("per", "expected"), [("unit", [10, 1000]), ("decade", [1, 3])])
def test_coordinates(per, expected):
    assert Axis("a", per).coordinates([{"a": 10}, {"a": 1000}]) == pytest.approx(expected)


def test_draws_and_truths_are_no_numbers():
    assert axes.is_numeric("a", [{"a": 1}, {"a": 2.5}])
    assert not axes.is_numeric("a", [{"a": True}, {"a": 2}]) and not axes.is_numeric("a", [{"a": 1}, {"a": "x"}])
    assert not axes.is_numeric("data.split_seed", [{"data.split_seed": 0}])
