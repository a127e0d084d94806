"""Messages on the wire: every key and value, in each encoding."""

import msgpack
import orjson
import pytest

from depthcast.gateway.protocol.frames import BINARY, TEXT, frame
from depthcast.gateway.protocol.messages import (
    DEFLATED,
    DEPTHS,
    PLAIN,
    TEXTUAL,
    Encoding,
    ViewDelta,
    delta_message,
    encode,
    snapshot_in_parts,
    snapshot_message,
    status_message,
    subscribed_message,
)
from depthcast.shared.instruments import Instrument
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import MAX_INTEGER, Symbol

BTC = Instrument(Symbol("BTC-USD"), "0.01", "0.001")


def test_a_delta() -> None:
    delta = ViewDelta(5, 7, 99, [(100, 3, 0), (98, 0, 4)], [(101, 6, 5)], 1234)
    assert delta_message("BTC-USD", 25, delta, 2) == {
        "type": "delta",
        "symbol": "BTC-USD",
        "depth": 25,
        "prev_seq": 5,
        "seq": 7,
        "ts": 99,
        "bids": [(100, 3), (98, 0)],
        "asks": [(101, 6)],
        "merged": 2,
        "digest": 1234,
    }


def test_a_snapshot() -> None:
    assert snapshot_message("BTC-USD", 0, 7, 99, ([(100, 3)], [(101, 6)]), 1234) == {
        "type": "snapshot",
        "symbol": "BTC-USD",
        "depth": 0,
        "seq": 7,
        "ts": 99,
        "bids": [(100, 3)],
        "asks": [(101, 6)],
        "digest": 1234,
    }


@pytest.mark.parametrize(
    ("levels_max", "parts"),
    [
        (1, [([1], []), ([2], []), ([3], []), ([], [4]), ([], [5])]),
        (2, [([1, 2], []), ([3], [4]), ([], [5])]),
        (4, [([1, 2, 3], [4]), ([], [5])]),
        (5, [([1, 2, 3], [4, 5])]),
    ],
)
def test_a_snapshot_in_parts(levels_max: int, parts: list[tuple[list[int], list[int]]]) -> None:
    snapshot = {"type": "snapshot", "seq": 7, "bids": [1, 2, 3], "asks": [4, 5], "digest": 9}
    assert snapshot_in_parts(snapshot, levels_max) == [
        {**snapshot, "part": number, "parts": len(parts), "bids": bids, "asks": asks}
        for number, (bids, asks) in enumerate(parts, 1)
    ]


def test_a_part_of_default_size_is_shorter_than_64_kib_whatever_its_numbers() -> None:
    levels = [(MAX_INTEGER - price, MAX_INTEGER) for price in range(600)]
    below = [(-price, quantity) for price, quantity in levels]
    parts = snapshot_in_parts(
        snapshot_message("A" * 32, 1000, MAX_INTEGER, MAX_INTEGER, (below, levels), 2**32 - 1),
        GatewaySettings().part_levels_max,
    )
    assert [len(part["bids"]) + len(part["asks"]) for part in parts] == [1000, 200]
    for encoding in (Encoding.JSON, Encoding.MSGPACK):
        assert len(encode(parts[0], encoding)) < 65_536


def test_the_source_time_and_the_cause_are_there_only_if_known() -> None:
    delta = ViewDelta(5, 7, 99, [], [], 1234)
    plain, timed = delta_message("A", 25, delta, 2), delta_message("A", 25, delta._replace(event_ts=0), 2)
    assert timed == plain | {"event_ts": 0}
    assert delta_message("A", 25, delta, 2, "credit") == plain | {"because": "credit"}
    assert snapshot_message("A", 0, 7, 99, ([], []), 0, 88) == snapshot_message(
        "A", 0, 7, 99, ([], []), 0
    ) | {"event_ts": 88}


@pytest.mark.parametrize(("stale", "state"), [(True, "stale"), (False, "live")])
def test_a_status(stale: bool, state: str) -> None:
    assert status_message("A", stale) == {"type": "status", "symbol": "A", "state": state}
    assert status_message("A", stale, 7)["lag_ms"] == 7
    assert status_message("A", stale, reason="gap") == status_message("A", stale) | {"reason": "gap"}
    assert status_message("A", stale, input_age_ms=0) == status_message("A", stale) | {"input_age_ms": 0}


@pytest.mark.parametrize(("seq", "more"), [(None, {"resumed": False}), (0, {"resumed": True, "seq": 0})])
def test_subscribed(seq: int | None, more: dict[str, object]) -> None:
    assert subscribed_message(BTC, 10, 50, seq) == {
        "type": "subscribed",
        "symbol": "BTC-USD",
        "depth": 10,
        "interval_ms": 50,
        "tick_size": "0.01",
        "lot_size": "0.001",
        **more,
    }


@pytest.mark.parametrize("encoding", Encoding)
def test_a_control_message_is_never_compressed(encoding: Encoding) -> None:
    message = {"type": "pong", "id": "é", "more": [1, 2**53 - 1]}
    raw = encode(message, encoding)
    if encoding is Encoding.EVENTS:
        assert raw == b"data: " + orjson.dumps(message) + b"\n\n"
    elif encoding in (Encoding.JSON, Encoding.JSON_DEFLATED):
        assert raw == frame(TEXT, orjson.dumps(message))
    else:
        assert raw == frame(BINARY, msgpack.packb(message))


def test_each_encoding_has_a_compressed_form() -> None:
    assert DEFLATED == {
        Encoding.JSON: Encoding.JSON_DEFLATED,
        Encoding.MSGPACK: Encoding.MSGPACK_DEFLATED,
    }
    assert {deflated: plain for plain, deflated in DEFLATED.items()} == PLAIN
    assert {Encoding.JSON, Encoding.JSON_DEFLATED} == TEXTUAL


def test_the_depths_of_the_contract() -> None:
    assert DEPTHS == (0, 1, 5, 10, 25, 50, 100, 500, 1000)
