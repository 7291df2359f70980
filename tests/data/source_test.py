import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from bottleneck.data import source
from bottleneck.data.source import Examples


def part(names):
    items = source.items(names, [bytes([len(name)]) * 32 for name in names])
    return Examples(np.zeros(len(names), np.int32), np.zeros(len(names)), {}, lambda rows: rows, items)


def test_items_are_sorted_and_numbered_by_name():
    one = source.ordered({"train": part(["c", "a", "b"]), "test": part(["e", "d"])})
    two = source.ordered({"train": part(["b", "c", "a"]), "test": part(["d", "e", "f"])})
    assert one["train"].items.names.tolist() == ["a", "b", "c"]
    assert one["train"].fetch(np.arange(3)).tolist() == [1, 2, 0]
    np.testing.assert_array_equal(one["train"].ids, two["train"].ids)
    np.testing.assert_array_equal(one["test"].ids, two["test"].ids[:2])
    assert one["train"].ids.dtype == np.int32 and one["train"].ids.min() >= 0


@hypothesis.given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.lists(st.integers(0, 6), max_size=30))
def test_ids_are_unique_however_keys_collide(keys, few):
    keys = np.array([*keys, *(np.array(few, np.uint64) << np.uint64(33)), 2**64 - 1, 2**64 - 2], np.uint64)
    ids = source._numbers(keys)
    assert len(np.unique(ids)) == len(ids) and ids.dtype == np.int32 and ids.min() >= 0
    alone = np.bincount(np.unique(keys >> np.uint64(33), return_inverse=True)[1]) == 1
    assert alone.sum() <= np.sum(ids == (keys >> np.uint64(33)).astype(np.int64))


def test_repeats_are_numbered_by_split_and_label():
    hashes = {"train": ["x", "y", "x", "x"], "test": ["x", "z"]}
    labels = {"train": np.array([2, 0, 0, 1]), "test": np.array([0, 0])}
    assert source.content_names(hashes, labels) == {"train": ["x-3", "y", "x", "x-2"], "test": ["x-4", "z"]}


@hypothesis.given(st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_apportion(shares):
    shares = np.array(shares)
    quota = source.apportion(shares)
    assert quota.sum() == int(shares.sum() + 1e-6) and np.abs(quota - shares).max() < 1 + 1e-6


@pytest.mark.parametrize("names", [["a", "b"], ["\udcff.png", "b"]])
def test_keys_are_hashes_of_names(names):
    assert len(set(source.items(names, [bytes(32)] * 2).keys.tolist())) == 2
