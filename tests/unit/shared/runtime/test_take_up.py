"""How much is read to take up a symbol, and what the ends of a stream are."""

import pytest
from redis.exceptions import ResponseError

from depthcast.shared.codec import WRITTEN_FIELD, encode_info
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import OldestEntry
from depthcast.shared.runtime.redis import RawEntry
from depthcast.shared.runtime.take_up import (
    RANGE_COUNT_FIRST,
    RANGE_COUNT_MOST,
    RANGE_FIELDS,
    RangeLength,
    parse_ends,
)
from depthcast.shared.types import EntryInfo


def entries(count: int, fields: int) -> list[RawEntry]:
    return [(Position(1, number), [(b"A", b"x")] * fields) for number in range(count)]


@pytest.mark.parametrize(("fields", "count"), [(1, RANGE_COUNT_MOST), (500, 20), (2 * RANGE_FIELDS, 1)])
def test_one_read_has_few_fields(fields: int, count: int) -> None:
    length = RangeLength()
    length.read(entries(20, fields))
    assert length.count == count


def test_the_newest_entries_are_read_at_first_if_they_will_do() -> None:
    length = RangeLength()
    assert length.newest == RANGE_COUNT_FIRST
    length.read(entries(20, 100))
    length.taken_up(60)
    assert (length.count, length.newest) == (100, 90)
    length.taken_up(80)
    assert length.newest == 0, "so many are pages, from the oldest on"
    length.taken_up(3)
    assert length.newest == RANGE_COUNT_FIRST


def info(prev: str | None = None) -> list[bytes]:
    return [b"_", encode_info(EntryInfo(1, "0-0", 0, 0, 0, None, prev))]


def reply(first: object, last: object) -> list[object]:
    return [b"last-generated-id", b"7-3", b"first-entry", first, b"last-entry", last]


def test_the_ends_of_a_stream() -> None:
    written = [*info(), WRITTEN_FIELD, b"5"]
    ends = parse_ends("deltas", reply([b"7-0", info("6-9")], [b"7-3", written]))
    assert (ends.tail, ends.oldest, ends.foreign) == (
        Position(7, 3),
        OldestEntry(Position(7, 0), Position(6, 9)),
        False,
    )
    assert ends.written is not None
    assert (ends.written.us, ends.written.is_new) == (5, False)


def test_a_last_entry_that_is_not_the_last_says_nothing_of_freshness() -> None:
    assert parse_ends("deltas", reply([b"7-0", info()], [b"7-2", info()])).written is None
    assert parse_ends("deltas", reply(None, None)).oldest is None


def test_an_oldest_entry_of_others_is_told() -> None:
    ends = parse_ends("deltas", reply([b"7-0", [b"what", b"ever"]], [b"7-3", info()]))
    assert (ends.oldest, ends.foreign) == (None, True)


def test_no_stream_and_no_redis() -> None:
    assert parse_ends("deltas", ResponseError("no such key")).tail == ZERO
    for wrong in (ResponseError("WRONGTYPE it is a hash"), [b"length", 1]):
        with pytest.raises(RedisUnavailable):
            parse_ends("deltas", wrong)
