"""The resident and the stream path give the same batches."""

import dataclasses
import time

import jax
import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component, mixture, resident, stream
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec

DATA = DataSpec(image_size=8, train=50, probe=20, val=10, test=20, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
BATCH = 8


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 5)):
        for name in ("a", "b", "c"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
                image.save(folder / split / name / f"{i}.png")
    sources = {
        "shapes": {"name": "factors", "reliability": {"shape": 1.0}},
        "photos": {"name": "folder", "path": str(folder)},
    }
    return [component.load(name, ComponentSpec(source=source), DATA) for name, source in sources.items()]


def tables(components):
    sizes = [len(c.splits["train"]) for c in components]
    return mixture.tables([c.name for c in components], sizes, ((0, (2, 1)), (3, (1, 1))), BATCH)


def test_pool(components, monkeypatch):
    monkeypatch.setattr(resident, "_CHUNK", 7)
    pool = resident.pool(components, DATA)
    assert pool.x.shape == (100, 8, 8, 3) and pool.offsets.tolist() == [0, 50]
    for offset, made in zip(pool.offsets, components, strict=True):
        train = made.splits["train"]
        np.testing.assert_array_equal(pool.x[offset : offset + 50], train.fetch(np.arange(50)))
        np.testing.assert_array_equal(pool.y[offset : offset + 50], train.labels)
    tests = resident.pool(components, DATA, "test")
    assert len(tests.x) == 35


def test_gather_normalises(components):
    pool = resident.pool(components, DATA)
    component_, index = np.array([1, 0, 1]), np.array([4, 49, 0])
    batch = jax.jit(resident.gather)(pool, component_, index)
    exact = (pool.x[[54, 49, 50]] / 255 - np.array(DATA.mean)) / np.array(DATA.std)
    np.testing.assert_allclose(batch["x"], exact, atol=2e-6)
    assert batch["x"].dtype == np.float32 and batch["weight"].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(batch["id"], pool.id[[54, 49, 50]])
    np.testing.assert_array_equal(batch["y"], pool.y[[54, 49, 50]])
    assert resident.gather(pool, component_, index, jax.numpy.bfloat16)["x"].dtype == jax.numpy.bfloat16


def test_vectors_are_left_alone():
    vector = component.load("v", ComponentSpec(source={"name": "gaussian", "dim": 6}), DATA)
    pool = resident.pool([vector], DATA)
    batch = resident.gather(pool, np.array([0, 0]), np.array([3, 1]))
    np.testing.assert_array_equal(batch["x"], vector.splits["train"].fetch(np.array([3, 1])))
    assert batch["y"].shape == (2, 6)


@pytest.mark.parametrize("kind", ["iid", "stratified"])
def test_stream_is_the_resident_path(components, kind):
    made, pool = tables(components), resident.pool(components, DATA)
    normalise = jax.jit(resident.normalise)

    @jax.jit
    def gathered(step):
        return resident.gather(pool, *mixture.draw(made, 11, step, BATCH, kind))

    steps = 0
    for step, batch in enumerate(stream.batches(components, made, 11, BATCH, kind, 2, 9, threads=2), start=2):
        expected = gathered(step)
        np.testing.assert_array_equal(normalise(batch.pop("x"), pool.mean, pool.std), expected.pop("x"))
        assert set(batch) == set(expected)
        for key, values in expected.items():
            np.testing.assert_array_equal(batch[key], values)
            assert batch[key].dtype == values.dtype
        steps += 1
    assert steps == 7


def test_hosts_read_their_rows(components):
    made = tables(components)
    whole = next(stream.batches(components, made, 11, BATCH, "iid", 0, 1, threads=1))
    half = next(stream.batches(components, made, 11, BATCH, "iid", 0, 1, rows=slice(4, 8), threads=1))
    for key in whole:
        np.testing.assert_array_equal(half[key], whole[key][4:])


@pytest.mark.parametrize(("megabytes", "ahead"), [(1, 8), (100, 5), (10_000, 1)])
def test_large_batches_are_fetched_less_far_ahead(megabytes, ahead):
    assert stream.prefetched(megabytes * 10**6, threads=4) == ahead


def test_what_is_fetched_ahead_is_bounded_by_bytes(components, monkeypatch):
    seen = []

    def counting(component):
        part = component.splits["train"]

        def fetch(rows):
            seen.append(len(rows))
            return part.fetch(rows)

        return dataclasses.replace(component, splits={"train": dataclasses.replace(part, fetch=fetch)})

    some = tuple(map(counting, components))
    one = some[0].splits["train"].fetch(np.arange(1)).nbytes * BATCH
    monkeypatch.setattr(stream, "PREFETCH_BYTES", 2 * one)
    batches = stream.batches(some, tables(some), 11, BATCH, "iid", 0, 50)
    next(batches)
    time.sleep(0.5)
    assert sum(seen) <= 2 + BATCH * (1 + 2 + 2)  # read, ahead, and in the threads' hands
