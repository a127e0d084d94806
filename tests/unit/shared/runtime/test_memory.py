"""Memory that was freed goes back to the operating system."""

import subprocess
import sys

import pytest

from depthcast.shared.runtime.memory import TRIM, give_back_memory

PROGRAM = """
import os
from pathlib import Path
from depthcast.shared.runtime.memory import give_back_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytes(40_000) for _ in range(3_000)]
last = bytes(40_000)  # above the others, so that glibc gives nothing back by itself
del blocks
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(TRIM is None, reason="only glibc can give memory back")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 90_000_000


def test_it_may_be_called_anywhere() -> None:
    give_back_memory()
