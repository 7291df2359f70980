"""bottleneck/processes.py: several processes find each other, do one study together, and end together."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from bottleneck import processes
from bottleneck.errors import UserError
from bottleneck.processes import Place

CONFIG = pathlib.Path(__file__).with_name("tiny.py")


def place(coordinator=None, count=None, index=None, sharded=False):
    return processes.place(coordinator, count, index, sharded)


def cluster(monkeypatch, count):
    monkeypatch.setattr(processes, "_cluster", lambda: count)


def test_flags_say_where_a_process_is():
    assert place("host:1234", "4", "3") == Place("host:1234", 4, 3)
    assert place("host:1234", "4", "3", sharded=True) == Place("host:1234", 4, 3)
    assert place("[::1]:80", "1", "0") == Place("[::1]:80", 1, 0)


def test_without_flags_the_cluster_says_it(monkeypatch):
    cluster(monkeypatch, 8)
    assert place() == Place()
    assert place(sharded=True) is None and place(count="1") is None  # works alone
    cluster(monkeypatch, 1)
    assert place() is None


def test_slurm_is_recognised(monkeypatch):
    told = dict(JOB_ID="7", STEP_NODELIST="node[1-2]", NTASKS="2", PROCID="1", LOCALID="0")
    for name, text in told.items():
        monkeypatch.setenv(f"SLURM_{name}", text)
    assert place() == Place()
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert place() is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(coordinator="host:1"), "--processes, --process not"),
        (dict(coordinator="host:1", count="2"), "--process not"),
        (dict(count="2"), "--coordinator, --process not"),
        (dict(coordinator="host", count="2", index="0"), "HOST:PORT"),
        (dict(coordinator="host:1", count="two", index="0"), "--processes"),
        (dict(coordinator="host:1", count="2", index="2"), "0 to 1"),
    ],
)
def test_half_a_configuration_is_a_mistake(given, said):
    with pytest.raises(UserError, match=said):
        place(**given)


def test_a_cluster_that_cannot_be_read_is_a_mistake(monkeypatch):
    from jax._src.clusters import ClusterEnv

    class Broken:
        opt_in_only_method = False

        @staticmethod
        def is_env_present():
            raise RuntimeError("no permission\nat all")

    monkeypatch.setattr(ClusterEnv, "_cluster_types", [Broken])
    with pytest.raises(UserError, match=r"Broken.*no permission.*--processes=1"):
        place()


def test_how_long_processes_wait_for_each_other_can_be_said(monkeypatch):
    assert processes.joining() == processes.JOINING
    monkeypatch.setenv("BOTTLENECK_JOINING", "3600")
    assert "within 3600 seconds" in str(processes.unfound(Place("host:1", 2, 0)))
    monkeypatch.setenv("BOTTLENECK_JOINING", "an hour")
    with pytest.raises(UserError, match="BOTTLENECK_JOINING='an hour': expected a number of seconds"):
        processes.join(Place("host:1", 2, 0))


def port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def start(workdir, *overrides, count=2, indices=None, devices=1, others=None):
    """One process of a job for each of `indices`, all of them by default; `others`: the directory of all but the first
    of them."""
    address, children = f"localhost:{port()}", []
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    for index in range(count) if indices is None else indices:
        place = others if index and others else workdir
        command = [sys.executable, "-m", "bottleneck.main", f"--config={CONFIG}", f"--workdir={place}", *overrides]
        command += [f"--coordinator={address}", f"--processes={count}", f"--process={index}"]
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        children.append(subprocess.Popen(command, env=environment, **pipes))
    return children


def ended(child, timeout=300):
    out, errors = child.communicate(timeout=timeout)
    return child.returncode, out, errors


def rows(workdir):
    """What was found, without what times and places say."""
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]


def wait_for(workdir, pattern, timeout=120):
    until = time.monotonic() + timeout
    while not list(workdir.glob(pattern)):
        assert time.monotonic() < until, pattern
        time.sleep(0.05)


LONG = ("--config.train.steps=100000", "--config.train.save_every=40")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A study that one process with two devices carried out: two processes with one each do the same sums."""
    workdir = tmp_path_factory.mktemp("alone")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "bottleneck.main", f"--config={CONFIG}", f"--workdir={workdir}"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return workdir


def test_two_processes_do_a_study_together(alone, tmp_path):
    children = start(tmp_path)
    for (code, out, errors), first in zip(map(ended, children), (True, False), strict=True):
        assert code == 0, errors
        assert ("report:" in out) is first  # one of them speaks
    near(tmp_path, alone)
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
def test_each_process_trains_a_member_of_a_fleet(alone, tmp_path):
    for code, _, errors in map(ended, start(tmp_path, "--config.train.fleet=2")):
        assert code == 0, errors
    near(tmp_path, alone)
    recorded = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/provenance.json")]
    assert {(each["fleet"], each["processes"]) for each in recorded} == {("2 runs, vmapped", 2)}


