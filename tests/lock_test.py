"""One writer for each shard: the second is refused in a line that names the first, and a killed one is no holder."""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from bottleneck import lock
from bottleneck.atomic import Full
from bottleneck.errors import UserError

CHILD = """
import pathlib, sys
from bottleneck import lock
with lock.hold(pathlib.Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(workdir, index=0, count=1):
    """Another process that holds the lock until the block ends."""
    command = [sys.executable, "-c", CHILD, str(workdir), str(index), str(count)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.communicate("\n", timeout=60)


def refused(workdir, shard=(0, 1)):
    """The line with which the lock is refused."""
    with pytest.raises(UserError) as error, lock.hold(workdir, shard):
        pass
    return str(error.value)


def files(workdir):
    return sorted(p.name for p in (workdir / "locks").iterdir() if p.name[0] != ".")


def test_a_second_process_on_the_same_shard_is_refused_in_a_line_that_names_the_first(tmp_path):
    with holder(tmp_path) as child:
        line = refused(tmp_path)
        assert line.startswith(f"workdir='{tmp_path}': expected no other process on this shard: it is held by")
        for part in (f"process {child.pid} on {socket.gethostname()}", "since 20", "shard 0/1", "-c"):
            assert part in line
        assert "\n" not in line
    with lock.hold(tmp_path):
        assert files(tmp_path) == ["0-of-1"]
    assert files(tmp_path) == []


def test_several_shards_of_one_number_are_welcome(tmp_path):
    with holder(tmp_path, 0, 4), holder(tmp_path, 2, 4), lock.hold(tmp_path, (3, 4)):
        assert files(tmp_path) == ["0-of-4", "2-of-4", "3-of-4"]
        assert "no other process on this shard" in refused(tmp_path, (2, 4))


@pytest.mark.parametrize("shard", [(0, 1), (1, 2), (1, 40)], ids=str)
def test_another_number_of_shards_is_refused(shard, tmp_path):
    with holder(tmp_path, 1, 4) as child:
        assert re.search(f"shards of one number: .*{child.pid}.*shard 1/4", refused(tmp_path, shard))
        assert files(tmp_path) == ["1-of-4"]


def test_a_killed_process_holds_nothing(tmp_path, capfd):
    with holder(tmp_path, 1, 4) as child:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert files(tmp_path) == ["1-of-4"] and str(child.pid) in (tmp_path / "locks" / "1-of-4").read_text()
    with lock.hold(tmp_path, (0, 1)):  # another number of shards, too
        pass
    with lock.hold(tmp_path, (1, 4)):
        assert json.loads((tmp_path / "locks" / "1-of-4").read_text())["pid"] == os.getpid()
    assert files(tmp_path) == [] and capfd.readouterr().out == ""


def test_the_lock_is_given_back_after_an_error_and_can_be_taken_again(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), lock.hold(tmp_path):
            raise ZeroDivisionError
        assert files(tmp_path) == []


def test_the_same_process_cannot_hold_it_twice(tmp_path):
    with lock.hold(tmp_path):
        assert f"process {os.getpid()}" in refused(tmp_path)
        assert files(tmp_path) == ["0-of-1"]


def test_taking_over_from_another_host_is_said(tmp_path, capfd):
    (tmp_path / "locks").mkdir()
    record = {"host": "elsewhere", "pid": 7, "since": "then", "command": "study", "shard": "0/1"}
    (tmp_path / "locks" / "0-of-1").write_text(json.dumps(record))
    with lock.hold(tmp_path):
        pass
    assert "process 7 on elsewhere, since then (shard 0/1: study) was left behind" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_lock_file_that_says_nothing_is_no_holder(text, tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0-of-1").write_text(text)
    with lock.hold(tmp_path):
        pass


def test_where_the_file_system_has_no_locks_the_file_decides(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with lock.hold(tmp_path):
        path = tmp_path / "locks" / "0-of-1"
        assert re.search(f"process {os.getpid()}.*if it is gone, remove {path}", refused(tmp_path))
        record = json.loads(path.read_text())
    for pid, host, held in ((2**22 + 1, record["host"], False), (record["pid"], "elsewhere", True)):
        path.write_text(json.dumps({**record, "pid": pid, "host": host}))
        if held:
            assert re.search(f"on {host}.*if it is gone, remove", refused(tmp_path))
        else:
            with lock.hold(tmp_path):
                pass


def test_a_full_disk_leaves_no_lock(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(lock.os, "write", full)
    with pytest.raises(Full), lock.hold(tmp_path):
        pass
    monkeypatch.undo()
    assert files(tmp_path) == []
    with lock.hold(tmp_path):
        pass
