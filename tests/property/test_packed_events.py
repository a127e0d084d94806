"""Events read into numbers are those of the general decoder, or left to it, and apply alike."""

import struct
from random import Random
from typing import Any

import msgpack
import pytest

import depthcast.ingestor.packed_events
from depthcast.ingestor.events import read_events
from depthcast.ingestor.levels import LevelsState
from depthcast.ingestor.limits import DEFAULT
from depthcast.ingestor.orders import OrdersState
from depthcast.ingestor.packed_events import PackedEvents, PackedOrders, read_packed
from depthcast.shared.codec import pack
from depthcast.shared.compiled import is_compiled
from depthcast.shared.types import MAX_INTEGER
from tests.property.test_engine_fast_path import PRICE_ITEMS, QUANTITY_ITEMS, Pair, SlowLevels, SlowOrders

pytestmark = pytest.mark.skipif(
    not is_compiled(depthcast.ingestor.packed_events),
    reason="as Python, the general decoder reads everything",
)

EDGES = [0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31, 2**32 - 1, 2**32, MAX_INTEGER]
PRICES = [*EDGES, *(-edge for edge in EDGES[1:]), -32, -33, -(2**31) + 1]


def is_usual(event: Any) -> bool:
    return (
        type(event) is list
        and len(event) == 4
        and all(type(item) is int for item in event)
        and event[0] in range(5)
        and event[1] in (0, 1)
        and abs(event[2]) <= MAX_INTEGER
        and 0 <= event[3] <= MAX_INTEGER
    )


def usual(rng: Random) -> list[int]:
    return [rng.randrange(5), rng.randrange(2), rng.choice(PRICES), rng.choice(EDGES)]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 300, 70_000])
def test_arrays_of_every_length_are_read(count: int) -> None:
    rng = Random(count)
    events = [usual(rng) for _ in range(count)]
    # Negative prices of 64 bits are left to the general decoder.
    events = [event for event in events if event[2] >= -(2**31)]
    packed = read_packed(pack(events))
    assert packed is not None
    assert list(packed) == events
    assert bool(packed) == bool(events)
    if events:
        assert (packed[0], packed[-1], packed[:2]) == (events[0], events[-1], events[:2])
        assert packed[::-7] == events[::-7]
    assert [packed[index] for index in range(len(packed))] == events, "and one takes no time for the others"
    for index in (len(events), -len(events) - 1):
        with pytest.raises(IndexError):
            packed[index]
    assert len(packed) == len(events)
    assert packed == events
    assert packed != [*events, events]


@pytest.mark.parametrize("price", PRICES)
def test_every_encoding_of_a_number_is_the_same_number(price: int) -> None:
    kinds = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
    for kind, letter in kinds.items():
        try:
            number = bytes([kind]) + struct.pack(f">{letter}", price)
        except struct.error:
            continue
        raw = b"\x91\x94\x01\x00" + number + b"\x05"
        assert msgpack.unpackb(raw) == [[1, 0, price, 5]]
        packed = read_packed(raw)
        if kind == 0xD3 and price < 0:
            assert packed is None
        else:
            assert packed is not None
            assert list(packed) == [[1, 0, price, 5]]


