"""Features on disk are used only for the items they were made of, and only whole."""

import dataclasses
import hashlib
import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from bottleneck import atomic
from bottleneck.analysis.precision import offset
from bottleneck.features import cache
from bottleneck.features.cache import Stale
from bottleneck.features.source import SPLITS

SOURCE = ["kept", "abc", 5, False]
LAYERS = ("layer1", "features", "logits")


def numbers(target, shape=(8,), seed=0):
    rng = np.random.default_rng(seed)
    return {split: rng.normal(size=(len(target.splits[split]), *shape)).astype(np.float32) for split in SPLITS}


@pytest.fixture
def held(tmp_path, target):
    """(directory, (layer, split) -> what was written)."""
    whole = {(layer, split): x for i, layer in enumerate(LAYERS) for split, x in numbers(target, seed=i).items()}
    cache.write(tmp_path, whole, target, SOURCE)
    return tmp_path, whole


def test_read_gives_what_was_written(held, target):
    directory, whole = held
    for (layer, split), x in whole.items():
        np.testing.assert_array_equal(cache.read(directory, layer, split, target), x)
    assert cache.holds(directory, LAYERS, SPLITS)
    assert not cache.holds(directory, ("layer2",), SPLITS) and not cache.holds(directory, LAYERS, ("train",))
    assert not cache.holds(directory / "nowhere", LAYERS, SPLITS)


def test_the_manifest_says_what_was_measured_and_how(held, target):
    directory, whole = held
    x = np.zeros((7, 4, 3), np.float32)
    maps = {("map.positions", "test"): x, ("map.flattened", "test"): x.reshape(7, -1)}
    cache.write(directory, maps, target, SOURCE)
    manifest = json.loads((directory / "manifest.json").read_text())
    files = manifest.pop("files")
    assert manifest == {"compute": "float32", "mode": "evaluation", "source": SOURCE}
    record = files["features-test.npy"]
    assert record["offset"] == pytest.approx(offset(whole["features", "test"]))
    stated = [record[key] for key in ("shape", "dtype", "spatial", "objection")]
    assert stated == [[7, 8], "float32", "pooled", ""]
    assert [files[f"map.{m}-test.npy"]["spatial"] for m in ("positions", "flattened")] == ["positions", "flattened"]


def test_positions_are_read_as_they_were_written(tmp_path, target):
    whole = numbers(target, shape=(4, 3))
    cache.write(tmp_path, {("map.positions", split): x for split, x in whole.items()}, target, SOURCE)
    for split in SPLITS:
        np.testing.assert_array_equal(cache.read(tmp_path, "map.positions", split, target), whole[split])


@pytest.mark.parametrize("split", SPLITS)
def test_other_items_or_another_order_are_refused(split, held, target):
    examples = target.splits[split]
    reversed_ = {**target.splits, split: examples.take(np.arange(len(examples))[::-1])}
    with pytest.raises(Stale, match=f"items of {split} are others, or in another order"):
        cache.read(held[0], "features", split, dataclasses.replace(target, splits=reversed_))


def damage(how, path):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[-3] ^= 16
    path.write_bytes(bytes(content[:-4] if how == "truncated" else content))
    if how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
@pytest.mark.parametrize("name", ["features-test.npy", "manifest.json"])
def test_damaged_files_are_refused_and_named(how, name, held, target):
    directory, _ = held
    if name == "manifest.json" and how == "flipped":
        damage("truncated", directory / name)
    damage(how, directory / name)
    with pytest.raises(Stale, match=name.partition(".")[0]):
        cache.read(directory, "features", "test", target)
    if name != "manifest.json":
        cache.read(directory, "layer1", "test", target)  # the others are as good as before


def test_layers_of_one_source_stay_when_others_are_added(held, target):
    directory, whole = held
    other = {("more", split): whole["features", split] * 2 for split in SPLITS}
    cache.write(directory, other, target, SOURCE)
    np.testing.assert_array_equal(cache.read(directory, "more", "val", target), other["more", "val"])
    np.testing.assert_array_equal(cache.read(directory, "features", "val", target), whole["features", "val"])
    cache.write(directory, other, target, ["kept", "abd", 6, False])  # of another source: nothing stays
    with pytest.raises(Stale, match="missing"):
        cache.read(directory, "features", "val", target)


def test_numbers_too_coarse_for_what_they_hold_are_refused(tmp_path, target):
    """A column of 5 plus or minus 0.01 beside ten of noise: gone in bfloat16, there in float16 and float32."""
    rng = np.random.default_rng(0)
    for dtype, fine in ((ml_dtypes.bfloat16, False), (np.float16, True), (np.float32, True)):
        directory = tmp_path / np.dtype(dtype).name
        x = np.column_stack([5 + 0.01 * rng.choice([-1.0, 1.0], 13), rng.normal(size=(13, 10))])
        cache.write(directory, {("features", "probe"): x.astype(dtype).astype(np.float32)}, target, SOURCE)
        if fine:
            cache.read(directory, "features", "probe", target)
        else:
            with pytest.raises(Stale, match="features-probe.npy: numbers of 8 significant bits"):
                cache.read(directory, "features", "probe", target)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_bytes_are_those_of_numpy_and_nothing_is_copied_whole(order, target, tmp_path):
    whole = np.asarray(np.random.default_rng(0).normal(size=(2**13, 2**10)).astype(np.float32), order=order)
    np.save(tmp_path / "expected.npy", whole)
    tracemalloc.start()
    digest = cache._put(tmp_path / "made" / "x.npy", whole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    content = (tmp_path / "made" / "x.npy").read_bytes()
    assert content == (tmp_path / "expected.npy").read_bytes() and digest == hashlib.sha256(content).hexdigest()
    if order == "C":  # NumPy buffers a transposed one
        assert peak < whole.nbytes


def test_a_full_disk_is_said_and_leaves_nothing(target, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(atomic.Full):
        cache.write(tmp_path, {("features", "test"): np.zeros((7, 2), np.float32)}, target, SOURCE)
    assert not list(tmp_path.iterdir())


def test_large_files_are_mapped_and_read_the_same(held, target, monkeypatch):
    directory, whole = held
    monkeypatch.setattr(cache, "MAPPED", 0)
    mapped = cache.read(directory, "features", "probe", target)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, whole["features", "probe"])


def test_the_manifest_knows_the_size_of_a_layer(held, target):
    directory, whole = held
    of_one = sum(whole[LAYERS[0], split].nbytes for split in SPLITS)
    assert cache.size(directory, LAYERS[0], SPLITS) == of_one
    for place, layer in ((directory, "no"), (directory / "no", LAYERS[0])):
        with pytest.raises(cache.Stale):
            cache.size(place, layer, SPLITS)
