import dataclasses

import numpy as np
import pytest

from bottleneck.data import component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import SPLITS, DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, train=1500, probe=40, val=30, test=50)
SOURCE = {"name": "factors", "values": 4, "reliability": {"shape": 1.0}}
SECOND = {"name": "factors", "values": 5, "reliability": {"colour": 1.0}, "seed": 9}


def load(transforms, data=DATA, randomise=(), source=SOURCE):
    return component.load("c", ComponentSpec(source=source, transforms=transforms, randomise=randomise), data)


def every(examples):
    return examples.fetch(np.arange(len(examples)))


PLAIN = load({})


def test_classes():
    train, plain = load({"classes": {"keep": (3, "1")}}).splits["train"], PLAIN.splits["train"]
    np.testing.assert_array_equal(train.ids, plain.ids[np.isin(plain.labels, (3, 1))])
    np.testing.assert_array_equal(train.labels, train.factors["shape"] == 1)
    np.testing.assert_array_equal(every(train), every(plain)[np.isin(plain.labels, (3, 1))])


def test_balanced_classes_are_of_the_size_of_the_smallest():
    for split, examples in load({"classes": {"keep": (0, 2, 3), "balanced": True}}).splits.items():
        sizes = np.bincount(PLAIN.splits[split].labels, minlength=4)[[0, 2, 3]]
        np.testing.assert_array_equal(np.bincount(examples.labels), sizes.min())
        assert np.all(np.isin(examples.ids, PLAIN.splits[split].ids)) and np.all(np.diff(examples.ids) > 0)


def test_labels():
    loaded = load({"labels": {"map": {"0": 1, "1": 0, "2": 1, "3": 0}}})
    train = loaded.splits["train"]
    assert loaded.classes == ("1|3", "0|2")
    np.testing.assert_array_equal(train.factors["class"], PLAIN.splits["train"].labels)
    np.testing.assert_array_equal(train.labels, train.factors["class"] % 2 == 0)


def test_tint():
    loaded = load({"hue": {"name": "tint", "reliability": 0.8, "strength": 0.5}})
    train = loaded.splits["train"]
    assert np.mean(train.factors["hue"] == train.labels) == pytest.approx(0.8, abs=0.04)
    change = every(train) - 0.5 * every(PLAIN.splits["train"])
    for value, hue in enumerate(((1, 0, 0), (0.5, 1, 0), (0, 1, 1), (0.5, 0, 1))):
        rows = train.factors["hue"] == value
        assert rows.any() and np.abs(change[rows] - 127.5 * np.array(hue)).max() < 0.6


@pytest.mark.parametrize(
    "key, transforms",
    [
        ("tint", {"tint": {"reliability": 0.9}}),
        ("right", {"dominoes": {"source": SECOND}}),
        ("left", {"dominoes": {"source": SECOND}}),
    ],
)
def test_a_planted_factor_can_be_made_independent(key, transforms):
    kept, redrawn = (load(transforms, randomise=r).splits["train"] for r in ((), (key,)))
    assert np.mean(redrawn.factors[key] == redrawn.labels) == pytest.approx(0.25, abs=0.04)
    np.testing.assert_array_equal(kept.labels, redrawn.labels)
    for factor in {"tint", "left", "right"} & set(kept.factors) - {key}:
        np.testing.assert_array_equal(kept.factors[factor], redrawn.factors[factor])
    side = {"right": np.s_[:, :, :4], "left": np.s_[:, :, 4:]}.get(key)
    if side:
        np.testing.assert_array_equal(every(kept)[side], every(redrawn)[side])


def test_rotate():
    plain = every(PLAIN.splits["val"])
    turned = every(load({"rotate": {"degrees": 90}}).splits["val"])
    np.testing.assert_array_equal(turned, np.rot90(plain, axes=(1, 2)))
    back = every(load({"rotate": {"degrees": -90}, "again": {"name": "rotate", "degrees": 90}}).splits["val"])
    np.testing.assert_array_equal(back, plain)
    slightly = every(load({"rotate": {"degrees": 1e-6}}).splits["val"])
    np.testing.assert_allclose(slightly[:, 1:-1, 1:-1].astype(int), plain[:, 1:-1, 1:-1], atol=1)
    wide = load({"rotate": {"degrees": 90}}, DataSpec(image_size=(8, 12), train=5, probe=5, val=5, test=5))
    assert every(wide.splits["val"]).shape == (5, 8, 12, 3)