def test_what_is_not_usual_is_left_to_the_general_decoder() -> None:
    rng = Random(3)
    odd: list[Any] = [
        5,
        -1,
        2,
        None,
        True,
        False,
        1.0,
        "bid",
        [],
        {},
        b"1",
        2**53,
        -(2**53),
        2**63,
        2**64 - 1,
    ]
    seen = set()
    for place in range(4):
        for item in odd:
            events: list[Any] = [usual(rng) for _ in range(3)]
            events[1][place] = item
            packed = read_packed(pack(events))
            assert packed is None or (is_usual(events[1]) and list(packed) == events), events
            seen.add(packed is None)
    assert seen == {True, False}
    unusual: list[Any] = [None, 1, "x", [], [1], [1, 0, 5], [1, 0, 5, 2, 3], {}, [[1, 0, 5, 2]]]
    for event in unusual:
        assert read_packed(pack([[1, 0, 5, 2], event])) is None
        if event != [1, 0, 5, 2, 3]:
            assert read_packed(pack([[1, 0, 5, 2, 3], event])) is None
            assert read_packed(pack([event])) is None
    assert read_packed(pack([[1, 0, 5, 2, 3], [1, 0, 5, 2]])) is None
    values: list[Any] = [None, 5, {}, "x", [[1, 0, 5, 2], None]]
    for value in values:
        assert read_packed(pack(value)) is None
    assert read_packed(b"[[1,0,5,2]]") is None
    assert read_packed(b"") is None


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_are_what_the_general_decoder_says_or_left_to_it(seed: int) -> None:
    rng = Random(seed)
    read = 0
    for _ in range(4_000):
        raw = bytearray(pack([usual(rng) for _ in range(rng.randint(0, 20))]))
        for _ in range(rng.randint(0, 2)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        if rng.random() < 0.3:
            del raw[rng.randrange(len(raw) + 1) :]
        if rng.random() < 0.1:
            raw += bytes(rng.randint(1, 3))
        packed = read_packed(bytes(raw))
        if packed is not None:
            read += 1
            assert list(packed) == msgpack.unpackb(bytes(raw))
            assert all(map(is_usual, packed))
    assert read > 500


def test_an_array_that_says_it_is_long_takes_no_memory() -> None:
    assert read_packed(b"\xdd\xff\xff\xff\xff" + b"\x94\x01\x00\x05\x02" * 3) is None
    assert read_packed(b"\xdc\xff\xff") is None


@pytest.mark.parametrize("evicts", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_they_apply_as_if_each_was_checked(evicts: bool, seed: int) -> None:
    rng = Random(seed)
    pair = Pair(LevelsState(evicts=evicts), SlowLevels(evicts=evicts))
    prices = [price for price in PRICE_ITEMS if type(price) is int and abs(price) <= MAX_INTEGER]
    lots = [lot for lot in QUANTITY_ITEMS if type(lot) is int and 0 <= lot <= MAX_INTEGER]
    packed = 0
    for _ in range(3_000):
        events = [
            [
                rng.choice([0, 1, 1, 2, 3, rng.randrange(5)]),
                rng.randrange(2),
                rng.choice([*range(-4, 9), *prices]),
                rng.choice(lots),
            ]
            for _ in range(rng.randint(1, 6))
        ]
        read = read_events(pack(events))
        packed += type(read) is PackedEvents
        pair.apply(read, atomic=rng.random() < 0.3)
        if rng.random() < 0.1:
            pair.compare()
            pair.fast.merger.drain(pair.fast.merger.seq + 1)
            pair.slow.merger.drain(pair.slow.merger.seq + 1)
    assert packed > 1_000
    assert len(pair.results) >= 4


IDS = [*EDGES, 2**53, 2**63 - 1, *(-edge for edge in EDGES[1:] if edge <= 2**31)]


def is_usual_order(event: Any) -> bool:
    return (
        type(event) is list
        and len(event) == 5
        and type(event[0]) is int
        and event[0] in range(5)
        and all(type(item) in (int, type(None)) for item in event[1:4])
        and event[1] in (0, 1, None)
        and (event[2] is None or abs(event[2]) <= MAX_INTEGER)
        and (event[3] is None or 0 <= event[3] <= MAX_INTEGER)
        and type(event[4]) is int
        and -(2**63) <= event[4] < 2**63
    )


def usual_order(rng: Random) -> list[int | None]:
    side, price, lots = rng.choice([0, 1, None]), rng.choice([*PRICES, None]), rng.choice([*EDGES, None])
    if price is not None and price < -(2**31):
        price = -price  # negative numbers of 64 bits are left to the general decoder
    return [rng.randrange(5), side, price, lots, rng.choice(IDS)]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 300, 70_000])
def test_arrays_of_orders_of_every_length_are_read(count: int) -> None:
    rng = Random(count)
    events = [usual_order(rng) for _ in range(count)]
    packed = read_packed(pack(events))
    assert type(packed) is PackedOrders
    assert list(packed) == events
    assert (packed[0], packed[-1], packed[:2]) == (events[0], events[-1], events[:2])
    assert packed[::-7] == events[::-7]
    assert [packed[index] for index in range(len(packed))] == events
    for index in (len(events), -len(events) - 1):
        with pytest.raises(IndexError):
            packed[index]
    assert packed == events
    assert packed != [*events, events]
    assert str(packed) == str(events)


