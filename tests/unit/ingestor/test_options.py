"""The field `_`: what it may say, and what becomes of one that says something else."""

import json
from typing import Any

import msgpack
import pytest

from depthcast.ingestor.options import NO_OPTIONS, OPTIONS_BYTES_MAX, Fault, read_options
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.types import Symbol

ENCODERS: list[Any] = [msgpack.packb, lambda value: json.dumps(value).encode()]


@pytest.mark.parametrize(
    ("options", "atomic", "ts"),
    [
        ([], False, None),
        ([{}], False, None),
        ([{"atomic": True}], True, None),
        ([{"ts": 2**53 - 1, "more": [1], "further": {"atomic": 5}}], False, 2**53 - 1),
        ([{"ts": 1767225600000000.0}], False, 1767225600000000),
        ([{"ts": -0.0}], False, 0),
        ([{"atomic": True, "ts": 1}, {"ts": 2}], True, 2),
        ([{"atomic": True}, {"atomic": False}], False, None),
    ],
)
def test_good_options(options: list[Any], atomic: bool, ts: int | None) -> None:
    for encode in ENCODERS:
        assert read_options([encode(each) for each in options]) == NO_OPTIONS._replace(atomic=atomic, ts=ts)


@pytest.mark.parametrize(
    ("ts", "said"),
    [
        (-1, "-1"), (1.5, "1.5"), (True, "true"), (None, "null"), ("1", '"1"'), ([], "an array of 0 items"),
        ({}, "a map"), (2**53, "9007199254740992"), (float("inf"), "inf"), (2.0**53, "9007199254740992.0"),
        (1767225600000000000, "1767225600000000000"),
    ],
)  # fmt: skip
def test_a_bad_ts_costs_itself_alone(ts: Any, said: str) -> None:
    for encode in ENCODERS:
        options = read_options([encode({"ts": 7}), encode({"ts": ts, "atomic": True})])
        assert (options.atomic, options.ts, options.fault) == (True, 7, None)
        (detail,) = options.bad_ts
        assert detail.startswith(f"ts is {said}: it is in microseconds since 1970, 0 to 9007199254740991")
        assert ("nanoseconds" in detail) == (ts == 1767225600000000000)


def test_a_ts_beyond_all_integers_of_python_is_a_bad_ts() -> None:
    options = read_options([b'{"ts":' + b"9" * 4000 + b"}"])
    assert (options.fault, options.ts, len(options.bad_ts)) == (None, None, 1)
    assert read_options([b'{"ts":5.00000000000000000001}']).bad_ts


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "not msgpack (Unpack failed: incomplete input)"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes at character 1"),
        (b'{"atomic":true', "not JSON: Expecting ',' delimiter at character 14"),
        (b'{"a":"\xff"}', "not JSON: no UTF-8 at byte 6"),
        (b'{"listing":0}', "listing is 0: it is a number from 1, or a map of them by symbol"),
        (b'{"listing":true}', "listing is true: it is a number from 1, or a map of them by symbol"),
        (b'{"listing":{"A":"1"}}', 'listing of "A" is "1": it is a number from 1'),
        (b'{"listing":{"A":1,"A":2}}', "listing is a map: it is a number from 1, or a map of them by symbol"),
        (b'{"relist":1}', "relist is 1: it is a map of instruments by symbol"),
        (b'{"relist":{"A":1}}', 'relist of "A" is 1: it is a map'),
        (b'{"relist":{"A":{}}}', 'relist of "A": listing is None; it must be a whole number'),
        (b'{"relist":{"A":{"listing":0}}}', 'relist of "A" has no listing: it is the number to begin'),
        (
            b'{"relist":{"A":{"listing":2,"tick_size":1}}}',
            'relist of "A": tick_size is 1; write a positive decimal as text, such as "0.01"',
        ),
        (b"{}x", "not JSON: Extra data at character 2"),
        (b"\x81\xa2ts\xff\x00", "not msgpack (unpack(b) received extra data.)"),
        (b"\xc1", "not msgpack (FormatError)"),
        (b"[]", "not msgpack (unpack(b) received extra data.)"),
        (b"\x90", 'the options are no map, such as {"atomic": true}'),
        (b"\xc0", 'the options are no map, such as {"atomic": true}'),
        (b'{"atomic":1}', "atomic is 1: it is true or false"),
        (b'{"atomic":1.0}', "atomic is 1.0: it is true or false"),
        (b'{"atomic":null}', "atomic is null: it is true or false"),
        (b'{"atomic":"true"}', 'atomic is "true": it is true or false'),
        (b'{"ts":5,"atomic":[]}', "atomic is an array of 0 items: it is true or false"),
        (b'{"atomic":true,"atomic":false}', 'the options have "atomic" twice'),
        (b'{"ts":1,"ts":1}', 'the options have "ts" twice'),
        (b"\x82\xa6atomic\xc3\xa6atomic\xc2", 'the options have "atomic" twice'),
        (b"\x81\xc4\x06atomic\xc3", "the options have the key binary data: keys are text"),
        (b"\x81\x05\xc3", "the options have the key 5: keys are text"),
        (b"\x81\x80\xc3", "the options have the key a map: keys are text"),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b"}", "JSON nested more than 64 levels deep"),
        (b'{"ts":1' + b" " * OPTIONS_BYTES_MAX + b"}", "the options have 4104 bytes, more than 4096"),
    ],
)
def test_any_other_mistake_refuses_the_entry(raw: bytes, detail: str) -> None:
    good = b'{"atomic":true}'
    for raws in ([raw], [good, raw], [raw, good], [good, raw, b"?"]):
        assert read_options(raws).fault == Fault(raw, detail)


