import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from bottleneck.data import component, resample, source
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import DataSpec, Examples, Source
from bottleneck.errors import UserError


def table(cells, names="i"):
    """Examples of `cells`, a list of (label, factor)."""
    labels, factor = (np.array(column, np.int32) for column in zip(*cells, strict=True))
    items = source.items([f"{names}{i}" for i in range(len(cells))], [bytes(32)] * len(cells))
    return Examples(labels, np.arange(len(cells), dtype=np.int32), {"f": factor}, lambda rows: rows, items)


def counts(part, values):
    return np.bincount(part.labels * values + part.factors["f"], minlength=2 * values).reshape(2, values)


cells = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=6, max_size=300)
EVERY = [(label, factor) for label in range(2) for factor in range(3)]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(cells, cells, st.integers(0, 5))
def test_label_and_factor_become_independent(train, test, seed):
    made = Source({"train": table(train + EVERY), "test": table(test + EVERY, "t")}, ("a", "b"))
    whole = made.splits["train"]
    resampled = resample.independent(made, ("f",), seed).splits
    by_label = np.bincount(whole.labels, minlength=2) / len(whole)
    by_factor = np.bincount(whole.factors["f"], minlength=3) / len(whole)
    target = np.outer(by_label, by_factor)
    for split, part in resampled.items():
        assert np.abs(counts(part, 3) - len(part) * target).max() <= 1
        rows = part.fetch(np.arange(len(part)))
        np.testing.assert_array_equal(part.labels, made.splits[split].labels[rows])
        np.testing.assert_array_equal(part.items.names, made.splits[split].items.names[rows])
        repeats = np.bincount(rows, minlength=len(made.splits[split]))
        if split == "train":
            assert len(part) == len(whole)
            for label, factor in EVERY:  # an item as often as any other of its cell, or once more
                own = repeats[(whole.labels == label) & (whole.factors["f"] == factor)]
                assert own.max() - own.min() <= 1
        else:  # the largest without repeats: one more item would need more of a cell than there are
            assert repeats.max() == 1
            assert np.any(counts(made.splits[split], 3) < (len(part) + 1) * target)


def test_what_is_independent_already_is_left_alone():
    part = table(EVERY * 10)
    resampled = resample.independent(Source({"train": part, "test": part}, ("a", "b")), ("f",), 0).splits
    for split in ("train", "test"):
        np.testing.assert_array_equal(resampled[split].ids, part.ids)


def test_choices_are_keyed_by_names_not_by_order():
    rng = np.random.default_rng(0)
    made = [(int(label), int(rng.random() < (0.9 if label else 0.2))) for label in rng.integers(0, 2, 200)]
    part, order = table(made), rng.permutation(200)
    one, two, other = (
        resample.independent(Source({"train": p, "test": p}, ("a", "b")), ("f",), seed).splits
        for p, seed in ((part, 0), (part.take(order), 0), (part, 1))
    )
    assert one["train"].items.names.tolist() == two["train"].items.names.tolist()
    assert set(one["test"].items.names) == set(two["test"].items.names) != set(other["test"].items.names)


def test_two_factors_are_made_independent_together():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 4000).astype(np.int32)
    agree = rng.random(4000) < 0.7
    one, two = np.where(agree, label, 1 - label), np.where(agree, 1 - label, label)  # the label is known from either
    part = Examples(label, np.arange(4000, dtype=np.int32), {"one": one, "two": two}, lambda rows: rows)
    both = resample.independent(Source({"train": part, "test": part}, ("a", "b")), ("one", "two"), 0).splits["test"]
    joint = np.bincount(4 * both.labels + 2 * both.factors["one"] + both.factors["two"], minlength=8).reshape(2, 4)
    assert np.abs(joint - np.outer(joint.sum(1), joint.sum(0)) / joint.sum()).max() < 2


def test_an_empty_cell_is_named():
    full, lacking = table(EVERY * 4), table([cell for cell in EVERY * 4 if cell != (1, 2)])
    values = {"f": ("land", "sea", "air")}
    for splits, split in (({"train": lacking, "test": full}, "train"), ({"train": full, "test": lacking}, "test")):
        with pytest.raises(resample.EmptyCell, match=f"no {split} item is 'b' with f=air"):
            resample.independent(Source(splits, ("a", "b"), values), ("f",), 0)
    error = resample.EmptyCell("randomise", "f", "x").under("components.c")
    assert isinstance(error, resample.EmptyCell) and error.key == "components.c.randomise"


def test_a_value_that_train_does_not_have_is_dropped():
    part = table([*EVERY * 4, (0, 3), (1, 3)])
    resampled = resample.independent(Source({"train": table(EVERY * 4), "test": part}, ("a", "b")), ("f",), 0)
    assert resampled.splits["test"].factors["f"].max() == 2


@pytest.fixture
def birds(tmp_path):
    """Images of one gray value; the place agrees with the label for eight of ten."""
    lines = ["path,split,label,place"]
    for i in range(200):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i:03}.png")
        label = i % 2
        place = label if i % 10 > 1 else 1 - label
        lines.append(
            f"{i:03}.png,{'test' if i >= 160 else 'train'},{('land', 'water')[label]},{('forest', 'sea')[place]}"
        )
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    return {"name": "folder", "path": str(tmp_path)}


DATA = DataSpec(image_size=8, probe=40, val=40)


def load(spec, data=DATA, **fields):
    return component.load("c", ComponentSpec(source=spec, **fields), data)


def test_a_column_of_real_images_is_randomised(birds):
    kept, changed = load(birds), load(birds, randomise=("place",))
    for split, part in changed.splits.items():
        assert kept.fingerprints[split] != changed.fingerprints[split]
        assert set(part.items.names) <= set(kept.splits[split].items.names)
        values = part.fetch(np.arange(len(part)))[:, 0, 0, 0]
        np.testing.assert_array_equal(values % 2, part.labels)
    for split in ("train", "test"):
        agree = [np.mean(c.splits[split].factors["place"] == c.splits[split].labels) for c in (kept, changed)]
        assert agree[0] > 0.75 and agree[1] == pytest.approx(0.5, abs=0.05)
    assert len(changed.splits["train"]) == 80 and 12 <= len(changed.splits["test"]) <= 16
    on_train = load(birds, dataclasses.replace(DATA, probe_split="train"), randomise=("place",)).splits
    np.testing.assert_array_equal(on_train["probe"].ids, on_train["train"].ids[:40])


def test_mistakes_are_named(birds):
    with pytest.raises(UserError, match="components.c.randomise='colour'.*here: place"):
        load(birds, randomise=("colour",))
    with pytest.raises(resample.EmptyCell, match="components.c.randomise='class'"):
        load(birds, randomise=("class",), transforms={"labels": {"map": {"land": 1, "water": 0}}})
    with pytest.raises(UserError, match="randomise"):
        load({"name": "gaussian"}, DataSpec(train=9, probe=9, val=9, test=9), randomise=("colour",))
