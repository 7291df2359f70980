"""What the README promises in code is code that runs."""

import dataclasses
import pathlib
import re
import textwrap

import numpy as np

import bottleneck
from bottleneck import arms
from bottleneck import config as configs
from bottleneck import study as studies
from bottleneck.notebook import Results

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_quick_start_is_one_block_of_two_lines():
    (block,) = blocks("bash")
    assert len(block.strip().splitlines()) == 2
    assert README.index("## Quick start") < README.index(block) < README.index("## What the output means")


def test_the_annotated_study_is_a_valid_one(tmp_path):
    _, cures, block = blocks("python")
    (tmp_path / "pooled.py").write_text(block)
    config = configs.load(str(tmp_path / "pooled.py"))
    study = studies.spec(config)
    assert set(study.components) == set(study.mixture.weights) and study.mixture.competitor == "tint"
    with config.unlocked():
        exec(cures, {"config": config})
    assert {"soft5", "bonsai2", "cat5", "snapshots"} <= set(studies.spec(config).represented)


def test_what_a_notebook_asks_of_results_is_there():
    notebook, _, _ = blocks("python")
    assert {"run", "load"} == set(re.findall(r"bottleneck\.(\w+)\(", notebook))
    asked = re.findall(r"[ s]\.([a-z]+)\b", notebook)
    assert {"verdicts", "tables", "figures", "frame"} <= set(asked)
    known = {*dir(Results), *(field.name for field in dataclasses.fields(Results))}
    assert not [name for name in asked if name not in known]


def test_the_loop_that_saves_features_saves_what_is_read(tiny, tmp_path, monkeypatch):
    (loop,) = re.findall(
        r"^( *)(for name, component in .*?\n)\1(config\.sources = .*?)\n", README, re.DOTALL | re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    config, shown = tiny(), []

    def my_network(images):
        shown.append(images)
        return images.reshape(len(images), -1)[:, :5].astype(np.float32) / 255

    with config.unlocked():
        exec(
            textwrap.dedent(loop[0] + loop[1]) + loop[2],
            dict(np=np, bottleneck=bottleneck, config=config, my_network=my_network),
        )
    assert {(images.dtype.name, images.ndim, images.shape[-1]) for images in shown} == {("uint8", 4, 3)}
    assert studies.spec(config).sources["clip"].arrays == ("clip",)
    for component in bottleneck.components(config).values():
        assert bottleneck.features.foreign.load("clip", component)["test"].shape == (len(component.splits["test"]), 5)


def test_measures_are_reached_from_the_package():
    (sentence,) = re.findall(r"every measure is a function of arrays: (.*)", README)
    for name in re.findall(r"`(?:bottleneck\.analysis\.)?(\w+\.\w+)`", sentence):
        module, function = name.split(".")
        assert callable(getattr(getattr(bottleneck.analysis, module), function)), name


def test_named_files_exist():
    root = pathlib.Path(__file__).parents[1]
    for name in re.findall(r"(?:configs|bottleneck|docs)/[\w/]+\.(?:py|png)", README):
        assert (root / name).is_file(), name


def test_the_table_of_arms_is_that_of_the_code():
    for arm, trained, purpose in arms.table():
        assert f"| `{arm}` | {trained} | {purpose} |" in README, arm
