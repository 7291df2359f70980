"""The task of one pass: its key is what it reads on whose items, whatever layers are wanted."""

import dataclasses

from bottleneck.data import component as components
from bottleneck.data.component import ComponentSpec
from bottleneck.features import extract
from bottleneck.features.source import Member, Pixels
from bottleneck.store import Store


def test_layers_are_no_part_of_the_key_and_every_one_is_an_output(network, target):
    source, _ = network()
    few, many = (extract.Extract(source, target, layers) for layers in (("features",), ("features", "layer1")))
    assert few.key == many.key and few == many
    assert many.makes == tuple(f"features/{many.key}:{layer}" for layer in ("features", "layer1"))
    assert extract.output(source, "layer1", target) in many.makes
    assert extract.of_member(Member(source, "layer1"), target) == extract.output(source, "layer1", target)
    assert many.needs == source.needs and not extract.Extract(Pixels(), target, ("features",)).needs


def test_the_key_is_the_source_and_what_the_items_are(network, target):
    from tests.features.conftest import DATA

    source, _ = network()
    spec = ComponentSpec({"name": "factors", "reliability": {"colour": 1.0}})
    renamed = dataclasses.replace(source, name="anything")
    assert extract.key(renamed, target) == extract.key(source, target)
    assert extract.key(source, dataclasses.replace(target, name="second")) == extract.key(source, target)
    more_training = components.load("first", spec, dataclasses.replace(DATA, train=40))
    assert extract.key(source, more_training) == extract.key(source, target)  # which no pass reads
    fewer_tests = components.load("first", spec, dataclasses.replace(DATA, test=6))
    others = (extract.key(source, fewer_tests), extract.key(dataclasses.replace(source, step=0), target))
    assert len({extract.key(source, target), *others}) == 3


def test_a_pass_leaves_what_it_says_it_makes(target, tmp_path):
    task, store = extract.Extract(Pixels(), target, ("features",)), Store(tmp_path)
    assert not task.done(store)
    task.run(store)
    assert task.done(store) and Store(tmp_path).features(Pixels(), "features", target)["test"].shape == (7, 192)
