"""A market for the load: each broadcast changes every view, as stream entries and as messages."""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from depthcast.broadcaster.numbering import first_seq
from depthcast.broadcaster.publication import Broadcast, Fields, place
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.messages import delta_message
from depthcast.shared.codec import encode_snapshot
from depthcast.shared.digest import MASK, WEIGHT, digest_of
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.replica import ApplyResult, Replica
from depthcast.shared.types import Delta, EntryInfo, Snapshot

LEVELS: Final = 40
"""Levels of each side of a book."""
MID: Final = 6_500_000
DEPTH: Final = 10
"""Depth of the subscriptions: what the messages for peers show too."""
CHANGED: Final = 2
"""Levels that a broadcast changes on each side."""
MOVES: Final = 0.15
"""Share of the broadcasts in which a level of the view comes or goes, so that its edge moves."""


class Tick(NamedTuple):
    """One broadcast interval: entries by partition, and each symbol's message at `DEPTH` as JSON."""

    entries: dict[int, tuple[Position, Fields]]
    messages: dict[str, bytes]


class Market:
    """Books of symbols from `S000` on. They depend on `seed` and the time of making alone."""

    def __init__(self, symbols: int, partitions: int = 1, seed: int = 1, *, messages: bool = True) -> None:
        self.symbols: list[str] = [f"S{number:03}" for number in range(symbols)]
        self.partitions = partitions
        self.random = random.Random(seed)
        self.epoch = time.time_ns() // 1_000_000
        self.positions = {number: Position(self.epoch, 0) for number in range(partitions)}
        self.replicas = {symbol: self._book() for symbol in self.symbols}
        self.gone: dict[str, list[tuple[int, int]]] = {symbol: [] for symbol in self.symbols}
        self.views = (
            {symbol: View(self.replicas[symbol], DEPTH, 0) for symbol in self.symbols} if messages else {}
        )

    def _book(self) -> Replica:
        bids = [(MID - 1 - 2 * place, self._quantity()) for place in range(LEVELS)]
        asks = [(MID + 1 + 2 * place, self._quantity()) for place in range(LEVELS)]
        snapshot = Snapshot(
            first_seq(self.epoch, 0),
            [number for level in bids for number in level],
            [number for level in asks for number in level],
            digest_of(bids, asks),
            now_us(),
        )
        return Replica(snapshot)

    def partition_of(self, symbol: str) -> int:
        """The symbol's partition."""
        return partition_of(symbol, self.partitions)

    def snapshots(self) -> dict[str, bytes]:
        """Field `s` of each symbol's snapshot, of the books as they are."""
        return {symbol: encode_snapshot(self._snapshot(replica)) for symbol, replica in self.replicas.items()}

    def opening(self) -> dict[int, tuple[Position, Fields]]:
        """The first entry of each partition."""
        broadcast = Broadcast(self._info(), [])
        return {
            number: place(Position(0, 0), position, [broadcast])[0]
            for number, position in self.positions.items()
        }

    def beat(self) -> dict[int, tuple[Position, Fields]]:
        """An entry of each partition in which nothing changes."""
        entries = {}
        for number, position in self.positions.items():
            self.positions[number] = position.next()
            (entries[number],) = place(position, self.positions[number], [Broadcast(self._info(), [])])
        return entries

    def tick(self, symbols: Iterable[str] | None = None) -> Tick:
        """All `symbols` (None: all there are) change; entries only for partitions that have some of them."""
        deltas: dict[int, list[tuple[str, Delta]]] = {}
        messages: dict[str, bytes] = {}
        for symbol in symbols or self.symbols:
            delta = self._move(symbol, messages)
            deltas.setdefault(partition_of(symbol, self.partitions), []).append((symbol, delta))
        entries = {}
        for number, of_partition in deltas.items():
            position = self.positions[number].next()
            (entries[number],) = place(
                self.positions[number], position, [Broadcast(self._info(), of_partition)]
            )
            self.positions[number] = position
        return Tick(entries, messages)

    def _move(self, symbol: str, messages: dict[str, bytes]) -> Delta:
        replica = self.replicas[symbol]
        bids, asks = self._changes(symbol, replica)
        digest = replica.digest
        for side, levels in ((replica.book.bids, bids), (replica.book.asks, asks)):
            weight = WEIGHT[side.side]
            digest += sum(weight(price) * (new - side.levels.get(price, 0)) for price, new in levels.items())
        delta = Delta(replica.seq, replica.seq + 1, _flat(bids), _flat(asks), digest & MASK, 2 * CHANGED)
        outcome, changes = replica.apply(delta)
        assert outcome is ApplyResult.APPLIED
        if symbol in self.views:
            shown = self.views[symbol].advance(changes, delta.seq, now_us())
            assert shown is not None, "every broadcast changes the view"
            messages[symbol] = orjson.dumps(delta_message(symbol, DEPTH, shown, 1))
        return delta

    def _changes(self, symbol: str, replica: Replica) -> tuple[dict[int, int], dict[int, int]]:
        """Change quantities near the touch; now and then a level of a view goes, and later comes back."""
        sides = []
        for side in (replica.book.bids, replica.book.asks):
            top = side.top(DEPTH - 2)
            chosen = self.random.sample(top, CHANGED)
            sides.append({price: self._other(quantity) for price, quantity in chosen})
        gone = self.gone[symbol]
        if self.random.random() < MOVES:
            if gone:
                side_number, price = gone.pop()
                sides[side_number][price] = self._quantity()
            else:
                side_number = self.random.randrange(2)
                price = self.random.choice(list(sides[side_number]))
                sides[side_number][price] = 0
                gone.append((side_number, price))
        return sides[0], sides[1]

    def _quantity(self) -> int:
        return self.random.randrange(1, 5000)

    def _other(self, quantity: int) -> int:
        return quantity % 4999 + 1

    def _snapshot(self, replica: Replica) -> Snapshot:
        book = replica.book
        return Snapshot(replica.seq, book.bids.flat(), book.asks.flat(), replica.digest, now_us())

    def _info(self) -> EntryInfo:
        return EntryInfo(now_us(), "0-0", 0, 0, 0, None, None)


def now_us() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000


def _flat(levels: Mapping[int, int]) -> Sequence[int]:
    return [number for level in levels.items() for number in level]