def test_blur():
    plain, blurred = every(PLAIN.splits["val"]), every(load({"blur": {"radius": 1.5}}).splits["val"])
    assert blurred.mean() == pytest.approx(plain.mean(), abs=2)
    sharp, soft = (np.abs(np.diff(images.astype(int), axis=2)).mean() for images in (plain, blurred))
    assert soft < 0.3 * sharp


def test_label_noise_is_in_the_splits_asked_for():
    loaded = load({"label_noise": {"rate": 0.3}})
    train = loaded.splits["train"]
    truth = train.factors["shape"]
    assert np.mean(train.labels != truth) == pytest.approx(0.3, abs=0.04)
    np.testing.assert_array_equal(train.factors["label_noise"], train.labels != truth)
    wrong = (train.labels - truth)[train.labels != truth] % 4
    np.testing.assert_allclose(np.bincount(wrong, minlength=4)[1:] / len(wrong), 1 / 3, atol=0.06)
    for split in ("probe", "val", "test"):
        assert np.array_equal(loaded.splits[split].labels, PLAIN.splits[split].labels)
    noisy = load({"label_noise": {"rate": 1.0, "splits": SPLITS}})
    assert all(np.all(noisy.splits[s].labels != PLAIN.splits[s].labels) for s in SPLITS)


def test_random_labels_know_nothing():
    train = load({"random_labels": {}}).splits["train"]
    assert np.mean(train.labels == train.factors["class"]) == pytest.approx(0.25, abs=0.04)
    np.testing.assert_array_equal(every(train), every(PLAIN.splits["train"]))


def test_choices_are_keyed_by_item_not_by_order():
    """Fewer items, or some classes left out before, change nothing for the items that stay."""
    chain = {"tint": {"reliability": 0.5}, "label_noise": {"rate": 0.5}}
    many = load(chain).splits["train"]
    few = load(chain, DataSpec(image_size=8, train=100, probe=40, val=30, test=50)).splits["train"]
    for mine, theirs in (
        (few.labels, many.labels),
        (few.factors["tint"], many.factors["tint"]),
        (every(few), every(many)),
    ):
        np.testing.assert_array_equal(mine, theirs[:100])
    other = load(chain, dataclasses.replace(DATA, split_seed=1)).splits["train"]
    assert not np.array_equal(other.factors["tint"], many.factors["tint"])


@pytest.mark.parametrize("announces", ["left", "right", "both"])
def test_dominoes(announces):
    """The left half shows its class by shape, the right one by colour: images say what the factors say."""
    loaded = load({"dominoes": {"source": SECOND, "announces": announces}})
    train = loaded.splits["train"]
    for side in ("left", "right"):
        expected = 1.0 if announces in (side, "both") else 0.25
        assert np.mean(train.factors[side] == train.labels) == pytest.approx(expected, abs=0.04)
    np.testing.assert_array_equal(train.factors["shape"], train.factors["left"])
    images = every(train)
    assert images.shape == (1500, 8, 8, 3)
    half = DataSpec(image_size=(8, 4), train=1500, probe=40, val=30, test=50)
    lefts, rights = (load({}, half, source=s).splits["train"] for s in (SOURCE, SECOND))
    for images_, factor, known, column in (
        (images[:, :, :4], "left", lefts, "shape"),
        (images[:, :, 4:], "right", rights, "colour"),
    ):
        shown = {image.tobytes(): value for image, value in zip(every(known), known.factors[column])}
        values = [shown[np.ascontiguousarray(image).tobytes()] for image in images_]
        assert values == train.factors[factor].tolist()
    assert every(load({"dominoes": {"source": SECOND}}).splits["test"]).shape == (50, 8, 8, 3)


