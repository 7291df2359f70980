"""The resident and the stream path give the same batches."""

import dataclasses
import multiprocessing
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component, content, crops, images, mixture, resident, stream
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

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
    late = (1,) * len(sizes)
    return mixture.tables([c.name for c in components], sizes, ((0, (2, *late[1:])), (3, late)), BATCH)


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


@pytest.mark.parametrize("part", [3, 32])
@pytest.mark.parametrize("kind", ["iid", "stratified"])
def test_stream_is_the_resident_path(components, kind, part, monkeypatch):
    monkeypatch.setattr(stream, "PART", part)
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


@pytest.mark.parametrize("area", [None, (0.2, 0.9)])
def test_hosts_read_their_rows_whichever_they_are(components, area, monkeypatch):
    """Also after resuming on another number of hosts: a step's rows are the same rows."""
    monkeypatch.setattr(stream, "PART", 3)
    given = [components[1:], tables(components[1:]), 11, BATCH, "iid", 4, 6]
    whole = list(stream.batches(*given, threads=1, area=area))
    for hosts in (2, 4):
        for rows in np.array_split(np.arange(BATCH), hosts):
            for one, part in zip(whole, stream.batches(*given, rows=rows, threads=2, area=area), strict=True):
                for key in one:
                    np.testing.assert_array_equal(part[key], one[key][rows])


def test_crops_are_cut_from_the_images_as_they_are_stored(components):
    """Of 9 x 9 pixels, where the study's images have 8 x 8; what else a batch holds is what it holds without."""
    photos, area = components[1:], (0.1, 0.5)
    made, train = tables(photos), photos[0].splits["train"]
    plain = list(stream.batches(photos, made, 11, BATCH, "iid", 3, 5))
    for step, (batch, whole) in enumerate(
        zip(stream.batches(photos, made, 11, BATCH, "iid", 3, 5, area=area), plain), 3
    ):
        drawn = crops.drawn(mixture.bits(11, step, BATCH, crops.NUMBERS), area)
        index = np.asarray(mixture.draw(made, 11, step, BATCH, "iid")[1])
        folder = photos[0].source.path
        for row, name in enumerate(train.items.names[index]):
            with Image.open(f"{folder}/{name}") as stored:
                box = crops.box(drawn[row], (8, 8), stored.size)
                np.testing.assert_array_equal(
                    batch["x"][row], stored.resize((8, 8), Image.Resampling.BILINEAR, box=box)
                )
        assert (batch.pop("x") != whole.pop("x")).any()
        for key in whole:
            np.testing.assert_array_equal(batch[key], whole[key])


def test_transforms_act_on_what_was_cut(components):
    source = {"name": "folder", "path": components[1].source.path}
    drawn, rows = crops.drawn(mixture.bits(0, 0, 5, crops.NUMBERS), (0.2, 0.5)), np.arange(5)
    part = component.load("photos", ComponentSpec(source), DATA).splits["train"].take(np.arange(9, 20))
    turned = ComponentSpec(source, transforms={"rotate": {"degrees": 90}})
    turned = component.load("turned", turned, DATA).splits["train"].take(np.arange(9, 20))
    np.testing.assert_array_equal(turned.crop(rows, drawn), np.rot90(part.crop(rows, drawn), axes=(1, 2)))
    doubled = ComponentSpec(source, transforms={"dominoes": {"source": source}})
    assert component.load("doubled", doubled, DATA).splits["train"].crop is None  # its images are stored as two
    assert components[0].splits["train"].crop is None  # generated


@pytest.mark.parametrize(("megabytes", "ahead"), [(0.1, 16), (10, 13), (10_000, 1)])
def test_large_batches_are_fetched_less_far_ahead(megabytes, ahead, monkeypatch):
    monkeypatch.setattr(stream, "PREFETCH_BYTES", 4 * 10**9)
    assert stream.prefetched(int(megabytes * 10**6), [30, 29], threads=4) == ahead


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


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("grain")]


def gone(seconds=20):
    """Whether all workers have ended, a while later."""
    until = time.monotonic() + seconds
    while workers() and time.monotonic() < until:
        time.sleep(0.01)
    return not workers()


def test_iterators_leave_no_thread_and_no_process(components, monkeypatch):
    """Read to the end, left half-way or never begun; so a kill of this process is the end of its workers too."""
    monkeypatch.setattr(component, "HELD_BYTES", 0)
    made = tables(components)
    assert gone()
    before, children = threading.active_count(), set(multiprocessing.active_children())
    for count in (0, 1, 5, 5, 5):
        batches = stream.batches(components, made, 11, BATCH, "iid", 0, 5, threads=4)
        for _ in range(count):
            next(batches)
        assert set(multiprocessing.active_children()) <= children
    assert workers() or count == 5
    del batches
    assert gone() and threading.active_count() == before


def test_what_is_fetched_ahead_is_not_decoded_for_nothing(components, monkeypatch):
    monkeypatch.setattr(component, "HELD_BYTES", 0)
    monkeypatch.setattr(stream, "PART", 2)
    photos, decode, seen = components[1:], images.decode, []
    monkeypatch.setattr(images, "decode", lambda *given: seen.append(1) or time.sleep(0.01) or decode(*given))
    photos = [component._load("photos", photos[0].source, (), (), DATA)]
    batches = stream.batches(photos, tables(photos), 11, BATCH, "iid", 0, 100, threads=3)
    next(batches)
    before = len(seen)
    batches.close()
    assert gone() and len(seen) <= before + 3 * stream.PART  # what the workers had in hand


def test_a_file_that_breaks_ends_the_batches_at_once(tmp_path, monkeypatch):
    """It is named as the data of its component, and no other image is decoded for nothing."""
    monkeypatch.setattr(component, "HELD_BYTES", 0)
    monkeypatch.setattr(content, "DECODE_BYTES", 0)  # only headers are looked at before
    for split, count in (("train", 40), ("test", 2)):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / split / name / f"{i}.png")
    photos = component.load("photos", ComponentSpec({"name": "folder", "path": str(tmp_path)}), DATA)
    decode, seen = images.decode, []
    monkeypatch.setattr(images, "decode", lambda *given: seen.append(1) or time.sleep(0.01) or decode(*given))
    broken = tmp_path / photos.splits["train"].items.names[3]
    broken.write_bytes(broken.read_bytes()[:-30])
    batches = stream.batches([photos], tables([photos]), 11, BATCH, "stratified", 0, 1000, threads=4)
    with pytest.raises(UserError) as caught:
        for _ in batches:
            pass
    assert caught.value.key == "components.photos.source.path" and caught.value.value == str(broken)
    assert "\n" not in str(caught.value) and gone()
    assert len(seen) < 50 + 12 * BATCH
