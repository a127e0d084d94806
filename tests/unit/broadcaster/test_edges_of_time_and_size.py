"""Exactly at a limit: a second of history, the end of retention, the bytes of a batch."""

from depthcast.broadcaster.publication import Attachment, batches
from depthcast.broadcaster.retention import GRAIN_S, Retention
from depthcast.shared.position import Position


def at(n: int) -> Position:
    return Position(1000, n)


def test_history_is_remembered_a_second_apart() -> None:
    retention = Retention(10.0)
    retention.record_entry(at(1), 100.0)
    retention.record_entry(at(2), 100.0 + GRAIN_S / 2)
    retention.record_entry(at(3), 100.0 + GRAIN_S)
    assert retention.deltas_from(110.5) == at(1)
    assert retention.deltas_from(111.0) == at(3)
    assert retention.deltas_from(200.0) == at(3)


def test_what_fills_a_batch_exactly_is_in_it() -> None:
    items = [Attachment(str(number), b"x" * size, None) for number, size in enumerate((3, 2, 5, 4, 2))]
    found = [[len(item.value) for item in batch] for batch in batches(items, 5, 9)]
    assert found == [[3, 2], [5], [4], [2]]
    assert [len(batch) for batch in batches(items, 100, 2)] == [2, 2, 1]
