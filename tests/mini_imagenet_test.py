"""A study of streamed photographs by the local launcher: two processes, pre-empted, resumed, and the same report."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from bottleneck import rows as row_files
from tests import photographs

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = pathlib.Path(__file__).with_name("mini_imagenet.py")
UNFINISHED = 3
RESUMED = "runs/*/resume/*/manifest.json"


def launch(workdir, data, arg="", processes=2) -> subprocess.Popen:
    """The study, by launch/local.sh, a device a process."""
    given = ",".join(filter(None, (f"data={data}", arg)))
    command = ["bash", ROOT / "launch" / "local.sh", f"--processes={processes}", "--"]
    command += [f"--config={CONFIG}:{given}", f"--workdir={workdir}"]
    environment = {**os.environ, "PYTHON": sys.executable, "JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(launched) -> tuple[int, str]:
    out, errors = launched.communicate(timeout=900)
    return launched.returncode, out + errors


def preempted(workdir, data, arg, points: int) -> None:
    """Starts the study and ends the launcher by SIGTERM once so many new resume points have been seen."""
    before, seen = set(workdir.glob(RESUMED)), set()
    launched = launch(workdir, data, arg)
    while len(seen) < points and launched.poll() is None:
        seen |= set(workdir.glob(RESUMED)) - before
        time.sleep(0.005)
    launched.send_signal(signal.SIGTERM)
    code, said = ended(launched)
    assert code == UNFINISHED and "stopped: saved; the same command goes on" in said, said


def outcome(workdir) -> dict[str, bytes]:
    return {name: (workdir / name).read_bytes() for name in ("results.jsonl", "report.html")}


def check(place, data, arg, interruptions):
    code, said = ended(launch(place / "plain", data, arg))
    assert code == 0 and "report:" in said, said
    for points in interruptions:
        preempted(place / "struck", data, arg, points)
    assert list((place / "struck").glob("runs/*/resume/*")) and not (place / "struck" / "report.html").exists()
    code, said = ended(launch(place / "struck", data, arg))
    assert code == 0 and "report:" in said, said
    assert outcome(place / "struck") == outcome(place / "plain")
    read = row_files.select(row_files.read(place / "plain" / "results.jsonl"), metric="accuracy", arm="mixture")
    assert {row["target"] for row in read} == {"plain", "tinted"}


def test_preempted_and_resumed_gives_the_same_report(tmp_path):
    """As much of it as time allows: 20 classes of eight training images."""
    data = photographs.write(tmp_path / "data", train=8, test=2)
    check(tmp_path, data, "probe=40,val=20,steps=30", (2,))


@pytest.mark.slow
def test_preempted_again_and_again(tmp_path):
    data = photographs.write(tmp_path / "data", train=40, test=10)
    arg = "model=resnet,direct,seeds=2,size=64,steps=120,probe=200,val=100"
    check(tmp_path, data, arg, (2, 9, 3, 12))
