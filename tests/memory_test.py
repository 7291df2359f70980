"""How much memory there is, and what the C library frees is kept."""

import platform
import subprocess
import sys

import pytest

from bottleneck import memory

FAULTS = """
import resource, sys
from bottleneck import memory
if sys.argv[1:]:
    memory.keep()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(2**26)[::4096]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_was_freed_is_used_again_without_a_page_fault():
    def run(*given):
        return int(subprocess.run([sys.executable, "-c", FAULTS, *given], capture_output=True, check=True).stdout)

    assert run("keep") < 100 < 2**26 // 4096 // 2 < run()


def test_a_control_group_says_how_much_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    machine = memory.available()
    assert machine > 0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() == machine
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory.available() == 2**20


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_within_others_has_the_least_of_their_limits(version, tmp_path, monkeypatch):
    """As of a job on SLURM, whose limits are not at the root."""
    root, name = (tmp_path / "memory", "memory.limit_in_bytes") if version == 1 else (tmp_path, "memory.max")
    (tmp_path / "own").write_text("4:cpu:/elsewhere\n3:memory:/job/step\n" if version == 1 else "0::/job/step\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "_OWN", tmp_path / "own")
    machine = memory.available()
    for place, limit in (("job/step", 2**21), ("job", 2**20), ("elsewhere", 2**10)):
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / place / name).write_text(f"{limit}\n")
    assert memory.available() == 2**20 < machine
