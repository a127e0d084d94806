"""From bytes to events, and back again for the record of a reject."""

import json
from typing import Any

import msgpack
import pytest

from depthcast.ingestor.events import encode_event, orders_event, read_entry
from depthcast.ingestor.rejects import RefusedError

NESTED = 100_000
ENCODERS: list[Any] = [msgpack.packb, lambda value: json.dumps(value).encode()]


def events_of(raw: bytes) -> Any:
    (value,) = read_entry([(b"X", raw)]).values
    assert (value.name, value.raw) == (b"X", raw)
    return value.events


@pytest.mark.parametrize("events", [[], [["add", "bid", 1, 2]], [[0, 1, -5, 2**53 - 1, "é"], None, 1.5]])
def test_both_encodings_read_alike(events: Any) -> None:
    assert events_of(json.dumps(events).encode()) == events
    assert events_of(json.dumps(events, ensure_ascii=False).encode()) == events
    assert events_of(msgpack.packb(events)) == events


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[", b"[]]", b"[1,]", b"\xc1", b"\x91", b"\x90\x90", b'{"a":1}', b" []", b'"x"',
        b"\x81\xa1a\x01", b"5",
        b"[\xff]", b"\x91\xa1\xff", b"[" * NESTED, b"\x91" * NESTED, b"\xdd\xff\xff\xff\xff",
        b"\x91\x81\x90\x01",
        b"[\x00]\x00", b"\x91\xd6\xff", b"\xc7\xff\xff",
    ],
)  # fmt: skip
def test_undecodable_or_no_array(raw: bytes) -> None:
    assert events_of(raw) is None


def test_an_integer_of_thousands_of_digits_spares_its_array() -> None:
    digits = b"9" * 5000
    events = events_of(b"[[0,0,1,1],[0,0,-" + digits + b",1],[0,0,1," + digits + b"]]")
    assert events[0] == [0, 0, 1, 1]
    assert events[1][2] < -(2**64)
    assert events[2][3] > 2**64


def test_beside_such_an_integer_others_keep_their_value() -> None:
    """An order id may have 20 digits."""
    events = events_of(
        b"[[0,0,1,1,18446744073709551615],[0,0,-1234567890123456789,1],[0,0,1," + b"9" * 5000 + b"]]"
    )
    assert events[0][4] == 18446744073709551615
    assert events[1][2] == -1234567890123456789


@pytest.mark.parametrize(
    ("options", "atomic", "ts"),
    [
        ([], False, None),
        ([{}], False, None),
        ([{"atomic": True}], True, None),
        ([{"ts": 2**53 - 1, "more": [1]}], False, 2**53 - 1),
        ([{"atomic": True, "ts": 1}, {"ts": 2}], True, 2),
        ([{"atomic": True}, {"atomic": False}], False, None),
    ],
)
def test_options(options: list[Any], atomic: bool, ts: int | None) -> None:
    for encode in ENCODERS:
        fields = [(b"X", b"[]"), *((b"_", encode(value)) for value in options)]
        entry = read_entry(fields)
        assert (entry.atomic, entry.ts, len(entry.values), entry.faults) == (atomic, ts, 1, [])


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"\x90", b"\xc0", b'{"atomic":1}', b'{"atomic":null}', b'{"ts":-1}', b'{"ts":1.0}',
        b'{"ts":true}', b'{"ts":9007199254740992}', b'{"ts":"1"}', b'{"ts":1e3}', b"\x81\xa2ts\xff", b"{}x",
    ],
)  # fmt: skip
def test_malformed_options_are_left_out_of_account(raw: bytes) -> None:
    entry = read_entry([(b"_", raw), (b"X", b"[]"), (b"_", b'{"atomic":true}')])
    assert (entry.atomic, entry.ts, entry.faults) == (True, None, [raw])


def test_fields_for_later_versions_are_ignored() -> None:
    assert read_entry([(b"_x", b"?"), (b"__", b"?")]) == (False, None, [], [])


@pytest.mark.parametrize("event", [["add", "é", 1, None], {"a": [1.5, True]}, "x", 5])
def test_an_event_is_recorded_in_its_own_encoding(event: Any) -> None:
    assert json.loads(encode_event(event, b"[")) == event
    assert msgpack.unpackb(encode_event(event, b"\x91")) == event


def test_a_record_is_cut_to_a_kibibyte() -> None:
    assert len(encode_event("x" * 5000, b"[")) == 1024
    assert len(encode_event("x" * 5000, b"\x91")) == 1024
    assert encode_event(["\ud800"], b"[") == b'["\\ud800"]'


@pytest.mark.parametrize("raw", [b"[", b"\x91"])
def test_what_can_be_read_but_not_written_leaves_no_bytes(raw: bytes) -> None:
    event: Any = []
    for _ in range(200_000):  # deeper than any Python goes
        event = [event]
    assert encode_event(event, raw) == b""


def test_extension_types_are_malformed_items() -> None:
    (event,) = events_of(
        msgpack.packb([["add", msgpack.Timestamp(1, 1), 1, msgpack.ExtType(5, b"x"), b"id"]])
    )
    with pytest.raises(RefusedError):
        orders_event(event)
    assert encode_event(event, b"\x91") == msgpack.packb(event)
