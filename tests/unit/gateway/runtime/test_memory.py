"""When memory is given back."""

import itertools
import platform
import subprocess
import sys

import pytest

from depthcast.gateway.runtime.memory import (
    COLLECT_S,
    GROWN_BYTES,
    GROWN_PART,
    RISE_BYTES,
    WAIT_S_MAX,
    WORTH_BYTES,
    GivingBack,
    resident_bytes,
    trim,
)

BASE = 100 * RISE_BYTES


class Process:
    """Its memory is `used` and what is `kept` of what was freed; `times`: when it gave that back."""

    def __init__(self) -> None:
        self.used = BASE
        self.kept = 0
        self.now = 0
        self.garbage = 0
        self.times: list[int] = []
        self.collections = 0
        self.memory = GivingBack(self.give_back, self.collect, self.resident)

    def resident(self) -> int:
        return self.used + self.kept + self.garbage

    def collect(self) -> None:
        self.collections += 1
        self.kept += self.garbage
        self.garbage = 0

    def give_back(self) -> None:
        self.times.append(self.now)
        self.kept = 0

    def seconds(self, count: int) -> list[int]:
        """Let time pass; returns when it gave memory back."""
        self.times = []
        for _ in range(count):
            self.now += 1
            self.memory.observe(float(self.now))
        return self.times

    def free(self, count: int) -> None:
        self.used -= count
        self.kept += count


@pytest.fixture
def settled() -> Process:
    """A process whose memory has stayed the same for long."""
    process = Process()
    process.seconds(4 * int(WAIT_S_MAX))
    return process


def test_what_rose_and_was_freed_is_given_back_within_a_moment(settled: Process) -> None:
    settled.used += RISE_BYTES
    settled.free(RISE_BYTES)
    assert settled.seconds(11)
    assert not settled.kept


def test_a_small_rise_waits_for_its_turn(settled: Process) -> None:
    settled.used += RISE_BYTES - 1
    settled.free(RISE_BYTES - 1)
    begin = settled.now
    assert settled.seconds(int(WAIT_S_MAX))[0] > begin + WAIT_S_MAX / 2
    assert not settled.kept


def test_what_is_in_use_for_long_is_tried_ever_more_seldom(settled: Process) -> None:
    settled.used += 10 * RISE_BYTES
    times = settled.seconds(2000)
    assert [after - before for before, after in itertools.pairwise(times)] == [20, 40, 80, 160, 320, 640, 640]


def test_what_is_freed_late_is_given_back_at_the_latest_after_the_longest_wait(settled: Process) -> None:
    settled.used += 10 * RISE_BYTES
    settled.seconds(300)
    settled.free(10 * RISE_BYTES)
    settled.seconds(int(WAIT_S_MAX))
    assert not settled.kept


def test_while_it_helps_it_is_done_again_soon(settled: Process) -> None:
    settled.used += 10 * RISE_BYTES
    for seconds in (1, 10, 10, 10):
        settled.free(WORTH_BYTES)
        assert len(settled.seconds(seconds)) == 1
        assert not settled.kept


def test_garbage_is_looked_for_once_memory_has_grown(settled: Process) -> None:
    settled.garbage = BASE // GROWN_PART - 1
    settled.seconds(2000)
    assert settled.collections == 0
    settled.garbage = BASE // GROWN_PART
    settled.seconds(2000)
    assert settled.collections == 1
    assert settled.resident() == BASE


def test_what_is_in_use_is_looked_through_once(settled: Process) -> None:
    settled.used += BASE
    settled.seconds(4000)
    assert settled.collections == 1
    settled.used += 2 * BASE // GROWN_PART - 1
    settled.seconds(4000)
    assert settled.collections == 1
    settled.used += 1
    settled.seconds(4000)
    assert settled.collections == 2


def test_a_peak_does_not_hide_what_is_left_after_it(settled: Process) -> None:
    settled.used += 2 * BASE
    settled.seconds(100)
    settled.used -= 2 * BASE
    settled.seconds(2000)
    collections, settled.garbage = settled.collections, BASE // GROWN_PART
    settled.seconds(2000)
    assert settled.collections == collections + 1
    assert settled.resident() == BASE


def test_garbage_is_looked_for_at_most_once_in_a_while(settled: Process) -> None:
    begin = settled.now
    for _ in range(20):
        settled.garbage = BASE
        settled.seconds(11)
    assert 3 <= settled.collections <= (settled.now - begin) / COLLECT_S + 1
    assert settled.resident() <= 2 * BASE
    settled.seconds(int(COLLECT_S) + 11)
    assert settled.resident() == BASE


def test_a_small_process_has_to_grow_more() -> None:
    process = Process()
    process.used = GROWN_BYTES // 2
    process.memory = GivingBack(process.give_back, process.collect, process.resident)
    process.used += GROWN_BYTES - 1
    process.seconds(2000)
    assert process.collections == 0
    process.used += 1
    process.seconds(2000)
    assert process.collections == 1


PROGRAM = """
from depthcast.gateway.runtime.memory import resident_bytes, trim
blocks = [bytes(40_000) for _ in range(3_000)]
last = bytes(40_000)  # above the others, so that nothing is given back without being asked for
del blocks
before = resident_bytes()
trim()
print(before - resident_bytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when asked to")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 90_000_000


def test_both_work_on_this_system() -> None:
    trim()
    assert resident_bytes() >= 0


LARGE_APART = """
import ctypes

from depthcast.gateway.runtime.memory import LARGE_BYTES, keep_large_apart


class Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def apart():
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    return mallinfo().hblks


keep_large_apart()
largest = bytes(64 * LARGE_BYTES)
del largest
before = apart()
blocks = [bytes(2 * LARGE_BYTES) for _ in range(4)]
held = apart()
del blocks
print(held - before, apart() - held)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc moves its threshold by itself")
def test_large_blocks_have_pages_of_their_own_also_after_a_larger_one_was_freed() -> None:
    ended = subprocess.run([sys.executable, "-c", LARGE_APART], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["4", "-4"]
