"""configs/ordering.py: all orders draw both components as often, exactly; what comes before changes no exposure."""

import numpy as np
import pytest

from bottleneck import sweep
from bottleneck.arms import ARMS
from bottleneck.data import mixture
from bottleneck.pretraining import Train
from tests.configs_test import as_npz, load


@pytest.fixture(scope="module")
def planned():
    return sweep.plan(load("ordering"))


def drawn(point, start=0, stop=None) -> dict[str, int]:
    """How often every component is drawn from step `start` on."""
    episodes = point.plan.episodes
    batch, stop = point.plan.study.train.batch, episodes.steps if stop is None else stop
    counts = mixture.drawn(episodes.tables, stop, batch) - mixture.drawn(episodes.tables, start, batch)
    return dict(zip(episodes.components, counts.tolist(), strict=True))


def test_every_order_draws_as_much_of_both(planned):
    steps, batch = 1536, 128
    orders = {p.at["order"]: drawn(p) for p in planned.points if p.at["before"] == "nothing"}
    alone = orders.pop("hard alone")
    assert len(orders) == 6 and alone == {"easy": 0, "hard": steps * batch // 2}
    assert all(counts == {"easy": steps * batch // 2, "hard": steps * batch // 2} for counts in orders.values())
    assert all(p.plan.study.train.sampling == "stratified" for p in planned.points)


def test_orders_are_what_they_are_called(planned):
    (of,) = [{p.at["order"]: p for p in planned.points if p.at["before"] == "nothing" and p.at["varied"] == "both"}]
    half = 768
    assert drawn(of["easy then hard"], 0, half)["hard"] == drawn(of["hard then easy"], 0, half)["easy"] == 0
    shares = [drawn(of["curriculum"], s, s + 384)["easy"] / (384 * 128) for s in range(0, 1536, 384)]
    assert shares == [0.875, 0.625, 0.375, 0.125]
    assert [drawn(of["anticurriculum"], s, s + 384)["easy"] / (384 * 128) for s in range(0, 1536, 384)] == shares[::-1]
    blocks = [drawn(of["blocked"], s, s + 192) for s in range(0, 1536, 192)]
    assert [block["easy"] == 0 for block in blocks] == [False, True] * 4
    assert all(block["easy"] in (0, 192 * 128) for block in blocks)


def test_before_hard_alone_only_what_comes_before_differs(planned):
    points = {p.at["before"]: p for p in planned.points if p.at["order"] == "hard alone"}
    assert list(points) == ["nothing", "half of it", "all of it", "easy", "blurred T/8", "blurred T/4", "blurred T/2"]
    for before, point in points.items():
        first, last = point.plan.episodes.steps - 768, point.plan.episodes.steps
        later = drawn(point, first, last)
        assert later.pop("hard") == 768 * 128 and not any(later.values())
        earlier = {name for name, count in drawn(point, 0, first).items() if count}
        expected = {"nothing": set(), "half of it": {"half"}, "all of it": {"hard"}, "easy": {"easy"}}
        assert earlier == expected.get(before, {"blurred"})
    assert [points[f"blurred T/{n}"].plan.episodes.steps - 768 for n in (8, 4, 2)] == [192, 384, 768]


def test_the_half_is_one_of_the_same_images(planned):
    (point,) = (p for p in planned.points if p.at["before"] == "half of it")
    half, whole = (point.plan.targets[name].splits["train"] for name in ("half", "hard"))
    assert len(half) == 1000 and len(whole) == 2000 and set(half.ids.tolist()) < set(whole.ids.tolist())
    assert np.array_equal(half.fetch(np.arange(9)), whole.fetch(np.arange(9)))


def test_the_rate_is_constant_and_runs_are_shared(planned):
    assert {p.plan.study.optimizer.schedule for p in planned.points} == {"constant"}
    runs = [train.episode for train in planned.graph.of(Train)]
    keys = {
        name: p.plan.episodes.run(ARMS["mixture"], 0).key for p in planned.points for name in [tuple(p.at.values())]
    }
    assert keys["easy then hard", "nothing", "both"] == keys["hard alone", "easy", "both"]
    assert keys["interleaved", "nothing", "init"] == keys["interleaved", "nothing", "both"]
    assert len({run.key for run in runs}) == len(runs)


@pytest.mark.parametrize("arg", ["smoke", "full"])
def test_forms_plan(arg):
    made = sweep.plan(load("ordering", arg, {"data.train": "400"} if arg == "full" else None))
    assert len(made.points) == len({tuple(p.at.values()) for p in made.points}) == 15 and len(made.tasks) == 2


def test_on_somebody_s_own_images(tmp_path):
    made = sweep.plan(
        load(
            "ordering", f"smoke,data={as_npz(tmp_path)}", {"data.probe": "300", "data.val": "150", "data.test": "None"}
        )
    )
    (point,) = (p for p in made.points if p.at["before"] == "half of it")
    half, whole = (point.plan.targets[name].splits["train"] for name in ("half", "hard"))
    assert set(half.items.names) < set(whole.items.names) and len(half) == 200