def test_orders_that_are_not_usual_are_left_to_the_general_decoder() -> None:
    rng = Random(4)
    odd: list[Any] = [5, -1, 2, None, True, 1.0, "bid", [], {}, b"1"]
    odd += [2**53, -(2**53), 2**63, 2**64 - 1, -(2**63), -(2**63) + 1]
    seen = set()
    for place in range(5):
        for item in odd:
            events: list[Any] = [usual_order(rng) for _ in range(3)]
            events[1][place] = item
            packed = read_packed(pack(events))
            assert packed is None or (is_usual_order(events[1]) and list(packed) == events), events
            seen.add(packed is None)
    assert seen == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_damaged_orders_are_what_the_general_decoder_says_or_left_to_it(seed: int) -> None:
    rng = Random(seed)
    read = 0
    for _ in range(4_000):
        raw = bytearray(pack([usual_order(rng) for _ in range(rng.randint(1, 20))]))
        for _ in range(rng.randint(0, 2)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        if rng.random() < 0.3:
            del raw[rng.randrange(len(raw) + 1) :]
        if rng.random() < 0.1:
            raw += bytes(rng.randint(1, 3))
        packed = read_packed(bytes(raw))
        if type(packed) is PackedOrders:
            read += 1
            assert list(packed) == msgpack.unpackb(bytes(raw))
            assert all(map(is_usual_order, packed))
    assert read > 500
    assert read_packed(b"\xdd\xff\xff\xff\xff" + b"\x95\x01\x00\x05\x02\x03" * 3) is None


@pytest.mark.parametrize("evicts", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_orders_apply_as_if_each_was_checked(evicts: bool, seed: int) -> None:
    rng = Random(seed)
    pair = Pair(OrdersState(evicts=evicts), SlowOrders(evicts=evicts))
    limits = DEFAULT._replace(levels_max=6, orders_max=9)
    pair.fast.set_limits(limits)
    pair.slow.set_limits(limits)
    lots: list[Any] = [1, 2, 3, 4, 5, 9, 0, MAX_INTEGER - 3, MAX_INTEGER, None]
    packed = 0
    for _ in range(4_000):
        events: list[Any] = [
            [
                rng.choice([0, 0, 1, 1, 2, 3, 3, rng.randrange(5)]) if rng.random() < 0.99 else 4,
                rng.choice([0, 1, 0, 1, 0, 1, None]),
                rng.choice([*range(-4, 9), None]) if rng.random() < 0.95 else rng.choice([-9, MAX_INTEGER]),
                rng.choices(lots, [9, 9, 9, 9, 9, 9, 2, 1, 1, 1])[0],
                rng.randrange(25),
            ]
            for _ in range(rng.randint(1, 6))
        ]
        if rng.random() < 0.1:
            rng.choice(events)[4] = rng.choice(["1", "x", 2**63, 2**64 - 1, None])
        read = read_events(pack(events))
        packed += type(read) is PackedOrders
        pair.apply(read, atomic=rng.random() < 0.3)
        if rng.random() < 0.2:
            pair.compare()
            fast, slow = (state.merger.drain(state.merger.seq + 1) for state in (pair.fast, pair.slow))
            assert fast == slow
            assert counts_of(pair.fast) == counts_of(pair.slow)
    assert packed > 2_000
    expected = {"applied", "duplicate_order", "unknown_order", "bad_quantity", "malformed", "overflow"}
    expected |= {"too_many_orders", "too_many_levels"} | (set() if evicts else {"crossed"})
    assert expected <= set(pair.results), expected - set(pair.results)


def counts_of(state: Any) -> Any:
    return state.merger.take_counts()


def test_events_of_orders_in_a_levels_feed_and_the_other_way() -> None:
    rng = Random(5)
    both: list[Any] = [
        ((LevelsState, SlowLevels), usual_order),
        ((OrdersState, SlowOrders), usual),
    ]
    for types, made in both:
        pair = Pair(*(kind(evicts=False) for kind in types))
        for _ in range(500):
            pair.apply(read_events(pack([made(rng) for _ in range(5)])))
        pair.compare()
        assert len(pair.results) > 2
