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
