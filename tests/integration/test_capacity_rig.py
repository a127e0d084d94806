"""What `depthcast bench capacity` counts as work is what the real processes did."""

import sys

import pytest

from benchmarks.capacity.points import Point, Readers, Size
from benchmarks.capacity.rig import PROCESSES, rig
from benchmarks.harness import Absent
from benchmarks.native import program

TICKS = 10
LOAD = Point("small", "small", 10, 4, 6, 3, readers=(Readers(20, 2, 2), Readers(5, 1)), more_readers=2)
UNREAD = Point("unread", "small", 20, 4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read the accounts of the Linux kernel")
def test_the_work_of_a_load_is_counted() -> None:
    try:
        program("drain")
    except Absent as absent:
        pytest.skip(str(absent))
    with rig(Size("small", 10, 8)) as running:
        found = running.measure(LOAD, TICKS / LOAD.rate)
        memory = running.memory()
        running.measure(UNREAD, TICKS / UNREAD.rate)
        views = running.gateway.total("depthcast_gateway_channels")
    assert found["ticks"] == found["input_entry"] == TICKS
    assert found["event"] == TICKS * 4 * 6
    # On a busy machine two ticks may come together, and are one broadcast then.
    entries = found["changing"]
    assert 0 < entries <= TICKS
    assert found["broadcast"] == entries * 4
    assert found["level"] == found["broadcast"] * 3
    # Two lists of two symbols are all four; and each client gets its symbols in one write.
    assert found["made"] == found["broadcast"]
    assert found["frame"] == entries * (20 * 2 + 5)
    assert found["write"] == entries * 25
    assert found["join"] == entries * (2 * 2 + 1)
    assert found["byte"] / found["frame"] > 150
    assert found["stream_bytes"] > found["broadcast"] * 30
    assert found["net_out"] > found["stream_bytes"] * 3
    assert all(found[f"cpu_{name}"] > 0 for name in PROCESSES)
    assert 0 < found["p50_us"] <= found["p99_us"]
    assert memory["gateway"] > 10e6
    assert views <= 1, "of what the clients of the load before read, nothing is kept up to date"
