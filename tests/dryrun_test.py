"""bottleneck/dryrun.py: what a plan is said to cost is what it costs."""

import pathlib

import numpy as np

from bottleneck import config as configs
from bottleneck import dryrun, execute, study, sweep
from bottleneck.features.extract import Extract
from bottleneck.features.source import Kept, Pixels
from bottleneck.store import Store

TINY = pathlib.Path(__file__).with_name("tiny.py")


def test_bytes_of_features_are_those_on_disk_and_hours_at_a_speed(tmp_path, capsys):
    config = configs.load(str(TINY), (), study.StudySpec, study.spec_of)
    plan = sweep.plan(config)
    said = dryrun.describe(plan, tmp_path, speed=16 / 3.6)
    steps = 2 * 3 * 20  # seeds, runs, steps, of 16 images each
    assert f"left to train: {steps:,} steps, {steps / 1000:.2g} hours at 4.44444 images a second" in said
    assert execute.study(config, tmp_path) == execute.DONE
    passes = plan.graph.of(Extract)
    assert {type(task.source) for task in passes} == {Kept, Pixels}
    held = {task: list(Store(tmp_path).features_path(task.key).glob("*.npy")) for task in passes}
    assert passes and all(held.values())
    for task, files in held.items():
        assert dryrun.feature_bytes(task) == sum(np.load(file).nbytes for file in files)
    total = sum(map(dryrun.feature_bytes, passes))
    assert f"({total / 2**20:,.1f} MiB on disk)" in said
