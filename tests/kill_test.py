"""SIGKILL, SIGTERM and SIGINT at random moments, restart, and the same bits in the end.

python tests/kill_test.py 30        # by hand: so many over three studies, as a table
"""

import dataclasses
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
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
UNFINISHED = 3
STUDY = (
    "--config.train.steps=60",
    "--config.train.save_every=5",
    "--config.keep=1/2,",
    "--config.analysis.halvings=2",
    "--config.analysis.kinds=ladder,steps,seeds,cka,relatedness",
)
CONVOLUTIONAL = (
    *STUDY,
    "--config.train.steps=15",
    "--config.train.save_every=2",
    "--config.model={'name': 'resnet', 'width': 0.25}",
    "--config.optimizer={'name': 'schedule_free', 'lr': 0.01}",
    "--config.arms=mixture,direct,alone,heads",
    "--config.arms_for=all",
    "--config.probe.protocols=head,linear_probe,k_shot,released_probe,probe_finetune,two_stage",
    "--config.probe.arms=mixture,cat",
    "--config.probe.shots=1,4",
    "--config.probe.finetune.steps=6",
    "--config.probe.finetune.head_steps=5",
    "--config.probe.released.epochs=2",
    "--config.representations={'cat': {'members': 'mixture/*@last:features', 'n': 2}}",
)

CURES = (
    "--config.train.steps=30",
    "--config.train.save_every=5",
    "--config.recipes={'hard': {'teachers': 'mixture/*@last', 'n': 2}, 'diverse': {'rounds': 2},"
    " 'weighed': {'rounds': 3, 'rule': 'exponentiated'}}",
    "--config.representations={'cat2': {'members': 'mixture/*@last:features', 'n': 2}}",
    "--config.probe={'protocols': ('linear_probe', 'finetune', 'two_stage'), 'arms': ('cat2',),"
    " 'finetune': {'steps': 12, 'head_steps': 12}}",
)


@dataclasses.dataclass(frozen=True)
class Strike:
    """One signal, at what it struck, and how the process ended (None: it had ended before)."""

    moment: str
    signal: str
    code: int | None


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


# What is counted while a study runs: a signal strikes when the count has grown by a random number.
MOMENTS = {"training": lines, "saving": saves, "extracting": extracted, "probing": probed}


def start(workdir, study):
    command = [sys.executable, "-m", "bottleneck.main", f"--config={CONFIG}", f"--workdir={workdir}", *study]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(workdir, study):
    child = start(workdir, study)
    errors = child.communicate(timeout=900)[1]
    assert child.returncode == 0, errors


def strike(workdir, study, moment, number, kind, rng) -> Strike:
    """Starts the study and sends `kind` just after the count of `moment` has grown by `number`."""
    count = functools.partial(saves, seen=set()) if moment == "saving" else MOMENTS[moment]
    goal, child = count(workdir) + number, start(workdir, study)
    while child.poll() is None and count(workdir) < goal:
        time.sleep(0.002)
    time.sleep(rng.random() * 0.02)
    struck = child.poll() is None
    if struck:
        os.kill(child.pid, kind)
    errors = child.communicate(timeout=120)[1]
    code = child.returncode
    if struck and code != 0:  # 0: it was at its end
        assert code == (-signal.SIGKILL if kind == signal.SIGKILL else UNFINISHED), errors
        assert kind == signal.SIGKILL or "Traceback" not in errors, errors
    return Strike(moment, kind.name, code if struck else None)


def snapshot(workdir):
    """Every kept parameter and every row of a work directory, as bytes."""
    held = {}
    for path in sorted(workdir.glob("runs/*/checkpoints/*")):
        for where, leaf in jax.tree_util.tree_leaves_with_path(checkpoint.load(path)):
            held[f"{path.relative_to(workdir)}{jax.tree_util.keystr(where)}"] = np.asarray(leaf).tobytes()
    for path in (workdir / "results.jsonl", *sorted(workdir.glob("rows/*.jsonl"))):
        held[str(path.relative_to(workdir))] = path.read_bytes()
    return held


def trial(directory, study, count, seed=0) -> list[Strike]:
    """Compares a study that was left alone with one that was struck `count` times, by every signal in turn."""
    rng = random.Random(seed)
    finish(directory / "whole", study)
    expected = snapshot(directory / "whole")
    total = {name: 20 if name == "saving" else grown(directory / "whole") for name, grown in MOMENTS.items()}
    # In the order in which a study passes through them, at about equal distances in between.
    moments = sorted((list(MOMENTS) * count)[-count % len(MOMENTS) :][:count], key=list(MOMENTS).index)
    strikes = []
    for index, moment in enumerate(moments):
        number = rng.randint(1, max(1, total[moment] // (moments.count(moment) + 1)))
        strikes.append(strike(directory / "struck", study, moment, number, SIGNALS[index % len(SIGNALS)], rng))
    finish(directory / "struck", study)
    held = snapshot(directory / "struck")
    assert held.keys() == expected.keys()
    assert [key for key in expected if held[key] != expected[key]] == []
    assert not list((directory / "struck").glob("runs/*/resume")) and not saves(directory / "struck", set())
    assert not list((directory / "struck").glob("locks/*-of-*"))
    return strikes


def hits(strikes) -> int:
    return sum(each.code not in (None, 0) for each in strikes)


@pytest.mark.slow
def test_one_signal_of_each_kind_and_the_same_bits(tmp_path):
    strikes = trial(tmp_path, STUDY, 3)
    assert {each.signal for each in strikes} == {kind.name for kind in SIGNALS} and hits(strikes) == 3


@pytest.mark.slow
@pytest.mark.parametrize("study", [STUDY, CONVOLUTIONAL, CURES], ids=["mlp", "resnet", "cures"])
def test_fifteen_signals_and_the_same_bits(tmp_path, study):
    assert hits(trial(tmp_path, study, 15, seed=1)) >= 12


def table(strikes: dict[str, list[Strike]]) -> str:
    """Model, moment, signal and exit code of every strike, as Markdown."""
    head = "| # | model | moment | signal | exit code |\n|---|---|---|---|---|\n"
    each = [(model, strike) for model, made in strikes.items() for strike in made]
    return head + "\n".join(
        f"| {i} | {model} | {s.moment} | {s.signal} | {'had ended' if s.code is None else s.code} |"
        for i, (model, s) in enumerate(each, 1)
    )


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as made:
        third = wanted // 3
        each = {"mlp": (STUDY, wanted - 2 * third), "resnet": (CONVOLUTIONAL, third), "cures": (CURES, third)}
        print(table({m: trial(pathlib.Path(made) / m, s, n, seed=2) for m, (s, n) in each.items()}))
        print("\nbitwise the same kept parameters and rows in the end")
