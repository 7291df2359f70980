"""Extraction is exact, and a cache is used only for the examples and the checkpoint it was made from."""
import json

import jax
import numpy as np
import pytest

from bottleneck.analysis import features
from bottleneck.analysis.features import LOGITS, SPLITS, Stale
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.training import loop, step as steps

DATA = DataSpec(image_size=8, train=20, probe=13, val=10, test=7)
SCALE = np.float32(DATA.mean), np.float32(DATA.std)
SOURCE = {"run": "abc", "step": 5, "target": "t", "adapt": False}
LAYERS = ("layer1", "features", LOGITS)


@pytest.fixture(scope="module")
def target():
    return components.load("first", ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}}), DATA)


@pytest.fixture(scope="module")
def network(episode):
    """(run, variables at step 0) of the tiny MLP."""
    return start(episode())


def start(made):
    state = steps.create(loop.program(made.run, made.mesh), np.int32(3), (8, 8, 3))
    return made.run, {"params": state.params, **({"batch_stats": state.batch_stats} if state.batch_stats else {})}


def images(target, split):
    x = target.splits[split].fetch(np.arange(len(target.splits[split])))
    return (x.astype(np.float64) / 255 - DATA.mean) / DATA.std


def by_hand(params, x):
    taps, h = {}, x.reshape(len(x), -1)
    for name, tap in (("layer1", "layer1"), ("layer2", "features")):
        h = taps[tap] = np.maximum(h @ np.float64(params[name]["kernel"]) + np.float64(params[name]["bias"]), 0)
    taps[LOGITS] = h @ np.float64(params["head"]["kernel"]) + np.float64(params["head"]["bias"])
    return taps


@pytest.mark.parametrize("batch", [500, 5, 13, 1])
def test_every_row_once_whatever_the_batch(batch, network, target, monkeypatch):
    """Sizes 13, 10 and 7 are no multiples of 5; the network is evaluated by hand in float64."""
    monkeypatch.setattr(features, "BATCH", batch)
    run, variables = network
    found = features.extract(run, variables, target, *SCALE, LAYERS)
    assert found.keys() == {(layer, split) for layer in LAYERS for split in SPLITS}
    for split in SPLITS:
        expected = by_hand(variables["params"], images(target, split))
        for layer in LAYERS:
            assert found[layer, split].dtype == np.float32
            np.testing.assert_allclose(found[layer, split], expected[layer], rtol=1e-4, atol=1e-5)


def test_float32_whatever_trained_the_network(network, target, episode):
    run, variables = network
    exact = features.extract(run, variables, target, *SCALE, ("features",))
    half, _ = start(episode({"train.dtype": "bfloat16"}))
    found = features.extract(half, variables, target, *SCALE, ("features",))
    for key in exact:
        np.testing.assert_array_equal(found[key], exact[key])


def test_maps_and_tokens_are_averaged():
    tap = np.arange(48, dtype=np.float32).reshape(2, 2, 4, 3)
    np.testing.assert_array_equal(features.pool(tap), tap.reshape(2, 8, 3).mean(1))
    np.testing.assert_array_equal(features.pool(tap[:, 0]), tap[:, 0].mean(1))
    assert features.pool(tap[0, 0]) is not None and features.pool(tap[:, 0, 0]).shape == (2, 3)


def test_adapting_measures_batch_norm_on_the_target(episode, target, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 13)
    run, variables = start(episode({"model": "{'name': 'resnet', 'width': 0.125}", "train.batch": "8"}))
    plain = features.extract(run, variables, target, *SCALE, ("stem", "features"))
    adapted = features.extract(run, variables, target, *SCALE, ("stem", "features"), adapt=True)
    assert not np.allclose(plain["features", "test"], adapted["features", "test"])
    # The reference: the statistics of the probe split as one batch, worked out for the first normalisation.
    x = images(target, "probe").astype(np.float32)
    kernel = variables["params"]["stem"]["kernel"]
    before = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    before = np.float64(before)
    normed = (before - before.mean((0, 1, 2))) / np.sqrt(before.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(adapted["stem", "probe"], np.maximum(normed, 0).mean((1, 2)), rtol=2e-3, atol=1e-4)


def test_adapting_a_network_without_batch_norm_changes_nothing(network, target):
    plain, adapted = (features.extract(*network, target, *SCALE, ("features",), adapt=a) for a in (False, True))
    np.testing.assert_array_equal(plain["features", "test"], adapted["features", "test"])


@pytest.fixture
def cache(tmp_path, network, target):
    found = features.extract(*network, target, *SCALE, LAYERS)
    features.write(tmp_path, found, target, SOURCE)
    return tmp_path, found


def test_read_gives_what_was_written(cache, target):
    directory, found = cache
    for layer in LAYERS:
        read = features.read(directory, layer, target, SOURCE)
        assert tuple(read) == SPLITS
        for split in SPLITS:
            np.testing.assert_array_equal(read[split], found[layer, split])
    record = json.loads((directory / "manifest.json").read_text())["files"]["features-test.npy"]
    assert record["shape"] == [7, 8] and record["offset"] == pytest.approx(features.offset(found["features", "test"]))


@pytest.mark.parametrize("change", [{"run": "abd"}, {"step": 6}, {"adapt": True}, {"target": "u"}, {"more": 1}])
def test_another_source_is_refused(change, cache, target):
    with pytest.raises(Stale, match="another run, step or variant"):
        features.read(cache[0], "features", target, {**SOURCE, **change})


@pytest.mark.parametrize("split", SPLITS)
def test_other_examples_or_another_order_are_refused(split, cache, target):
    order = np.arange(len(target.splits[split]))[::-1]
    reordered = components.Component("first", {**target.splits, split: target.splits[split].take(order)}, target.classes, target.identity)
    with pytest.raises(Stale, match=f"examples of {split} are others, or in another order"):
        features.read(cache[0], "features", reordered, SOURCE)


def damage(how, path):
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[-3] ^= 16
    path.write_bytes(bytes(data[:-4] if how == "truncated" else data))
    if how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["flipped", "truncated", "missing"])
@pytest.mark.parametrize("name", ["features-probe.npy", "features-test.npy", "manifest.json"])
def test_damaged_files_are_refused(how, name, cache, target):
    directory, _ = cache
    damage(how, directory / name)
    with pytest.raises(Stale, match=name.partition(".")[0]):
        features.read(directory, "features", target, SOURCE)
    if name != "manifest.json":
        features.read(directory, "layer1", target, SOURCE)      # the others are as good as before


def test_layers_of_one_pass_stay_when_others_are_added(cache, target, tmp_path_factory):
    directory, found = cache
    other = {("more", split): found["features", split] * 2 for split in SPLITS}
    features.write(directory, other, target, SOURCE)
    np.testing.assert_array_equal(features.read(directory, "more", target, SOURCE)["val"], other["more", "val"])
    np.testing.assert_array_equal(features.read(directory, "features", target, SOURCE)["val"], found["features", "val"])
    features.write(directory, other, target, {**SOURCE, "step": 6})     # of another source: nothing stays
    with pytest.raises(Stale, match="missing"):
        features.read(directory, "features", target, {**SOURCE, "step": 6})


def test_offset_is_the_largest_mean_over_deviation_of_units_that_vary():
    x = np.array([[1.0, 100.0, 7.0], [3.0, 102.0, 7.0]])
    assert features.offset(x) == 101.0 and features.offset(x[:, 2:]) == 0.0
