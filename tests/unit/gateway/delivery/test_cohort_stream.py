"""The bytes of a cohort: everything after a cursor, made once."""

import orjson
import pytest

from depthcast.gateway.delivery.cohort_stream import CohortStream
from depthcast.gateway.market.held_back import HeldBack
from tests.unit.gateway.delivery.parts import Parts
from tests.unit.gateway.model_client import split_frames
from tests.unit.gateway.small_market import lively_market


@pytest.fixture
def parts() -> Parts:
    return Parts(lively_market("AAA", "BBB", "CCC", stale_ms=1000))


def stream(parts: Parts, *symbols: str, interval_ms: int = 0) -> CohortStream:
    return CohortStream(parts.group(*symbols, interval_ms=interval_ms).key(), parts.market)


def test_it_is_made_once_until_something_happens(parts: Parts) -> None:
    made, cursor = stream(parts, "AAA"), parts.market.number
    parts.broadcast(quantity=4)
    payload = made.since(cursor)
    assert made.since(cursor) is payload
    assert made.since(cursor - 1) is not payload
    parts.broadcast(quantity=3)
    assert made.since(cursor) is not payload
    assert made.since(cursor).deltas == 2


def test_every_channel_that_changed_is_in_it_and_no_other(parts: Parts) -> None:
    made, cursor = stream(parts, "AAA", "BBB", "CCC"), parts.market.number
    parts.broadcast("AAA", 4)
    parts.broadcast("CCC", 4)
    payload = made.since(cursor)
    symbols = [orjson.loads(data)["symbol"] for _, data in split_frames(bytearray(payload.data))]
    assert sorted(symbols) == ["AAA", "CCC"]
    assert (payload.deltas, payload.snapshots, payload.conflated, payload.messages) == (2, 0, {}, 2)
    assert made.since(parts.market.number).data == b""


def test_an_interval_merges_what_the_others_get_one_by_one(parts: Parts) -> None:
    each, merged, cursor = stream(parts, "AAA"), stream(parts, "AAA", interval_ms=50), parts.market.number
    for quantity in (4, 3, 2):
        parts.broadcast(quantity=quantity)
    assert (each.since(cursor).deltas, each.since(cursor).conflated) == (3, {})
    assert (merged.since(cursor).deltas, merged.since(cursor).conflated) == (1, {"interval": 2})


def test_what_was_merged_counts_for_each_view_by_what_held_it_back(parts: Parts) -> None:
    """As the messages themselves say it: one payload may have several causes."""
    made, cursor = stream(parts, "AAA", "BBB", interval_ms=50), parts.market.number
    for symbol in ("AAA", "AAA", "AAA", "BBB", "BBB"):
        parts.broadcast(symbol, 100 + parts.market.number)
    payload = made.since(cursor, HeldBack(full_at=cursor + 3, paced=True))
    said = [orjson.loads(data) for _, data in split_frames(bytearray(payload.data))]
    assert {each["symbol"]: each["because"] for each in said} == {"AAA": "buffer", "BBB": "interval"}
    assert payload.conflated == {"buffer": 2, "interval": 1}


def test_a_cursor_before_history_gets_a_snapshot(parts: Parts) -> None:
    made = stream(parts, "AAA")
    payload = made.since(0)
    assert (payload.deltas, payload.snapshots) == (0, 1)


def test_a_status_is_in_it_only_if_it_differs(parts: Parts) -> None:
    made, cursor = stream(parts, "AAA", "BBB"), parts.market.number
    parts.small.now += 2
    parts.market.update_statuses(parts.small.now)
    statuses = made.statuses_since(cursor, cursor)
    assert made.statuses_since(cursor, cursor) is statuses
    assert (len(list(split_frames(bytearray(statuses.frames)))), statuses.held) == (2, ())
    assert made.statuses_since(parts.market.number, cursor) == (b"", ())
    parts.small.heartbeat()
    assert made.statuses_since(cursor, cursor) == (b"", ())


def test_live_waits_for_what_is_owed(parts: Parts) -> None:
    made = stream(parts, "AAA", "BBB")
    parts.small.now += 2
    parts.market.update_statuses(parts.small.now)
    cursor = parts.market.number
    parts.broadcast("AAA")
    parts.market.update_statuses(parts.small.now)
    frames, held = made.statuses_since(cursor, cursor)
    assert (b"AAA" in frames, b"BBB" in frames, held) == (False, True, (parts.channel("AAA"),))
    frames, held = made.statuses_since(cursor, parts.channel("AAA").head)
    assert (b"AAA" in frames, held) == (True, ())


def test_who_needs_all_that_follows_a_cursor(parts: Parts) -> None:
    made, since = stream(parts, "AAA", "BBB"), parts.market.number
    assert made.first_missed_by_all(since) == 0, "nothing is missing, so nobody needs it"
    parts.broadcast("CCC", 4)
    parts.broadcast("BBB", 4)
    parts.broadcast("AAA", 4)
    assert made.first_missed_by_all(since) == since + 2
    assert stream(parts, "AAA", interval_ms=50).first_missed_by_all(since) == since + 1
