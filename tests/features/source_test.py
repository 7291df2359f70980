"""Feature sources: what they read, that it is exact, what they are made of."""

import dataclasses
import signal

import jax
import numpy as np
import pytest

from bottleneck.errors import UserError
from bottleneck.features import batch, foreign, passes
from bottleneck.features.source import SPLITS, Arrays, Kept, Member, Pixels
from bottleneck.signals import Stopped
from tests.features.conftest import passed

LAYERS = ("layer1", "features", "logits")


def scaled(source, target, split):
    x = target.splits[split].fetch(np.arange(len(target.splits[split])))
    return (x.astype(np.float64) / 255 - source.data.mean) / source.data.std


def by_hand(params, x):
    """The taps of the tiny MLP, float64."""
    taps, h = {}, x.reshape(len(x), -1)
    for name, tap in (("layer1", "layer1"), ("layer2", "features")):
        h = taps[tap] = np.maximum(h @ np.float64(params[name]["kernel"]) + np.float64(params[name]["bias"]), 0)
    taps["logits"] = h @ np.float64(params["head"]["kernel"]) + np.float64(params["head"]["bias"])
    return taps


@pytest.mark.parametrize("size", [500, 5])
def test_features_are_those_worked_out_by_hand(size, network, target, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", size)
    source, store = network()
    read = passed(source, store, target, LAYERS, SPLITS)
    assert read.keys() == {(layer, split) for layer in LAYERS for split in SPLITS}
    for split in SPLITS:
        expected = by_hand(store.variables(source.run, 20)["params"], scaled(source, target, split))
        for layer in LAYERS:
            assert read[layer, split].dtype == np.float32
            np.testing.assert_allclose(read[layer, split], expected[layer], rtol=1e-4, atol=1e-5)


def test_float32_whatever_trained_the_network(network, target):
    source, store = network()
    exact = passed(source, store, target, ("features",), SPLITS)
    half, store = network({"train.dtype": "bfloat16"}, variables=store.variables(source.run, 20))
    for key, x in passed(half, store, target, ("features",), SPLITS).items():
        np.testing.assert_array_equal(exact[key], x)


def test_any_split_is_read(network, target):
    source, store = network()
    assert passed(source, store, target, ("features",), ("train",))["features", "train"].shape == (20, 8)


@pytest.mark.parametrize("adapt", [False, True])
def test_a_pass_through_a_network_ends_when_its_store_is_asked_to(adapt, network, target):
    source, store = network({"model": "{'name': 'resnet', 'width': 0.125}"}, adapt=adapt)
    store.stop.ask(signal.SIGTERM)
    with pytest.raises(Stopped):
        passed(source, store, target, ("features",), SPLITS)


# Model, tap, positions, channels.
MODELS = [({"name": "resnet", "width": 0.125}, "stage2", 16, 4), ({"name": "vit", "patch": 4}, "block1", 5, 64)]


@pytest.mark.parametrize(("model", "tap", "positions", "channels"), MODELS)
def test_one_pass_serves_every_mode(model, tap, positions, channels, network, target, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", 13)
    calls, grown = [], passes.grown
    monkeypatch.setattr(passes, "grown", lambda *args: calls.append(1) or grown(*args))
    source, store = network({"model": str(model), "train.batch": "8"})
    layers = (tap, f"{tap}.flattened", f"{tap}.positions", "features", "features.flattened")
    read = passed(source, store, target, layers, SPLITS)
    assert len(calls) == len(SPLITS)
    whole = read[f"{tap}.positions", "test"]
    assert whole.shape == (7, positions, channels) and read["features", "test"].dtype == whole.dtype == np.float32
    np.testing.assert_array_equal(read[f"{tap}.flattened", "test"], whole.reshape(7, -1))
    np.testing.assert_allclose(read[tap, "test"], whole.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(read["features.flattened", "test"], read["features", "test"])


@pytest.mark.parametrize("layer", ["features.positions", "layer1.max"])
def test_a_mode_the_layer_does_not_have_is_refused(layer, network, target):
    source, store = network()
    with pytest.raises(UserError, match="^layer="):
        passed(source, store, target, ("features", layer), SPLITS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value, network, target):
    source, store = network()
    params = store.variables(source.run, 20)["params"]
    head = {name: leaf.at[0].set(value) for name, leaf in params["head"].items()}
    source, store = network(variables={"params": {**params, "head": head}})
    with pytest.raises(UserError, match="^layer='logits': expected finite numbers"):
        passed(source, store, target, ("features",), SPLITS)


RESNET = {"model": "{'name': 'resnet', 'width': 0.125}", "train.batch": "8"}


def test_adapting_measures_batch_norm_on_the_target(network, target, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", 13)
    source, store = network(RESNET)
    plain = passed(source, store, target, ("stem", "features"), SPLITS)
    adapted = passed(dataclasses.replace(source, adapt=True), store, target, ("stem", "features"), SPLITS)
    assert not np.allclose(plain["features", "test"], adapted["features", "test"])
    # The reference: the statistics of the probe split as one batch, worked out for the first normalisation.
    x = scaled(source, target, "probe").astype(np.float32)
    kernel = store.variables(source.run, 20)["params"]["stem"]["kernel"]
    before = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    before = np.float64(before)
    normed = (before - before.mean((0, 1, 2))) / np.sqrt(before.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(adapted["stem", "probe"], np.maximum(normed, 0).mean((1, 2)), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("size", [500, 3])
def test_pixels_are_pooled_to_at_most_1024_numbers(size, target, network, monkeypatch):
    monkeypatch.setattr(batch, "ITEMS", size)
    read = passed(Pixels(), network()[1], target, ("features",), SPLITS)
    assert read["features", "val"].shape == (10, 8 * 8 * 3)
    np.testing.assert_array_equal(
        read["features", "val"], target.splits["val"].fetch(np.arange(10)).reshape(10, -1) / 255
    )


def test_arrays_have_one_layer_in_the_order_of_the_items(target, tmp_path):
    for split in SPLITS:
        ids = target.splits[split].ids[::-1]
        foreign.save(tmp_path, "first", split, np.stack([ids, ids % 7], 1).astype(np.float64), ids)
    source = Arrays("theirs/0", str(tmp_path), foreign.digest(tmp_path, "first"))
    read = passed(source, None, target, ("features",), SPLITS)
    for split in SPLITS:
        np.testing.assert_array_equal(read["features", split][:, 0], target.splits[split].ids)
    with pytest.raises(UserError, match="the one layer"):
        passed(source, None, target, ("layer1",), SPLITS)
    assert not source.needs and not source.ancestry and not source.head


def test_a_source_is_what_it_reads_not_what_it_is_called(network):
    source, _ = network()
    assert dataclasses.replace(source, name="other").key == source.key
    others = [{"step": 10}, {"adapt": True}, {"data": dataclasses.replace(source.data, mean=(0.1, 0.1, 0.1))}]
    keys = {source.key, *(dataclasses.replace(source, **change).key for change in others)}
    assert len(keys) == 4
    assert Arrays("a", "/here", "1").key == Arrays("b", "/there", "1").key != Arrays("a", "/here", "2").key


def test_a_kept_step_needs_its_run_and_stands_on_what_that_took(network):
    source, _ = network()
    assert source.needs == (f"runs/{source.run.key}@20",) and source.ancestry == {source.run: 20}
    parent = dataclasses.replace(source.run, name="parent", seed=9)
    tuned = Kept("tuned", source.run, 5, source.data, stands_on=((parent, 20),))
    assert tuned.ancestry == {parent: 20, source.run: 5} and tuned.needs == (f"runs/{source.run.key}@5",)


def test_a_member_is_written_as_a_place(network):
    source, _ = network()
    assert str(Member(source, "layer1")) == "mixture/0@20:layer1"
    assert Member(source, "layer1").identity != Member(source).identity
