"""From bytes to events, and back again for the record of a reject."""

import json
from typing import Any

import msgpack
import pytest

from depthcast.ingestor.events import encode_event, levels_event, orders_event, read_entry
from depthcast.ingestor.options import NO_OPTIONS
from depthcast.ingestor.rejects import Reason, RefusedError

NESTED = 100_000
EXTRA = "unpack(b) received extra data."
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
    (value,) = read_entry([(b"X", raw)]).values
    assert value.events is None
    assert value.fault.startswith("the value is ")


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'[["add","bid",1 2]]', "the value is not JSON: Expecting ',' delimiter at character 16"),
        (b"[\xff]", "the value is not JSON: no UTF-8 at byte 1"),
        (b"[" * 200, "the value is JSON nested more than 64 levels deep"),
        (b"\x92\x01", "the value is not msgpack (Unpack failed: incomplete input)"),
        (b"\x81\xa1a\x01", "the value is a map: it must be an array of events"),
        (b"\xc0", "the value is null: it must be an array of events"),
        (b"\xa3add", 'the value is "add": it must be an array of events'),
        (
            b"\xef\xbb\xbf[]",
            f"the value is not msgpack ({EXTRA}); JSON must begin with [, nothing before it",
        ),
        (
            b" []",
            f"the value is not msgpack ({EXTRA}); JSON must begin with [, nothing before it",
        ),
    ],
)
def test_a_value_that_is_refused_says_why(raw: bytes, fault: str) -> None:
    assert read_entry([(b"X", raw)]).values[0].fault == fault


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


def test_fields_for_later_versions_are_ignored() -> None:
    assert read_entry([(b"_x", b"?"), (b"__", b"?")]) == (NO_OPTIONS, [])


def test_options_that_refuse_the_entry_leave_nothing_to_apply() -> None:
    entry = read_entry([(b"X", b"[]"), (b"_", b"?"), (b"_", b'{"atomic":true}')])
    assert entry.options.fault is not None
    assert entry.options.fault.raw == b"?"
    assert not entry.values


INTEGRAL = [
    ("5.0", 5), ("1e3", 1000), ("-0.0", 0), ("-7.0E0", -7), ("0.5e1", 5), ("9007199254740991.0", 2**53 - 1),
    ("-9007199254740991.0", -(2**53) + 1), ("5.000000000000000000", 5),
]  # fmt: skip
NOT_INTEGRAL = [
    "12.5", "1e-1", "NaN", "Infinity", "-Infinity", "1e400", "9007199254740992.0", "-9007199254740992.0",
    "1e300", "9007199254740991.4", "5.00000000000000000001", "1e-400", "1e-99999999999999999999",
    "true", '"5"',
]  # fmt: skip


@pytest.mark.parametrize(("text", "number"), INTEGRAL)
def test_an_integral_float_is_that_integer(text: str, number: int) -> None:
    """In JSON and in msgpack, whichever item it is."""
    for value in (json.loads(text, parse_float=float), events_of(f"[{text}]".encode())[0]):
        (event,) = events_of(msgpack.packb([[1.0, 0.0, float(value), 7.0]]))
        assert levels_event(event) == (1, 0, number, 7)
        assert [type(item) for item in levels_event(event)] == [int] * 4
    for item in range(2, 5):
        event = [1, 0, 1, 1, 1]
        event[item] = events_of(f"[{text}]".encode())[0]
        if number >= 0 or item != 3:
            assert orders_event(event)[item] == number
            assert type(orders_event(event)[item]) is int


def test_an_integral_float32_is_that_integer() -> None:
    (event,) = events_of(msgpack.packb([[1, 0, 16_777_216.0, 3.0]], use_single_float=True))
    assert levels_event(event) == (1, 0, 16_777_216, 3)


@pytest.mark.parametrize("text", NOT_INTEGRAL)
@pytest.mark.parametrize("item", range(2, 5))
def test_any_other_float_is_malformed(text: str, item: int) -> None:
    event = events_of(f"[[1,0,1,1,1,{text}]]".encode())[0]
    event[item] = event.pop()
    if text == '"5"' and item == 4:
        assert orders_event(event)[4] == "5"
        return
    with pytest.raises(RefusedError) as refusal:
        orders_event(event)
    assert refusal.value.reason is Reason.MALFORMED


def test_a_float_that_is_not_read_is_ignored() -> None:
    assert levels_event(events_of(b'[["delete","bid",5,0.5,1.5]]')[0]) == (2, 0, 5, 0)


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
