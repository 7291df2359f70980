from bottleneck.data import reading
from bottleneck.data.reading import Notes, Reading

ITEMS = {"train": 1200, "probe": 300, "val": 100, "test": 400}


def lines(notes=None, duplicates=None, **changes):
    fields = dict(component="birds", source="folder", items=ITEMS, classes=("land", "water"), shape=(32, 48))
    return reading.describe(Reading(**{**fields, **changes}, duplicates=duplicates, notes=notes or Notes()))


def test_all_of_it():
    notes = Notes(
        {(500, 375): 1000, (8, 8): 990, (20, 10): 5, (9, 9): 5},
        {"RGB": 1990, "L": 10},
        reading.left_out([("hidden files or folders", ".x"), ("unread", "a"), ("hidden files or folders", ".y")]),
        ("a remark",),
    )
    assert lines(notes, {("train", "test"): 3}) == [
        "birds (folder): 1,200 train, 300 probe, 100 val, 400 test; 2 classes (land, water)",
        "  images of 4 sizes, 8 x 8 to 500 x 375 pixels (RGB 1,990, L 10), read as 48 x 32",
        "  exact duplicates: 3 test items are in train too",
        "  left out: 2 hidden files or folders (.x)",
        "  left out: 1 unread (a)",
        "  note: a remark",
    ]


def test_generated_data():
    assert lines(duplicates={}, source="factors") == [
        "birds (factors): 1,200 train, 300 probe, 100 val, 400 test; 2 classes (land, water)"
    ]
    (line,) = lines(duplicates={}, classes=(), shape=())
    assert line.endswith("vectors for labels")
    (line,) = lines(duplicates={}, classes=tuple("abcdefg"))
    assert line.endswith("7 classes (a, b, c, d, e, ...)")


def test_contents_that_are_trusted_are_said_to_be():
    assert "  contents are not compared: names and sizes are trusted" in lines()


def test_classes_that_a_split_lacks_are_said_in_the_line():
    (line,) = lines(duplicates={}, absent={"train": (), "test": ("water",)})
    assert line.endswith("; 2 classes (land, water); no test item of water")
    (line,) = lines(duplicates={}, absent={"val": tuple("abcdefg")})
    assert line.endswith("; no val item of a, b, c, d, e, ...")
