"""What files hold is worked out once, remembered outside the work directory, and never needed."""

import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from bottleneck.data import content, images


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
        os.utime(tmp_path / f"{i}.png", (10**9, 10**9))
    return tmp_path


@pytest.fixture
def looked(monkeypatch):
    """The files that were read."""
    seen, look = [], content._look
    monkeypatch.setattr(content, "_look", lambda path, *rest: seen.append(os.path.basename(path)) or look(path, *rest))
    return seen


def read(folder, hashed=True):
    return content.read(str(folder), content.status(str(folder), sorted(p.name for p in folder.glob("*.png"))), hashed)


def test_a_file_is_read_once(folder, looked):
    first = read(folder)
    assert sorted(looked) == [f"{i}.png" for i in range(6)] and all(c.decoded and len(c.sha) == 64 for c in first)
    looked.clear()
    assert read(folder) == first and not looked
    os.utime(folder / "3.png", (10**9, 10**9 + 1))
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes() + b" ")
    os.utime(folder / "4.png", (10**9, 10**9))  # another size
    assert read(folder)[3] == first[3] and sorted(looked) == ["3.png", "4.png"]


def test_a_file_changed_a_moment_ago_is_not_remembered(folder, looked):
    os.utime(folder / "3.png")
    read(folder)
    looked.clear()
    read(folder)
    assert looked == ["3.png"]


def test_what_was_read_before_an_interruption_is_not_read_again(folder, monkeypatch):
    """A million files take minutes."""
    look = content._look

    def interrupted(path, *rest):
        if path.endswith("4.png"):
            raise KeyboardInterrupt
        return look(path, *rest)

    monkeypatch.setattr(content, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(folder)
    seen = []
    monkeypatch.setattr(content, "_look", lambda path, *rest: seen.append(os.path.basename(path)) or look(path, *rest))
    assert len(read(folder)) == 6 and sorted(seen) == ["4.png", "5.png"]


def test_trusted_contents_are_not_hashed_but_checked(folder, monkeypatch, looked):
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    assert {c.sha for c in read(folder, hashed=False)} == {""}
    looked.clear()
    assert "" not in {c.sha for c in read(folder)} and len(looked) == 6
    (folder / "2.png").write_bytes(b"no image")
    with pytest.raises(content.Broken) as caught:
        read(folder, hashed=False)
    assert (caught.value.path, caught.value.others) == ("2.png", 0)


def test_a_long_header_is_read_whole(folder, monkeypatch):
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    monkeypatch.setattr(content, "_HEADER_BYTES", 4)
    assert [c.width for c in read(folder, hashed=False)] == [8] * 6


def test_what_was_not_decoded_is_decoded_once_it_is_cheap(folder, monkeypatch, looked):
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    assert not any(c.decoded for c in read(folder))
    monkeypatch.undo()
    assert all(c.decoded for c in read(folder))


@pytest.mark.parametrize("damage", ["{", "[]", '{"1.png": [1, 2]}', '{"1.png": null}', "\xff"])
def test_a_damaged_memory_is_ignored(folder, damage, monkeypatch):
    first = read(folder)
    (place,) = pathlib.Path(os.environ["BOTTLENECK_CACHE"]).iterdir()
    assert json.loads(place.read_text()).keys() == {f"{i}.png" for i in range(6)}
    place.write_text(damage, encoding="latin-1")
    assert read(folder) == first


def test_a_memory_that_cannot_be_written_is_done_without(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BOTTLENECK_CACHE", str(tmp_path / "file" / "below"))
    assert len(read(folder)) == 6
    monkeypatch.delenv("BOTTLENECK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert len(read(folder)) == 6
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read(folder)
    assert len(list((tmp_path / "cache" / "bottleneck").iterdir())) == 1


def test_files_are_looked_at_once_where_they_are_taken_not_to_change():
    calls = []
    with content.unchanging():
        for _ in range(3):
            assert content.listed("key", lambda: calls.append(1) or 7) == 7
        with content.unchanging():
            content.listed("key", lambda: calls.append(1))
    content.listed("key", lambda: calls.append(1))
    assert len(calls) == 2


def test_broken_files_are_counted(folder):
    for i in (1, 4, 5):
        (folder / f"{i}.png").write_bytes(b"")
    with pytest.raises(content.Broken) as caught:
        read(folder)
    assert (caught.value.path, caught.value.others) == ("1.png", 2) and "no image" in caught.value.reason
    assert issubclass(images.Unreadable, ValueError)


def test_items_are_looked_at_in_order_however_many(monkeypatch):
    monkeypatch.setattr(content, "_AT_ONCE", 7)
    assert list(content.looked(lambda i: 2 * i, range(30), 0)) == list(range(0, 60, 2))
