"""Rows and deltas as numbers are what they are as lists, in every place where a gateway has them."""

from array import array
from random import Random
from typing import Any

import pytest

import depthcast.shared.level_rows
from depthcast.gateway.counters import GatewayCounters
from depthcast.gateway.market.book_history import BookHistories, BookHistory
from depthcast.gateway.market.step import Step, ViewState
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.delta_frame import beginning_of, delta_frame
from depthcast.gateway.protocol.messages import Encoding, ViewDelta, delta_message, encode
from depthcast.shared.codec import (
    decode_marked_delta,
    decode_snapshot,
    encode_delta,
    encode_info,
    encode_snapshot,
    pack,
)
from depthcast.shared.compiled import is_compiled
from depthcast.shared.digest import MASK, SideWeights, digest_of
from depthcast.shared.errors import CodecError
from depthcast.shared.level_rows import LevelRows, packed_rows, unpacked_rows
from depthcast.shared.packed_delta import read_packed_delta
from depthcast.shared.position import Position
from depthcast.shared.reader import PartitionReader
from depthcast.shared.replica import ApplyResult, Changes, Replica
from depthcast.shared.types import MAX_INTEGER, Delta, EntryInfo, LevelChange, Snapshot

pytestmark = pytest.mark.skipif(
    not is_compiled(depthcast.shared.level_rows), reason="as Python, rows are lists of tuples"
)

EDGES = [0, 1, 9, 10, 31, 32, 99, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**32, MAX_INTEGER]
PRICES = [*EDGES, *(-edge for edge in EDGES[1:])]
"""Beyond −2³¹, msgpack needs 64 bits for a negative number: such a price is left to the general decoder."""
DEPTHS = (0, 1, 5, 25)


def numbers_of(rows: list[LevelChange]) -> Any:
    return LevelRows(array("q", [number for row in rows for number in row]))


def some_rows(rng: Random, most: int = 6) -> list[LevelChange]:
    return [(rng.choice(PRICES), rng.choice(EDGES), rng.choice(EDGES)) for _ in range(rng.randint(0, most))]


def some_delta(rng: Random) -> Delta:
    prev_seq = rng.choice(EDGES)
    bids, asks = ([number for level in some_levels(rng) for number in level] for _ in range(2))
    seq = prev_seq + rng.choice([1, 3, 2**40])
    return Delta(prev_seq, seq, bids, asks, rng.choice([0, 7, MASK]), rng.choice(EDGES))


def some_levels(rng: Random) -> list[tuple[int, int]]:
    prices = {*rng.sample(PRICES, rng.randint(0, 8)), *range(300, 300 + rng.choice([0, 0, 1, 40]))}
    return [(price, rng.choice(EDGES)) for price in rng.sample(sorted(prices), len(prices))]


def as_lists(delta: Delta) -> Delta:
    return delta._replace(bids=list(delta.bids), asks=list(delta.asks))


def general(raw: bytes) -> tuple[Delta, Any] | None:
    try:
        delta, marks = decode_marked_delta(raw)
    except CodecError:
        return None
    return delta, dict(marks)


# --- rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_a_sequence_that_equals_a_list(seed: int) -> None:
    rng = Random(seed)
    for _ in range(200):
        rows = some_rows(rng)
        made = numbers_of(rows)
        assert (len(made), bool(made), list(made), repr(made)) == (len(rows), bool(rows), rows, repr(rows))
        assert made == rows
        assert rows == made
        assert made == numbers_of(rows)
        assert made != [*rows, (1, 2, 3)]
        assert list(reversed(made)) == rows[::-1]
        assert made[1:] == rows[1:]
        assert [made[index] for index in range(-len(rows), len(rows))] == [*rows, *rows]
        for index in (len(rows), -len(rows) - 1):
            with pytest.raises(IndexError):
                made[index]


@pytest.mark.parametrize("seed", range(3))
def test_packed_rows_come_back_from_bytes_and_from_a_part_of_a_buffer(seed: int) -> None:
    rng = Random(seed)
    for _ in range(300):
        bids, asks = some_rows(rng), some_rows(rng)
        for kinds in ((numbers_of, numbers_of), (list, numbers_of), (numbers_of, list), (list, list)):
            packed = packed_rows(kinds[0](bids), kinds[1](asks))
            assert unpacked_rows(packed, len(bids)) == (bids, asks)
            assert unpacked_rows(memoryview(b"xx" + packed)[2:], len(bids)) == (bids, asks)
    counted = [(1, 2, 3, 4, 5)]
    assert unpacked_rows(packed_rows(counted, []), 1) == (counted, [])