def near(workdir, other):
    ours, theirs = rows(workdir), rows(other)
    for row, other in zip(ours, theirs, strict=True):
        assert row["metric"] == other["metric"] and row["target"] == other["target"]
        if isinstance(row["value"], float) and row["unit"] in ("bits", "points"):
            assert row["value"] == pytest.approx(other["value"], abs=0.05 if row["unit"] == "bits" else 2)


def test_a_signal_to_one_ends_both_and_they_go_on(tmp_path):
    children = start(tmp_path, *LONG, "--stage=pretrain")
    wait_for(tmp_path, "runs/*/resume/*/manifest.json")
    children[1].send_signal(signal.SIGTERM)
    for code, _, errors in map(ended, children):
        assert code == 3 and errors.splitlines()[-1] == "stopped: saved; the same command goes on", errors
    saved = max(int(p.parent.name) for p in tmp_path.glob("runs/*/resume/*/manifest.json"))
    again = start(tmp_path, *LONG, "--stage=pretrain")
    wait_for(tmp_path, f"runs/*/resume/{saved // 40 * 40 + 40}/manifest.json")
    for child in again:
        child.send_signal(signal.SIGINT)
    assert [code for code, _, _ in map(ended, again)] == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_peer_ends_the_other(tmp_path, dead):
    children = start(tmp_path, *LONG, "--stage=pretrain")
    wait_for(tmp_path, "runs/*/resume/*/manifest.json")
    killed = time.monotonic()
    children[dead].kill()
    code, _, errors = ended(children[1 - dead], timeout=90)
    assert code == 3 and errors.splitlines()[-1] == f"stopped: {processes.LOST}", errors
    assert time.monotonic() - killed < 60


@pytest.mark.slow
def test_a_process_that_is_alone_says_so_within_a_minute(tmp_path):
    (child,) = start(tmp_path, indices=[1])
    begun = time.monotonic()
    code, _, errors = ended(child, timeout=120)
    assert code == 2 and "find each other" in errors.splitlines()[-1] and "Traceback" not in errors, errors
    assert time.monotonic() - begun < 70 and not list(tmp_path.iterdir())


def test_directories_that_are_not_shared_are_refused_by_all_in_one_line(tmp_path):
    first, other = tmp_path / "first", tmp_path / "other"
    for (code, _, errors), place in zip(map(ended, start(first, others=other)), (first, other), strict=True):
        (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert code == 2 and line.startswith(f"error: --workdir='{place}': expected one directory for all 2"), errors
        assert "number 1 cannot see" in line and "Traceback" not in errors
    assert not list(first.iterdir()) and not other.exists()


class Client:
    """What the processes of a job tell each other."""

    def __init__(self):
        self.told = {}

    def key_value_set(self, key, value):
        self.told[key] = value

    def blocking_key_value_get(self, key, milliseconds):
        return self.told[key] if key in self.told else self.told[key.rpartition("/")[2]]


@pytest.fixture
def three(monkeypatch):
    """This process is the first of three; returns what makes the others say whether they see its file."""
    monkeypatch.setattr(processes, "count", lambda: 3)
    monkeypatch.setattr(processes, "index", lambda: 0)
    monkeypatch.setattr(processes, "primary", lambda action: action())
    monkeypatch.setattr(processes, "decided", lambda what: what)
    monkeypatch.setattr(processes, "SEEN", 0.3)
    told = Client()
    monkeypatch.setattr(processes, "client", lambda: told)
    return lambda *said: told.told.update({"1": said[0], "2": said[1]})


def test_all_see_a_directory_that_is_shared(three, tmp_path):
    three("sees", "sees")
    processes.shared(tmp_path / "new" / "study")
    assert not list((tmp_path / "new" / "study").iterdir())  # nothing of it is left


def test_who_does_not_see_the_directory_is_named(three, tmp_path):
    three("sees", "blind")
    with pytest.raises(UserError, match="--workdir=.*all 3 processes: number 2 cannot see"):
        processes.shared(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_may_appear_late(three, tmp_path, monkeypatch):
    assert not processes._appears(tmp_path / "token")
    monkeypatch.setattr(processes, "SEEN", 30)
    threading.Timer(0.3, (tmp_path / "token").touch).start()
    assert processes._appears(tmp_path / "token")


def test_a_mistake_is_said_by_each_of_them(tmp_path):
    children = start(tmp_path, "--config.train.batch=3")
    for code, _, errors in map(ended, children):
        assert code == 2 and "train.batch" in errors.splitlines()[-1], errors


def test_processes_beside_are_those_of_the_same_machine(monkeypatch):
    assert processes.beside() == 1
    names = ["node-1", "node-0", "node-1", "node-1"]

    def number(name):
        said = []
        monkeypatch.setattr(processes.platform, "node", lambda: name)
        monkeypatch.setattr(processes, "agreed", lambda values: said.append(values) or np.array([values]))
        processes.beside()
        return said[0]

    everyone = np.array([number(name) for name in names])
    assert everyone.max() < 2**31 and everyone.dtype.kind in "iu"
    monkeypatch.setattr(processes, "agreed", lambda values: everyone)
    for index, count in enumerate((3, 1, 3, 3)):
        monkeypatch.setattr(processes, "index", lambda index=index: index)
        assert processes.beside() == count
