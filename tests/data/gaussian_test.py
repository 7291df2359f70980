"""The vector source."""

import numpy as np
import pytest

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