@pytest.mark.parametrize("seed", range(3))
def test_rows_move_the_digest_as_tuples_do(seed: int) -> None:
    rng = Random(seed)
    for side in (0, 1):
        weights, others = SideWeights(side), SideWeights(side)
        for _ in range(300):
            rows = some_rows(rng)
            assert weights.moved_by(numbers_of(rows)) & MASK == others.moved_by(rows) & MASK


@pytest.mark.parametrize("seed", range(3))
def test_steps_and_histories_keep_them(seed: int) -> None:
    rng = Random(seed)
    for number in range(200):
        bids, asks = some_rows(rng), some_rows(rng)
        delta = ViewDelta(1, 2, 3, numbers_of(bids), numbers_of(asks), 4, rng.choice([None, 5]))
        step = Step(number, delta)
        step.pack()
        assert step.delta == delta._replace(bids=bids, asks=asks)


# --- deltas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_delta_read_into_numbers_is_the_one_of_the_general_decoder(seed: int) -> None:
    rng = Random(seed)
    read = 0
    for _ in range(2_000):
        delta = some_delta(rng)
        marks: dict[str, Any] = rng.choice([{}, {}, {"event_ts": 5}, {"stale": "why"}])
        raw = encode_delta(delta, marks)
        found = read_packed_delta(raw)
        if found is None:
            assert any(price < -(2**31) for side in delta[2:4] for price in side[::2])
            continue
        read += 1
        assert as_lists(found[0]) == delta == general(raw)[0]  # type: ignore[index]
        assert raw[found[1] :] == (pack(marks) if marks else b"")
    assert read > 200


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_delta_is_what_the_general_decoder_says_or_left_to_it(seed: int) -> None:
    rng = Random(seed)
    read = refused = 0
    for _ in range(6_000):
        raw = bytearray(encode_delta(some_delta(rng), rng.choice([{}, {"event_ts": 5}])))
        for _ in range(rng.randint(0, 2)):
            raw[rng.randrange(min(len(raw), rng.choice([12, len(raw)])))] = rng.randrange(256)
        if rng.random() < 0.2:
            del raw[rng.randrange(len(raw) + 1) :]
        if rng.random() < 0.1:
            raw += bytes(rng.randint(1, 3))
        expected = general(bytes(raw))
        found = read_packed_delta(bytes(raw))
        if found is None:
            refused += 1
            continue
        delta, end = found
        if end == len(raw):
            read += 1
            assert expected == (as_lists(delta), {})
        elif expected is not None:
            assert as_lists(delta) == expected[0], "what follows is read by the general decoder"
    assert read > 300
    assert refused > 300


def test_what_is_no_usual_delta_is_left_to_the_general_decoder() -> None:
    usual: list[Any] = [1, 2, [5, 6], [], 7, 1]
    assert read_packed_delta(pack(usual)) is not None
    odd: list[Any] = [None, True, -1, 1.0, "x", b"x", {}, [], [1], [1, -1], [1, 2**53], [-(2**53), 1], 2**63]
    for place, item in ((place, item) for place in range(6) for item in odd):
        delta = [*usual[:place], item, *usual[place + 1 :]]
        found = read_packed_delta(pack(delta))
        assert found is None or as_lists(found[0]) == general(pack(delta))[0], delta  # type: ignore[index]
    for size in range(6):
        assert read_packed_delta(pack(usual[:size])) is None
    assert read_packed_delta(pack([*usual, {}, None])) is None
    assert read_packed_delta(pack([2, 2, [], [], 7, 1])) is None
    for raw in (
        b"",
        b"\x96",
        b"\xdc",
        b"\xdc\x00",
        b"\xdc\xff\xff",
        b"\x96\x01\x02\xdc\xff\xff\x01\x02",
        b"{}",
    ):
        assert read_packed_delta(raw) is None


@pytest.mark.parametrize("levels", [2, 3, 16, 17, 18, 400])
def test_a_price_that_stands_twice_is_left_to_the_general_decoder_which_refuses_it(levels: int) -> None:
    rng = Random(levels)
    for _ in range(20):
        prices = rng.sample(range(10_000), levels)
        flat = [number for price in prices for number in (price, 1)]
        assert read_packed_delta(encode_delta(Delta(1, 2, flat, [], 0, 1))) is not None
        first, second = rng.sample(range(levels), 2)
        flat[2 * first] = flat[2 * second]
        for delta in (Delta(1, 2, flat, [], 0, 1), Delta(1, 2, [], flat, 0, 1)):
            raw = encode_delta(delta)
            assert read_packed_delta(raw) is None
            with pytest.raises(CodecError, match="names a price twice"):
                decode_marked_delta(raw)


