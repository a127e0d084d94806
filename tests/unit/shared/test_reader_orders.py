"""Readers and the number of orders: taken from snapshots and deltas, never guessed."""

from typing import Any

import pytest

from depthcast.shared.codec import Marks, encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.types import Delta, EntryInfo, Snapshot

EPOCH = 1000


def at(n: int) -> Position:
    return Position(EPOCH, n)


def counted(*numbers: int) -> list[Any]:
    """Marks of deltas and snapshots that name the bid at 100 alone; of those without levels, none."""
    return [list(numbers), [], digest_of([(100, number) for number in numbers], [])]


def snapshot(seq: int, quantity: int, orders: Any = None) -> Snapshot:
    marks = None if orders is None else {"orders": orders}
    return Snapshot(seq, [100, quantity], [], digest_of([(100, quantity)], []), 0, marks)


def entry(prev_seq: int, seq: int, quantity: int, marks: Marks) -> list[tuple[bytes, bytes]]:
    delta = Delta(prev_seq, seq, [100, quantity], [], digest_of([(100, quantity)], []), 1)
    return [(b"_", encode_info(EntryInfo(1, "0-0", 0, 0, 0))), (b"A", encode_delta(delta, marks))]


def reader(orders: Any = None) -> PartitionReader:
    """A reader at position 5, with a bid of 8 lots at seq 10."""
    made = PartitionReader(lambda _: True)
    made.load(at(5), {"A": (at(5), snapshot(10, 8, orders))})
    return made


def orders(of: PartitionReader) -> dict[int, int] | None:
    return of.shown["A"].book.bids.orders


def test_a_change_of_the_number_alone_is_a_change() -> None:
    made = reader(counted(2))
    assert orders(made) == {100: 2}
    read = made.read(at(6), entry(10, 11, 8, {"orders": counted(3)}))
    assert read is not None
    (update,) = read.updates
    assert (list(update.changes.bids), update.replica.seq) == ([], 11)
    assert update.changes.counted is not None
    assert list(update.changes.counted.bids) == [(100, 8, 8, 3, 2)]
    assert orders(made) == {100: 3}


def test_levels_feeds_have_none() -> None:
    made = reader()
    read = made.read(at(6), entry(10, 11, 9, {}))
    assert read is not None
    assert read.updates[0].changes.counted is None
    assert orders(made) is None


@pytest.mark.parametrize("marks", [{}, {"stale": "gap"}])
def test_a_delta_that_does_not_say_it_makes_it_unknown(marks: Marks) -> None:
    """As by a leader of an older version."""
    made = reader(counted(2))
    assert made.read(at(6), entry(10, 11, 9, marks)) is not None
    assert (made.missing, orders(made), made.shown["A"].orders_digest) == ({}, None, None)


def test_where_it_begins_the_snapshot_is_loaded() -> None:
    """A leader says it after one that did not; its first snapshot is there by then."""
    made = reader()
    assert made.read(at(6), entry(10, 11, 8, {"orders": counted(2)})) is not None
    assert list(made.missing) == ["A"]
    assert made.shown["A"].seq == 10
    made.load(at(6), {"A": (at(6), snapshot(11, 8, counted(2)))})
    assert (made.is_current("A"), orders(made)) == (True, {100: 2})


@pytest.mark.parametrize("wrong", [None, [], counted(9), [[3], [], 1], [[3, 1], [], 0], [[0], [], 0]])
def test_wrong_counts_are_not_applied(wrong: Any) -> None:
    made = reader(counted(2))
    assert made.read(at(6), entry(10, 11, 8, {"orders": wrong})) is not None
    assert list(made.missing) == ["A"]
    assert (made.shown["A"].seq, orders(made)) == (10, {100: 2})


@pytest.mark.parametrize("wrong", [[], [[2], [], 1], [[0], [], 0]])
def test_a_snapshot_with_wrong_counts_counts_as_none(wrong: Any) -> None:
    made = PartitionReader(lambda _: True)
    made.load(at(5), {"A": (at(5), snapshot(10, 8, wrong))})
    assert made.shown == {}


def test_a_delta_that_was_applied_already_may_say_anything() -> None:
    made = reader(counted(2))
    assert made.read(at(6), entry(9, 10, 8, {"orders": "what"})) is not None
    assert (made.missing, orders(made)) == ({}, {100: 2})


def test_a_birth_begins_with_no_orders() -> None:
    made = PartitionReader(lambda _: True)
    made.load(ZERO, {"A": None})
    born = Delta(0, 10, [], [], 0, 0)
    info = encode_info(EntryInfo(1, "0-0", 0, 0, 0, None, "0-0"))
    made.read(at(0), [(b"_", info), (b"A", encode_delta(born, {"orders": [[], [], 0]}))])
    assert made.read(at(1), entry(10, 11, 8, {"orders": counted(2)})) is not None
    assert (made.missing, orders(made)) == ({}, {100: 2})


def test_a_reader_that_takes_no_numbers_does_not_look_at_them() -> None:
    """As a recorder, which goes on from its own files, where no numbers are."""
    made = PartitionReader(lambda _: True, orders=False)
    made.load(at(5), {"A": (at(5), snapshot(10, 8, [[0], "what"]))})
    read = made.read(at(6), entry(10, 11, 8, {"orders": counted(3)}))
    assert read is not None
    assert [update.delta is not None for update in read.updates] == [True]
    assert (made.missing, made.shown["A"].seq, orders(made)) == ({}, 11, None)
