"""configs/imagenet.py and configs/domains.py: what they plan, at which size, and that both run, small."""

import shutil

import numpy as np
import pytest

from bottleneck import dryrun, models, sweep
from bottleneck import rows as row_files
from bottleneck.errors import UserError
from bottleneck.models.cost import cost
from bottleneck.pretraining import Train
from tests import photographs
from tests.configs_test import load, run

SMALL = {"data.val": "4", "data.image_size": "32", "train.batch": "8"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Arguments: a folder of two classes as ImageNet, and a folder of further sets, one of images and one of arrays."""
    place = tmp_path_factory.mktemp("data")
    made = photographs.write(place / "imagenet", classes=2, sizes=((40, 30),), train=6, test=2)
    shutil.copytree(made, place / "transfer" / "inat")
    images, labels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8), np.arange(24) % 2
    arrays = dict(x_train=images[:16], y_train=labels[:16], x_test=images[16:], y_test=labels[16:])
    np.savez(place / "transfer" / "cifar10.npz", **arrays)
    return f"data={made},transfer={place / 'transfer'}"


def test_five_runs_are_kept_where_short_members_stop(data, tmp_path):
    plan = sweep.plan(load("imagenet", data, SMALL))
    runs = plan.graph.of(Train)
    assert sorted(run.episode.seed for run in runs) == [0, 1, 2, 3, 4]
    assert set(plan.targets) == {"imagenet", "inat", "cifar10"}
    assert {run.keep for run in runs} == {(0, 80_000, 100_000, 200_000, 450_000)}
    read = {p.arm: p.members for p in plan.answer.probes if (p.protocol, p.target) == ("released_probe", "inat")}
    for name, count, step in (("cat2", 2, 200_000), ("cat4", 4, 100_000), ("cat5", 5, 80_000)):
        assert [member.source.step for member in read[name]] == [step] * count
    said = dryrun.describe(plan, tmp_path, speed=1000)
    assert "2,250,000 steps, 18,000,000 training images" in said and ", 5 hours at 1,000 images" in said


def test_the_short_members_of_a_transformer_are_runs_of_their_own(data):
    plan = sweep.plan(load("imagenet", f"vit,{data}", {**SMALL, "train.steps": "1000"}))
    steps = {run.episode.name: run.episode.steps for run in plan.graph.of(Train)}
    assert steps == dict(mixture=1000, short2=500, short4=250, short5=200)


@pytest.mark.parametrize(
    ("form", "parameters", "multiply_adds"),
    [("", 25_557_032, 4.09e9), ("resnet152,", 60_192_808, 11.5e9), ("vit,", 22_050_664, 4.6e9)],
)
def test_networks_are_those_published(form, parameters, multiply_adds, data):
    """As torchvision's table has the ResNets, and Touvron et al. 2021 (DeiT-S) the transformer."""
    config = load("imagenet", form + data)
    shape = (config.data.image_size, config.data.image_size, 3)
    module = models.build(models.resolved(models.spec(config.model), shape), 1000)
    counted = cost(module, shape, ("logits",))
    assert counted.parameters == parameters and counted.flops == pytest.approx(2 * multiply_adds, rel=0.02)


def test_a_prepared_set_is_recognised_with_the_splits_that_have_labels(tmp_path):
    for name in ("imagenet2012", "i_naturalist2018", "cifar100"):
        (tmp_path / name / "1.0.0").mkdir(parents=True)
        (tmp_path / name / "1.0.0" / "dataset_info.json").touch()
    config = load("imagenet", f"data={tmp_path / 'imagenet2012'},transfer={tmp_path}")
    assert config.components.imagenet.source.test == "validation"
    assert config.targets.i_naturalist2018.source.val == "validation[:25%]"
    assert config.targets.cifar100.source.to_dict() == dict(name="tfds", dataset="cifar100", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "arg", "key"),
    [
        ("imagenet", "", "data"),
        ("imagenet", "data=x,transfer=nowhere", "transfer"),
        ("imagenet", "vit,resnet152,smoke", "resnet152,vit"),
        ("domains", "data=nowhere", "data"),
    ],
)
def test_mistakes_name_the_argument(name, arg, key):
    with pytest.raises(UserError, match=key):
        load(name, arg)


QUICK = {"model": "{'name': 'mlp', 'width': 8, 'depth': 1}", "probe.protocols": "linear_probe,", "data.train": "60"}


def test_imagenet_small_has_every_row_of_the_table(tmp_path):
    sizes = {"data.probe": "40", "data.val": "20", "data.test": "40", "train.steps": "9"}
    rows = run("imagenet", "smoke", tmp_path, {**QUICK, **sizes})
    read = row_files.select(rows, metric="accuracy", protocol="linear_probe", target="shape", factor=None)
    arms = {r["arm"]: r["train_steps"] for r in read if r["seed"] in (0, "all")}
    assert arms["mixture"] == 9 and arms["cat2"] == arms["cat4"] == 8 and arms["cat5"] == 10 and arms["whole5"] == 45
    assert {"snapshots", "cat5-member", "cat5-pca", "cat5-averaged", "cat5-repeated"} <= set(arms)


def test_every_domain_is_left_out_once_and_direct_runs_are_shared(tmp_path):
    for domain in ("art", "photo", "sketch"):
        photographs.write(tmp_path / domain, classes=2, sizes=((32, 24),), train=8, test=2)
    small = {"data.probe": "4", "data.val": "2", "data.image_size": "32", "train.batch": "8"}
    plan = sweep.plan(load("domains", f"data={tmp_path}", small))
    assert [point.at["left_out"] for point in plan.points] == ["none", "art", "photo", "sketch"]
    names = [run.episode.name for run in plan.graph.of(Train)]
    assert names.count("mixture") == 4 * 5 and names.count("direct-art") == 5
    for point in plan.points[1:]:
        shares = point.plan.episodes.shares
        assert shares.pop(point.at["left_out"]) == 0 and list(shares.values()) == [0.5, 0.5]


def test_the_head_meets_the_domain_that_is_left_out(tmp_path):
    small = {**QUICK, "probe.protocols": "head,linear_probe", "seeds": "1", "data.probe": "40", "data.val": "20"}
    rows = run("domains", "smoke", tmp_path, {**small, "data.test": "40", "train.steps": "5"})
    read = row_files.select(rows, arm="mixture", metric="accuracy", protocol="head", factor=None, target="coloured")
    assert {r["point"]["left_out"] for r in read} == {"none", "plain", "coloured", "textured", "placed"}
