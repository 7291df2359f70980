import dataclasses

import numpy as np
import pytest

from bottleneck import config
from bottleneck.data import component, factors, source
from bottleneck.data.component import ComponentSpec
from bottleneck.data.source import SPLITS, DataSpec, Examples, Source
from bottleneck.errors import UserError

DATA = DataSpec(image_size=8, train=40, probe=12, val=8, test=16)


def load(data=DATA, **fields):
    fields.setdefault("source", {"name": "factors", "reliability": {"shape": 1.0}})
    return component.load("c", config.build(ComponentSpec, fields), data)


def pools(counts=(50, 30, 20), test=(5, 5, 5), val=None):
    splits, first = {}, 0
    for split, sizes in (("train", counts), ("test", test), ("val", val)):
        if sizes is not None:
            labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
            ids = np.arange(first, first + len(labels), dtype=np.int32)
            first += len(labels)
            factors = {"f": labels.copy()}
            splits[split] = Examples(labels, ids, factors, lambda rows, ids=ids: ids[rows][:, None])
    return Source(splits, ("a", "b", "c"))


def test_component():
    loaded = load()
    assert [len(loaded.splits[split]) for split in SPLITS] == [40, 12, 8, 16]
    assert loaded.num_classes == loaded.output_dim == 2 and loaded.file == ""
    assert loaded.splits["probe"].fetch(np.arange(3)).shape == (3, 8, 8, 3)


def changed(a, b):
    """The splits whose fingerprints differ."""
    return {split for split in SPLITS if a.fingerprints[split] != b.fingerprints[split]}


def test_fingerprints_are_what_makes_the_data():
    known, every = load(), set(SPLITS)
    assert not changed(load(), known) and len(set(known.fingerprints.values())) == 4
    assert changed(load(source={"name": "factors", "reliability": {"shape": 0.9}}), known) == every
    assert changed(load(sizes={"train": 41}), known) == {"train"}
    assert changed(load(dataclasses.replace(DATA, test=17)), known) == {"test"}
    assert changed(load(randomise=["shape"]), known) == every
    assert changed(load(transforms={"blur": {"radius": 1}}), known) == every
    assert changed(load(dataclasses.replace(DATA, image_size=12)), known) == every
    assert changed(load(dataclasses.replace(DATA, split_seed=1)), known) == every
    assert not changed(load(dataclasses.replace(DATA, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))), known)


def test_a_default_that_is_written_out_changes_no_fingerprint():
    fields = {"reliability": {"shape": 1.0}}
    written = {f.name: getattr(factors.FactorsSpec(**fields), f.name) for f in dataclasses.fields(factors.FactorsSpec)}
    assert not changed(load(source={"name": "factors", **written}), load())
    short, long = {"reliability": 0.9}, {"name": "tint", "reliability": 0.9, "strength": 0.3}
    assert not changed(load(transforms={"tint": short}), load(transforms={"tint": long}))
    partner = {"name": "factors", "seed": 3}
    one = {"source": partner, "transforms": {"tint": short}}
    two = {"source": {**partner, "noise": 0.08, "values": 2}, "announces": "both", "transforms": {"tint": long}}
    assert not changed(load(transforms={"dominoes": one}), load(transforms={"dominoes": two}))
    other = {**one, "source": {**partner, "noise": 0.07}}
    assert changed(load(transforms={"dominoes": one}), load(transforms={"dominoes": other})) == set(SPLITS)


def test_vectors_have_no_image_size():
    one, two = (load(dataclasses.replace(DATA, image_size=size), source={"name": "gaussian"}) for size in (8, 9))
    assert not changed(one, two)


def test_the_same_specs_are_one_object():
    one, two = load(), load(source={"name": "factors", "reliability": {"shape": 1.0}, "values": 2})
    assert one is two and load(sizes={"train": 41}) is not one


def test_order_of_transforms_is_part_of_the_fingerprint():
    one = {"blur": {"radius": 1}, "rotate": {"degrees": 5}}
    other = dict(reversed(one.items()))
    assert changed(load(transforms=one), load(transforms=other)) == set(SPLITS)


@pytest.mark.parametrize(
    "fields, key",
    [
        ({"source": {"name": "nope"}}, "components.c.source.name"),
        ({"source": {}}, "components.c.source.name"),
        ({"source": {"name": "factors", "colour": 1}}, "components.c.source.colour"),
        ({"source": {"name": "factors", "reliability": {"shape": "1"}}}, "components.c.source.reliability.shape"),
        ({"source": {"name": "factors", "values": 1}}, "components.c.source.values"),
        ({"randomise": ["hue"]}, "components.c.randomise"),
        ({"transforms": {"sharpen": {}}}, "components.c.transforms.sharpen"),
        ({"transforms": {"blur": {"radius": "x"}}}, "components.c.transforms.blur.radius"),
        ({"sizes": {"train": 0}}, "components.c.train"),
        (
            {"source": {"name": "gaussian"}, "transforms": {"random_labels": {}}},
            "components.c.transforms.random_labels",
        ),
    ],
)
def test_mistakes_are_named(fields, key):
    with pytest.raises(UserError) as caught:
        load(**fields)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


