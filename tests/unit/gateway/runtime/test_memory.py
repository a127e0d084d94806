"""When memory is given back."""

import platform
import subprocess
import sys

import pytest

from depthcast.gateway.runtime.memory import EVERY_S, PEAK_BYTES_LEAST, GivingBack, trim


@pytest.mark.parametrize(
    ("seen", "times"),
    [
        ([0, PEAK_BYTES_LEAST - 1, 0], 0),
        ([PEAK_BYTES_LEAST, PEAK_BYTES_LEAST // 2], 0),
        ([PEAK_BYTES_LEAST, PEAK_BYTES_LEAST // 4], 1),
        ([PEAK_BYTES_LEAST, 0, 0, 0], 1),
        ([PEAK_BYTES_LEAST, 0, PEAK_BYTES_LEAST, 0], 2),
    ],
)
def test_once_after_each_peak(seen: list[int], times: int) -> None:
    calls: list[None] = []
    memory = GivingBack(lambda: calls.append(None))
    for number, count in enumerate(seen):
        memory.observe(count, number * EVERY_S)
    assert len(calls) == times


def test_not_too_often_but_no_peak_is_forgotten() -> None:
    calls: list[None] = []
    memory = GivingBack(lambda: calls.append(None))
    times: list[int] = []
    for number in range(100):
        memory.observe(PEAK_BYTES_LEAST if number % 2 else 0, number * EVERY_S / 20)
        if len(calls) > len(times):
            times.append(number)
    assert times == [2, 22, 42, 62, 82]


PROGRAM = """
import os
from pathlib import Path
from depthcast.gateway.runtime.memory import trim
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
blocks = [bytes(40_000) for _ in range(3_000)]
last = bytes(40_000)  # above the others, so that nothing is given back without being asked for
del blocks
before = resident()
trim()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when asked to")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 90_000_000


def test_giving_back_works_on_this_system() -> None:
    trim()
