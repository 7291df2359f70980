"""Extraction is exact, and a cache is used only for the examples and the checkpoint it was made from."""

import json

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.analysis import features
from bottleneck.analysis.features import LOGITS, SPLITS, Stale
from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError
from bottleneck.training import loop
from bottleneck.training import step as steps

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


@pytest.mark.parametrize("shape", [(2, 2, 4, 3), (2, 8, 3)])
def test_spatial_modes_of_maps_and_tokens(shape):
    tap = np.arange(48, dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(features.spatial(tap, "pooled"), tap.reshape(2, 8, 3).mean(1))
    np.testing.assert_array_equal(features.spatial(tap, "flattened"), tap.reshape(2, 24))
    np.testing.assert_array_equal(features.spatial(tap, "positions"), tap.reshape(2, 8, 3))


def test_a_vector_is_itself_pooled_or_flattened_and_has_no_positions():
    tap = np.arange(6, dtype=np.float32).reshape(2, 3)
    for mode in ("pooled", "flattened"):
        np.testing.assert_array_equal(features.spatial(tap, mode), tap)
    with pytest.raises(UserError, match="positions"):
        features.spatial(tap, "positions")


def test_layers_are_taps_with_a_mode():
    assert features.tap_and_mode("stage2") == ("stage2", "pooled")
    assert features.tap_and_mode("stage2.flattened") == ("stage2", "flattened")
    assert features.tap_and_mode("stage2.positions") == ("stage2", "positions")
    for layer in ("stage2.max", "stage2.", "stage2.pooled", "stage2.positions.flattened"):
        with pytest.raises(UserError, match="average-pooled.*stage2.flattened or stage2.positions") as error:
            features.tap_and_mode(layer)
        assert error.value.value == layer


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_positions_as_samples_keep_their_image(count, positions, channels):
    image, place = np.arange(count, dtype=np.int32), np.arange(positions)
    x = np.broadcast_to((100 * image[:, None] + place)[..., None], (count, positions, channels))
    rows, ids, labels = features.samples(x, image, np.stack([image, -image], 1))
    assert rows.shape == (count * positions, channels) and ids.dtype == np.int32
    np.testing.assert_array_equal(rows[:, 0] // 100, ids)
    np.testing.assert_array_equal(rows[:, 0] % 100, np.tile(place, count))
    np.testing.assert_array_equal(labels, np.stack([ids, -ids], 1))


# Model, tap, positions, channels.
MODELS = [({"name": "resnet", "width": 0.125}, "stage2", 16, 4), ({"name": "vit", "patch": 4}, "block1", 5, 64)]


@pytest.mark.parametrize(("model", "tap", "positions", "channels"), MODELS)
def test_one_pass_serves_every_mode(model, tap, positions, channels, episode, target, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 13)
    calls = []
    through = features.through
    monkeypatch.setattr(features, "through", lambda *args: calls.append(1) or through(*args))
    run, variables = start(episode({"model": str(model), "train.batch": "8"}))
    layers = (tap, f"{tap}.flattened", f"{tap}.positions", "features", "features.flattened")
    found = features.extract(run, variables, target, *SCALE, layers)
    assert len(calls) == len(SPLITS)
    whole = found[f"{tap}.positions", "test"]
    assert whole.shape == (7, positions, channels) and found["features", "test"].dtype == whole.dtype == np.float32
    np.testing.assert_array_equal(found[f"{tap}.flattened", "test"], whole.reshape(7, -1))
    np.testing.assert_allclose(found[tap, "test"], whole.mean(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["features.flattened", "test"], found["features", "test"])


@pytest.mark.parametrize("layer", ["features.positions", "layer1.max"])
def test_a_mode_the_layer_does_not_have_is_refused(layer, network, target):
    with pytest.raises(UserError, match="^layer="):
        features.extract(*network, target, *SCALE, ("features", layer))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value, network, target):
    run, variables = network
    head = {k: v.at[0].set(value) for k, v in variables["params"]["head"].items()}
    broken = {"params": {**variables["params"], "head": head}}
    with pytest.raises(UserError, match="^layer='logits': expected finite numbers"):
        features.extract(run, broken, target, *SCALE, LAYERS)
    features.extract(run, broken, target, *SCALE, ("features",))


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


def test_the_manifest_says_what_was_measured_and_how(cache, target):
    directory, found = cache
    x = np.zeros((7, 4, 3), np.float32)
    features.write(
        directory, {("map.positions", "test"): x, ("map.flattened", "test"): x.reshape(7, -1)}, target, SOURCE
    )
    manifest = json.loads((directory / "manifest.json").read_text())
    files = manifest.pop("files")
    assert manifest.pop("ids").keys() == set(SPLITS) and manifest == {
        "compute": "float32",
        "mode": "evaluation",
        **SOURCE,
    }
    record = files["features-test.npy"]
    assert record["offset"] == pytest.approx(features.offset(found["features", "test"]))
    assert (record["shape"], record["dtype"], record["spatial"], record["objection"]) == (
        [7, 8],
        "float32",
        "pooled",
        "",
    )
    assert [files[f"map.{mode}-test.npy"]["spatial"] for mode in ("positions", "flattened")] == [
        "positions",
        "flattened",
    ]


def test_a_cache_of_another_kind_of_pass_is_refused(cache, target):
    directory, _ = cache
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "mode": "training"}))
    with pytest.raises(Stale, match="variant"):
        features.read(directory, "features", target, SOURCE)


