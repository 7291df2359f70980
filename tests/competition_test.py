"""configs/competition.py: its points, and that at chance the shared feature competes with nothing."""

import pathlib

import numpy as np
import pytest

from bottleneck import config as configs
from bottleneck import study as studies
from bottleneck import sweep
from bottleneck.data import component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

COMPETITION = str(pathlib.Path(__file__).parents[1] / "configs" / "competition.py")


def plan(arg):
    return sweep.plan(configs.load(f"{COMPETITION}:{arg}", (), studies.StudySpec, studies.spec_of))


@pytest.fixture(scope="module")
def cpu():
    return plan("seeds=2")


def test_reliability_goes_from_chance_to_one_and_the_others_around_its_centre(cpu):
    at = [point.at for point in cpu.points]
    centre = {"weight_decay": 5e-4, "label_smoothing": 0.0, "logit_penalty": 0.0, "dropout": 0.0}
    along = [p["reliability"] for p in at if {k: p[k] for k in centre} == centre]
    assert min(along) == 0.5 and max(along) == 1.0 and len(along) >= 5 and along == sorted(along)
    for axis in centre:
        others = {k: v for k, v in centre.items() if k != axis} | {"reliability": 0.9}
        values = {p[axis] for p in at if all(p[k] == v for k, v in others.items())}
        assert len(values) == 3


def test_at_chance_a_component_is_its_own_variant_and_the_arm_is_asked_elsewhere(cpu):
    for place in cpu.curve.places:
        assert place.unopposed == (("shape", "texture") if place.at["reliability"] == 0.5 else ())
        assert ("randomised" in place.arms) == (place.at["reliability"] != 0.5)


def test_regularisers_reach_the_runs(cpu):
    for point in cpu.points:
        objective, optimizer = point.plan.study.objective, point.plan.study.optimizer
        assert optimizer.weight_decay == point.at["weight_decay"]
        for key in ("label_smoothing", "logit_penalty", "dropout"):
            assert getattr(objective, key) == point.at[key]


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_on_somebody_s_own_images_chance_is_one_over_the_classes(classes, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (3000, 8, 8), dtype=np.uint8), np.arange(3000) % classes
    np.savez(tmp_path / "own.npz", x_train=x[:2000], y_train=y[:2000], x_test=x[2000:], y_test=y[2000:])
    made = plan(f"smoke,data={tmp_path / 'own.npz'}")
    assert made.points[0].at["reliability"] == 1 / classes
    assert made.curve.places[0].unopposed == ("rotated", "upright") and not made.curve.places[1].unopposed


@pytest.mark.parametrize("reliability, accepted", [(1 / 3, True), (0.333, False), (0.1, False)])
def test_a_tint_below_chance_announces_the_other_labels_and_is_refused(reliability, accepted):
    source = {"name": "factors", "values": 3, "reliability": {"shape": 1.0}}
    spec = ComponentSpec(source=source, transforms={"tint": {"reliability": reliability}})
    data = DataSpec(image_size=8, train=40, probe=40, val=40, test=40)
    if accepted:
        assert component.load("c", spec, data).num_classes == 3
        return
    with pytest.raises(UserError, match="at least 1/3, chance among 3 classes") as met:
        component.load("c", spec, data)
    assert met.value.key == "components.c.transforms.tint.reliability"
