"""The vector source, and tensorflow-datasets with a stand-in for the package."""

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component, gaussian
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, train=500, probe=20, val=10, test=30)


def load(source, data=DATA):
    return component.load("c", ComponentSpec(source=source), data)


def test_gaussian_targets():
    u = gaussian.directions(20, 6, seed=4)
    np.testing.assert_allclose(u @ u.T, np.eye(6), atol=1e-12)
    for j in (0, 3):
        loaded = load({"name": "gaussian", "index": j, "scale": 2.0, "seed": 4})
        train = loaded.splits["train"]
        x = train.fetch(np.arange(500))
        assert x.dtype == train.labels.dtype == np.float32
        assert loaded.num_classes == 0 and loaded.output_dim == 6
        expected = np.zeros((500, 6))
        expected[:, j] = 2 * x @ u[j]
        np.testing.assert_allclose(train.labels, expected, atol=1e-5)
        assert abs(x.mean()) < 0.05 and x.std() == pytest.approx(1, abs=0.03)


def test_gaussian_draws():
    noisy = load({"name": "gaussian", "noise": 0.5}).splits["train"]
    clean = load({"name": "gaussian"}).splits["train"]
    assert (noisy.labels - clean.labels)[:, 0].std() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(noisy.fetch(np.arange(9)), clean.fetch(np.arange(9)))
    longer = load({"name": "gaussian"}, DataSpec(train=600, probe=20, val=10, test=30)).splits["train"]
    np.testing.assert_array_equal(longer.labels[:500], clean.labels)
    other = load({"name": "gaussian", "index": 1}).splits["train"]
    assert not np.array_equal(other.fetch(np.arange(9)), clean.fetch(np.arange(9)))


@pytest.mark.parametrize(
    "fields, key", [({"outputs": 30}, "outputs"), ({"index": 6}, "index"), ({"noise": -1.0}, "noise")]
)
def test_gaussian_mistakes(fields, key):
    with pytest.raises(UserError, match=f"source.{key}"):
        load({"name": "gaussian", **fields})


class Records(list):
    """What `as_data_source` returns: random access, images still encoded."""


def fake_tfds(damaged=None):
    def records(count, first):
        made = Records()
        for i in range(count):
            encoded = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), first + i, np.uint8)).save(encoded, "PNG")
            content = b"damaged" if first + i == damaged else encoded.getvalue()
            made.append({"image": content if i % 2 else np.array(content, object), "label": i % 2})
        return made

    class Builder:
        info = types.SimpleNamespace(
            full_name="toy/1.0.0", features={"image": None, "label": types.SimpleNamespace(names=["cat", "dog"])}
        )

        def as_data_source(self, split, decoders):
            if split not in ("train", "test", "validation"):
                raise ValueError(f"unknown split {split}\nmore")
            return records(*{"train": (60, 0), "test": (10, 100), "validation": (8, 200)}[split])

    def builder(name, data_dir=None, file_format=None):
        assert file_format == "array_record"
        if name != "toy":
            raise RuntimeError("not found\nat all")
        return Builder()

    return types.SimpleNamespace(builder=builder, decode=types.SimpleNamespace(SkipDecoding=object))


def test_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds())
    loaded = load({"name": "tfds", "dataset": "toy", "data_dir": "/somewhere"})
    assert loaded.classes == ("cat", "dog") and "/somewhere" not in str(loaded.identity)
    assert [len(loaded.splits[s]) for s in ("train", "probe", "val", "test")] == [30, 20, 10, 10]
    train = loaded.splits["train"]
    values = train.fetch(np.arange(30))[:, 0, 0, 0]
    np.testing.assert_array_equal(values, train.ids)
    np.testing.assert_array_equal(values % 2, train.labels)
    own = load({"name": "tfds", "dataset": "toy", "val": "validation"})
    assert own.splits["val"].fetch(np.arange(8)).min() == 200


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"dataset": "none"}, "source.dataset='none'"),
        ({"dataset": "toy", "train": "dev"}, "tfds build toy"),
        ({"dataset": "toy", "label": "y"}, "source.label='y'"),
    ],
)
def test_tfds_mistakes(monkeypatch, fields, message):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds())
    with pytest.raises(UserError, match=message) as caught:
        load({"name": "tfds", **fields})
    assert "\n" not in str(caught.value)


def test_tfds_absent_or_damaged(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds(damaged=104))
    with pytest.raises(UserError, match="toy item 4"):
        component.touch(load({"name": "tfds", "dataset": "toy"}))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match="pip install"):
        load({"name": "tfds", "dataset": "toy"})
