"""Server-sent events: their bytes as a reader by the standard takes them, their ids, how a stream ends."""

from typing import Any

import pytest

from depthcast.gateway.protocol.events import State, end, event, event_id, parse_event_id, retry
from depthcast.shared.close_codes import CLOSINGS, CloseCode, Reconnect
from tests.event_source import EventSource

DELTA: dict[str, Any] = {
    "type": "delta", "symbol": "BTC-USD", "depth": 5, "prev_seq": 6, "seq": 7, "ts": 9, "bids": [(100, 0)],
    "asks": [], "merged": 1, "digest": 4294967295,
}  # fmt: skip


def test_a_delta_is_one_event_with_its_state_as_id() -> None:
    data = (
        b'id: BTC-USD:7:4294967295\ndata: {"type":"delta","symbol":"BTC-USD","depth":5,"prev_seq":6,"seq":7,'
        b'"ts":9,"bids":[[100,0]],"asks":[],"merged":1,"digest":4294967295}\n\n'
    )
    assert event(DELTA) == data
    [taken] = EventSource().feed(data)
    assert (taken.type, taken.last_id) == ("message", "BTC-USD:7:4294967295")
    assert taken.message == {**DELTA, "bids": [[100, 0]]}


def test_what_names_no_state_keeps_the_id_before() -> None:
    source = EventSource()
    status = {"type": "status", "symbol": "BTC-USD", "state": "stale", "reason": "a\nb\rc\u2028d"}
    taken = source.feed(event({**DELTA, "type": "snapshot"}) + event(status))
    assert [each.last_id for each in taken] == ["BTC-USD:7:4294967295"] * 2
    assert taken[1].message == status


def test_a_heartbeat_is_no_plain_message() -> None:
    [taken] = EventSource().feed(event({"type": "heartbeat", "ts": 5}))
    assert (taken.type, taken.message) == ("heartbeat", {"type": "heartbeat", "ts": 5})


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("A:7:0", {"A": State(7, 0)}),
        ("a.b-c_d:7:1, B:9007199254740991:9", {"a.b-c_d": State(7, 1), "B": State(2**53 - 1, 9)}),
        ("A:7:0,A:8:1", {"A": State(8, 1)}),
        ("A" * 32 + ":1:1", {"A" * 32: State(1, 1)}),
        ("A:7:0:4294967295,B:7:1", {"A": State(7, 0, 2**32 - 1), "B": State(7, 1)}),
    ],
)
def test_ids_name_states(text: str, states: dict[str, State]) -> None:
    assert parse_event_id(text) == states


@pytest.mark.parametrize(
    "text",
    ["", ",", "A", "A:7", "A:7:", "A:7:0:", "A:7:0,", ":7:0", "A:-7:0", "A:7.0:0", "A:٧:0", "A:7:0x1",
     "-A:7:0", "A b:7:0", "A:99999999999999999:0", "A:7:99999999999", "A:7:0:99999999999", "A:7:0:1:1",
     "A:7:0:x", "A" * 33 + ":1:1", "1769904000000-3", "\x00", "é:1:1", "A:7:0;B:7:0"],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert parse_event_id(text) is None


def test_an_id_is_read_as_it_was_written() -> None:
    assert parse_event_id(event_id(DELTA)) == {"BTC-USD": State(7, 4294967295)}
    counted = {**DELTA, "orders_digest": 0}
    assert parse_event_id(event_id(counted)) == {"BTC-USD": State(7, 4294967295, 0)}


@pytest.mark.parametrize("code", CLOSINGS)
def test_a_stream_ends_with_what_a_close_frame_would_say(code: int) -> None:
    source = EventSource()
    [taken] = source.feed(end(code, 0.5))
    assert taken.type == "message"
    assert taken.message == {"type": "close", "code": code, "reason": CLOSINGS[code].reason}
    assert source.retry_ms is not None


def test_browsers_wait_as_long_as_the_code_asks_and_not_all_equally_long() -> None:
    def waits(data: bytes) -> int:
        source = EventSource()
        source.feed(data)
        assert source.retry_ms is not None
        return source.retry_ms

    assert [waits(retry(Reconnect.AT_ONCE, share)) for share in (0, 0.5, 1)] == [1000, 1500, 2000]
    assert [waits(end(CloseCode.RESTARTING, share)) for share in (0, 1)] == [1000, 2000]
    assert [waits(end(CloseCode.TOO_SLOW, share)) for share in (0, 1)] == [5000, 10_000]
    assert waits(end(CloseCode.SILENT, 0)) == 600_000
