import shutil

import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, probe=4, val=2)


def picture(value, size=(8, 8)):
    return Image.fromarray(np.full((*size, 3), value, np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Two classes, the gray value of image i being i (train) or 100 + i (test)."""
    for split, count, first in (("train", 8, 0), ("test", 2, 100)):
        for c, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                picture(first + c * count + i).save(tmp_path / split / name / f"{i:02}.png")
    return tmp_path


def load(path, data=DATA, **fields):
    spec = ComponentSpec(source={"name": "folder", "path": str(path), **fields})
    return component.load("c", spec, data)


def test_images_and_labels_stay_together(folder):
    loaded = load(folder)
    assert loaded.classes == ("cat", "dog")
    assert [len(loaded.splits[s]) for s in ("train", "probe", "val", "test")] == [10, 4, 2, 4]
    for split in ("train", "probe", "val"):
        examples = loaded.splits[split]
        values = examples.fetch(np.arange(len(examples)))[:, 0, 0, 0]
        np.testing.assert_array_equal(values // 8, examples.labels)
    assert loaded.splits["test"].fetch(np.arange(4))[:, 0, 0, 0].tolist() == [100, 101, 102, 103]


def test_a_val_folder_is_used(folder):
    shutil.copytree(folder / "test", folder / "val")
    loaded = load(folder)
    assert len(loaded.splits["train"]) == 12
    assert loaded.splits["val"].fetch(np.arange(2))[:, 0, 0, 0].min() >= 100


def test_identity_is_content_not_path(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "other"
    shutil.copytree(folder, copy)
    assert load(copy).identity == load(folder).identity
    (copy / "train" / "cat" / "00.png").unlink()
    assert load(copy).identity != load(folder).identity


def test_crop_and_stretch(tmp_path):
    bands = np.zeros((8, 16, 3), np.uint8)
    bands[:, 4:12] = 200  # the middle square
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(6):
                Image.fromarray(bands).save(tmp_path / split / name / f"{i}.PNG")
    assert load(tmp_path).splits["test"].fetch(np.arange(1)).min() == 200
    stretched = load(tmp_path, fit="stretch").splits["test"].fetch(np.arange(1))
    assert stretched[0, 0, 0, 0] == 0 and stretched[0, 0, 4, 0] == 200


def test_metadata(folder):
    lines = ["img_filename,y,split,place,note"]
    for i in range(8):
        lines += [f"train/cat/{i:02}.png,0,0,{10 - i % 2},x", f"train/dog/{i:02}.png,1,0,9,x"]
    lines += ["test/cat/00.png,0,2,10,x", "test/dog/00.png,1,2,9,x"]
    (folder / "metadata.csv").write_text("\n".join(lines))
    loaded = load(folder, image="img_filename", label="y", ignore=("note",))
    train = loaded.splits["train"]
    assert loaded.classes == ("0", "1") and set(train.factors) == {"place"}
    values = train.fetch(np.arange(len(train)))[:, 0, 0, 0]
    np.testing.assert_array_equal(train.factors["place"], (values < 8) & (values % 2 == 0))
    np.testing.assert_array_equal(train.labels, values // 8)


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,split\na,train", "label='label'"),
        ("path,split,label\nnone.png,train,0", "none.png"),
        ("path,split,label\ntrain/cat/00.png,dev,0", "train, val or test"),
        ("path,split,label\ntrain/cat/00.png,train", "3 columns in line 2"),
        ("path,split,label\ntrain/cat/00.png,train,0", "split=test"),
        ("", "label|path"),
        (b"\xff\xfe\x00", "readable CSV"),
    ],
)
def test_unusable_metadata_is_one_line(folder, text, message):
    (folder / "metadata.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_an_unreadable_image_is_named(folder):
    whole = (folder / "train" / "dog" / "03.png").read_bytes()
    for damaged in (b"", b"not an image", whole[: len(whole) // 2]):
        (folder / "train" / "dog" / "03.png").write_bytes(damaged)
        with pytest.raises(UserError, match="dog/03.png") as caught:
            component.touch(load(folder))
        assert caught.value.key == "components.c.source.path" and "\n" not in str(caught.value)


def test_many_images_are_decoded_in_threads(tmp_path):
    for split, count in (("train", 70), ("test", 2)):
        for c, name in enumerate("ab"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                picture(c * 100 + i, (4, 4)).save(tmp_path / split / name / f"{i:03}.png")
    train = load(tmp_path).splits["train"]
    values = train.fetch(np.arange(len(train)))[:, 0, 0, 0]
    assert len(np.unique(values)) == len(train) > 64
    np.testing.assert_array_equal(values >= 100, train.labels)


def test_unusable_folders(tmp_path, folder):
    with pytest.raises(UserError, match="a folder of images"):
        load(folder / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="CLASS"):
        load(tmp_path / "empty")
    shutil.rmtree(folder / "test" / "dog")
    shutil.rmtree(folder / "train" / "cat")
    with pytest.raises(UserError, match="absent from train"):
        load(folder)
    shutil.rmtree(folder / "test")
    with pytest.raises(UserError, match="images in test"):
        load(folder)
    with pytest.raises(UserError, match="fit"):
        load(folder, fit="pad")
