"""Coloured digits: what is said by shape, by colour, and in which environment; one file, several components."""

import dataclasses

import numpy as np
import pytest

from bottleneck.data import component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(probe=500, val=300)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng, where = np.random.default_rng(0), tmp_path_factory.mktemp("digits") / "digits.npz"
    made = {}
    for split, count in (("train", 8000), ("test", 2000)):
        made[f"x_{split}"] = rng.integers(1, 256, (count, 6, 4), dtype=np.uint8)
        made[f"y_{split}"] = np.arange(count) % 10
    np.savez(where, **made)
    return str(where)


def load(path, data=DATA, randomise=(), **fields):
    return component.load(
        "c", ComponentSpec({"name": "colored_digits", "path": path, **fields}, randomise=randomise), data
    )


def test_labels_colours_and_environments(path):
    train = load(path).splits["train"]
    digit, shape, colour, environment = (train.factors[f] for f in ("digit", "shape", "colour", "environment"))
    np.testing.assert_array_equal(shape, digit < 5)
    assert np.mean(train.labels == shape) == pytest.approx(0.75, abs=0.02)
    for index, flip in enumerate((0.1, 0.2)):
        mine = environment == index
        assert mine.mean() == pytest.approx(0.5, abs=0.02)
        assert np.mean(colour[mine] != train.labels[mine]) == pytest.approx(flip, abs=0.02)
    assert abs(np.corrcoef(train.labels == shape, train.labels == colour)[0, 1]) < 0.05
    assert train.labels.dtype == np.int32 and load(path).classes == ("5-9", "0-4")


def test_items_are_planes_of_every_second_pixel(path):
    made = load(path)
    gray = component.load(
        "g", ComponentSpec({"name": "arrays", "path": path}), dataclasses.replace(DATA, image_size=(6, 4))
    )
    test, plain = made.splits["test"], gray.splits["test"]
    x = test.fetch(np.arange(len(test))).reshape(-1, 2, 3, 2)
    assert made.shape == (12,) and x.dtype == np.float32
    np.testing.assert_array_equal(test.items.names, plain.items.names)
    expected = plain.fetch(np.arange(len(plain)))[:, ::2, ::2, 0] / 255
    rows = np.arange(len(test))
    np.testing.assert_allclose(x[rows, test.factors["colour"]], expected, rtol=1e-6)
    assert not x[rows, 1 - test.factors["colour"]].any()


def test_environments_of_one_file_hold_out_the_same_items_with_the_same_labels(path):
    one, other, free = load(path), load(path, flips=(0.9,)), load(path, randomise=("colour",))
    for split, part in one.splits.items():
        for changed in (other, free):
            np.testing.assert_array_equal(part.items.names, changed.splits[split].items.names)
            np.testing.assert_array_equal(part.labels, changed.splits[split].labels)
    test = other.splits["test"]
    assert np.mean(test.factors["colour"] == test.labels) == pytest.approx(0.1, abs=0.03)
    test = free.splits["test"]
    assert np.mean(test.factors["colour"] == test.labels) == pytest.approx(0.5, abs=0.04)
    assert not component.shared_items(one, other)
    assert len({made.fingerprints["train"] for made in (one, other, free)}) == 3


def test_fewer_training_images_are_some_of_them(path):
    few, many = load(path, dataclasses.replace(DATA, train=200)).splits, load(path).splits
    assert len(few["train"]) == 200 and set(few["train"].items.names) <= set(many["train"].items.names)
    np.testing.assert_array_equal(few["probe"].items.names, many["probe"].items.names)


@pytest.mark.parametrize(
    "fields, key", [({"flips": ()}, "flips"), ({"flips": (1.5,)}, "flips"), ({"label_noise": -1.0}, "label_noise")]
)
def test_mistakes(path, fields, key):
    with pytest.raises(UserError, match=f"source.{key}"):
        load(path, **fields)


def test_files_of_other_images_are_one_line(path, tmp_path):
    with np.load(path) as held:
        made = dict(held)
    for name, changes in (("odd", {k: made[k][:, :5] for k in ("x_train", "x_test")}),
                          ("few", {k: made[k] % 3 for k in ("y_train", "y_test")})):  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", **{**made, **changes})
        with pytest.raises(UserError, match="source.path") as caught:
            load(str(tmp_path / f"{name}.npz"))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="source.path"):
        load(str(tmp_path / "absent.npz"))
