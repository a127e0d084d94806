"""A small market for tests of the gateway's pure parts: real reader, real codec, no Redis, no network."""

import random
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from depthcast.gateway.delivery.core import Core
from depthcast.shared.codec import NO_MARKS, encode_delta, encode_info
from depthcast.shared.digest import digest_of
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.order_counts import counts_in
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.replica import Replica
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import MAX_INTEGER, Delta, EntryInfo, Side, Snapshot, Symbol

Levels = dict[int, int]
START = Position(1_767_225_700_000, 0)


class Published:
    """One symbol's authoritative book: both sides, every state by seq, and source times by seq."""

    FEED = Feed.LEVELS

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.sides: tuple[Levels, Levels] = ({}, {})
        self.states: dict[int, tuple[Levels, Levels]] = {seq: ({}, {})}
        self.times: dict[int, int] = {}
        self.unseen: set[int] = set()
        self._grouped: dict[tuple[int, int], tuple[Levels, Levels]] = {}

    def move(self, bids: Levels, asks: Levels, step: int = 1) -> Delta:
        """The next state, with these quantities changed."""
        for side, changes in zip(self.sides, (bids, asks), strict=True):
            for price, quantity in changes.items():
                side.pop(price, None)
                if quantity:
                    side[price] = quantity
        prev_seq, self.seq = self.seq, self.seq + step
        self.states[self.seq] = (dict(self.sides[0]), dict(self.sides[1]))
        return Delta(prev_seq, self.seq, _flat(bids), _flat(asks), self.digest(), 1)

    def timed(self, event_ts: int) -> dict[str, int]:
        """Give the newest state a source time; returns the marks that say it."""
        self.times[self.seq] = event_ts
        return {"event_ts": event_ts}

    def digest(self) -> int:
        return digest_of(self.sides[0].items(), self.sides[1].items())

    def snapshot(self) -> Snapshot:
        return Snapshot(self.seq, _flat(self.sides[0]), _flat(self.sides[1]), self.digest(), self.seq)

    def view(self, seq: int, depth: int, group: int = 1) -> tuple[Levels, Levels]:
        """The best `depth` levels per side at the state `seq`, by plain sorting."""
        bids, asks = self.states[seq] if group == 1 else self._grouped_at(seq, group)
        return _best(bids, -1, depth), _best(asks, 1, depth)

    def _grouped_at(self, seq: int, group: int) -> tuple[Levels, Levels]:
        """The state in groups of ticks; kept, because it is asked for again and again."""
        found = self._grouped.get((seq, group))
        if found is None:
            bids, asks = self.states[seq]
            found = grouped(bids, Side.BID, group), grouped(asks, Side.ASK, group)
            self._grouped[seq, group] = found
        return found

    def changes_of_view(
        self, after: int, until: int, depth: int, group: int = 1, *, orders: bool = False
    ) -> int:
        """How many broadcasts after the seq `after`, up to `until`, changed the view and were seen.

        `orders`: those that changed the number of orders in it count, too.
        """
        return len(self._changing(after, until, depth, group, orders=orders))

    def newest_time(
        self, after: int, until: int, depth: int, group: int = 1, *, orders: bool = False
    ) -> int | None:
        """The newest source time of those broadcasts."""
        changing = self._changing(after, until, depth, group, orders=orders)
        return max((self.times[seq] for seq in changing if seq in self.times), default=None)

    def _changing(self, after: int, until: int, depth: int, group: int, *, orders: bool) -> list[int]:
        seqs = [seq for seq in self.states if after <= seq <= until and seq not in self.unseen]
        counts = [self.count_view(seq, depth) if orders else None for seq in seqs]
        views = [(self.view(seq, depth, group), count) for seq, count in zip(seqs, counts, strict=True)]
        return [seq for seq, (one, two) in zip(seqs[1:], pairwise(views), strict=True) if one != two]

    def marks(self, _: Delta) -> dict[str, Any]:
        """What the last delta says beside levels."""
        return {}

    def count_view(self, seq: int, depth: int) -> tuple[Levels, Levels]:
        """The number of orders at each level of the view."""
        raise NotImplementedError


