"""Bytes of the delta and snapshot streams: round trips, exact bytes, and invalid input."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthcast.shared.codec import (
    decode_delta,
    decode_info,
    decode_marked_delta,
    decode_snapshot,
    encode_delta,
    encode_deltas,
    encode_info,
    encode_snapshot,
    pack,
    unpack,
)
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.errors import CodecError
from depthcast.shared.types import MAX_INTEGER, Delta, EntryInfo, Snapshot

DECODERS: list[Callable[[bytes], object]] = [decode_delta, decode_snapshot, decode_info]

price = st.integers(-MAX_INTEGER, MAX_INTEGER)
whole = st.integers(0, 2**62)


def flats(least: int) -> st.SearchStrategy[list[int]]:
    sides = st.dictionaries(price, st.integers(least, MAX_INTEGER), max_size=6)
    return sides.map(lambda levels: [number for level in levels.items() for number in level])


deltas = st.builds(
    lambda prev, more, bids, asks, digest, events: Delta(prev, prev + more, bids, asks, digest, events),
    st.integers(0, 2**61),
    st.integers(1, 2**61),
    flats(0),
    flats(0),
    st.integers(0, 2**32 - 1),
    whole,
)
snapshots = st.builds(
    lambda seq, bids, asks, ts: Snapshot(seq, bids, asks, digest_of_flat(bids, asks), ts),
    whole,
    flats(1),
    flats(1),
    whole,
)
infos = st.builds(
    EntryInfo,
    whole,
    st.text(),
    whole,
    whole,
    whole,
    st.none() | whole,
    st.none() | st.just("0-0"),
    st.none() | st.text(),
    st.none() | whole,
    st.none() | whole,
    st.none() | whole,
    st.none() | st.lists(st.text(), min_size=1).map(tuple),
)
DELTA = Delta(7, 9, [6500010, 5, 6499990, 0], [-25, MAX_INTEGER], 254150328, 3)
SNAPSHOT = Snapshot(9, [6500010, 5, 6500000, 12], [6500020, 7], 254150328, 1767225600000000)
INFO = EntryInfo(1767225600000000, "1767225599999-0", 3, 1, 0, None, "0-0")


@given(deltas)
def test_delta_there_and_back(delta: Delta) -> None:
    assert decode_delta(encode_delta(delta)) == delta


@given(deltas, st.dictionaries(st.text(), st.none() | st.integers(0, 2**53) | st.text()))
def test_a_delta_and_its_marks_there_and_back(delta: Delta, marks: dict[str, Any]) -> None:
    assert decode_marked_delta(encode_delta(delta, marks)) == (delta, marks)


def test_marks_of_another_form_are_none() -> None:
    for items in ([*DELTA], [*DELTA, None], [*DELTA, 5, {"x": 1}]):
        assert decode_marked_delta(pack(items)) == (DELTA, {})


@given(st.lists(st.tuples(st.text(), deltas)))
def test_deltas_of_many_symbols_are_the_same_bytes(named: list[tuple[str, Delta]]) -> None:
    assert encode_deltas(named) == [(name.encode(), encode_delta(delta)) for name, delta in named]


def test_a_delta_too_large_spoils_no_other() -> None:
    named = [("A", DELTA), ("B", DELTA._replace(seq=2**64)), ("C", DELTA)]
    with pytest.raises(OverflowError):
        encode_deltas(named)
    assert encode_deltas(named[::2]) == [(b"A", encode_delta(DELTA)), (b"C", encode_delta(DELTA))]


@given(snapshots)
def test_snapshot_there_and_back(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


@given(infos)
def test_info_there_and_back(info: EntryInfo) -> None:
    assert decode_info(encode_info(info)) == info


def test_bytes_of_a_delta() -> None:
    expected = "96 07 09 94 ce00632eaa 05 ce00632e96 00 92 e7 cf001fffffffffffff ce0f2606b8 03"
    assert encode_delta(DELTA) == bytes.fromhex(expected.replace(" ", ""))


def test_bytes_of_a_snapshot() -> None:
    expected = "95 09 94 ce00632eaa 05 ce00632ea0 0c 92 ce00632eb4 07 ce0f2606b8 cf0006474846204000"
    assert encode_snapshot(SNAPSHOT) == bytes.fromhex(expected.replace(" ", ""))


def test_bytes_of_an_entry_info() -> None:
    expected = (
        b"\x86\xa2ts\xcf\x00\x06\x47\x48\x46\x20\x40\x00\xa3src\xaf1767225599999-0"
        b"\xa7applied\x03\xa8rejected\x01\xa7ignored\x00\xa4prev\xa30-0"
    )
    assert encode_info(INFO) == expected


def test_later_additions_are_ignored() -> None:
    assert decode_delta(pack([*DELTA, "more", None])) == DELTA
    assert decode_snapshot(pack([*SNAPSHOT, {}])) == SNAPSHOT
    assert decode_info(pack({**msgpack.unpackb(encode_info(INFO)), "_x": 1, 5: 6})) == INFO


@pytest.mark.parametrize(
    "items",
    [
        None,
        5,
        {},
        "text",
        [],
        DELTA[:5],
        DELTA._replace(seq=7),
        DELTA._replace(seq=6),
        DELTA._replace(prev_seq=-1),
        DELTA._replace(events=-1),
        [True, *DELTA[1:]],
        DELTA._replace(digest=1.0),  # type: ignore[arg-type]
        DELTA._replace(digest=-1),
        DELTA._replace(bids=[1]),
        DELTA._replace(bids={}),  # type: ignore[arg-type]
        DELTA._replace(bids=None),  # type: ignore[arg-type]
        DELTA._replace(asks=[1, -1]),
        DELTA._replace(asks=[1, 2.0]),  # type: ignore[list-item]
        DELTA._replace(asks=[True, 2]),
        DELTA._replace(asks=["1", 2]),  # type: ignore[list-item]
        DELTA._replace(asks=[[1, 2]]),  # type: ignore[list-item]
        DELTA._replace(asks=[1, MAX_INTEGER + 1]),
        DELTA._replace(bids=[MAX_INTEGER + 1, 1]),
        DELTA._replace(bids=[-MAX_INTEGER - 1, 1]),
        DELTA._replace(bids=[2**63, 1]),
        DELTA._replace(bids=[2**64 - 1, 1]),
        DELTA._replace(bids=[-(2**63), 1]),
        DELTA._replace(asks=[1, 2**63]),
        DELTA._replace(asks=[1, 2**64 - 1]),
        DELTA._replace(asks=[1, -(2**63)]),
        DELTA._replace(digest=-(2**63)),
        DELTA._replace(seq=-(2**63)),
    ],
)
def test_what_is_no_delta(items: Any) -> None:
    with pytest.raises(CodecError):
        decode_delta(pack(items))


@pytest.mark.parametrize(
    "items",
    [
        SNAPSHOT[:4],
        SNAPSHOT._replace(seq=-1),
        SNAPSHOT._replace(ts=None),  # type: ignore[arg-type]
        SNAPSHOT._replace(bids=[6500010, 0]),
        SNAPSHOT._replace(bids=[6500010]),
        SNAPSHOT._replace(digest=254150329),
        SNAPSHOT._replace(digest=254150328 + 2**32),
        SNAPSHOT._replace(asks=[6500020, 8]),
        SNAPSHOT._replace(bids=[6500010, 5, 6500000, 11, 6500000, 1]),
    ],
)
def test_what_is_no_snapshot(items: Any) -> None:
    with pytest.raises(CodecError):
        decode_snapshot(pack(items))


@pytest.mark.parametrize(
    ("decode", "items", "says"),
    [
        (decode_delta, 5, "delta: expected an array of at least 6 items"),
        (decode_delta, DELTA[:5], "delta: expected an array of at least 6 items"),
        (decode_delta, DELTA._replace(seq=7), "delta: seq 7 does not follow prev_seq 7"),
        (decode_delta, DELTA._replace(events=-1), "delta: -1 is not a whole number"),
        (decode_delta, [True, *DELTA[1:]], "delta: True is not a whole number"),
        (decode_delta, DELTA._replace(bids=[1]), "delta: levels must be a flat array of price and quantity"),
        (
            decode_delta,
            DELTA._replace(asks=[1, 2, 3]),
            "delta: levels must be a flat array of price and quantity",
        ),
        (
            decode_delta,
            [*DELTA[:3], {}, *DELTA[4:]],
            "delta: levels must be a flat array of price and quantity",
        ),
        (decode_delta, [*DELTA[:2], [1.0, 2], *DELTA[3:]], "delta: prices and quantities must be integers"),
        (decode_delta, [*DELTA[:3], [1, True], *DELTA[4:]], "delta: prices and quantities must be integers"),
        (
            decode_delta,
            DELTA._replace(bids=[3, 1, MAX_INTEGER + 1, 1]),
            f"delta: prices 3 to {MAX_INTEGER + 1} are out of range",
        ),
        (
            decode_delta,
            DELTA._replace(bids=[3, 1, -MAX_INTEGER - 1, 1]),
            f"delta: prices {-MAX_INTEGER - 1} to 3 are out of range",
        ),
        (decode_delta, DELTA._replace(asks=[3, -1, 4, 9]), "delta: quantities -1 to 9 are out of range"),
        (decode_snapshot, SNAPSHOT[:4], "snapshot: expected an array of at least 5 items"),
        (decode_snapshot, SNAPSHOT._replace(ts=-1), "snapshot: -1 is not a whole number"),
        (decode_snapshot, SNAPSHOT._replace(bids=[7, 0]), "snapshot: quantities 0 to 0 are out of range"),
        (
            decode_snapshot,
            SNAPSHOT._replace(asks=[7]),
            "snapshot: levels must be a flat array of price and quantity",
        ),
        (decode_snapshot, SNAPSHOT._replace(asks=[7, 1, 7, 1]), "snapshot: names a price twice"),
        (decode_snapshot, SNAPSHOT._replace(digest=5), "snapshot: has the digest 254150328, but says 5"),
        (decode_info, [], "entry info: expected a map, got list"),
        (decode_info, {"ts": 1, "src": "0-0", "applied": 0}, "entry info: lacks rejected, ignored"),
        (decode_info, {**INFO._asdict(), "ts": -1}, "entry info: -1 is not a whole number"),
        (decode_info, {**INFO._asdict(), "event_ts": "now"}, "entry info: 'now' is not a whole number"),
        (decode_info, {**INFO._asdict(), "src": 5}, "entry info: src, prev and successor must be text"),
        (decode_info, {**INFO._asdict(), "prev": 5}, "entry info: src, prev and successor must be text"),
        (decode_info, {**INFO._asdict(), "successor": 5}, "entry info: src, prev and successor must be text"),
        (decode_info, {**INFO._asdict(), "inputs": ["A", 5]}, "entry info: inputs must be a list of symbols"),
    ],
)
def test_what_is_wrong_is_said(decode: Callable[[bytes], object], items: Any, says: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode(pack(items))
    assert str(caught.value) == says


@pytest.mark.parametrize("missing", ["ts", "src", "applied", "rejected", "ignored"])
def test_an_info_lacks_nothing(missing: str) -> None:
    value = msgpack.unpackb(encode_info(INFO))
    del value[missing]
    with pytest.raises(CodecError, match=f"lacks {missing}"):
        decode_info(pack(value))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": -1},
        {"ts": "5"},
        {"src": 5},
        {"src": None},
        {"prev": 5},
        {"event_ts": "now"},
        {"applied": 1.0},
        {"inputs": "AB"},
    ],
)
def test_what_is_no_info(wrong: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        decode_info(pack({**msgpack.unpackb(encode_info(INFO)), **wrong}))


def check_accepted(value: object) -> None:
    """Whatever was decoded keeps the contract, and decodes from its own bytes again."""
    if isinstance(value, Delta):
        assert 0 <= value.prev_seq < value.seq
        check_levels(value, 0)
        assert decode_delta(encode_delta(value)) == value
    elif isinstance(value, Snapshot):
        check_levels(value, 1)
        assert value.digest == digest_of_flat(value.bids, value.asks)
        assert min(value.seq, value.ts) >= 0
        assert decode_snapshot(encode_snapshot(value)) == value
    else:
        assert isinstance(value, EntryInfo)
        assert min(value.ts, value.applied, value.rejected, value.ignored, value.event_ts or 0) >= 0
        assert {type(text) for text in (value.src, value.prev or "", value.successor or "")} == {str}
        assert decode_info(encode_info(value)) == value


def check_levels(value: Delta | Snapshot, quantity_min: int) -> None:
    for flat in (value.bids, value.asks):
        assert len(flat) % 2 == 0
        assert {type(number) for number in flat} <= {int}
        assert all(-MAX_INTEGER <= price <= MAX_INTEGER for price in flat[::2])
        assert all(quantity_min <= quantity <= MAX_INTEGER for quantity in flat[1::2])


@pytest.mark.parametrize("decode", DECODERS)
@given(raw=st.binary(max_size=60))
def test_garbage_raises_nothing_else(decode: Callable[[bytes], object], raw: bytes) -> None:
    with contextlib.suppress(CodecError):
        check_accepted(decode(raw))


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text() | st.integers(0, 9), inner)
)


@settings(max_examples=30)
@given(value=values | st.lists(values, min_size=5, max_size=6) | st.lists(st.lists(scalars), min_size=6))
def test_any_value_raises_nothing_else(value: Any) -> None:
    for decode in DECODERS:
        with contextlib.suppress(CodecError):
            check_accepted(decode(msgpack.packb(value)))


@pytest.mark.parametrize("raw", [encode_delta(DELTA), encode_snapshot(SNAPSHOT), encode_info(INFO)])
def test_each_truncation_and_any_flipped_byte(raw: bytes) -> None:
    for size in range(len(raw)):
        for decode in DECODERS:
            with pytest.raises(CodecError):
                decode(raw[:size])
    for place in range(len(raw)):
        for byte in (0x00, 0x7F, 0x80, 0x90, 0xA0, 0xC0, 0xC1, 0xC7, 0xCB, 0xD4, 0xDD, 0xDF, 0xFF):
            for decode in DECODERS:
                with contextlib.suppress(CodecError):
                    check_accepted(decode(raw[:place] + bytes([byte]) + raw[place + 1 :]))


@pytest.mark.parametrize(
    "raw",
    [
        b"\xdd\xff\xff\xff\xff",  # an array that claims 4 billion items
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,  # nested 100,000 deep
        b"\x81\x90\x01",  # a map with an array as key
        b"\xc7\x0c\xff" + b"\xff" * 12,  # a time stamp out of range
        b"\xd6\xff\xff\xff\xff\xff",
        b"\xa2\xff\xfe",  # text that is not UTF-8
    ],
)
def test_spiteful_msgpack(raw: bytes) -> None:
    for decode in DECODERS:
        with pytest.raises(CodecError):
            decode(raw)


def test_nothing_may_follow_a_value() -> None:
    assert unpack(pack([1]), "test") == [1]
    with pytest.raises(CodecError, match="test: not msgpack"):
        unpack(pack([1]) + b"\x00", "test")
