"""Layers are taps with a spatial mode; positions as samples keep their image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottleneck.errors import UserError
from bottleneck.features import layers


@pytest.mark.parametrize("shape", [(2, 2, 4, 3), (2, 8, 3)])
def test_spatial_modes_of_maps_and_tokens(shape):
    tap = np.arange(48, dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(layers.spatial(tap, "pooled"), tap.reshape(2, 8, 3).mean(1))
    np.testing.assert_array_equal(layers.spatial(tap, "flattened"), tap.reshape(2, 24))
    np.testing.assert_array_equal(layers.spatial(tap, "positions"), tap.reshape(2, 8, 3))


def test_a_vector_is_itself_pooled_or_flattened_and_has_no_positions():
    tap = np.arange(6, dtype=np.float32).reshape(2, 3)
    for mode in ("pooled", "flattened"):
        np.testing.assert_array_equal(layers.spatial(tap, mode), tap)
    with pytest.raises(UserError, match="positions"):
        layers.spatial(tap, "positions")


def test_layers_are_taps_with_a_mode():
    assert layers.tap_and_mode("stage2") == ("stage2", "pooled")
    assert layers.tap_and_mode("stage2.flattened") == ("stage2", "flattened")
    assert layers.tap_and_mode("stage2.positions") == ("stage2", "positions")


@pytest.mark.parametrize("layer", ["stage2.max", "stage2.", "stage2.pooled", "layer1.0"])
def test_what_no_mode_follows_is_a_tap_by_itself(layer):
    """Other networks have dots in the names of their modules; ours have no such tap, which is refused elsewhere."""
    assert layers.tap_and_mode(layer) == (layer, "pooled")
    assert layers.tap_and_mode(f"{layer}.flattened") == (layer, "flattened")


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_positions_as_samples_keep_their_image(count, positions, channels):
    image, place = np.arange(count, dtype=np.int32), np.arange(positions)
    x = np.broadcast_to((100 * image[:, None] + place)[..., None], (count, positions, channels))
    rows, ids, labels = layers.samples(x, image, np.stack([image, -image], 1))
    assert rows.shape == (count * positions, channels) and ids.dtype == np.int32
    np.testing.assert_array_equal(rows[:, 0] // 100, ids)
    np.testing.assert_array_equal(rows[:, 0] % 100, np.tile(place, count))
    np.testing.assert_array_equal(labels, np.stack([ids, -ids], 1))
