"""What a representation costs: every run once, at the largest step used of it, with all that its training took."""

import dataclasses

import pytest

from bottleneck import study
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.features.source import Kept, Member, Pixels
from bottleneck.planning import plan as plans
from bottleneck.pretraining import Train
from bottleneck.price import price, work
from bottleneck.probing import Probe
from tests.planted import member

ITEMS = 400 + 200 + 1000
BATCH = 16
TRUNK, HEAD = 192 * 8 + 8 * 8, 8 * 2  # multiply-adds of the tiny study's network


@pytest.fixture(scope="module")
def target():
    data = DataSpec(image_size=8, train=40, probe=400, val=200, test=1000)
    return components.load("t", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), data)


@pytest.fixture(scope="module")
def kept(tiny):
    plan = plans.plan(study.spec(tiny()))
    run = next(task.episode for task in plan.graph.of(Train) if task.episode.name == "mixture")
    return Kept("mixture/0@20", run, 20, plan.study.data)


@pytest.fixture
def of(target):
    def probe(*sources, layer="features", **options):
        members = tuple(s if isinstance(s, Member) else Member(s, layer) for s in sources)
        return Probe("r", 0, options.pop("name", "t"), target, members, **options)

    return probe


def another(kept, seed):
    return dataclasses.replace(kept, run=dataclasses.replace(kept.run, seed=seed))


def test_snapshots_of_one_run_cost_one_run(kept, of):
    """They are several networks where they are used, and read."""
    early = dataclasses.replace(kept, step=10)
    one, both = price(of(kept)), price(of(kept, early))
    assert one["train_steps"] == both["train_steps"] == 20
    assert one["image_forwards"] == 20 * BATCH + ITEMS and both["image_forwards"] == 20 * BATCH + 2 * ITEMS
    assert work(of(kept, early), False)["inference_flops"] == 2 * work(of(kept), False)["inference_flops"]
    assert work(of(kept, early), False)["training_flops"] == work(of(kept), False)["training_flops"]


def test_runs_add_up_and_ancestors_are_counted_once(kept, of):
    parent = dataclasses.replace(kept.run, name="parent", seed=7)
    tuned = dataclasses.replace(kept, step=5, stands_on=((parent, 20),))
    twin = dataclasses.replace(another(kept, 1), step=5, stands_on=((parent, 15),))
    for members, steps in (((kept, another(kept, 1)), 40), ((tuned,), 25), ((kept, tuned), 40), ((tuned, twin), 30)):
        found = price(of(*members))
        assert found["train_steps"] == steps
        assert found["image_forwards"] == steps * BATCH + len(members) * ITEMS


def test_a_member_listed_twice_costs_one(kept, of):
    twice = dataclasses.replace(kept, name="another name of the same")
    assert price(of(kept, twice)) == price(of(kept))
    assert work(of(kept, kept), False) == work(of(kept), False)  # the two blocks' weights add up to one's


def test_a_student_costs_its_teachers_and_their_passes(kept, of):
    """Teachers' passes over the training items are made once, whoever learns from them."""
    teachers = [another(kept, seed).run for seed in (1, 2)]
    taught = dict(stands_on=tuple((t, 20) for t in teachers), lessons=tuple((t, 20, 200) for t in teachers))
    student, sibling = (dataclasses.replace(another(kept, seed), **taught) for seed in (8, 9))
    assert price(of(student))["train_steps"] == 60
    assert price(of(student))["image_forwards"] == 60 * BATCH + 2 * 200 + ITEMS
    assert price(of(student, sibling))["image_forwards"] == 80 * BATCH + 2 * 200 + 2 * ITEMS
    forward = 2 * (TRUNK + HEAD)
    assert work(of(student), False)["training_flops"] == forward * (3 * 60 * BATCH + 2 * 200)
    assert work(of(student), False)["inference_flops"] == work(of(kept), False)["inference_flops"]


def test_penalties_on_features_are_counted(kept, of):
    """Two Gram matrices and, for the gradient by features, two more products of the smaller one; one covariance."""
    plain = work(of(kept), False)["training_flops"]
    for field, matrices in (("alignment", 2 * BATCH * BATCH * (192 + 3 * 8)), ("spread", 3 * 2 * BATCH * 8 * 8)):
        objective = dataclasses.replace(kept.run.objective, **{field: 1.0})
        asked = dataclasses.replace(kept, run=dataclasses.replace(kept.run, objective=objective))
        more = work(of(asked), False)["training_flops"] - plain
        assert 20 * matrices <= more <= 20 * (matrices + 4 * 2 * BATCH * 200)  # the means are small products, too


def test_parameters_and_operations_are_those_of_what_is_used(kept, of):
    used = work(of(kept), False)
    assert used["parameters"] == TRUNK + 2 * 8 + (HEAD + 2)  # the probe's classifier in the place of the network's own
    assert used["inference_flops"] == 2 * (TRUNK + HEAD)
    first = work(of(kept, layer="layer1"), False)
    assert first["inference_flops"] == 2 * (192 * 8 + HEAD) and first["parameters"] == 192 * 8 + 8 + HEAD + 2
    assert work(of(kept), True) == used  # its own head has as many classes as the target
    cat = of(kept, another(kept, 1))
    assert work(cat, False)["parameters"] == 2 * used["parameters"] - 2
    assert work(dataclasses.replace(cat, average=True), False)["parameters"] == 2 * used["parameters"]
    assert work(dataclasses.replace(cat, reduce=True), False) == work(cat, False)  # a linear map folds into the probe


def test_untrained_and_foreign_networks_and_the_images_themselves(kept, of):
    untrained = dataclasses.replace(kept, step=0)
    assert price(of(untrained))["train_steps"] == 0 and price(of(untrained))["image_forwards"] == ITEMS
    assert work(of(untrained), False)["training_flops"] == 0
    assert price(of(Pixels("pixels")))["image_forwards"] == 0  # no network sees them
    assert price(of(member("theirs")))["image_forwards"] == ITEMS
    assert set(work(of(member("theirs"), kept), False).values()) == {None}


def test_the_targets_own_examples_are_those_that_training_drew(kept, of):
    drawn = price(of(kept, name="first"))["component_examples"]
    assert drawn == pytest.approx(20 * BATCH * 0.7, abs=1)
    assert price(of(kept))["component_examples"] == 0  # of a target it never drew
