"""Limits of the input: each is hit, exactly at its number, and large entries apply as small ones do."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import msgpack
import pytest

from depthcast.broadcaster import merger
from depthcast.ingestor import chunks
from depthcast.ingestor import engine as engine_module
from depthcast.ingestor import limits as limits_module
from depthcast.ingestor.chunks import Array, open_array
from depthcast.ingestor.decoding import NESTING_MAX
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.interval import Interval
from depthcast.ingestor.limits import DEFAULT, SMALL_BYTES, UNLIMITED, Limits, entry_bytes
from depthcast.ingestor.options import OPTIONS_BYTES_MAX
from depthcast.ingestor.read_count import BEGIN, BYTES_AIMED_AT, ReadCount
from depthcast.ingestor.rejects import REJECTS_PER_ENTRY, Reason, Reject
from depthcast.shared.digest import digest_of
from depthcast.shared.errors import EngineBroken
from depthcast.shared.instruments import Feed, Instrument, OnCross
from depthcast.shared.settings import IngestorSettings
from depthcast.shared.types import Symbol
from tests.engine_check import EngineCheck
from tests.random_events import encode

EPOCH = 1_767_225_600_001
LARGE = b"x" * (SMALL_BYTES + 1)
"""Beside a value of this size, an entry is applied in slices."""


def engine(limits: Limits = DEFAULT) -> Engine:
    made = Engine(0, 1, limits=limits)
    made.register(Instrument(Symbol("L")))
    made.register(Instrument(Symbol("E"), on_cross=OnCross.EVICT))
    made.register(Instrument(Symbol("O"), feed=Feed.ORDERS))
    made.begin_epoch(EPOCH)
    made.drain()
    return made


def both_ways(raw: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """The entry as it is, and as part of a large one."""
    yield raw
    yield [*raw, (b"_large", LARGE)]


def rejects_of(made: Engine, *fields: tuple[bytes, bytes]) -> list[Reject]:
    made.apply("5-0", list(fields))
    return made.drain().rejects


def found(made: Engine, *fields: tuple[bytes, bytes]) -> list[tuple[str, str, int, int]]:
    return [(one.symbol, str(one.reason), one.index, one.count) for one in rejects_of(made, *fields)]


# --- each limit -------------------------------------------------------------------------------------------


def test_the_size_of_an_entry() -> None:
    fields = [(b"L", b"[[0,0,1,1]]"), (b"_", b"{}")]
    size = entry_bytes(fields)
    assert size == 11 + 1 + 2 + 1
    assert found(engine(DEFAULT._replace(entry_bytes_max=size)), *fields) == []
    assert found(engine(DEFAULT._replace(entry_bytes_max=size - 1)), *fields) == [("L", "too_big", -1, 1)]


def test_the_fields_of_an_entry() -> None:
    fields = [(b"L", b"[[0,0,1,1]]")] * 3 + [(b"_", b"{}")]
    assert found(engine(DEFAULT._replace(entry_values_max=4)), *fields) == []
    refused = found(engine(DEFAULT._replace(entry_values_max=3)), *fields)
    assert refused == [("L", "too_many_values", -1, 1)] * 3


def test_values_that_are_refused_together_are_counted() -> None:
    fields = [(b"s%d" % number, b"?") for number in range(REJECTS_PER_ENTRY + 7)]
    made = engine(DEFAULT._replace(entry_values_max=5))
    made.apply("5-0", fields)
    drained = made.drain()
    assert len(drained.rejects) == REJECTS_PER_ENTRY
    assert drained.rejected == len(fields)
    assert drained.rejects[-1][:5] == ("s999", Reason.TOO_MANY_VALUES, "5-0", -1, 8)
    assert drained.src == "5-0"


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("is_json", [False, True])
def test_the_events_of_an_array(atomic: bool, is_json: bool) -> None:
    array = encode([[0, 0, 1, 1]] * 4, is_json)
    options = (b"_", encode({"atomic": atomic}, is_json))
    for fields in both_ways([(b"L", array), options]):
        assert found(engine(DEFAULT._replace(array_events_max=4)), *fields) == []
        refused = found(engine(DEFAULT._replace(array_events_max=3)), *fields)
        assert refused == [("L", "too_many_events", -1, 4)]


@pytest.mark.parametrize("symbol", [b"L", b"E"])
def test_the_levels_of_a_side(symbol: bytes) -> None:
    made = engine(DEFAULT._replace(levels_max=2))
    first = (symbol, b'[["update","bid",1,1],["add","bid",2,1],["add","ask",5,1],["update","ask",6,1]]')
    assert found(made, first) == []
    before = made.snapshot(symbol.decode())
    more = b'[["update","bid",3,1],["add","ask",7,1],["add","bid",9,1],["update","bid",2,1]]'
    name = symbol.decode()
    assert found(made, (symbol, more)) == [(name, "too_many_levels", index, 1) for index in range(3)]
    assert made.snapshot(name)[1:4] == before[1:4]
    replaced = b'[["delete","bid",1],["add","bid",3,1]]'
    assert found(made, (symbol, replaced), (b"_", b'{"atomic":true}')) == []
    refused = b'[["delete","bid",2],["add","bid",4,1],["add","bid",2,1]]'
    assert found(made, (symbol, refused), (b"_", b'{"atomic":true}')) == [(name, "too_many_levels", 2, 3)]
    assert made.snapshot(name).bids == [3, 1, 2, 1]


def test_the_orders_of_a_book() -> None:
    made = engine(DEFAULT._replace(orders_max=2))
    assert found(made, (b"O", b'[["add","bid",1,1,1],["add","ask",2,1,2]]')) == []
    more = b'[["add","bid",1,1,3],["add","ask",2,1,"x"],["update","bid",1,2,1],["reduce",null,null,1,1]]'
    assert found(made, (b"O", more)) == [("O", "too_many_orders", 0, 1), ("O", "too_many_orders", 1, 1)]
    assert made.snapshot("O")[1:3] == ([1, 1], [2, 1])
    assert found(made, (b"O", b'[["delete",0,0,0,1],["add","bid",1,7,3]]')) == []


def test_limits_that_are_lowered_take_nothing_from_a_book() -> None:
    made = engine()
    assert found(made, (b"L", b"[[0,0,1,1],[0,0,2,1],[0,0,3,1]]"), (b"O", b"[[0,0,1,1,1],[0,0,2,1,2]]")) == []
    made.use_limits(DEFAULT._replace(levels_max=1, orders_max=1))
    refused = found(made, (b"L", b"[[1,0,1,5],[0,0,4,1],[2,0,2]]"), (b"O", b"[[0,0,1,1,3],[2,0,0,0,2]]"))
    assert refused == [("L", "too_many_levels", 1, 1), ("O", "too_many_orders", 0, 1)]
    assert made.snapshot("L").bids == [3, 1, 1, 5]


def test_settings_are_the_limits() -> None:
    assert Limits.of(IngestorSettings()) == DEFAULT
    assert Limits.of(IngestorSettings(levels_max=7, entry_bytes_max=2000))[0::3] == (2000, 7)


# --- bounded records --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize("name", [b"L", b"nobody"])
def test_bad_events_beyond_the_first_thousand_are_one_record_for_each_array(
    name: bytes, is_json: bool
) -> None:
    for fields in both_ways([(name, encode([0] * 900, is_json)), (name, encode([1] * 400, is_json))]):
        made = engine()
        made.apply("5-0", [*fields, (name, encode([2] * 5, is_json)), (b"L", b"[[0,0,1,1]]")])
        drained = made.drain()
        assert (drained.rejected, drained.applied) == (1305, 1)
        assert [(one.index, one.count) for one in drained.rejects] == [
            *((index, 1) for index in range(900)),
            *((index, 1) for index in range(100)),
            (100, 300),
            (0, 5),
        ]
        assert [one.event for one in drained.rejects[-2:]] == [encode(1, is_json), encode(2, is_json)]
        made.apply("6-0", [(b"L", b"[0,0]")])
        assert [one.count for one in made.drain().rejects] == [1, 1]
        assert made.rejects_by_reason() == {Reason.MALFORMED: 1307}


def test_a_large_array_of_bad_events_has_few_records_over_all_its_pieces() -> None:
    made = engine()
    made.apply("5-0", [(b"L", msgpack.packb([None] * 100_000))])
    drained = made.drain()
    assert drained.rejected == 100_000
    assert len(drained.rejects) == REJECTS_PER_ENTRY + 1
    assert drained.rejects[-1][3:5] == (REJECTS_PER_ENTRY, 100_000 - REJECTS_PER_ENTRY)


# --- large values -----------------------------------------------------------------------------------------


def opened(raw: bytes, limits: Limits = DEFAULT) -> tuple[Any, int, Any]:
    array = checked(raw, limits)
    return array.refused, array.events, [event for piece in array.pieces for event in piece]


def checked(raw: bytes, limits: Limits = DEFAULT) -> Array:
    steps = open_array(raw, limits)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            array: Array = end.value
            return array


EVENTS = [["update", "bid", 5, 7], [2, 1, -5, None], [], 7, ["é" * 40, {"a": [1]}], "x,]", [2**63, -(2**63)]]


@pytest.mark.parametrize("count", [10_000, 3_000])
def test_large_arrays_are_decoded_as_small_ones_are(count: int) -> None:
    events = [event for _ in range(count) for event in EVENTS]
    for raw in (
        msgpack.packb(events),
        json.dumps(events).encode(),
        json.dumps(events, ensure_ascii=False, separators=(",", ":")).encode(),
        json.dumps(events, indent=1).encode() + b" \n",
    ):
        assert len(raw) > SMALL_BYTES
        assert opened(raw) == (None, len(events), events)


@pytest.mark.parametrize("at", [chunks.EVENT_BYTES_MOST + shift for shift in range(-12, 13)])
def test_events_at_the_edge_of_a_window(at: int) -> None:
    """Also numbers and characters that are cut by it."""
    filler = "[1," + "  " * ((at - 3) // 2) + " " * ((at - 3) % 2)
    for rest in ("123456789", '"éüλ𝄞"', "[2,3]", "true", '{"a":1}', "1.5e3"):
        raw = (filler + rest + "," + "[9]," * 4_000 + "8]").encode()
        try:
            expected = json.loads(raw)
        except ValueError:
            pytest.fail("not JSON")
        refused, events, decoded = opened(raw)
        if refused is None:
            assert (events, decoded) == (len(expected), expected)
        else:
            assert refused is Reason.TOO_BIG, "so many blanks are more than an event may have"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (msgpack.packb([None] * 70_000)[:-1], Reason.MALFORMED),
        (msgpack.packb([None] * 70_000) + b"\xc0", Reason.MALFORMED),
        (b"\xdd\xff\xff\xff\xff" + b"\xc0" * 70_000, Reason.MALFORMED),
        (b"\xc1" * 70_000, Reason.MALFORMED),
        (msgpack.packb("x" * 70_000), Reason.MALFORMED),
        (msgpack.packb([["x" * 70_000]]), Reason.TOO_BIG),
        (msgpack.packb([[None] * 70_000]), Reason.TOO_BIG),
        (msgpack.packb([0] * 70_000 + [b"\xff"]).replace(b"\xc4\x01\xff", b"\xa1\xff"), Reason.MALFORMED),
        (b"\x91" * 70_000 + b"\xc0", Reason.MALFORMED),
        (b"[" + b"0," * 40_000, Reason.MALFORMED),
        (b"[" + b"0," * 40_000 + b"]", Reason.MALFORMED),
        (b"[" + b"0 " * 40_000 + b"]", Reason.MALFORMED),
        (b"[" + b"0," * 40_000 + b"0]]", Reason.MALFORMED),
        (b"[,0" + b",0" * 40_000 + b"]", Reason.MALFORMED),
        (b"[" + b"0," * 40_000 + b'"\xff"]', Reason.MALFORMED),
        (b"[" + b"0," * 40_000 + b"nul]", Reason.MALFORMED),
        (b'["' + b"x" * 70_000 + b'"]', Reason.TOO_BIG),
        (b"[[" + b"0," * 40_000 + b"0]]", Reason.TOO_BIG),
        (b"[" + b" " * 70_000 + b"]", Reason.TOO_BIG),
        (b"[0," + b"[" * 70_000, Reason.MALFORMED),
        (b"[" + (b"[" * 300 + b"]" * 300 + b",") * 200 + b"0]", Reason.MALFORMED),
    ],
)
def test_what_a_large_value_is_refused_for(raw: bytes, reason: Reason) -> None:
    assert len(raw) > SMALL_BYTES
    assert opened(raw)[0] is reason
    assert opened(raw)[1] == 1
    assert checked(raw).detail.startswith("the value ")
    made = engine()
    assert found(made, (b"L", raw), (b"O", b"[[0,0,1,1,1]]")) == [("L", str(reason), -1, 1)]
    assert made.stats().orders == 1


def test_long_integers_of_a_large_value_are_out_of_range_and_no_more() -> None:
    raw = b"[[0,0," + b"9" * 5_000 + b",1]," + b"[0,0,1,1]," * 10_000 + b"[0,0,-" + b"9" * 60_000 + b",1]]"
    assert found(engine(), (b"L", raw)) == [("L", "bad_price", 0, 1), ("L", "bad_price", 10_001, 1)]


@pytest.mark.parametrize("depth", [3, NESTING_MAX - 1, 2 * NESTING_MAX + 1, 900, 995, 5_000])
def test_json_nested_too_deep_is_malformed_whoever_calls(depth: int) -> None:
    """What Python's parser can do depends on the calls it is under; the result must not."""
    raw = b"[" + b'["delete",0,' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"]]"

    def under(calls: int) -> list[tuple[str, str, int, int]]:
        return under(calls - 1) if calls else found(engine(), (b"L", raw))

    expected = [("L", "malformed", 0 if depth <= NESTING_MAX else -1, 1)]
    assert under(0) == under(200) == expected


