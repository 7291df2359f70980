"""SIGKILL, SIGTERM and SIGINT at random moments, restart, and the same bits in the end.

python tests/kill_test.py 50 [STUDY ...]    # by hand: so many over three studies, and one by two processes, as tables
"""

import collections
import dataclasses
import functools
import os
import pathlib
import random
import signal
import socket
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
    """One signal, at what it struck, and how the processes ended, the struck one first (none: it had ended before)."""

    moment: str
    signal: str
    codes: tuple[int, ...]


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


def start(workdir, study, processes=1):
    """The processes that do the study together."""
    command = [sys.executable, "-m", "bottleneck.main", f"--config={CONFIG}", f"--workdir={workdir}", *study]
    pipes = dict(stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if processes == 1:
        return [subprocess.Popen(command, **pipes)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    together = (f"--coordinator={address}", f"--processes={processes}")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    return [
        subprocess.Popen([*command, *together, f"--process={i}"], env=environment, **pipes) for i in range(processes)
    ]


def finish(workdir, study, processes=1):
    for child in start(workdir, study, processes):
        errors = child.communicate(timeout=3600)[1]
        assert child.returncode == 0, errors


def strike(workdir, study, moment, number, kind, rng, processes=1) -> Strike:
    """Starts the study and sends `kind` to one process just after the count of `moment` has grown by `number`."""
    count = functools.partial(saves, seen=set()) if moment == "saving" else MOMENTS[moment]
    goal, children = count(workdir) + number, start(workdir, study, processes)
    while all(child.poll() is None for child in children) and count(workdir) < goal:
        time.sleep(0.002)
    time.sleep(rng.random() * 0.02)
    children.sort(key=lambda child: rng.random())
    struck = children[0].poll() is None
    if struck:
        os.kill(children[0].pid, kind)
    errors = [child.communicate(timeout=1800)[1] for child in children]
    codes = tuple(child.returncode for child in children)
    at_its_end = codes[0] in (0, -kind) and (workdir / "report.html").exists()  # of which there is none before
    if struck and not at_its_end:
        assert codes[0] == (-signal.SIGKILL if kind == signal.SIGKILL else UNFINISHED), (moment, kind, codes, errors)
        assert set(codes[1:]) <= {UNFINISHED}, (moment, kind, codes, errors)
        assert kind == signal.SIGKILL or "Traceback" not in "".join(errors), errors
    return Strike(moment, kind.name, codes if struck else ())


def snapshot(workdir):
    """Every kept parameter and every row of a work directory, as bytes."""
    held = {}
    for path in sorted(workdir.glob("runs/*/checkpoints/*")):
        for where, leaf in jax.tree_util.tree_leaves_with_path(checkpoint.load(path)):
            held[f"{path.relative_to(workdir)}{jax.tree_util.keystr(where)}"] = np.asarray(leaf).tobytes()
    for path in (workdir / "results.jsonl", *sorted(workdir.glob("rows/*.jsonl"))):
        held[str(path.relative_to(workdir))] = path.read_bytes()
    return held


def trial(directory, study, count, seed=0, processes=1) -> list[Strike]:
    """Compares a study that was left alone with one that was struck `count` times, by every signal in turn."""
    rng = random.Random(seed)
    finish(directory / "whole", study, processes)
    expected = snapshot(directory / "whole")
    total = {name: 20 if name == "saving" else grown(directory / "whole") for name, grown in MOMENTS.items()}
    # In the order in which a study passes through them, at about equal distances in between.
    moments = sorted((list(MOMENTS) * count)[-count % len(MOMENTS) :][:count], key=list(MOMENTS).index)
    strikes = []
    for index, moment in enumerate(moments):
        number = rng.randint(1, max(1, total[moment] // (moments.count(moment) + 1)))
        kind = SIGNALS[index % len(SIGNALS)]
        strikes.append(strike(directory / "struck", study, moment, number, kind, rng, processes))
    finish(directory / "struck", study, processes)
    held = snapshot(directory / "struck")
    assert held.keys() == expected.keys()
    assert [key for key in expected if held[key] != expected[key]] == []
    assert not list((directory / "struck").glob("runs/*/resume")) and not saves(directory / "struck", set())
    assert not list((directory / "struck").glob("locks/*-of-*"))
    return strikes


def hits(strikes) -> int:
    return sum(each.codes[:1] not in ((), (0,)) for each in strikes)


@pytest.mark.slow
def test_one_signal_of_each_kind_and_the_same_bits(tmp_path):
    strikes = trial(tmp_path, STUDY, 3)
    assert {each.signal for each in strikes} == {kind.name for kind in SIGNALS} and hits(strikes) == 3


@pytest.mark.slow
@pytest.mark.parametrize("study", [STUDY, CONVOLUTIONAL, CURES], ids=["mlp", "resnet", "cures"])
def test_fifteen_signals_and_the_same_bits(tmp_path, study):
    assert hits(trial(tmp_path, study, 15, seed=1)) >= 12


@pytest.mark.slow
def test_signals_to_one_of_two_processes_and_the_same_bits(tmp_path):
    assert hits(trial(tmp_path, STUDY, 6, seed=3, processes=2)) >= 4


def table(strikes: dict[str, list[Strike]]) -> str:
    """Study by moment and signal: the exit codes of the processes, the struck one first, and how often, as Markdown."""
    lines = ["| study | struck while |" + "".join(f" {kind.name} |" for kind in SIGNALS), "|---" * 5 + "|"]
    for name, made in strikes.items():
        for moment in MOMENTS:
            cells = []
            for kind in SIGNALS:
                of = [each.codes for each in made if (each.moment, each.signal) == (moment, kind.name)]
                counted = collections.Counter(" & ".join(map(str, codes)) or "had ended" for codes in of)
                cells.append(", ".join(f"{count} x {codes}" for codes, count in sorted(counted.items())))
            if any(cells):
                lines.append(f"| {name} | {moment} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    wanted, *only = sys.argv[1:] or ("50",)
    part = int(wanted) // 4
    asked = {"mlp": (STUDY, int(wanted) - 3 * part, 1), "two processes": (STUDY, part, 2)}
    asked |= {"cures": (CURES, part, 1), "resnet": (CONVOLUTIONAL, part, 1)}
    with tempfile.TemporaryDirectory() as made:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{made}/compiled")
        for name, (study, count, processes) in asked.items():
            if not only or name in only:
                struck = trial(pathlib.Path(made) / name, study, count, 2, processes)
                print(f"\n{name}: {count} signals, bitwise the same kept parameters and rows in the end\n")
                print(table({name: struck}), flush=True)