def test_sizes_of_unknown_splits():
    with pytest.raises(UserError, match="sizes.extra"):
        load(sizes={"extra": 1})


@pytest.mark.parametrize(
    "fields, key",
    [
        ({"image_size": 2}, "image_size"),
        ({"mean": (0.5,)}, "mean"),
        ({"std": (0.1, 0.0, 0.1)}, "std"),
        ({"probe": 0}, "probe"),
        ({"image_size": "32"}, "image_size"),
        ({"probe_split": "test"}, "probe_split"),
    ],
)
def test_study_wide_mistakes(fields, key):
    with pytest.raises(UserError) as caught:
        config.build(DataSpec, fields, "data")
    assert caught.value.key == f"data.{key}"


def test_hold_out_is_stratified_disjoint_and_keyed():
    data = DataSpec(probe=20, val=10, split_seed=3)
    splits = source.hold_out(pools(), data).splits
    ids = {split: splits[split].ids for split in SPLITS}
    assert len(np.unique(np.concatenate(list(ids.values())))) == 115
    assert np.bincount(splits["probe"].labels).tolist() == [10, 6, 4]
    assert np.bincount(splits["val"].labels).tolist() == [5, 3, 2]
    assert np.bincount(splits["train"].labels).tolist() == [35, 21, 14]
    for examples in splits.values():  # labels, factors and images stay together
        np.testing.assert_array_equal(examples.labels, examples.factors["f"])
        np.testing.assert_array_equal(examples.fetch(np.arange(len(examples)))[:, 0], examples.ids)
    again = source.hold_out(pools(), data).splits["probe"].ids
    np.testing.assert_array_equal(again, ids["probe"])
    other = source.hold_out(pools(), DataSpec(probe=20, val=10, split_seed=4)).splits["probe"].ids
    assert not np.array_equal(other, ids["probe"])


def test_caps():
    splits = source.hold_out(pools(), DataSpec(probe=20, val=10, train=35, test=6)).splits
    assert np.bincount(splits["train"].labels).tolist() == [18, 10, 7]
    assert np.bincount(splits["test"].labels).tolist() == [2, 2, 2]


def test_a_val_split_of_the_source_is_kept():
    splits = source.hold_out(pools(val=(2, 2, 2)), DataSpec(probe=20, val=3)).splits
    assert len(splits["train"]) == 80 and len(splits["val"]) == 3
    assert splits["val"].ids.min() >= 115


def test_classes_too_small_or_absent():
    with pytest.raises(UserError, match="class 'c' has 1 training items"):
        source.hold_out(pools(counts=(50, 30, 1)), DataSpec(probe=20, val=10))
    with pytest.raises(UserError, match="absent from train"):
        source.hold_out(pools(counts=(50, 30)), DataSpec(probe=20, val=10))
    with pytest.raises(UserError, match="sizes.probe"):
        source.hold_out(pools(), DataSpec(probe=100, val=10))


def test_probe_on_training_items():
    loaded = load(DataSpec(image_size=8, train=40, probe=12, val=8, test=16, probe_split="train"))
    train, probe = loaded.splits["train"], loaded.splits["probe"]
    np.testing.assert_array_equal(probe.ids, train.ids[:12])
    np.testing.assert_array_equal(probe.fetch(np.arange(12)), train.fetch(np.arange(12)))
    held_out = source.hold_out(pools(), DataSpec(probe=20, val=10, probe_split="train"))
    assert len(held_out.splits["train"]) == 90 and len(held_out.splits["probe"]) == 0


def test_small_splits_are_made_once(monkeypatch):
    calls = []
    examples = Examples(
        np.zeros(9, np.int32),
        np.arange(9, dtype=np.int32),
        {},
        lambda rows: calls.append(len(rows)) or rows[:, None].astype(np.uint8),
    )
    fetch = component._held(examples, "c").fetch
    for _ in range(3):
        np.testing.assert_array_equal(fetch(np.array([7, 2]))[:, 0], [7, 2])
    assert calls == [1, 9]
    monkeypatch.setattr(component, "HELD_BYTES", 8)
    fetch = component._held(examples, "c").fetch
    fetch(np.array([7, 2]))
    assert calls == [1, 9, 1, 2]
