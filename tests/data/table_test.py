"""Tables of images: every mistake is one line with its number, and the order of the rows means nothing."""

import codecs
import unicodedata

import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, probe=4, val=2)


@pytest.fixture
def folder(tmp_path):
    """Sixteen training images a.., four test images; the gray value of training image i is i."""
    for i in range(20):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i:02}.png")
    return tmp_path


def rows():
    """path, split, label, place: the label is 0 for even numbers, the place changes every two."""
    return [(f"{i:02}.png", "test" if i >= 16 else "train", i % 2, "sea" if i // 2 % 2 else "land") for i in range(20)]


def text(records, delimiter=",", header=("path", "split", "label", "place")):
    return "\n".join(delimiter.join(map(str, record)) for record in (header, *records)) + "\n"


def load(path, **fields):
    source = {"name": "folder", "path": str(path), **fields}
    return component.load("c", ComponentSpec(source=source), DATA)


def test_images_labels_and_factors_stay_together(folder):
    (folder / "metadata.csv").write_text(text(rows()))
    loaded = load(folder)
    assert loaded.classes == ("0", "1")
    for examples in loaded.splits.values():
        values = examples.fetch(np.arange(len(examples)))[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(examples.labels, values % 2)
        np.testing.assert_array_equal(examples.factors["place"], values // 2 % 2)


def test_columns_of_other_names(folder):
    made = [(path, {"train": 0, "test": 2}[split], label, place) for path, split, label, place in rows()]
    (folder / "list.tsv").write_text(text(made, "\t", ("img", "part", "y", "place")))
    loaded = load(folder, metadata="list.tsv", image="img", split="part", label="y", ignore=("place",))
    assert loaded.splits["train"].factors == {} and len(loaded.splits["test"]) == 4


def test_the_order_of_the_rows_means_nothing(folder):
    (folder / "a.csv").write_text(text(rows()))
    order = np.random.default_rng(0).permutation(20)
    (folder / "b.csv").write_text(text([rows()[i] for i in order]))
    one, two = (load(folder, metadata=name) for name in ("a.csv", "b.csv"))
    assert one.fingerprints == two.fingerprints
    for split, examples in one.splits.items():
        np.testing.assert_array_equal(examples.ids, two.splits[split].ids)
        np.testing.assert_array_equal(*(c.splits[split].fetch(np.arange(len(examples))) for c in (one, two)))


def test_a_factor_of_a_test_row_changes_the_fingerprint_of_test_alone(folder):
    (folder / "a.csv").write_text(text(rows()))
    made = rows()
    made[-1] = (*made[-1][:3], "air")  # sorted before the others: their codes shift
    (folder / "b.csv").write_text(text(made))
    one, two = (load(folder, metadata=name) for name in ("a.csv", "b.csv"))
    assert {s for s in one.splits if one.fingerprints[s] != two.fingerprints[s]} == {"test"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_encodings(folder, delimiter, encoding, newline):
    made = [
        (*record[:3], "caf\u00e9, on the sea" if record[3] == "sea" and delimiter != "," else record[3])
        for record in rows()
    ]
    (folder / "metadata.csv").write_bytes(text(made, delimiter).replace("\n", newline).encode(encoding))
    loaded = load(folder)
    assert len(loaded.splits["train"]) == 10 and set(loaded.splits["train"].factors["place"]) == {0, 1}


def test_quoted_fields_and_blank_lines(folder):
    made = text([(f'"{path}"', split, label, '"a\nb, c"') for path, split, label, _ in rows()])
    (folder / "metadata.csv").write_text(made.replace("\n09", "\n\n09"))
    assert len(load(folder).splits["test"]) == 4


def test_paths_are_composed_normal_and_below_the_folder(folder):
    decomposed = unicodedata.normalize("NFD", "\u00e9.png")
    (folder / "00.png").rename(folder / decomposed)
    made = rows()
    made[0] = ("\u00e9.png", *made[0][1:])
    made[1] = ("./x/../01.png", *made[1][1:])
    made[2] = (str(folder / "02.png"), *made[2][1:])
    (folder / "metadata.csv").write_text(text(made))
    names = np.concatenate([e.items.names for e in load(folder).splits.values()])
    assert {"\u00e9.png", "01.png", "02.png"} < set(names) and not any(str(folder) in name for name in names)


def broken(line, *values):
    """The table with another line (2 is the first row)."""
    made = rows()
    made[line - 2] = values
    return text(made)


@pytest.mark.parametrize(
    "content, message",
    [
        (broken(5, "03.png", "train", "", "sea"), "a label in line 5"),
        (broken(5, "03.png", "train", "NaN", "sea"), "a label in line 5"),
        (broken(7, "03.png", "train", 1, "sea"), "lines 5 and 7 of metadata.csv name the same"),
        (broken(20, "./03.png", "test", 1, "sea"), "lines 5 and 20 of metadata.csv name the same"),
        (broken(9, "none.png", "train", 0, "sea"), "none.png.*there is none; line 9"),
        (broken(9, "", "train", 0, "sea"), "the path of an image in line 9"),
        (broken(9, "07.png", "dev", 0, "sea"), "'dev': expected train, val or test .or 0, 1, 2. in line 9"),
        (broken(9, "07.png", "train", 0), "4 columns in line 9"),
        (text(rows(), header=("path", "split", "label", "label")), "'label': expected column names that differ"),
        (
            text(rows(), header=("path", "split", "y", "place")),
            "source.label='label': expected a column .*path, split, y",
        ),
        (text(rows()[:16]), "split=test"),
        ("", "source.image"),
        (b"\xff\xfe\x00", "readable CSV file in UTF-8, or UTF-16"),
        (text(rows()).replace("land", "\u00e9", 3).encode("latin-1"), "byte 0xe9 in line 2 is neither"),
        (text(rows()).encode("utf-16")[2:], "holds a NUL"),
        (text(rows()).replace("04.png", '"04.png'), "readable CSV file .line"),
    ],
)
def test_mistakes_are_one_line_with_its_number(folder, content, message):
    (folder / "metadata.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert caught.value.key.startswith("components.c.source.") and "\n" not in str(caught.value)


def test_oddities_are_remarked(folder):
    made = [(i, *record) for i, record in enumerate(rows())]
    made[3] = (*made[3][:4], "")
    (folder / "metadata.csv").write_text(text(made, header=("", "path", "split", "label", "place")))
    loaded = load(folder)
    assert set(loaded.splits["train"].factors) == {"place"}
    assert loaded.reading.notes.remarks == (
        "a column of metadata.csv without a name is ignored",
        "factor 'place' is empty in 1 rows of metadata.csv: a value of its own",
    )


def test_a_byte_order_mark_is_no_part_of_a_name(folder):
    (folder / "metadata.csv").write_bytes(codecs.BOM_UTF8 + text(rows()).encode())
    assert len(load(folder).splits["test"]) == 4
