"""Random-resized crops of stored images: streamed alone, the same after a kill, and never of what is evaluated."""

import numpy as np
import pytest
from PIL import Image

from bottleneck import study
from bottleneck.data import component, content, stream
from bottleneck.data.component import ComponentSpec
from bottleneck.errors import UserError
from bottleneck.main import main
from bottleneck.planning import plan as plans
from bottleneck.training.feed import Feed
from bottleneck.training.loop import program
from tests.data.batches_test import gone
from tests.training.loop_test import Killed, stop_after

CROPPED = {"train.feed": "stream", "augment.resized_crop": "(0.1, 0.6)"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of 30 training and 20 test JPEGs of 40 x 30 pixels, half of whose size is decoded for 8 x 8."""
    place, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 20)):
        for name in "ab":
            (place / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / split / name / f"{i:02}.jpg")
    return place


@pytest.fixture
def cropped(episode, folder):
    """cropped(overrides): an episode on two components of that folder."""

    def make(overrides=CROPPED, **more):
        made = episode({**overrides, **more})
        data = made.data.__class__(image_size=8, probe=10, val=10)
        source = ComponentSpec({"name": "folder", "path": str(folder)})
        made.components = tuple(component.load(name, source, data) for name in made.run.components)
        return made

    return make


def test_resume_is_bitwise(cropped, tmp_path, same):
    short = {"train.steps": "5", "train.save_every": "3"}
    made = cropped(**short)
    whole = made.train(tmp_path / "whole")
    with pytest.raises(Killed):
        made.train(tmp_path / "killed", on_progress=stop_after(4))
    assert gone()  # though the error still holds all that was there
    same(made.train(tmp_path / "killed"), whole)
    plain = cropped({"train.feed": "stream"}, **short).train(tmp_path / "plain")
    assert (plain[5]["params"]["layer1"]["kernel"] != whole[5]["params"]["layer1"]["kernel"]).any()


def test_streamed_jpegs_give_the_same_bits_as_resident_ones(cropped, tmp_path, same, monkeypatch):
    monkeypatch.setattr(component, "HELD_BYTES", 0)
    feeds, short = ("resident", "stream"), {"train.steps": "5", "augment.flip": "True"}
    same(*(cropped({"train.feed": feed, **short}).train(tmp_path / feed) for feed in feeds))


def test_statistics_for_evaluation_are_of_whole_images(cropped, monkeypatch):
    made, asked, batches = cropped(), [], stream.batches
    monkeypatch.setattr(stream, "batches", lambda *given, area, **more: asked.append(area) or batches(*given, **more))
    feed = Feed([made.run], program(made.run, made.mesh, 1), made.components, made.data)
    next(iter(feed._images(20, 0)))
    assert asked == [None]


def test_images_on_the_device_cannot_be_cut(cropped, tmp_path):
    with pytest.raises(UserError) as caught:
        cropped(**{"train.feed": "resident"}).train(tmp_path)
    assert caught.value.key == "train.feed" and "stream" in caught.value.expected


@pytest.mark.parametrize(
    ("changes", "key"),
    [({}, "augment.resized_crop"), ({"train.feed": "resident", "source": "folder"}, "train.feed")],
)
def test_a_study_refuses_it_before_anything_is_written(changes, key, tiny, folder):
    changes = {**CROPPED, "augment.resized_crop": "0.1,0.6", "mixture.label_space": "disjoint", **changes}
    if changes.pop("source", None):
        for name in ("first", "second"):
            changes[f"components.{name}.source"] = str({"name": "folder", "path": str(folder)})
        changes |= {"data.probe": "10", "data.val": "10", "data.train": "30"}
    with pytest.raises(UserError) as caught:
        plans.plan(study.spec(tiny(changes)))
    assert caught.value.key == key and "\n" not in str(caught.value)


def test_an_image_that_breaks_while_training_is_one_line(folder, tmp_path, capsys, monkeypatch):
    """Damage behind the header, which is all that is looked at before where there are many images."""
    monkeypatch.setattr(content, "DECODE_BYTES", 0)
    monkeypatch.setattr(component, "HELD_BYTES", 0)
    for path in sorted((folder / "train").glob("*/*")):
        path.write_bytes(path.read_bytes()[:-40])
    source = [
        f"--config.components.{name}.source={dict(name='folder', path=str(folder))}" for name in ("first", "second")
    ]
    sizes = ["--config.data.probe=10", "--config.data.val=10", "--config.data.train=30", "--config.train.feed=stream"]
    argv = ["main", "--config=tests/tiny.py", f"--workdir={tmp_path}", "--stage=pretrain", *source, *sizes]
    assert main([*argv, "--config.augment.resized_crop=0.1,0.6"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: components.first.source.path=") and "readable image" in said[-1]
    assert sum("error" in line for line in said) == 1