@pytest.mark.parametrize("place", ["seq", "ts"])
def test_what_64_bits_with_a_sign_do_not_hold_is_refused(place: str) -> None:
    for most in (1 << 62, (1 << 62) + 1, 1 << 63, (1 << 64) - 1):
        seq, ts = (most, 1) if place == "seq" else (1, most)
        reader = PartitionReader(lambda _: True, as_numbers=True)
        reader.load(Position(1, 0), {})
        delta = encode_delta(Delta(0, seq, [1, 2], [], digest_of([(1, 2)], []), 1))
        fields = [(b"_", encode_info(EntryInfo(ts, "0-0", 0, 0, 0))), (b"A", delta)]
        entry = reader.read(Position(1, 1), fields)
        if most > 1 << 62:
            reason = reader.lost_reason if place == "ts" else reader.missing["A"]
            assert reason is not None
            assert f"{most} is out of range" in reason
            continue
        assert entry is not None
        update = entry.updates[0]
        histories, history = BookHistories(10, 1 << 20, GatewayCounters()), BookHistory(update.replica, 0)
        changes = Changes([(1, 2, 0)], [])
        histories.append(history, 1, ts, changes)
        (step,) = history.since(ViewState(0, 0, 0))
        assert (step.delta.seq, step.delta.ts, step.delta.bids) == (seq, ts, changes.bids)
    snapshot = Snapshot(1 << 63, [], [], 0, 1)
    for large in (snapshot, snapshot._replace(seq=1, ts=1 << 63)):
        with pytest.raises(CodecError, match="out of range"):
            decode_snapshot(encode_snapshot(large))


def test_only_arrays_of_64_bits_are_rows() -> None:
    with pytest.raises(TypeError, match="64 bits"):
        LevelRows(array("i", [1, 2, 3]))
    replica = Replica()
    narrow: Any = array("i", [5, 6])
    assert replica.apply(Delta(0, 1, narrow, [], digest_of([(5, 6)], []), 1))[0] is ApplyResult.APPLIED
    assert replica.book.bids.top() == [(5, 6)]


# --- books and views --------------------------------------------------------------------------------------