class PublishedOrders(Published):
    """The book of an orders feed. It says numbers of orders, at random, and changes them alone.

    `counts`: price → number of orders of both sides; `counted`: every state of them by seq.
    """

    FEED = Feed.ORDERS

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.rng = random.Random(seq)
        self.counts: tuple[Levels, Levels] = ({}, {})
        self.counted: dict[int, tuple[Levels, Levels]] = {seq: ({}, {})}

    def move(
        self, bids: Levels, asks: Levels, step: int = 1, counts: tuple[Levels, Levels] | None = None
    ) -> Delta:
        """The next state; without `counts`, the numbers of changed levels and of one more are drawn."""
        changes = (dict(bids), dict(asks))
        drawn = self._draw(changes) if counts is None else counts
        for side, numbers in zip(self.counts, drawn, strict=True):
            for price, number in numbers.items():
                side.pop(price, None)
                if number:
                    side[price] = number
        delta = super().move(*changes, step)
        self.counted[self.seq] = (dict(self.counts[0]), dict(self.counts[1]))
        return delta

    def _draw(self, changes: tuple[Levels, Levels]) -> tuple[Levels, Levels]:
        drawn: tuple[Levels, Levels] = ({}, {})
        for side, changed, numbers in zip(self.sides, changes, drawn, strict=True):
            others = [price for price in side if price not in changed]
            if others and self.rng.random() < 0.4:
                price = self.rng.choice(others)
                changed[price] = side[price]
            for price, quantity in changed.items():
                numbers[price] = self.rng.randint(1, min(quantity, 3)) if quantity else 0
        return drawn

    def marks(self, delta: Delta) -> dict[str, Any]:
        sides = zip(self.counts, (delta.bids, delta.asks), strict=True)
        bids, asks = ([numbers.get(price, 0) for price in flat[::2]] for numbers, flat in sides)
        return {"orders": [bids, asks, self.orders_digest()]}

    def orders_digest(self) -> int:
        return digest_of(self.counts[0].items(), self.counts[1].items())

    def snapshot(self) -> Snapshot:
        plain = super().snapshot()
        return plain._replace(marks=self.marks(Delta(0, 1, plain.bids, plain.asks, 0, 0)))

    def count_view(self, seq: int, depth: int) -> tuple[Levels, Levels]:
        bids, asks = self.counted[seq]
        return _best(bids, -1, depth), _best(asks, 1, depth)


class SmallMarket:
    """Symbols, their books, and the gateway core that follows them. The test sets the time.

    `wrong`: by symbol, the seqs from which on it was in doubt, and up to which; None: it still is.
    """

    BOOK: type[Published] = Published

    def __init__(self, *symbols: str, **settings: Any) -> None:
        self.alarms: list[int] = []
        self.now = 1000.0
        self.core = Core(GatewaySettings(**settings), lambda: int(self.now * 1e6), self.alarms.append)
        self.core.market.set_partitions(1)
        self.upstream = self.core.market.upstreams[0]
        self.books = {symbol: self.BOOK(START.epoch) for symbol in symbols}
        self.wrong: dict[str, list[tuple[int, int | None]]] = {symbol: [] for symbol in symbols}
        self.position = START
        self.list_instruments()
        self.load()
        self.tick()

    def list_instruments(self) -> None:
        instruments = {
            symbol: Instrument(Symbol(symbol), "0.01", "0.001", feed=book.FEED)
            for symbol, book in self.books.items()
        }
        self.core.list_instruments(instruments)

    def load(self, *without: str) -> None:
        """Load snapshots of the reader's missing symbols; `without`: symbols that have none yet."""
        reader = self.upstream.reader
        wanted = list(self.books if reader.lost_reason is not None else reader.missing)
        for symbol in wanted:
            if symbol in reader.shown:
                self.books[symbol].unseen |= set(range(reader.shown[symbol].seq + 1, self.books[symbol].seq))
        found = {
            symbol: None if symbol in without else (self.position, self.snapshot_of(symbol))
            for symbol in wanted
        }
        updates = reader.load(self.position, found)
        self.apply(AppliedEntry(self.position, None, updates))

    def snapshot_of(self, symbol: str) -> Snapshot:
        return self.books[symbol].snapshot()

    def entry(
        self,
        deltas: Mapping[str, Delta],
        lag_ms: int | None = None,
        listings: Mapping[str, Listing] = MappingProxyType({}),
        marks: Mapping[str, Mapping[str, Any]] = NO_MARKS,
    ) -> AppliedEntry:
        """The next entry of the stream, as the reader takes it; `listings` and other `marks` by symbol."""
        fields = self.written(deltas, lag_ms, listings, marks)
        entry = self.upstream.reader.read(self.position, fields)
        assert entry is not None
        return entry

    def written(
        self,
        deltas: Mapping[str, Delta],
        lag_ms: int | None,
        listings: Mapping[str, Listing],
        marks: Mapping[str, Mapping[str, Any]],
    ) -> list[tuple[bytes, bytes]]:
        """The fields of the next entry of the stream, at the new `position`."""
        self.position = self.position.next()
        info = encode_info(EntryInfo(self.ts(), "0-0", 0, 0, 0, lag_ms=lag_ms))
        fields = [(b"_", info)]
        for name, delta in deltas.items():
            said = self.books[name].marks(delta) | (to_table(listings[name]) if name in listings else {})
            fields.append((name.encode(), encode_delta(delta, said | dict(marks.get(name, NO_MARKS)))))
        return fields

    def ts(self) -> int:
        """The time (µs) of the broadcast at the market's position."""
        return self.position.n

    def publish(
        self,
        symbol: str,
        bids: Levels | None = None,
        asks: Levels | None = None,
        *,
        event_ts: int | None = None,
        tick: bool = True,
    ) -> int:
        """One broadcast of one symbol, with a source time if one is given; returns its seq."""
        book = self.books[symbol]
        delta = book.move(bids or {}, asks or {})
        marks = {} if event_ts is None else {symbol: book.timed(event_ts)}
        self.apply(self.entry({symbol: delta}, marks=marks))
        if tick:
            self.tick()
        return delta.seq

    def relist(
        self, symbol: str, number: int, tick_size: str, *, withdrawn: bool = False, tick: bool = True
    ) -> Listing:
        """Publish the birth of a listing, or its withdrawal."""
        before = self.books[symbol]
        instrument = Instrument(Symbol(symbol), tick_size, "0.001", feed=before.FEED)
        listing = Listing(number, instrument, withdrawn)
        born = self.books[symbol] = type(before)(before.seq + 1)
        born.states = before.states | born.states  # a client may read late what was sent before
        born.times = before.times
        born.unseen = before.unseen
        if isinstance(before, PublishedOrders) and isinstance(born, PublishedOrders):
            born.counted = before.counted | born.counted
        self.apply(self.entry({symbol: Delta(0, born.seq, [], [], 0, 0)}, None, {symbol: listing}))
        if tick:
            self.tick()
        return listing

    def doubt(self, symbol: str, reason: str | None, bids: Levels | None = None) -> None:
        """One broadcast that says why a book is in doubt, or that it no longer is."""
        delta = self.books[symbol].move(bids or {}, {})
        self.apply(self.entry({symbol: delta}, marks={symbol: {"stale": reason}}))
        self.tick()

    def heartbeat(self, lag_ms: int | None = None) -> None:
        self.apply(self.entry({}, lag_ms))
        self.tick()

    def apply(self, entry: AppliedEntry) -> None:
        self.core.apply(self.upstream, entry, self.now)

    def tick(self) -> None:
        self.core.tick(self.now)

    def grid(self) -> None:
        """Flush at the next grid time of every requested interval."""
        due, self.alarms[:] = list(self.alarms), []
        for interval_ms in due:
            self.core.flusher.flush_grid(interval_ms)

    def lose(self, symbol: str) -> None:
        """A broadcast of `symbol` never arrives: the next one is a gap."""
        self.books[symbol].move({}, {}, step=1)


