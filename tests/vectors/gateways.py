"""A market with several gateways, one of which serves the client: others have other histories, and lag.

A gateway begins with snapshots of some earlier moment and reads the stream from there, as real ones do.
"""

import random
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from depthcast.gateway.delivery.core import Core
from depthcast.shared.codec import NO_MARKS
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, LoadedSnapshots
from depthcast.shared.types import Delta, Snapshot
from tests.unit.gateway.small_market import Levels, Published, PublishedOrders, SmallMarket

Fields = list[tuple[bytes, bytes]]
NOT_READ_YET: Final = AppliedEntry(Position(0, 0), None, [])


class Gateways(SmallMarket):
    """The market as the client's gateway has read it; the gateway `lags` if some entries are still unread.

    `listings`: by symbol, the listing that its book stands for; `doubts`: why it is in doubt.
    """

    def __init__(self, *symbols: str, rng: random.Random, with_orders: bool, **settings: Any) -> None:
        self.rng = rng
        self.with_orders = with_orders
        self.lags = False
        self.listings: dict[str, Listing] = {}
        self.doubts: dict[str, str] = {}
        self._unread: deque[tuple[Position, Fields]] = deque()
        self._since: list[tuple[Position, Fields]] = []
        self._saved: tuple[Position, dict[str, Snapshot]] | None = None
        super().__init__(*symbols, **settings)
        for symbol in symbols:
            self.books[symbol] = self.new_book(self.books[symbol].seq)

    def new_book(self, seq: int) -> Published:
        """An empty book; now and then one of an orders feed."""
        return PublishedOrders(seq) if self.with_orders and self.rng.random() < 0.6 else Published(seq)

    # --- the stream

    def entry(
        self,
        deltas: Mapping[str, Delta],
        lag_ms: int | None = None,
        listings: Mapping[str, Listing] = MappingProxyType({}),
        marks: Mapping[str, Mapping[str, Any]] = NO_MARKS,
    ) -> AppliedEntry:
        """Write the next entry; the gateway reads it, at once or late, when it is applied."""
        fields = self.written(deltas, lag_ms, listings, marks)
        self._unread.append((self.position, fields))
        self._since.append((self.position, fields))
        return NOT_READ_YET

    def apply(self, entry: AppliedEntry) -> None:
        if entry is not NOT_READ_YET:
            super().apply(entry)
        elif not self.lags:
            self.catch_up()

    def catch_up(self, most: int | None = None) -> None:
        """The gateway reads what it has not read, or `most` entries of that."""
        for _ in range(len(self._unread) if most is None else min(most, len(self._unread))):
            position, fields = self._unread.popleft()
            entry = self.upstream.reader.read(position, fields)
            assert entry is not None
            super().apply(entry)
        self.lags = bool(self._unread)
        self.tick()

    def save(self) -> None:
        """Snapshots of this moment are there for the next gateway to begin with."""
        self.catch_up()
        self._since.clear()
        self._saved = (self.position, {symbol: self.snapshot_of(symbol) for symbol in self.books})

    def snapshot_of(self, symbol: str) -> Snapshot:
        snapshot = super().snapshot_of(symbol)
        marks = dict(snapshot.marks or {})
        if symbol in self.listings:
            marks |= to_table(self.listings[symbol])
        if symbol in self.doubts:
            marks["stale"] = self.doubts[symbol]
        return snapshot._replace(marks=marks or None)

    # --- gateways

    def another(self) -> None:
        """A gateway that begins with the saved snapshots, and may lag."""
        if self._saved is None:
            self.save()
        assert self._saved is not None
        position, snapshots = self._saved
        self._begin()
        self.list_instruments()
        found = {symbol: (position, snapshot) for symbol, snapshot in snapshots.items()}
        self._load(position, found)
        self._unread = deque(self._since)
        self.lags = True
        self.catch_up(self.rng.randint(0, len(self._unread)))

    def unready(self) -> None:
        """A gateway that has no catalog yet."""
        self.catch_up()
        self._begin()
        self._load(self.position, {})

    def ready(self) -> None:
        """The gateway has its catalog, and has read everything."""
        self.catch_up()
        if not self.core.market.listings:
            self.list_instruments()
            self.load()
            self.tick()

    def _begin(self) -> None:
        self.core = Core(self.core.settings, self.core.clock_us, self.alarms.append)
        self.core.market.set_partitions(1)
        self.upstream = self.core.market.upstreams[0]

    def _load(self, position: Position, found: LoadedSnapshots) -> None:
        updates = self.upstream.reader.load(position, found)
        super().apply(AppliedEntry(position, None, updates))

    # --- the market

    def relist(
        self, symbol: str, number: int, tick_size: str, *, withdrawn: bool = False, tick: bool = True
    ) -> Listing:
        """The next listing, which may be of another feed."""
        before = self.books[symbol]
        if type(born := self.new_book(before.seq)) is not type(before):
            born.states = before.states
            if isinstance(before, PublishedOrders) and isinstance(born, PublishedOrders):
                born.counted = before.counted
            self.books[symbol] = born
        listing = super().relist(symbol, number, tick_size, withdrawn=withdrawn, tick=tick)
        self.listings[symbol] = listing
        self.doubts.pop(symbol, None)
        return listing

    def doubt(self, symbol: str, reason: str | None, bids: Levels | None = None) -> None:
        super().doubt(symbol, reason, bids)
        if reason is None:
            self.doubts.pop(symbol, None)
        else:
            self.doubts[symbol] = reason

    def lists(self, symbol: str, seq: int) -> None:
        """A symbol is there again; its book begins after all that it ever had."""
        self.catch_up()
        self.books[symbol] = self.new_book(seq)
        self.list_instruments()
        self.load()

    def removes(self, symbol: str) -> None:
        self.catch_up()
        del self.books[symbol]
        self.listings.pop(symbol, None)
        self.doubts.pop(symbol, None)
        self.list_instruments()
        self.tick()
        self.save()
