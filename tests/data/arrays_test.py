import hashlib

import numpy as np
import pytest

from bottleneck.data import arrays, component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, probe=12, val=6)


def content(shape=(8, 8), classes=3, **changes):
    rng = np.random.default_rng(0)
    made = {}
    for split, count in (("train", 60), ("test", 15)):
        made[f"x_{split}"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        made[f"y_{split}"] = np.arange(count) % classes
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def load(path, data=DATA, **transforms):
    spec = ComponentSpec(source={"name": "arrays", "path": str(path)}, transforms=transforms)
    return component.load("c", spec, data)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_images_come_back(tmp_path, shape):
    made = content(shape)
    np.savez(tmp_path / "a.npz", **made)
    loaded = load(tmp_path / "a.npz")
    assert loaded.classes == ("0", "1", "2")
    assert [len(loaded.splits[s]) for s in ("train", "probe", "val", "test")] == [42, 12, 6, 15]
    whole = np.concatenate([made["x_train"], made["x_test"]]).reshape(75, 8, 8, -1)
    labels = np.concatenate([made["y_train"], made["y_test"]])
    for split in loaded.splits.values():
        images = split.fetch(np.arange(len(split)))
        np.testing.assert_array_equal(images, np.broadcast_to(whole[split.ids], images.shape))
        np.testing.assert_array_equal(split.labels, labels[split.ids])


def test_resizing_averages(tmp_path):
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    np.savez(tmp_path / "a.npz", **content((16, 16), x_train=np.repeat(board[None], 60, axis=0)))
    images = load(tmp_path / "a.npz").splits["train"].fetch(np.arange(2))
    assert images.shape == (2, 8, 8, 3)
    assert np.abs(images[:, 1:-1, 1:-1].astype(int) - 127).max() < 10
    wide = load(tmp_path / "a.npz", DataSpec(image_size=(4, 8), probe=12, val=6))
    assert wide.splits["train"].fetch(np.arange(2)).shape == (2, 4, 8, 3)


def test_identity_is_content_not_path(tmp_path):
    np.savez(tmp_path / "a.npz", **content())
    np.savez_compressed(tmp_path / "b.npz", **content())
    changed = content()
    changed["x_train"][0, 0, 0] ^= 1
    np.savez(tmp_path / "c.npz", **changed)
    one, two, other = (load(tmp_path / f"{name}.npz").identity for name in "abc")
    assert one == two != other
    assert len(one["fingerprint"]) == hashlib.sha256().digest_size * 2 and str(tmp_path) not in str(one)


def test_labels_with_gaps_become_classes(tmp_path):
    np.savez(tmp_path / "a.npz", **content(y_train=np.arange(60) % 2 * 4 + 3, y_test=np.full((15, 1), 7)))
    loaded = load(tmp_path / "a.npz")
    assert loaded.classes == ("3", "7") and set(loaded.splits["test"].labels) == {1}


def test_classes_are_chosen_before_the_splits_are_made(tmp_path):
    np.savez(tmp_path / "a.npz", **content())
    loaded = load(tmp_path / "a.npz", classes={"keep": (2, 0)})
    assert loaded.classes == ("2", "0")
    assert [len(loaded.splits[s]) for s in ("train", "probe", "val", "test")] == [22, 12, 6, 10]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y_test": None}, "missing: y_test"),
        ({"y_train": np.arange(59) % 3}, r"y_train of shape \[60\]"),
        ({"x_train": np.full((60, 8, 8), np.nan)}, "NaN - convert to uint8"),
        ({"x_train": np.zeros((60, 8, 8), np.float32)}, "float32 - convert to uint8"),
        ({"x_test": np.zeros((15, 8, 8), np.int64)}, "x_test of uint8"),
        ({"x_train": np.zeros((60, 64), np.uint8)}, "of shape"),
        ({"x_train": np.zeros((60, 8, 8, 4), np.uint8)}, "of shape"),
        ({"x_test": np.zeros((0, 8, 8), np.uint8), "y_test": np.zeros(0, int)}, "at least one image"),
        ({"y_train": np.arange(60) % 3 - 1}, "integers of at least 0"),
        ({"y_train": np.arange(60) % 3 + 0.5}, "integers of at least 0"),
        ({"y_test": np.full(15, 9)}, "absent: 9"),
        ({"y_test": np.array([{}] * 15)}, "pickled objects"),
    ],
)
def test_unusable_content_is_one_line(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **content(**changes))
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "a.npz")
    assert caught.value.key == "components.c.source.path" and "\n" not in str(caught.value)


def test_unusable_files_are_one_line(tmp_path):
    np.savez(tmp_path / "whole.npz", **content())
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name, damaged in (
        ("cut", whole[:-1000]),
        ("half", whole[: len(whole) // 2]),
        ("empty", b""),
        ("text", b"hello"),
        ("flipped", bytes(flipped)),
        ("npy", (tmp_path / "array.npy").read_bytes()),
    ):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        with pytest.raises(UserError, match="npz") as caught:
            load(tmp_path / f"{name}.npz")
        assert caught.value.key == "components.c.source.path" and "\n" not in str(caught.value), name
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError, match="source.path"):
            load(path)


def test_resize_keeps_gray_gray():
    assert arrays.resize(np.zeros((2, 6, 5, 1), np.uint8), (3, 4)).shape == (2, 3, 4, 1)