class OrdersMarket(SmallMarket):
    """A market whose books are orders feeds."""

    BOOK = PublishedOrders


def random_changes(rng: random.Random, book: Published, most: int = 6) -> tuple[Levels, Levels]:
    """Some levels to change; now and then a side is emptied, or a run of levels appears at its best end."""
    changes: tuple[Levels, Levels] = ({}, {})
    for side in Side:
        held = book.sides[side]
        if held and rng.random() < 0.02:
            changes[side].update(dict.fromkeys(held, 0))
        for _ in range(rng.randint(0, most)):
            price = rng.randint(1, 40) * (1 if side == Side.ASK else -1)
            changes[side][price] = rng.choice((0, 0, 1, 2, 3, 2**53 - 1))
    return changes


def replica_of(book: Published) -> Replica:
    """A replica of the book."""
    snapshot = book.snapshot()
    return Replica(snapshot, counts_in(snapshot))


def _best(levels: Levels, sign: int, depth: int) -> Levels:
    prices = sorted(levels, key=lambda price: price * sign)
    return {price: levels[price] for price in (prices[:depth] if depth else prices)}


def grouped(levels: Levels, side: Side, group: int) -> Levels:
    """The levels in groups of ticks by the words of the contract: bids down, asks up, sums with a ceiling."""
    sums: Levels = {}
    for price, quantity in levels.items():
        bucket = price // group * group
        if side is Side.ASK and bucket < price:
            bucket += group
        bucket = max(-MAX_INTEGER, min(MAX_INTEGER, bucket))
        sums[bucket] = min(MAX_INTEGER, sums.get(bucket, 0) + quantity)
    return sums


def _flat(levels: Levels) -> list[int]:
    return [number for level in levels.items() for number in level]


def lively_market(*symbols: str, **settings: Any) -> SmallMarket:
    """A market whose symbols have three bids and two asks each."""
    made = SmallMarket(*(symbols or ("AAA", "BBB")), **settings)
    for symbol in made.books:
        made.publish(symbol, {-1: 5, -2: 6, -3: 7}, {1: 8, 2: 9})
    return made
