"""What the README promises in code is code that runs."""

import dataclasses
import pathlib
import re

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


def test_named_files_exist():
    root = pathlib.Path(__file__).parents[1]
    for name in re.findall(r"(?:configs|bottleneck|docs)/[\w/]+\.(?:py|png)", README):
        assert (root / name).is_file(), name


def test_the_table_of_arms_is_that_of_the_code():
    for arm, trained, purpose in arms.table():
        assert f"| `{arm}` | {trained} | {purpose} |" in README, arm
