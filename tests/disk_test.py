"""A disk that is full at any moment: one line, exit status 2, and the same command goes on to the same rows.

A writer fails at every possible call; where a small file system can be mounted, a real one is filled as well.
"""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import subprocess
import sys

import orbax.checkpoint as ocp
import pytest

from bottleneck import main
from tests.kill_test import snapshot

TINY = pathlib.Path(__file__).with_name("tiny.py")
STUDY = ("--config.seeds=1", "--config.keep=1/2,", "--config.analysis.kinds=seeds,")
MOMENTS = 10


def command(workdir, *more):
    return main.main(["main", f"--config={TINY}", f"--workdir={workdir}", *STUDY, *more])


class Disk:
    """Counts what is written, and is full from one of the writes on."""

    def __init__(self, patch):
        self.written, self.full_at = 0, None
        fsync, save, write = os.fsync, ocp.AsyncCheckpointer.save, os.write

        def checked(call):
            def instead(*args, **kwargs):
                self.written += 1
                if self.full_at is not None and self.written >= self.full_at:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return call(*args, **kwargs)

            return instead

        patch.setattr(os, "fsync", checked(fsync))
        patch.setattr(os, "write", checked(write))
        patch.setattr(ocp.AsyncCheckpointer, "save", checked(save))

    @contextlib.contextmanager
    def full_after(self, count):
        self.written, self.full_at = 0, count
        yield
        self.full_at = None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(bytes of a study that met no full disk, how often it writes)."""
    workdir = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        assert command(workdir) == 0
        return snapshot(workdir), disk.written


def test_full_at_ten_moments_in_turn(whole, tmp_path, capsys):
    expected, writes = whole
    rng, met = random.Random(0), 0
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        for _ in range(MOMENTS):
            with disk.full_after(rng.randint(1, max(2, writes // 6))):
                capsys.readouterr()
                code = command(tmp_path)
            errors = capsys.readouterr().err.strip()
            if code == 2:
                met += 1
                (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
                assert "disk=" in line and "space" in line and "Traceback" not in errors, errors
            else:
                assert code == 0, errors
        assert command(tmp_path) == 0
    assert met >= MOMENTS // 2
    assert snapshot(tmp_path) == expected
    assert not list(tmp_path.rglob(".*.tmp")) and not list(tmp_path.glob("runs/*/resume"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_full_at_one_moment(moment, whole, tmp_path, capsys):
    """From the first write to the last, at equal distances."""
    expected, writes = whole
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        with disk.full_after(1 + moment * (writes - 1) // (MOMENTS - 1)):
            assert command(tmp_path) == 2
        assert "error: disk=" in capsys.readouterr().err
        assert command(tmp_path) == 0
    assert snapshot(tmp_path) == expected


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 40 MiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_a_real_disk_that_is_full(whole, small_disk):
    """Filled but for a little more each time, until the study ends."""
    expected, _ = whole
    filler, codes = small_disk / "filler", []
    for free in (0, 50_000, 200_000, 400_000, 700_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 39_000_000):
        filler.unlink(missing_ok=True)
        left = shutil.disk_usage(small_disk).free
        filler.write_bytes(b"\0" * max(0, left - free))
        options = [f"--config={TINY}", f"--workdir={small_disk / 'study'}", *STUDY]
        child = [sys.executable, "-m", "bottleneck.main", *options]
        done = subprocess.run(child, capture_output=True, text=True)
        codes.append(done.returncode)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr
        if done.returncode == 2:
            assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == 1
    assert codes[0] == 2 and codes[-1] == 0 and snapshot(small_disk / "study") == expected