def test_positions_are_read_as_they_were_written(tmp_path, target):
    rng = np.random.default_rng(0)
    found = {("map.positions", s): rng.normal(size=(len(target.splits[s]), 4, 3)).astype(np.float32) for s in SPLITS}
    features.write(tmp_path, found, target, SOURCE)
    read = features.read(tmp_path, "map.positions", target, SOURCE)
    for split in SPLITS:
        np.testing.assert_array_equal(read[split], found["map.positions", split])


@pytest.mark.parametrize("change", [{"run": "abd"}, {"step": 6}, {"adapt": True}, {"target": "u"}, {"more": 1}])
def test_another_source_is_refused(change, cache, target):
    with pytest.raises(Stale, match="another run, step or variant"):
        features.read(cache[0], "features", target, {**SOURCE, **change})


@pytest.mark.parametrize("split", SPLITS)
def test_other_examples_or_another_order_are_refused(split, cache, target):
    order = np.arange(len(target.splits[split]))[::-1]
    reordered = components.Component(
        "first", {**target.splits, split: target.splits[split].take(order)}, target.classes, target.identity
    )
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
        features.read(directory, "layer1", target, SOURCE)  # the others are as good as before


def test_layers_of_one_pass_stay_when_others_are_added(cache, target, tmp_path_factory):
    directory, found = cache
    other = {("more", split): found["features", split] * 2 for split in SPLITS}
    features.write(directory, other, target, SOURCE)
    np.testing.assert_array_equal(features.read(directory, "more", target, SOURCE)["val"], other["more", "val"])
    np.testing.assert_array_equal(features.read(directory, "features", target, SOURCE)["val"], found["features", "val"])
    features.write(directory, other, target, {**SOURCE, "step": 6})  # of another source: nothing stays
    with pytest.raises(Stale, match="missing"):
        features.read(directory, "features", target, {**SOURCE, "step": 6})


