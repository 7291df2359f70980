import dataclasses
import hashlib

import numpy as np
import pytest

from bottleneck.data import component, images
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
    known = {
        hashlib.sha256(made[f"x_{s}"][i]).hexdigest(): (s, i)
        for s in ("train", "test")
        for i in range(len(made[f"y_{s}"]))
    }
    for split, examples in loaded.splits.items():
        pictures = examples.fetch(np.arange(len(examples)))
        for row, name in enumerate(examples.items.names):
            origin, i = known[name]
            assert (origin == "test") == (split == "test") and examples.labels[row] == made[f"y_{origin}"][i]
            np.testing.assert_array_equal(
                pictures[row], np.broadcast_to(made[f"x_{origin}"][i].reshape(8, 8, -1), (8, 8, 3))
            )


def test_padding_keeps_the_pixels(tmp_path):
    np.savez(tmp_path / "a.npz", **content())
    spec = ComponentSpec(source={"name": "arrays", "path": str(tmp_path / "a.npz"), "fit": "pad"})
    plain = load(tmp_path / "a.npz").splits["train"].fetch(np.arange(5))
    padded = (
        component.load("c", spec, dataclasses.replace(DATA, image_size=(12, 9))).splits["train"].fetch(np.arange(5))
    )
    np.testing.assert_array_equal(padded[:, 2:10, :8], plain)
    assert padded.shape == (5, 12, 9, 3) and padded.sum() == plain.sum()
    with pytest.raises(UserError, match="source.fit"):
        component.load("c", spec, dataclasses.replace(DATA, image_size=(12, 7)))


def test_resizing_averages(tmp_path):
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)
    np.savez(tmp_path / "a.npz", **content((16, 16), x_train=np.repeat(board[None], 60, axis=0)))
    images = load(tmp_path / "a.npz").splits["train"].fetch(np.arange(2))
    assert images.shape == (2, 8, 8, 3)
    assert np.abs(images[:, 1:-1, 1:-1].astype(int) - 127).max() < 10
    wide = load(tmp_path / "a.npz", DataSpec(image_size=(4, 8), probe=12, val=6))
    assert wide.splits["train"].fetch(np.arange(2)).shape == (2, 4, 8, 3)


def test_fingerprints_are_content_not_path(tmp_path):
    np.savez(tmp_path / "a.npz", **content())
    np.savez_compressed(tmp_path / "b.npz", **content())
    one, two = (load(tmp_path / f"{name}.npz") for name in "ab")
    assert one.fingerprints == two.fingerprints and one.file == two.file
    assert len(set(one.fingerprints.values())) == 4


def test_a_changed_image_changes_the_fingerprint_of_its_split_alone(tmp_path):
    made = content()
    np.savez(tmp_path / "a.npz", **made)
    before = load(tmp_path / "a.npz")
    # An image that stays in its split: which one that is follows from the hash of the new bytes.
    names, changed = before.splits["train"].items.names, 0
    for i in range(60):
        if hashlib.sha256(made["x_train"][i]).hexdigest() in names:
            other = {**made, "x_train": made["x_train"].copy()}
            other["x_train"][i, 0, 0] ^= 1
            np.savez(tmp_path / "a.npz", **other)
            after = load(tmp_path / "a.npz")
            differ = {s for s in before.splits if before.fingerprints[s] != after.fingerprints[s]}
            if hashlib.sha256(other["x_train"][i]).hexdigest() in after.splits["train"].items.names:
                assert differ == {"train"}
                np.testing.assert_array_equal(after.splits["probe"].ids, before.splits["probe"].ids)
                changed += 1
            made_test = {**made, "x_test": made["x_test"] ^ 1}
    np.savez(tmp_path / "a.npz", **made_test)
    after = load(tmp_path / "a.npz")
    assert {s for s in before.splits if before.fingerprints[s] != after.fingerprints[s]} == {"test"}
    assert changed > 10 and all(np.array_equal(after.splits[s].ids, before.splits[s].ids) for s in ("train", "val"))


