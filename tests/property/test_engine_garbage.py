"""Whatever bytes and values arrive, nothing is raised and the good events around them apply."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from depthcast.ingestor.engine import Engine
from depthcast.ingestor.rejects import DETAIL_CHARS_MAX, EVENT_BYTES_MAX, WHOLE, Reason, Reject
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol
from tests.book_model import refuses

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=70)
KEYS = st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=20,
)
NEARLY = st.lists(
    st.lists(
        st.sampled_from(["add", "update", "delete", "reduce", "clear", "bid", "ask"]) | SCALARS, max_size=6
    )
    | VALUES,
    max_size=6,
)
MSGPACK_ONLY = st.binary(max_size=8).map(lambda data: msgpack.packb([["add", "bid", 1, 1, data]]))
TREES = NEARLY | VALUES
RAW = (
    TREES.map(lambda value: json.dumps(value).encode())
    | TREES.map(lambda value: bytes(msgpack.packb(value, unicode_errors="surrogatepass")))
    | MSGPACK_ONLY
    | st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda data: b"[" + data)
)
OPTIONS = st.dictionaries(
    st.sampled_from(["atomic", "ts", "live", "stale", "x"])
    | KEYS
    | st.integers(0, 3)
    | st.binary(max_size=6),
    st.booleans() | SCALARS,
    max_size=3,
)
RAW_OPTIONS = (
    OPTIONS.map(lambda value: bytes(msgpack.packb(value, unicode_errors="surrogatepass")))
    | st.dictionaries(st.sampled_from(["atomic", "ts", "x"]), st.booleans() | SCALARS, max_size=3).map(
        lambda value: json.dumps(value).encode()
    )
    | st.sampled_from([b'{"atomic":true,"atomic":true}', b'{"ts":NaN}', b"\x82\xa2ts\x01\xa2ts\x01"])
)
NAMES = st.sampled_from([b"L", b"O", b"Z", b"_", b"_x", b"\xff\xfe", b""]) | st.binary(max_size=300)


def fresh() -> Engine:
    engine = Engine(0, 1)
    engine.set_all_symbols({"L", "O", "G", "H"})
    for symbol, feed in (("L", Feed.LEVELS), ("O", Feed.ORDERS), ("G", Feed.LEVELS), ("H", Feed.ORDERS)):
        engine.register(Instrument(Symbol(symbol), feed=feed))
    engine.drain()
    return engine


def check_rejects(rejects: list[Reject]) -> None:
    for reject in rejects:
        assert len(reject.event) <= EVENT_BYTES_MAX
        assert len(reject.symbol) <= 256
        assert reject.count >= 1
        assert len(reject.detail) <= DETAIL_CHARS_MAX
        assert reject.detail or reject.reason not in (Reason.MALFORMED, Reason.BAD_OPTIONS)
        reject.symbol.encode()
        msgpack.packb(reject)


@settings(max_examples=150)
@given(
    fields=st.lists(st.tuples(NAMES, RAW) | st.tuples(st.just(b"_"), RAW_OPTIONS), max_size=5),
    place=st.integers(0, 5),
)
@example(fields=[(b"L", b"[" * 100_000)], place=0)
@example(fields=[(b"L", b"\x91" * 100_000)], place=0)
@example(fields=[(b"L", b"[[" + b"9" * 5000 + b"],[1,2,3,-" + b"9" * 5000 + b"]]")], place=1)
@example(fields=[(b"_", b"\xff"), (b"_", b"{"), (b"_", b"[]"), (b"O", b"[NaN,-Infinity]")], place=2)
@example(fields=[(b"L", b"\xdd\xff\xff\xff\xff"), (b"L", b"\xdf\xff\xff\xff\xff"), (b"L", b"")], place=2)
def test_garbage_never_disturbs_good_events(fields: list[tuple[bytes, bytes]], place: int) -> None:
    engine = fresh()
    good = [(b"G", b'[["add","bid",5,3]]'), (b"H", b'[["add","ask",7,4,"x"]]')]
    engine.apply("7-0", [*fields[:place], *good, *fields[place:]])
    interval = engine.drain()
    deltas = {symbol: delta for symbol, delta in interval.deltas if symbol in "GH"}
    if any(name == b"_" and refuses(raw) for name, raw in fields):
        assert (interval.deltas, interval.applied, interval.ignored) == ([], 0, 0)
        assert not interval.doubts
        values = [name for name, _ in (*fields, *good) if not name.startswith(b"_")]
        reasons = [reject.reason for reject in interval.rejects]
        assert reasons == [Reason.MALFORMED, *[Reason.BAD_OPTIONS] * len(values)]
    elif all(name not in (b"G", b"H") for name, _ in fields):
        assert (deltas[Symbol("G")].bids, deltas[Symbol("H")].asks) == ([5, 3], [7, 4])
    check_rejects(interval.rejects)
    assert interval.rejected == sum(reject.count for reject in interval.rejects)


@settings(max_examples=100)
@given(events=NEARLY, as_json=st.booleans())
def test_every_event_of_a_decodable_array_is_accounted_for(events: list[Any], as_json: bool) -> None:
    engine = fresh()
    raw = json.dumps(events).encode() if as_json else msgpack.packb(events, unicode_errors="surrogatepass")
    engine.apply("7-0", [(b"L", raw), (b"O", raw)])
    interval = engine.drain()
    whole = any(reject.index == WHOLE for reject in interval.rejects)
    assert interval.applied + interval.rejected + interval.ignored == (2 if whole else 2 * len(events))
    check_rejects(interval.rejects)


@pytest.mark.parametrize("count", [1, 1000])
def test_a_nested_flood_of_array_headers_is_one_reject(count: int) -> None:
    engine = fresh()
    engine.apply("7-0", [(b"L", b"\xdc\xff\xff" * count), (b"G", b'[["add","bid",5,3]]')])
    interval = engine.drain()
    assert (interval.applied, interval.rejected) == (1, 1)
