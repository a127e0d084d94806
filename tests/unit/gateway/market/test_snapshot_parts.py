"""Snapshots in parts: frames, compression on demand, and the bound of all of them together."""

from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.snapshot_parts import PartsBound, SnapshotParts


def test_frames_one_by_one_and_joined() -> None:
    parts = SnapshotParts([b"one", b"two", b"three"])
    assert (len(parts), parts.size_bytes, parts.dropped) == (3, 11, False)
    assert [parts.frame(index) for index in range(3)] == [b"one", b"two", b"three"]
    assert parts.joined() == b"onetwothree"


def test_each_part_is_compressed_once_when_it_is_needed() -> None:
    compressed = []

    def shorten(plain: bytes) -> bytes:
        compressed.append(plain)
        return plain[:1]

    parts = SnapshotParts([b"one", b"two"]).shortened(shorten)
    assert compressed == []
    assert [parts.frame(1), parts.frame(1), parts.frame(0)] == [b"t", b"t", b"o"]
    assert compressed == [b"two", b"one"]
    assert parts.joined() == b"ot"
    assert parts.size_bytes == 6


def test_the_oldest_are_dropped_beyond_the_bound() -> None:
    counters = GatewayCounters()
    bound = PartsBound(10, 8, counters)
    kept = [SnapshotParts([b"four"]) for _ in range(4)]
    for number, parts in enumerate(kept):
        bound.add(parts)
        assert counters.limit_parts_bytes == max(0, number - 1)
    assert [parts.dropped for parts in kept] == [True, True, False, False]
    assert len(kept[0]) == 1


def test_what_nobody_needs_any_more_does_not_count() -> None:
    counters = GatewayCounters()
    bound = PartsBound(10, 8, counters)
    for _ in range(5):
        bound.add(SnapshotParts([b"eight678"]))
    assert counters.limit_parts_bytes == 0


def test_the_newest_is_kept_whatever_its_size() -> None:
    counters = GatewayCounters()
    bound = PartsBound(10, 8, counters)
    small, large = SnapshotParts([b"1"]), SnapshotParts([b"123456789"])
    bound.add(small)
    bound.add(large)
    assert (small.dropped, large.dropped, counters.limit_parts_bytes) == (True, False, 1)