@pytest.mark.parametrize(
    ("options", "stale", "live"),
    [
        ([{"stale": "gap"}], "gap", False),
        ([{"stale": "é" * 64, "live": False}], "é" * 64, False),
        ([{"live": True, "atomic": True}], None, True),
        ([{"live": True}, {"live": False}, {"stale": "gap"}, {"stale": "sum"}], "sum", False),
    ],
)
def test_doubts(options: list[Any], stale: str | None, live: bool) -> None:
    for encode in ENCODERS:
        found = read_options([encode(each) for each in options])
        assert (found.stale, found.live, found.fault) == (stale, live, None)
        assert found.about_doubt
    assert not NO_OPTIONS.about_doubt


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b'{"stale":""}', 'stale is "": it is a text of 1 to 64 characters'),
        (b'{"stale":null}', "stale is null: it is a text of 1 to 64 characters"),
        (b'{"stale":true}', "stale is true: it is a text of 1 to 64 characters"),
        (b'{"stale":"\\ud800"}', 'stale is "\\ud800": it is a text of 1 to 64 characters'),
        (b'{"live":1}', "live is 1: it is true or false"),
        (
            b'{"stale":"gap","live":true}',
            "the options say stale and live: books are in doubt, or they are not",
        ),
    ],
)
def test_doubts_that_cannot_be_understood(raw: bytes, detail: str) -> None:
    assert read_options([raw]).fault == Fault(raw, detail)
    assert read_options([b'{"stale":"' + b"x" * 65 + b'"}']).fault is not None
    assert read_options([b'{"stale":"gap"}', b'{"live":true}']).fault is not None


def test_options_of_the_greatest_length_are_read() -> None:
    raw = b'{"ts":1' + b" " * (OPTIONS_BYTES_MAX - 8) + b"}"
    assert len(raw) == OPTIONS_BYTES_MAX
    assert read_options([raw]).ts == 1


def test_listings_are_named_for_all_arrays_or_by_symbol() -> None:
    for raw in (b'{"listing":2}', b'{"listing":2.0}', b'{"listing":{"A":2,"B":2}}'):
        options = read_options([raw])
        assert options.fault is None
        assert [options.is_meant_for(symbol, 2) for symbol in "AB"] == [True, True]
        assert not options.is_meant_for("A", 3)
    assert read_options([b'{"listing":{"A":2}}']).is_meant_for("C", 9)
    assert NO_OPTIONS.is_meant_for("A", 9)
    both = read_options([b'{"listing":1}', b"\x81\xa7listing\x05"])
    assert (both.is_meant_for("A", 1), both.is_meant_for("A", 5)) == (False, True)


def test_a_listing_may_be_asked_for() -> None:
    options = read_options([b'{"relist":{"A":{"listing":3.0,"tick_size":"0.5","feed":"orders","later":[]}}}'])
    assert options.relist == (Instrument(Symbol("A"), "0.5", feed=Feed.ORDERS, listing=3),)