def test_brackets_in_text_do_not_nest() -> None:
    raw = json.dumps([["add", "bid", 5, 1, '[[\\"' + "[{" * 9]] * 20).encode()
    assert [one[1] for one in found(engine(), (b"O", raw))] == ["duplicate_order"] * 19


def test_long_options_are_malformed() -> None:
    long = b'{"ts":1' + b" " * (OPTIONS_BYTES_MAX - 8) + b"}"
    assert len(long) == OPTIONS_BYTES_MAX
    for fields in both_ways([(b"_", long)]):
        made = engine()
        made.apply("5-0", fields)
        assert made.drain().event_ts == 1
    for fields in both_ways([(b"_", long + b" ")]):
        assert found(engine(), *fields) == [("_", "malformed", -1, 1)]


@pytest.mark.parametrize("seed", range(6))
def test_entries_in_slices_apply_as_the_model_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries count as large, and pieces have few events."""
    for module in (chunks, engine_module, limits_module):
        monkeypatch.setattr(module, "SMALL_BYTES", 2)
    monkeypatch.setattr(chunks, "CHUNK_EVENTS", 3)
    monkeypatch.setattr(merger, "SLICE_LEVELS", 2)
    really = Engine.drain

    def settled(made: Engine, *arguments: Any) -> Interval:
        for _ in made.settle():
            pass
        return really(made, *arguments)

    monkeypatch.setattr(Engine, "drain", settled)
    rng = Random(seed)
    check = EngineCheck()
    for _ in range(150):
        check.step(rng)


def test_between_slices_nothing_can_be_drained_or_copied() -> None:
    made = engine()
    raw = msgpack.packb([[1, 0, price, 1] for price in range(20_000)])
    slices = made.apply_in_slices("5-0", [(b"L", raw)])
    for step, _ in enumerate(slices):
        if step % 10 == 0:
            assert not made.whole
            with pytest.raises(EngineBroken):
                made.drain()
            with pytest.raises(EngineBroken):
                made.snapshot("L")
            with pytest.raises(EngineBroken):
                made.apply("6-0", [])
    assert made.whole
    assert (made.last_consumed(), made.drain().applied) == ("5-0", 20_000)


def test_a_large_drain_is_prepared_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merger, "SLICE_LEVELS", 1_000)
    made, other = engine(), engine()
    for one in (made, other):
        one.drain()
        one.apply("5-0", [(b"L", msgpack.packb([[1, 0, price, 1] for price in range(20_000)]))])
    steps = 0
    for _ in made.settle():
        steps += 1
        assert not made.whole
        assert made.dirty()
        with pytest.raises(EngineBroken):
            made.drain()
        with pytest.raises(EngineBroken):
            made.copies("L")
        with pytest.raises(EngineBroken):
            made.apply("6-0", [])
    assert (steps, made.whole) == (20, True)
    assert made.drain() == other.drain()
    assert made.snapshot("L") == other.snapshot("L")
    assert made.digest("L") == other.digest("L")


def test_the_changes_of_a_newborn_are_not_prepared_before_its_birth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merger, "SLICE_LEVELS", 1)
    made = Engine(0, 1)
    made.register(Instrument(Symbol("L")))
    made.apply("5-0", [(b"L", b"[[1,0,1,1],[1,0,2,1],[1,0,3,1]]")])
    assert list(made.settle()) == []
    ((_, birth),) = made.drain().deltas
    assert (birth.bids, birth.digest) == ([], 0)
    assert len(list(made.settle())) == 3
    ((_, delta),) = made.drain().deltas
    assert (delta.bids, delta.digest) == ([1, 1, 2, 1, 3, 1], digest_of([(1, 1), (2, 1), (3, 1)], []))


def test_replay_is_under_the_limits_of_the_checkpoint() -> None:
    fields = [(b"O", b"[[0,0,1,1,1],[0,0,2,1,2],[0,0,3,1,3]]")]
    for limits, levels in (
        (UNLIMITED, 3),
        (DEFAULT._replace(orders_max=2), 2),
        (DEFAULT._replace(entry_bytes_max=9), 0),
    ):
        source = engine()
        copy = source.drain(["O"]).orders[Symbol("O")]
        made = Engine(0, 1, limits=DEFAULT._replace(orders_max=1))
        made.restore(Instrument(Symbol("O"), feed=Feed.ORDERS), 2048, (), (), 0, copy, limits)
        assert made.replayed_under("O") == limits
        made.replay("5-0", fields, {"O"})
        assert made.stats().orders == levels
        made.use_limits(DEFAULT)
        assert made.replayed_under("O") is None


# --- how much is read -------------------------------------------------------------------------------------


def test_entries_are_read_by_their_size() -> None:
    count = ReadCount(500)
    assert count.count == BEGIN
    count.record(0, 0)
    assert count.count == BEGIN
    count.record(BEGIN, 100 * BEGIN)
    assert count.count == 4 * BEGIN
    count.record(128, 100)
    count.record(512, 100)
    assert count.count == 500
    count.record(500, BYTES_AIMED_AT * 10)
    assert count.count == 50
    count.record(50, BYTES_AIMED_AT * 100)
    assert count.count == 1
    assert not count.shrink()
    count.record(1, 10)
    assert count.count == 4
    assert count.shrink()
    assert count.count == 1
    assert ReadCount(3).count == 3