def test_offset_is_the_largest_mean_over_deviation_of_units_that_vary():
    x = np.array([[1.0, 100.0, 7.0], [3.0, 102.0, 7.0]])
    assert features.offset(x) == 101.0 and features.offset(x[:, 2:]) == 0.0


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def small_signal(dtype, n=400):
    """A column of 5 plus or minus 0.01 beside ten of noise, kept in `dtype`; and the signs."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], n)
    return np.column_stack([5 + 0.01 * signs, rng.normal(size=(n, 10))]).astype(dtype), signs


@pytest.mark.parametrize("columns", [slice(None), slice(1)], ids=["beside others", "alone"])
@pytest.mark.parametrize("converted", [False, True], ids=["as it is", "converted"])
def test_a_precision_that_erases_a_small_signal_is_recognised(converted, columns):
    """0.01 on 5: gone in bfloat16, there in float16 and float32, also after a conversion to float32 or float64."""
    for dtype, survives in ((BFLOAT16, False), (np.float16, True), (np.float32, True), (np.float64, True)):
        x, signs = small_signal(dtype)
        signal = np.float64(x[:, 0]) - np.float64(x[:, 0]).mean()
        assert (abs(signal @ signs) > 0.9 * np.linalg.norm(signs) * np.linalg.norm(signal) > 0) == survives
        for kept in (x.astype(np.float32), x.astype(np.float64)) if converted else (x,):
            found = features.objection(kept[:, columns])
            assert (found == "") == survives
            assert survives or "8 significant bits" in found


@pytest.mark.parametrize(("mean", "fine"), [(0, True), (20, True), (30, False), (1000, False)])
def test_bfloat16_is_refused_where_a_tenth_of_a_deviation_is_rounded_away(mean, fine):
    """|mean|/std 2^-8 > 0.1, that is above 25.6; float32 is fine with all of these."""
    x = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)
    x[:, 3] += mean
    assert features.objection(x) == ""
    assert (features.objection(x.astype(BFLOAT16).astype(np.float32)) == "") == fine


def test_ordinary_features_are_accepted():
    rng = np.random.default_rng(2)
    relu = np.maximum(rng.normal(size=(300, 50)) + rng.normal(size=50) * 2, 0).astype(np.float32)
    relu[:, 7] = 0.0  # a dead unit
    whole = {
        "counts": rng.poisson(4, (300, 5)),
        "one-hot": np.eye(5)[rng.integers(0, 5, 300)],
        "pixels": rng.integers(0, 256, (300, 5)),
        "rare": np.arange(300)[:, None] % 299 > 0,
        "bright pixels": rng.integers(250, 256, (300, 5)),
        "codes and a constant": np.column_stack([rng.integers(-8, 9, 300), np.ones(300)]),
    }
    for name, x in {
        "relu": relu,
        "positions": relu.reshape(60, 5, 50),
        "bfloat16 relu": relu.astype(BFLOAT16),
        **{k: v.astype(np.float32) for k, v in whole.items()},
    }.items():
        assert features.objection(x) == "", name
    assert features.objection(np.zeros((5, 3), np.float32)) == ""  # a dead layer says nothing, exactly


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_an_objection(value):
    x = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    x[7, 1] = value
    assert "NaN or infinity" in features.objection(x)


@given(st.integers(1, 24), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_significant_bits_are_those_that_rounding_left(bits, seed):
    """Mantissas in [1/2, 1) rounded to multiples of 2^-bits: one of 400 numbers needs all the bits (but once in 2^400)."""
    mantissa, exponent = np.frexp(np.random.default_rng(seed).normal(size=400))
    x = np.ldexp(np.rint(mantissa * 2.0**bits) / 2.0**bits, exponent)
    assert features.significant_bits(x) == features.significant_bits(x.astype(np.float32)) == bits
    assert features.significant_bits(np.append(x, [0.0, 2.0, -0.25])) == bits


def test_significant_bits_of_formats():
    x = np.random.default_rng(4).normal(size=200)
    for dtype, bits in ((np.float64, 53), (np.float32, 24), (np.float16, 11), (BFLOAT16, 8)):
        assert (
            features.significant_bits(x.astype(dtype))
            == features.significant_bits(x.astype(dtype).astype(np.float64))
            == bits
        )
    assert features.significant_bits(np.zeros((3, 2), np.float32)) == 1
    assert (
        features.significant_bits(x.astype(np.float16).astype(">f8").reshape(2, 100).T) == 11
    )  # in any byte order and layout


def test_a_cache_too_coarse_for_its_features_is_refused_and_another_accepted(tmp_path, target):
    for dtype, fine in ((BFLOAT16, False), (np.float16, True), (np.float32, True)):
        found = {("features", s): small_signal(dtype, len(target.splits[s]))[0].astype(np.float32) for s in SPLITS}
        features.write(tmp_path / np.dtype(dtype).name, found, target, SOURCE)
        if fine:
            features.read(tmp_path / np.dtype(dtype).name, "features", target, SOURCE)
        else:
            with pytest.raises(
                Stale, match="features-probe.npy: numbers of 8 significant bits .* 1 of 11 units are constant"
            ):
                features.read(tmp_path / np.dtype(dtype).name, "features", target, SOURCE)
