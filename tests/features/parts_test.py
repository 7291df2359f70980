"""A pass that grows on disk: it goes on behind the last whole batch, and gives the same bytes as one without a stop."""

import os

import numpy as np
import pytest

from bottleneck.data.source import Examples
from bottleneck.features import cache, parts, passes
from bottleneck.signals import Stop, Stopped

COUNT, SIZE = 23, 5


@pytest.fixture
def examples():
    x = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 3)).astype(np.uint8)
    return Examples(np.zeros(COUNT, np.int32), np.arange(COUNT, dtype=np.int32), {}, lambda rows: x[rows])


def read(x):
    flat = np.float32(x).reshape(len(x), -1)
    return {"first": flat[:, :7], "features": flat.sum(1, keepdims=True)}


LAYERS = ("first", "features")


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    """Every batch goes onto disk as soon as it is there."""
    monkeypatch.setattr(passes, "HELD", 0)


def grown(examples, directory, read=read, stop=None):
    with parts.claimed(directory) as growing:
        made = passes.grown(examples, read, stop or Stop(), LAYERS, "val", growing, SIZE)
    assert set(made) == {(layer, "val") for layer in LAYERS}
    return {layer: x for (layer, _), x in made.items()}


@pytest.mark.parametrize("after", [1, 2, 4])
def test_what_was_cut_short_goes_on_and_is_the_same(examples, tmp_path, after):
    whole = {layer: np.array(x) for layer, x in grown(examples, tmp_path / "whole").items()}
    seen = []

    def dies(x):
        if len(seen) == after:
            raise KeyboardInterrupt
        seen.append(x)
        return read(x)

    with pytest.raises(KeyboardInterrupt):
        grown(examples, tmp_path / "cut", dies)
    begun = len(seen)
    again = grown(examples, tmp_path / "cut", lambda x: seen.append(x) or read(x))
    assert len(seen) == begun + -(-(COUNT - after * SIZE) // SIZE)  # nothing is read twice
    for layer in LAYERS:
        np.testing.assert_array_equal(again[layer], whole[layer])


def test_half_a_batch_is_made_again(examples, tmp_path):
    """What a process was writing when it died is no batch: one layer may be ahead of another, or cut in a row."""
    with pytest.raises(Stopped):
        stop, calls = Stop(), []
        grown(
            examples, tmp_path, lambda x: calls.append(x) or (setattr(stop, "asked", len(calls) == 3), read(x))[1], stop
        )
    path = parts.Parts(tmp_path).path("first", "val")
    os.truncate(path, path.stat().st_size - 9)
    for layer, x in grown(examples, tmp_path).items():
        np.testing.assert_array_equal(x, read(examples.fetch(np.arange(COUNT)))[layer])


def test_a_whole_one_is_not_made_again(examples, tmp_path):
    grown(examples, tmp_path)
    grown(examples, tmp_path, lambda x: pytest.fail("read again"))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_what_is_no_part_is_made_anew(examples, tmp_path, content):
    tmp_path.joinpath(".first-val.part").write_bytes(content)
    np.testing.assert_array_equal(grown(examples, tmp_path)["first"], read(examples.fetch(np.arange(COUNT)))["first"])


def test_other_items_are_made_anew(examples, tmp_path):
    grown(examples, tmp_path)
    fewer = examples.take(np.arange(11))
    assert len(grown(fewer, tmp_path)["first"]) == 11


def test_a_second_process_makes_its_own(examples, tmp_path):
    with parts.claimed(tmp_path) as first, parts.claimed(tmp_path) as second:
        assert first.path("first", "val") != second.path("first", "val")
        second.append("first", "val", 3, np.ones((1, 2)))
        assert first.rows("first", "val", 3) == 0 and second.rows("first", "val", 3) == 1


def test_what_a_dead_process_left_is_removed(tmp_path):
    left = tmp_path / f".first-val-{parts._HERE}.999999999.abc.part"
    left.write_bytes(b"x")
    with parts.claimed(tmp_path):
        assert not left.exists()


def test_a_full_disk_is_said(examples, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(Exception, match="space or quota"):
        grown(examples, tmp_path)


def test_the_cache_takes_the_files_over(tmp_path, examples):
    """Nothing is copied: the manifest is of the very file that grew."""
    made = grown(examples, tmp_path)
    place = parts.Parts(tmp_path).path("first", "val")
    inode = place.stat().st_ino
    component = type("C", (), {"splits": {"val": examples}})()
    cache.write(tmp_path, {("first", "val"): made["first"]}, component, ["network"])
    assert (tmp_path / "first-val.npy").stat().st_ino == inode and not place.exists()
    np.testing.assert_array_equal(
        cache.read(tmp_path, "first", "val", component), read(examples.fetch(np.arange(COUNT)))["first"]
    )


def test_a_pass_killed_while_the_cache_reads_it_is_not_made_again(tmp_path, examples, monkeypatch):
    """Files take their places when all of them have been read."""
    component, read_so_far = type("C", (), {"splits": {"val": examples}})(), []
    whole = {(layer, "val"): x for layer, x in grown(examples, tmp_path).items()}

    def dies(x):
        read_so_far.append(x)
        if len(read_so_far) == 2:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(cache, "objection", dies)
    with pytest.raises(KeyboardInterrupt):
        cache.write(tmp_path, whole, component, ["network"])
    again = grown(examples, tmp_path, lambda x: pytest.fail("read again"))
    cache.write(tmp_path, {(layer, "val"): x for layer, x in again.items()}, component, ["network"])
    assert cache.holds(tmp_path, LAYERS, ("val",)) and not list(tmp_path.glob(".*.part"))


def test_a_second_process_that_fails_leaves_nothing(tmp_path):
    with parts.claimed(tmp_path) as first:
        first.append("first", "val", 3, np.ones((1, 2)))
        with pytest.raises(KeyboardInterrupt), parts.claimed(tmp_path) as second:
            second.append("first", "val", 3, np.ones((1, 2)))
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.glob(".*.part")] == [".first-val.part"]


def test_what_is_slow_is_saved_however_small(examples, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "HELD", 2**30)
    assert not isinstance(grown(examples, tmp_path / "fast")["first"], np.memmap)
    monkeypatch.setattr(passes, "SECONDS", 0.0)
    assert isinstance(grown(examples, tmp_path / "slow")["first"], np.memmap)
