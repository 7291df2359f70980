"""SIGKILL at random moments, restart, and the same bits in the end.

python tests/kill_test.py 30        # by hand, with more kills
"""

import functools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import pytest

from bottleneck import checkpoint

CONFIG = pathlib.Path(__file__).with_name("tiny.py")
STUDY = (
    "--config.train.steps=60",
    "--config.train.save_every=5",
    "--config.keep=1/2",
    "--config.analysis.halvings=2",
    "--config.analysis.kinds=ladder,steps,seeds,cka,relatedness",
)
CONVOLUTIONAL = (
    *STUDY,
    "--config.train.steps=15",
    "--config.train.save_every=2",
    "--config.model={'name': 'resnet', 'width': 0.25}",
    "--config.optimizer={'name': 'schedule_free', 'lr': 0.01}",
    "--config.arms=mixture,direct,matched,heads",
    "--config.probe.protocols=head,linear_probe,linear_probe_bn,k_shot,probe_finetune",
    "--config.probe.finetune.steps=6",
)


def lines(workdir):
    return sum(path.read_bytes().count(b"\n") for path in workdir.glob("runs/*/metrics.jsonl"))


def saves(workdir, seen):
    """Checkpoints seen while they were being written."""
    folders = (p for pattern in ("resume/*", "checkpoints/*") for p in workdir.glob(f"runs/*/{pattern}") if p.is_dir())
    seen.update(str(p) for p in folders if not checkpoint.is_sealed(p))
    return len(seen)


def extracted(workdir):
    return len(list(workdir.glob("features/*/*.npy")))


def probed(workdir):
    return len(list(workdir.glob("rows/[!.]*")))


# What is counted while a study runs: a kill strikes when the count has grown by a random number.
MOMENTS = {"training": lines, "saving": saves, "extracting": extracted, "probing": probed}


def start(workdir, study):
    command = [sys.executable, "-m", "bottleneck.main", f"--config={CONFIG}", f"--workdir={workdir}", *study]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(workdir, study):
    child = start(workdir, study)
    errors = child.communicate(timeout=600)[1]
    assert child.returncode == 0, errors


def kill_at(workdir, study, count, number, rng):
    """Starts the study and kills it just after `count` has grown by `number`; True if it was still running."""
    count = functools.partial(count, seen=set()) if count is saves else count
    goal, child = count(workdir) + number, start(workdir, study)
    while child.poll() is None and count(workdir) < goal:
        time.sleep(0.001)
    time.sleep(rng.random() * 0.02)
    struck = child.poll() is None
    if struck:
        os.kill(child.pid, signal.SIGKILL)
    errors = child.communicate(timeout=60)[1]
    assert child.returncode == (-signal.SIGKILL if struck else 0), errors
    return struck


def snapshot(workdir):
    """Every kept parameter and every row of a work directory, as bytes."""
    found = {}
    for path in sorted(workdir.glob("runs/*/checkpoints/*")):
        for where, leaf in jax.tree_util.tree_leaves_with_path(checkpoint.load(path)):
            found[f"{path.relative_to(workdir)}{jax.tree_util.keystr(where)}"] = np.asarray(leaf).tobytes()
    for path in (workdir / "results.jsonl", *sorted(workdir.glob("rows/*.jsonl"))):
        found[str(path.relative_to(workdir))] = path.read_bytes()
    return found


def trial(directory, study, kills, seed=0):
    """Compares an unkilled study with one killed `kills` times; returns the moments at which it was struck."""
    rng, struck = random.Random(seed), []
    finish(directory / "whole", study)
    expected = snapshot(directory / "whole")
    total = {name: 20 if count is saves else count(directory / "whole") for name, count in MOMENTS.items()}
    # In the order in which a study passes through them, at about equal distances in between.
    names = sorted((list(MOMENTS) * kills)[-kills % len(MOMENTS) :][:kills], key=list(MOMENTS).index)
    for name in names:
        number = rng.randint(1, total[name] // (names.count(name) + 1))
        if kill_at(directory / "killed", study, MOMENTS[name], number, rng):
            struck.append(name)
    finish(directory / "killed", study)
    found = snapshot(directory / "killed")
    assert found.keys() == expected.keys()
    assert [k for k in expected if found[k] != expected[k]] == []
    assert not list((directory / "killed").glob("runs/*/resume")) and not saves(directory / "killed", set())
    return struck


def test_killed_and_restarted_study_has_the_same_bits(tmp_path):
    assert len(trial(tmp_path, STUDY, kills=3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("study", [STUDY, CONVOLUTIONAL], ids=["mlp", "resnet"])
def test_ten_kills(tmp_path, study):
    assert len(trial(tmp_path, study, kills=10, seed=1)) >= 8


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for name, arguments in (("mlp", STUDY), ("resnet", CONVOLUTIONAL)):
            print(name, trial(pathlib.Path(made) / name, arguments, kills=int(sys.argv[1]), seed=time.time_ns()))
