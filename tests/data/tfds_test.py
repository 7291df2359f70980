"""tensorflow-datasets: a real prepared data set, made and read without TensorFlow."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bottleneck.data import component, content, images, reading
from bottleneck.data import tfds as source
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

datasets = pytest.importorskip("tensorflow_datasets")
DATA = DataSpec(image_size=8, probe=20, val=10)
NAMED = datasets.features.ClassLabel(names=["cat", "dog"])


def encoded(value, dtype=np.uint8):
    made = io.BytesIO()
    Image.fromarray(np.broadcast_to(value, (8, 8)).astype(dtype)).save(made, "PNG")
    return made.getvalue()


def prepare(directory, splits, label=NAMED, image=None, version="1.0.0"):
    """Writes data set `toy`: splits is name -> [(encoded image, label)]."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = directory / "toy" / version
    folder.mkdir(parents=True)
    for split, records in splits.items():
        writer = ArrayRecordWriter(str(folder / f"toy-{split}.array_record-00000-of-00001"), "group_size:1")
        for picture, value in records:
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(picture)
            example.features.feature["label"].int64_list.value.append(value)
            writer.write(example.SerializeToString())
        writer.close()
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    shards = [
        {"name": name, "numBytes": "9", "shardLengths": [str(len(records))], "filepathTemplate": template}
        for name, records in splits.items()
    ]
    info = {"name": "toy", "version": version, "fileFormat": "array_record", "splits": shards, "description": "toy"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    image = image or datasets.features.Image(shape=(None, None, 1))
    datasets.features.FeaturesDict({"image": image, "label": label}).save_config(str(folder))
    return directory


def records(count, first, **options):
    return [(encoded(first + i, **options), i % 2) for i in range(count)]


@pytest.fixture
def toy(tmp_path):
    splits = {"train": records(60, 0), "test": records(10, 100), "validation": records(12, 200)}
    return prepare(tmp_path, splits)


def load(directory, data=DATA, **fields):
    spec = ComponentSpec(source={"name": "tfds", "dataset": "toy", "data_dir": str(directory), **fields})
    return component.load("c", spec, data)


def values(examples):
    return examples.fetch(np.arange(len(examples)))[:, 0, 0, 0].astype(int)


def test_images_and_labels_stay_together(toy):
    loaded = load(toy)
    assert loaded.classes == ("cat", "dog") and "tensorflow" not in sys.modules
    assert [len(loaded.splits[s]) for s in ("train", "probe", "val", "test")] == [30, 20, 10, 10]
    for split, examples in loaded.splits.items():
        np.testing.assert_array_equal(values(examples) % 2, examples.labels)
        assert (values(examples).min() >= 100) == (split == "test")
    own = load(toy, val="validation")
    assert values(own.splits["val"]).min() == 200 and len(own.splits["train"]) == 40
    assert reading.describe(loaded.reading)[1] == "  images of 8 x 8 pixels (L 70), read as 8 x 8"


def test_items_are_their_images(tmp_path, toy):
    """Another order of the records, in other files, of another version: the same items."""
    shuffled = [records(60, 0)[i] for i in np.random.default_rng(0).permutation(60)]
    other = prepare(tmp_path / "other", {"train": shuffled, "test": records(10, 100)})
    one, two = load(toy), load(other)
    assert one.fingerprints == two.fingerprints and one.file == two.file
    for split, examples in one.splits.items():
        np.testing.assert_array_equal(examples.ids, two.splits[split].ids)
        np.testing.assert_array_equal(values(examples), values(two.splits[split]))
    changed = prepare(tmp_path / "changed", {"train": records(60, 0), "test": [(encoded(7), 0), *records(10, 100)[1:]]})
    three = load(changed)
    assert {s for s in one.splits if one.fingerprints[s] != three.fingerprints[s]} == {"test"}
    assert sum(three.reading.duplicates.values()) == 1


def test_records_are_read_once(toy, monkeypatch):
    first = load(toy)
    fingerprints = first.fingerprints
    del first

    def never(*_):
        raise AssertionError("a second time")

    monkeypatch.setattr(images, "header", never)
    assert load(toy, fit="stretch").reading.items["train"] == 30
    assert load(toy).fingerprints == fingerprints


def test_items_without_a_label_are_left_out_and_counted(tmp_path):
    prepare(tmp_path, {"train": [*records(60, 0), (encoded(99), -1)], "test": [(encoded(98), -1), *records(10, 100)]})
    loaded = load(tmp_path)
    assert sum(loaded.reading.items.values()) == 70 and 99 not in values(loaded.splits["train"])
    (left,) = loaded.reading.notes.left_out
    assert (left.count, left.example) == (2, "train item 60") and "without a label" in left.reason


def test_whole_numbers_without_names(tmp_path):
    made = {"train": records(60, 0), "test": records(10, 100)}
    numbers = {split: [(picture, 3 + 4 * label) for picture, label in part] for split, part in made.items()}
    loaded = load(prepare(tmp_path / "ints", numbers, datasets.features.Scalar(np.int64)))
    assert loaded.classes == ("3", "7")
    np.testing.assert_array_equal(values(loaded.splits["test"]) % 2, loaded.splits["test"].labels)
    assert load(prepare(tmp_path / "bools", made, datasets.features.Scalar(np.bool_))).classes == ("0", "1")
    prepare(tmp_path / "floats", made, datasets.features.Scalar(np.float32))
    with pytest.raises(UserError, match="source.label='label': expected one whole number"):
        load(tmp_path / "floats")


def test_16_bits(tmp_path):
    image = datasets.features.Image(shape=(None, None, 1), dtype=np.uint16)
    wide = [(encoded(257 * value, np.uint16), value % 2) for value in range(110)]
    loaded = load(prepare(tmp_path, {"train": wide[:60], "test": wide[100:]}, image=image))
    assert sorted(values(loaded.splits["test"])) == list(range(100, 110))
    assert loaded.reading.notes.modes == {"I;16": 70}


def test_float_images_are_refused(tmp_path):
    image = datasets.features.Image(shape=(None, None, 1), dtype=np.float32)
    prepare(tmp_path, {"train": records(60, 0), "test": records(10, 100)}, image=image)
    with pytest.raises(UserError, match="uint8 or uint16 .it is Image of float32"):
        load(tmp_path)


def test_overlapping_splits_are_refused(toy):
    with pytest.raises(UserError, match=r"source.test='train\[50%:\]': expected items that 'train\[:60%\]' .train."):
        load(toy, train="train[:60%]", test="train[50%:]")
    with pytest.raises(UserError, match="source.test='test': expected items that 'test' .val."):
        load(toy, val="test")
    assert len(load(toy, train="train[:70%]", test="train[70%:]").splits["test"]) == 18


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"dataset": "nothing_like_it"}, "source.dataset='nothing_like_it': expected a data set tfds knows"),
        ({"dataset": "nothing_like_it:1.0.0"}, "expected a data set tfds knows"),
        ({"dataset": "toy:2.0.0"}, "source.dataset='toy:2.0.0': expected a version of toy that can be read: 1.0.0"),
        ({"dataset": "mnist:9.9.9"}, "a version of mnist that can be read: .*, not 9.9.9"),
        ({"dataset": "mnist"}, r"'\.\[prepare\]' && tfds build mnist --file_format=array_record --data_dir="),
        ({"train": "dev"}, "source.train='dev': expected a split of toy: train, test, validation"),
        ({"label": "y"}, "source.label='y': expected one of the features image, label"),
        ({"image": "label"}, "images of uint8 or uint16"),
    ],
)
def test_mistakes_are_one_line(toy, fields, message):
    with pytest.raises(UserError, match=message) as caught:
        load(toy, **fields)
    assert "\n" not in str(caught.value) and caught.value.key.startswith("components.c.source.")