class Both:
    """The same book twice, with its views and its history: as lists, and as numbers."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.levels: list[dict[int, int]] = [
            {sign * (price + 1): rng.choice([1, 5, MAX_INTEGER]) for price in range(8)} for sign in (-1, 1)
        ]
        flat = [[number for level in side.items() for number in level] for side in self.levels]
        start = Snapshot(1, flat[0], flat[1], self.digest(), 0)
        self.books = [Replica(start), Replica(start)]
        self.views = [[View(book, depth, 0) for depth in DEPTHS] for book in self.books]
        self.histories = BookHistories(10, 1 << 20, GatewayCounters())
        self.kept = [BookHistory(book, 0) for book in self.books]
        self.results: set[ApplyResult] = set()

    def digest(self) -> int:
        return digest_of(self.levels[0].items(), self.levels[1].items())

    def move(self, number: int) -> None:
        rng, seq = self.rng, self.books[0].seq
        sides: list[list[int]] = [[], []]
        before = [dict(side) for side in self.levels]
        for side, sign in zip((0, 1), (-1, 1), strict=True):
            for distance in rng.sample(range(1, 13), rng.choice([0, 1, 2, 5])):
                price, quantity = sign * distance, rng.choice([0, 1, 2, MAX_INTEGER])
                sides[side] += (price, quantity)
                self.levels[side][price] = quantity
                if not quantity:
                    del self.levels[side][price]
        digest = (self.digest() + (rng.random() < 0.1)) & MASK
        if digest != self.digest():
            self.levels = before
        delta = Delta(seq - (rng.random() < 0.05), seq + 1, sides[0], sides[1], digest, 1)
        self.offer(delta, number)

    def offer(self, delta: Delta, number: int) -> None:
        as_numbers = delta._replace(bids=array("q", delta.bids), asks=array("q", delta.asks))
        outcome, changes = self.books[0].apply(delta)
        assert self.books[1].apply(as_numbers) == (outcome, changes)
        self.results.add(outcome)
        if outcome is ApplyResult.GAP:
            self.levels = [dict(side.levels) for side in self.books[0].book.sides]
        for book in self.books:
            assert [dict(side.levels) for side in book.book.sides] == self.levels
            assert [side.top() for side in book.book.sides] == [
                sorted(side.items(), key=lambda level: sign * level[0])
                for side, sign in zip(self.levels, (-1, 1), strict=True)
            ]
        if outcome is not ApplyResult.APPLIED:
            return
        both = [changes, Changes(numbers_of(list(changes.bids)), numbers_of(list(changes.asks)))]
        for views in zip(*self.views, strict=True):
            deltas = [
                view.advance(change, delta.seq, number) for view, change in zip(views, both, strict=True)
            ]
            assert deltas[0] == deltas[1]
            assert views[0].digest == views[1].digest
        for history, change in zip(self.kept, both, strict=True):
            self.histories.append(history, number, number, change)


@pytest.mark.parametrize("seed", range(4))
def test_books_views_and_histories_are_alike(seed: int) -> None:
    both = Both(Random(seed))
    for number in range(1, 600):
        both.move(number)
    assert both.results == {ApplyResult.APPLIED, ApplyResult.MISMATCH, ApplyResult.GAP}
    begun = both.kept[0].state_at(0)
    steps = [[step.delta for step in kept.since(begun)] for kept in both.kept]
    assert len(steps[0]) > 300
    assert steps[0] == steps[1]


def test_a_reader_makes_numbers_of_usual_deltas_alone_and_only_if_it_is_told() -> None:
    for as_numbers in (False, True):
        reader = PartitionReader(lambda _: True, as_numbers=as_numbers)
        reader.load(Position(1, 0), {})
        info = encode_info(EntryInfo(1, "0-0", 0, 0, 0))
        usual = Delta(0, 1, [5, 6], [9, 1], digest_of([(5, 6)], [(9, 1)]), 1)
        far = Delta(0, 1, [-(2**40), 6], [], digest_of([(-(2**40), 6)], []), 1)
        fields = [(b"_", info), (b"A", encode_delta(usual, {"event_ts": 8})), (b"B", encode_delta(far))]
        entry = reader.read(Position(1, 1), fields)
        assert entry is not None
        found = {update.symbol: update for update in entry.updates}
        assert {symbol: update.replica.digest for symbol, update in found.items()} == {
            "A": usual.digest, "B": far.digest,
        }  # fmt: skip
        assert found["A"].replica.event_ts == 8
        second = Delta(1, 2, [5, 0], [], digest_of([], [(9, 1)]), 1)
        entry = reader.read(Position(1, 2), [(b"_", info), (b"A", encode_delta(second))])
        assert entry is not None
        assert entry.updates[0].changes.bids == [(5, 0, 6)]
        assert isinstance(entry.updates[0].changes.bids, LevelRows) is as_numbers


# --- frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_frame_written_from_numbers_is_that_of_the_encoder(seed: int) -> None:
    rng = Random(seed)
    sizes = set()
    for _ in range(2_000):
        bids, asks = some_rows(rng, rng.choice([0, 1, 6, 40])), some_rows(rng)
        if rng.random() < 0.3:
            bids, asks = [(1, rng.choice([1, 10**6]), 0)][: rng.randint(0, 1)], []
        event_ts, group = rng.choice([None, *EDGES]), rng.choice([1, 1, 5, 10**6])
        seqs = (rng.choice(EDGES), rng.choice(EDGES), rng.choice(EDGES))
        delta = ViewDelta(*seqs, bids, asks, rng.choice([0, 5, MASK]), event_ts)
        as_numbers = delta._replace(bids=numbers_of(bids), asks=numbers_of(asks))
        symbol, depth, merged = (
            rng.choice(["A", "BTC-USD_x." * 3]),
            rng.choice([0, 5, 1000]),
            rng.choice([1, 12]),
        )
        expected = encode(delta_message(symbol, depth, delta, merged, group_ticks=group), Encoding.JSON)
        assert delta_frame(beginning_of(symbol, depth), as_numbers, merged, group) == expected
        assert delta_frame(beginning_of(symbol, depth), delta, merged, group) is None
        sizes.add(len(expected))
    assert min(sizes) < 128 < max(sizes), "headers of 2 and of 4 bytes"


def test_frames_of_125_and_126_bytes_have_their_header() -> None:
    found = {}
    for digits in range(1, 16):
        delta = ViewDelta(10 ** (digits - 1), 2, 3, numbers_of([(1, 2, 0)]), numbers_of([]), 7)
        frame = delta_frame(beginning_of("A", 10), delta, 1, 1)
        assert frame == encode(delta_message("A", 10, delta, 1), Encoding.JSON)
        found[len(frame)] = frame[1]
    assert {found[125 + 2], found[126 + 4]} == {125, 126}


def test_a_frame_that_may_not_fit_is_left_to_the_encoder() -> None:
    beginning = beginning_of("A", 0)
    longest = (-MAX_INTEGER, MAX_INTEGER, 0)
    for rows, is_written in ((1_300, True), (1_400, False)):
        delta = ViewDelta(1, 2, 3, numbers_of([longest] * rows), numbers_of([]), MASK, MAX_INTEGER)
        frame = delta_frame(beginning, delta, MAX_INTEGER, MAX_INTEGER)
        assert (frame is not None) is is_written
        if frame is not None:
            message = delta_message("A", 0, delta, MAX_INTEGER, group_ticks=MAX_INTEGER)
            assert frame == encode(message, Encoding.JSON)
