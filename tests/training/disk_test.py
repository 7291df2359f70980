"""A full disk, at any moment: one line, nothing sealed that is not whole, and the same run goes on to the same bits."""

import builtins
import errno
import os
import pathlib
import subprocess

import pytest

from bottleneck import atomic, checkpoint
from bottleneck.errors import UserError
from bottleneck.training import loop

SHORT = {"train.steps": "6", "train.save_every": "4", "train.log_every": "3"}


class Disk:
    """Counts the calls that write, ours and Orbax's, and fails the one numbered `full`."""

    def __init__(self, monkeypatch):
        self.calls, self.full = 0, None
        for owner, name in ((os, "fsync"), (os, "replace"), (pathlib.Path, "mkdir")):
            monkeypatch.setattr(owner, name, self.before(getattr(owner, name)))
        monkeypatch.setattr(atomic, "open", self.open, raising=False)
        orbax = checkpoint.ocp.AsyncCheckpointer
        monkeypatch.setattr(orbax, "save", self.before(orbax.save))
        monkeypatch.setattr(orbax, "wait_until_finished", self.after(orbax.wait_until_finished))

    def tick(self, error=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        self.calls += 1
        if self.calls == self.full:
            raise error

    def before(self, call):
        def write(*args, **kwargs):
            self.tick()
            return call(*args, **kwargs)

        return write

    def after(self, call):
        """The background write ends, and says in tensorstore's words that something is missing."""

        def wait(*args, **kwargs):
            done = call(*args, **kwargs)
            self.tick(ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']"))
            return done

        return wait

    def open(self, path, mode="r", *args, **kwargs):
        """A file of which a full disk takes half of what is written."""
        file, disk = builtins.open(path, mode, *args, **kwargs), self
        self.tick()
        if "b" not in mode:
            return file

        class Counted:
            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, data):
                try:
                    disk.tick()
                except OSError:
                    file.write(bytes(data)[: len(data) // 2])
                    raise
                return file.write(data)

        return Counted()


@pytest.mark.slow
def test_whichever_write_finds_the_disk_full_the_run_goes_on(episode, tmp_path, same, metrics, monkeypatch):
    made, disk = episode(SHORT, keep=(0,)), Disk(monkeypatch)
    expected = made.train(tmp_path / "whole")
    total, disk.full = disk.calls, 0
    assert total > 30
    while disk.full < total + 10:  # a few more, should threads come in another order
        disk.full, disk.calls = disk.full + 1, 0
        directory = tmp_path / str(disk.full)
        try:
            made.train(directory)
        except UserError as error:
            assert isinstance(error, atomic.Full) and "\n" not in str(error) and str(directory) in str(error)
            assert not loop.is_done(made.run, directory)
            assert not list(directory.rglob(".*.json.*")) and not list(directory.rglob("*orbax*"))
        assert disk.calls >= min(disk.full, total - 10)
        for folder in ("checkpoints", "resume"):
            assert checkpoint.damaged(directory / folder) == []
        disk.calls = total + 100
        same(made.train(directory), expected)
        assert loop.is_done(made.run, directory) and metrics(directory) == metrics(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB in memory, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full_at_ten_moments(episode, small_disk, tmp_path, same, metrics, capfd):
    """The disk is filled but for a little, and freed after each failure."""
    made = episode({**SHORT, "model": "{'name': 'mlp', 'width': 16}"}, keep=(0,))
    expected = made.train(tmp_path / "whole")
    failed = 0
    for room in range(2, 230, 12):  # thousand bytes
        directory = small_disk / "run"
        ballast = small_disk / "ballast"
        with open(ballast, "wb") as file:
            free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            file.write(bytes(max(0, free - room * 1000)))
        try:
            made.train(directory)
        except UserError as error:
            failed += 1
            assert str(error).startswith("disk=") and "\n" not in str(error)
        ballast.unlink()
        same(made.train(directory), expected)
        assert loop.is_done(made.run, directory) and metrics(directory) == metrics(tmp_path / "whole")
        loop.forget(directory)
    assert failed >= 10
    assert "Traceback" not in capfd.readouterr().err
