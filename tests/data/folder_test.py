import dataclasses
import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component, content, images, reading
from bottleneck.data import folder as folder_source
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
    assert loaded.splits["test"].fetch(np.arange(4))[:, 0, 0, 0].tolist() == [100, 101, 102, 103]  # sorted by name
    assert loaded.splits["test"].items.names[0] == "test/cat/00.png"


def test_a_val_folder_is_used(folder):
    shutil.copytree(folder / "test", folder / "val")
    loaded = load(folder)
    assert len(loaded.splits["train"]) == 12
    assert loaded.splits["val"].fetch(np.arange(2))[:, 0, 0, 0].min() >= 100


def changed(a, b):
    """The splits whose fingerprints differ."""
    return {split for split in a.splits if a.fingerprints[split] != b.fingerprints[split]}


def test_fingerprints_are_content_not_path(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "other"
    shutil.copytree(folder, copy)
    one, two = load(copy), load(folder)
    assert not changed(one, two) and one.file == two.file and len(set(one.fingerprints.values())) == 4
    (copy / "test" / "cat" / "00.png").unlink()
    assert changed(load(copy), two) == {"test"}


def test_what_another_decoder_makes_of_the_files_is_another_look(folder, monkeypatch):
    """Runs and features of images as they were decoded before are not taken for those of now."""
    before = load(folder)
    monkeypatch.setattr(folder_source, "DECODER", images.DECODER + 1)
    after = component._load("c", before.source, (), (), DATA)
    assert changed(after, before) == set(before.splits) and after.file == before.file


def flip_a_byte(path):
    """Another image of the same size in bytes: a pixel of an uncompressed bitmap."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_byte_changes_the_fingerprint_of_its_split_alone(tmp_path):
    for split, count in (("train", 8), ("test", 2)):
        for c, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                picture(c * 50 + i).save(tmp_path / split / name / f"{i}.bmp")
    before = load(tmp_path)
    for split, examples in before.splits.items():
        flip_a_byte(tmp_path / examples.items.names[0])
        after = load(tmp_path)
        assert changed(after, before) == {split} and after.file != before.file
        for other in before.splits:
            np.testing.assert_array_equal(after.splits[other].ids, before.splits[other].ids)
        before = after


def test_names_may_be_trusted_instead_of_contents(tmp_path, folder):
    data = dataclasses.replace(DATA, fingerprint="names")
    bitmap = folder / "train" / "cat" / "zz.bmp"
    picture(3).save(bitmap)
    before = load(folder, data)
    flip_a_byte(bitmap)
    after = load(folder, data)
    assert after is not before and not changed(after, before) and after.reading.duplicates is None
    assert any("trusted" in line for line in reading.describe(after.reading))
    picture(3, (9, 9)).save(bitmap)  # of another size
    assert changed(load(folder, data), before)


def test_the_same_folder_is_one_object_until_a_file_changes(folder, tmp_path_factory):
    one = load(folder)
    assert load(folder) is one
    (folder / "train" / "cat" / "00.png").write_bytes((folder / "train" / "cat" / "01.png").read_bytes())
    assert load(folder) is not one
    with content.unchanging():
        one = load(folder)
        (folder / "test" / "cat" / "00.png").unlink()
        assert load(folder) is one
    assert load(folder) is not one


def test_components_of_one_folder_share_items(folder):
    one, more = load(folder), load(folder, dataclasses.replace(DATA, probe=6))
    assert component.shared_items(one, load(folder)) == {}
    shared = component.shared_items(one, more)
    assert shared == {"val": sorted(more.splits["val"].items.names)}  # what was val is probe now
    assert set(shared["val"]) <= set(one.splits["train"].items.names)
    on_train = load(folder, dataclasses.replace(DATA, probe_split="train", probe=6))
    assert "probe" not in component.shared_items(one, on_train)


def test_copies_in_another_folder_are_counted(folder, tmp_path_factory):
    """Both hold out by name, so that what one trains on is what the other trains on, but for the one that moved."""
    one = load(folder)
    other = tmp_path_factory.mktemp("left") / "other"
    shutil.copytree(folder, other)
    moved = folder / one.splits["train"].items.names[0]
    moved.rename(other / "test" / moved.parent.name / "moved.png")
    assert component.copies(one, load(folder)) == {}  # one file: see shared_items
    assert component.copies(load(folder), load(other)) == {}
    assert component.copies(one, load(other)) == {"test": 1}


def test_halves_of_dominoes_are_items_too(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("left") / "other"
    shutil.copytree(folder, other)
    picture(9).save(other / "train" / "cat" / "more.png")
    source = {"name": "folder", "path": str(other)}
    dominoes = {"dominoes": {"source": {"name": "folder", "path": str(folder)}}}
    pairs = component.load("pairs", ComponentSpec(source=source, transforms=dominoes), DATA)
    assert component.shared_items(pairs, load(folder)) == {}
    assert component.shared_items(pairs, load(folder, dataclasses.replace(DATA, probe=8)))
    before = pairs.fingerprints
    flip = folder / load(folder).splits["val"].items.names[0]
    picture(250).save(flip)
    after = component.load("pairs", ComponentSpec(source=source, transforms=dominoes), DATA).fingerprints
    assert {s for s in before if before[s] != after[s]} == {"val"}


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


def test_an_unreadable_image_is_named(folder):
    whole = (folder / "train" / "dog" / "03.png").read_bytes()
    for damaged in (b"", b"not an image", whole[: len(whole) // 2]):
        (folder / "train" / "dog" / "03.png").write_bytes(damaged)
        with pytest.raises(UserError, match="dog/03.png") as caught:
            load(folder)
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
    (folder / "train" / "cat").mkdir()
    with pytest.raises(UserError, match="absent from train"):
        load(folder)
    shutil.rmtree(folder / "test")
    with pytest.raises(UserError, match="images in test/CLASS/.* here: .*train"):
        load(folder)
    with pytest.raises(UserError, match="fit"):
        load(folder, fit="pad")
    with pytest.raises(UserError, match="background"):
        load(folder, background=(0, 0, 256))


def test_one_class_is_refused(folder):
    for split in ("train", "test"):
        shutil.rmtree(folder / split / "dog")
    with pytest.raises(UserError, match="source='cat': expected at least two classes"):
        load(folder)


def test_a_broken_image_is_met_whatever_the_size_of_the_data(folder, monkeypatch):
    """Headers of all images are read where decoding all of them would cost too much."""
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    for i in (3, 5):
        (folder / "train" / "dog" / f"{i:02}.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="dog/03.png.*no image in a format.*; 1 more cannot be read"):
        load(folder)
    shutil.copy(folder / "train" / "dog" / "04.png", folder / "train" / "dog" / "03.png")
    whole = (folder / "train" / "dog" / "04.png").read_bytes()
    (folder / "train" / "dog" / "05.png").write_bytes(whole[: len(whole) // 2 + 10])
    with pytest.raises(UserError, match="dog/05.png"):  # at the latest when it is fetched
        loaded = load(folder)
        for examples in loaded.splits.values():
            examples.fetch(np.arange(len(examples)))


def test_float_images_are_refused_before_training(folder):
    Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "train" / "cat" / "x.tiff")
    with pytest.raises(UserError, match="x.tiff.*floating-point"):
        load(folder)


def test_what_is_no_data_is_left_out_and_named(folder):
    (folder / "train" / "cat" / "._00.png").write_bytes(b"of another file system")
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / "notes.txt").write_text("x")
    (folder / "train" / "cat" / "x.webm").write_bytes(b"film")
    (folder / "train" / "cat" / "y.webm").write_bytes(b"film")
    (folder / "train" / "bird").mkdir()
    (folder / "extra").mkdir()
    (folder / "README").write_text("x")
    loaded = load(folder)
    assert loaded.classes == ("cat", "dog")
    left = {left.reason: (left.count, left.example) for left in loaded.reading.notes.left_out}
    assert left == {
        "folders that are no split (train, val, test)": (1, "extra"),
        "files outside the splits": (1, "README"),
        "hidden files or folders": (2, "train/.cache"),
        "class folders without a readable image": (1, "train/bird"),
        "files in a format that is not read (.webm)": (2, "train/cat/x.webm"),
        "files outside a class folder": (1, "train/notes.txt"),
    }
    said = "\n".join(reading.describe(loaded.reading))
    assert "left out: 2 files in a format that is not read (.webm) (train/cat/x.webm)" in said


def test_nested_folders_and_other_formats_are_read(folder):
    for i, kind in enumerate(("bmp", "gif", "tiff", "webp", "ppm", "JPG")):
        (folder / "train" / "cat" / "more" / "deep").mkdir(parents=True, exist_ok=True)
        picture(i).save(folder / "train" / "cat" / "more" / "deep" / f"{i}.{kind}")
    os.symlink(folder / "train" / "cat", folder / "train" / "cat" / "more" / "loop")
    loaded = load(folder)
    assert sum(loaded.reading.items.values()) == 20 + 6
    assert loaded.reading.notes.modes["P"] == 1 and loaded.reading.notes.sizes == {(8, 8): 26}


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_splits_in_other_words(folder, name):
    shutil.move(folder / "train", folder / "Train")
    shutil.move(folder / "test", folder / "TEST")
    shutil.copytree(folder / "TEST", folder / name)
    loaded = load(folder)
    assert len(loaded.splits["train"]) == 12 and loaded.splits["val"].items.names[0].startswith(f"{name}/cat")
    shutil.copytree(folder / "TEST", folder / "test")
    with pytest.raises(UserError, match="'TEST' and 'test' are both test"):
        load(folder)


def test_accents_are_compared_composed(folder):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    shutil.move(folder / "train" / "cat", folder / "train" / decomposed)
    shutil.move(folder / "test" / "cat", folder / "test" / composed)
    loaded = load(folder)
    assert loaded.classes == (composed, "dog")
    assert any(name.startswith(f"train/{composed}/") for name in loaded.splits["train"].items.names)
    assert loaded.splits["train"].fetch(np.arange(10)).shape == (10, 8, 8, 3)
    shutil.copytree(folder / "train" / decomposed, folder / "train" / composed)
    with pytest.raises(UserError, match="accents"):
        load(folder)


def test_names_of_undecodable_bytes(folder):
    os.rename(folder / "train" / "cat" / "00.png", os.fsencode(folder / "train" / "cat") + b"/\xff.png")
    assert sum(load(folder).reading.items.values()) == 20


def test_duplicates_across_splits_are_counted(folder):
    for i in range(2):
        shutil.copy(folder / "train" / "cat" / "00.png", folder / "test" / "cat" / f"copy{i}.png")
    loaded = load(folder)
    where = next(s for s, e in loaded.splits.items() if "train/cat/00.png" in e.items.names)
    assert loaded.reading.duplicates == {(where, "test"): 2}
    assert f"  exact duplicates: 2 test items are in {where} too" in reading.describe(loaded.reading)


def test_a_class_without_test_images_is_said(folder):
    shutil.rmtree(folder / "test" / "cat")
    assert reading.describe(load(folder).reading)[0].endswith("2 classes (cat, dog); no test item of cat")