def test_another_file_format_is_said_to_need_preparing(toy):
    info = toy / "toy" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord", 1))
    with pytest.raises(UserError, match="expected data prepared as array_record files.*--file_format=array_record"):
        load(toy)


def test_labels_are_read_without_decoding_images(toy, monkeypatch):
    monkeypatch.setattr(content, "DECODE_BYTES", 0)

    def refuse(*given):
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    splits = load(toy).splits
    assert sum(len(part) for part in splits.values()) == 70 and set(splits["train"].labels) == {0, 1}
    with pytest.raises(UserError, match="AssertionError: decoded"):
        splits["train"].fetch(np.arange(1))


def test_damage_behind_the_header_is_met_when_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    made = records(10, 100)
    made[3] = (encoded(np.random.default_rng(0).integers(0, 256, (8, 8)))[:60], 1)
    loaded = load(prepare(tmp_path, {"train": records(60, 0), "test": made}))
    with pytest.raises(UserError, match="components.c.source.dataset='toy test item 3'"):
        values(loaded.splits["test"])


@pytest.mark.parametrize("decoded", [content.DECODE_BYTES, 0])
def test_a_broken_image_is_named(tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(content, "DECODE_BYTES", decoded)
    made = records(10, 100)
    made[4] = (b"damaged", 0)
    prepare(tmp_path, {"train": records(60, 0), "test": made})
    with pytest.raises(UserError, match="toy test item 4': expected a readable image"):
        load(tmp_path)


def test_the_package_may_be_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match="pip install"):
        load("/nowhere")


def test_bytes_come_in_two_forms():
    assert source._encoded(b"x") == source._encoded(np.array(b"x", object)) == b"x"
