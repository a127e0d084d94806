"""Rejects are shown in one line and as JSON, whatever is in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthcast.inspection.reject_text import event_text, reject_json, reject_line
from depthcast.shared.codec import pack
from depthcast.shared.errors import CodecError
from depthcast.shared.position import Position
from depthcast.shared.reject_record import RejectRecord, read_reject

AT = Position(1_769_904_000_123, 0)
FIELDS = {
    b"symbol": b"BTC-USD",
    b"reason": b"crossed",
    b"source": b"1769904000100-0",
    b"index": b"2",
    b"count": b"1",
    b"event": b'["add","bid",1,1]',
}


def record(**changes: bytes) -> RejectRecord:
    return read_reject(AT, list((FIELDS | {name.encode(): raw for name, raw in changes.items()}).items()))


def test_a_line_has_everything() -> None:
    assert reject_line(record()) == (
        '2026-02-01T00:00:00.123Z BTC-USD crossed  1769904000100-0[2]  ["add","bid",1,1]'
    )
    whole = record(index=b"-1", count=b"7", detail=b"not an array", event=b"")
    assert reject_line(whole).endswith(" crossed × 7  1769904000100-0  –  (not an array)")


def test_json_has_the_names_of_the_contract() -> None:
    shown = reject_json(record(event=pack([0, 0, 1, 1])))
    assert {name.encode() for name in shown} == {*FIELDS, b"at", b"detail"}
    assert (shown["index"], shown["count"], shown["event"]) == (2, 1, "[0, 0, 1, 1]")


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_an_entry_that_lacks_a_field_is_no_reject(name: bytes) -> None:
    with pytest.raises(CodecError, match="no leader wrote"):
        read_reject(AT, [pair for pair in FIELDS.items() if pair[0] != name])


@given(st.binary(max_size=60), st.text(max_size=20))
def test_any_event_and_name_give_one_printable_line(event: bytes, name: str) -> None:
    line = reject_line(record(event=event, symbol=name.encode("utf-8", "replace")))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    json.dumps(reject_json(record(event=event)))


def test_a_long_event_is_cut_in_a_line_only() -> None:
    event = b"[" + b"1," * 300 + b"1]"
    assert event_text(event).endswith("…")
    assert event_text(event, chars_max=None) == event.decode()