def test_dominoes_with_a_less_reliable_half_and_its_own_transforms():
    inner = {"classes": {"keep": (4, 3, 2, 1)}}
    loaded = load({"dominoes": {"source": SECOND, "reliability": 0.7, "transforms": inner}})
    train = loaded.splits["train"]
    assert np.mean(train.factors["right"] == train.labels) == pytest.approx(0.7, abs=0.04)
    plain = load({"dominoes": {"source": SECOND, "reliability": 0.7}})
    assert not set(plain.fingerprints.values()) & set(loaded.fingerprints.values())


def test_dominoes_one_below_the_other():
    chain = {"dominoes": {"source": SECOND, "below": True}}
    train, half = load(chain).splits["train"], dataclasses.replace(DATA, image_size=(4, 8))
    assert every(train).shape == (1500, 8, 8, 3)
    np.testing.assert_array_equal(train.factors["top"], train.factors["bottom"])
    np.testing.assert_array_equal(every(train)[:, :4], every(load({}, half).splits["train"]))
    second = load({}, half, source=SECOND).splits["train"]
    shown = {image.tobytes(): label for image, label in zip(every(second), second.labels)}
    assert [shown[image.tobytes()] for image in np.ascontiguousarray(every(train)[:, 4:])] == train.labels.tolist()
    for name, other in (("top", "bottom"), ("bottom", "top")):
        free = load(chain, randomise=(name,)).splits["train"].factors
        assert np.mean(free[name] == train.labels) == pytest.approx(0.25, abs=0.04)
        np.testing.assert_array_equal(free[other], train.labels)


def test_dominoes_of_dominoes():
    chain = {"dominoes": {"source": SECOND}, "twice": {"name": "dominoes", "source": {**SECOND, "seed": 3}}}
    data = DataSpec(image_size=16, train=50, probe=30, val=30, test=30)
    assert every(load(chain, data).splits["val"]).shape == (30, 16, 16, 3)
    with pytest.raises(UserError, match="image_size"):
        load(chain, DataSpec(image_size=18, train=50, probe=30, val=30, test=30))
    chain["twice"]["below"] = True
    assert every(load(chain, data).splits["val"]).shape == (30, 16, 16, 3)
    with pytest.raises(UserError, match="a height divisible by 2"):
        load(chain, DataSpec(image_size=(17, 16), train=50, probe=30, val=30, test=30))


@pytest.mark.parametrize(
    "transforms, key",
    [
        ({"classes": {"keep": (1,)}}, "classes.keep"),
        ({"classes": {"keep": (1, 7)}}, "classes.keep"),
        ({"labels": {"map": {"0": 1}}}, "labels.map"),
        ({"labels": {"map": dict.fromkeys("0123", 0)}}, "labels.map"),
        ({"labels": {"map": {"0": 0, "1": 2, "2": 0, "3": 0}}}, "labels.map"),
        ({"tint": {"reliability": 2.0}}, "tint.reliability"),
        ({"blur": {"radius": -1.0}}, "blur.radius"),
        ({"rotate": {}}, "rotate.degrees"),
        ({"label_noise": {"rate": 0.1, "splits": ("dev",)}}, "label_noise.splits"),
        ({"dominoes": {"source": {"name": "nope"}}}, "dominoes.source.name"),
        ({"dominoes": {"source": {"name": "factors"}}}, "dominoes.source"),
        ({"dominoes": {"source": SECOND, "announces": "up"}}, "dominoes.announces"),
        ({"dominoes": {"source": SECOND, "announces": "left", "below": True}}, "dominoes.announces"),
        ({"mirror": {}}, "mirror"),
    ],
)
def test_mistakes_are_named(transforms, key):
    with pytest.raises(UserError) as caught:
        load(transforms)
    assert caught.value.key == f"components.c.transforms.{key}"


def test_a_partner_class_missing_from_a_split():
    data = DataSpec(image_size=8, train=300, probe=40, val=1, test=50)
    eight = {"name": "factors", "values": 8}
    with pytest.raises(UserError, match="has none"):
        load({"dominoes": {"source": {**eight, "seed": 4}}}, data, source=eight)