def test_the_order_of_the_rows_means_nothing(tmp_path):
    made = content()
    made["x_train"][7], made["y_train"][7] = made["x_train"][3], (made["y_train"][3] + 1) % 3  # twice, labels differ
    np.savez(tmp_path / "a.npz", **made)
    order = np.random.default_rng(1).permutation(60)
    np.savez(tmp_path / "b.npz", **{**made, "x_train": made["x_train"][order], "y_train": made["y_train"][order]})
    one, two = (load(tmp_path / f"{name}.npz", tint={"reliability": 0.5}) for name in "ab")
    assert one.fingerprints == two.fingerprints and one.file == two.file
    for split, examples in one.splits.items():
        other = two.splits[split]
        np.testing.assert_array_equal(examples.ids, other.ids)
        np.testing.assert_array_equal(examples.labels, other.labels)
        np.testing.assert_array_equal(examples.factors["tint"], other.factors["tint"])
        np.testing.assert_array_equal(*(e.fetch(np.arange(len(e))) for e in (examples, other)))
    repeated = [name for e in one.splits.values() for name in e.items.names if name.endswith("-2")]
    assert len(repeated) == 1


def test_a_val_split_is_used(tmp_path):
    np.savez(tmp_path / "a.npz", **content(x_val=np.full((9, 8, 8), 200, np.uint8), y_val=np.arange(9) % 3, extra=[1]))
    loaded = load(tmp_path / "a.npz")
    assert len(loaded.splits["train"]) == 48 and np.all(loaded.splits["val"].fetch(np.arange(6)) == 200)
    assert "array extra is not used" in loaded.reading.notes.remarks
    assert any("9 images of x_val are constant" in remark for remark in loaded.reading.notes.remarks)


def test_images_in_other_units_are_remarked(tmp_path):
    made = content()
    np.savez(tmp_path / "a.npz", **{**made, "x_train": made["x_train"] // 128, "x_test": made["x_test"] // 128})
    remarks = load(tmp_path / "a.npz").reading.notes.remarks
    assert [remark.split(":")[0] for remark in remarks] == [
        f"x_{s} spans 0 to 1 of 0 to 255" for s in ("train", "test")
    ]
    np.savez(tmp_path / "b.npz", **made)
    assert load(tmp_path / "b.npz").reading.notes.remarks == ()


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
        ({"y_test": None}, "missing: y_test; here: x_train, y_train, x_test"),
        ({"y_train": np.eye(3)[np.arange(60) % 3]}, r"it is \[60, 3\]: one-hot"),
        ({"x_val": np.zeros((2, 8, 8), np.uint8), "y_val": np.array([0, 5])}, "y_val in y_train too .absent: 5"),
        ({"x_train": np.zeros((60, 8, 8), np.uint16)}, "it is uint16"),
        ({"y_train": np.arange(59) % 3}, r"y_train of shape \[60\]"),
        ({"x_train": np.full((60, 8, 8), np.nan)}, "with NaN - convert to uint8"),
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
        ("tar", b"\x1f\x8b\x08 not a zip"),
        ("flipped", bytes(flipped)),
        ("npy", (tmp_path / "array.npy").read_bytes()),
    ):
        (tmp_path / f"{name}.npz").write_bytes(damaged)
        with pytest.raises(UserError, match="npz") as caught:
            load(tmp_path / f"{name}.npz")
        assert caught.value.key == "components.c.source.path" and "\n" not in str(caught.value), name
        assert ("zip archive" in str(caught.value)) == (name in ("empty", "text", "tar")), name
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UserError, match="source.path"):
            load(path)


def test_resize_keeps_gray_gray():
    assert images.resize(np.zeros((2, 6, 5, 1), np.uint8), (3, 4)).shape == (2, 3, 4, 1)


def test_one_class_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **content(classes=1))
    with pytest.raises(UserError, match="at least two classes"):
        load(tmp_path / "a.npz")


def test_duplicates_across_splits_are_counted(tmp_path):
    made = content()
    made["x_test"][:4] = made["x_train"][0]
    np.savez(tmp_path / "a.npz", **made)
    loaded = load(tmp_path / "a.npz")
    (count,) = loaded.reading.duplicates.values()
    assert count == 4 and len(np.unique(np.concatenate([e.ids for e in loaded.splits.values()]))) == 75
