"""One partition as a consumer follows it: its books, its freshness, and how far it was delivered."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from redis.asyncio import Redis

from depthcast.consumer.resumption import ResumingFollower
from depthcast.shared.book import Book
from depthcast.shared.freshness import Freshness
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate
from depthcast.shared.replica import Replica
from depthcast.shared.runtime.replicas import ReadingClient
from depthcast.shared.sizes import Sizes
from depthcast.shared.types import EntryInfo
from depthcast.updates import BookUpdate, Kind, State


class StreamEntry(NamedTuple):
    """One entry of a partition's `deltas`, as the consumer applied it.

    - `partition`, `position`: where the entry is.
    - `info`: the entry's own data; None if this is not a stream entry but a load of snapshots.
    - `updates`: one for each followed symbol that changed.
    """

    partition: int
    position: Position
    info: EntryInfo | None
    updates: tuple[BookUpdate, ...]


class FollowedPartition:
    """One partition: its reader, and at most one entry that is being read.

    The next entry is read only after the previous one was taken, so the books match what the user has
    received.

    - `freshness`: of the last entry taken.
    - `position`: everything up to it was delivered, now or to an earlier consumer; None if nothing was.
    - `instruments`: as last read; their sizes count only where the stream does not say any.
    - `orders`: whether changes of the number of orders alone are delivered too.
    """

    def __init__(
        self,
        number: int,
        client: Redis,
        keys: DeploymentKeys,
        wanted: frozenset[str] | None,
        freshness: Freshness,
        since: Position | None = None,
        *,
        orders: bool = False,
    ) -> None:
        self.number = number
        self.symbols: set[str] = set()
        self.freshness = freshness
        self.position = since
        self.orders = orders
        self._doubts: dict[str, str | None] = {}
        self.instruments: Mapping[str, Instrument] = {}
        self.reader = PartitionReader(lambda symbol: wanted is None or symbol in wanted)
        self.follower = ResumingFollower(
            client, keys.partition(number), self.reader, self._known_symbols, since
        )
        self._entries = self.follower.entries()
        self._choosing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[AppliedEntry | None] | None = None

    def _known_symbols(self) -> set[str]:
        return self.symbols | set(self.reader.shown)

    def read_task(self) -> asyncio.Task[AppliedEntry | None]:
        """Return the task that reads the next entry; starts it if there is none."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._next_entry())
        return self._reading

    async def _next_entry(self) -> AppliedEntry | None:
        client = self.follower.client
        if self._choosing is None and isinstance(client, ReadingClient):
            await client.check()
            self._choosing = asyncio.create_task(client.keep_choosing(), name="choose replica")
        if self._choosing is not None and self._choosing.done():
            self._choosing.result()
        return await anext(self._entries)

    def take_entry(self) -> StreamEntry | None:
        """Return the entry if one has been read that was not delivered before, else None."""
        if self._reading is None or not self._reading.done():
            return None
        entry = self._reading.result()
        self._reading = None
        if entry is None:
            return None
        if entry.written is not None:
            self.freshness.record(entry.written, asyncio.get_running_loop().time())
        if self.follower.since is not None:
            if entry.position <= self.follower.since:
                return None  # an earlier consumer has delivered it
            self.follower.since = None
        updates = tuple(
            self._book_update(update, entry.info)
            for update in entry.updates
            if self.orders or not self._only_orders_changed(update)
        )
        return StreamEntry(self.number, entry.position, entry.info, updates)

    def pass_entry(self, position: Position) -> None:
        """Move on behind an entry that was delivered, unless a change in it, or before it, still has to come.

        That is so while symbols wait to be loaded: their snapshots come with later entries.
        """
        reader = self.reader
        waiting = reader.missing or any(replica.seq for replica in reader.rebuilding.values())
        if reader.lost_reason is None and not waiting:
            self.position = position

    def holds(self, symbol: str, seq: int) -> bool:
        """Return whether the book of `symbol` is there and at `seq` or later, by the entries taken."""
        has_more = self._reading is not None and self._reading.done()
        return not has_more and symbol in self.reader.shown and self.reader.shown[symbol].seq >= seq

    def book(self, symbol: str) -> Book:
        """Return the shown book of `symbol`, with its sizes if they are known."""
        return self._sized_book(symbol, self.reader.shown[symbol])

    def state(self, symbol: str) -> State:
        """Return whether the book of `symbol` is current and fresh."""
        fresh = self.freshness.update(asyncio.get_running_loop().time())
        if not fresh or not self.reader.is_current(symbol):
            return State.STALE
        replica = self.reader.shown[symbol]
        withdrawn = replica.listing is not None and replica.listing.withdrawn
        return State.STALE if withdrawn or replica.doubt is not None else State.LIVE

    def age_s(self) -> float | None:
        """Return the age of the last entry taken."""
        return self.freshness.age_s(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Stop reading, and close the connections."""
        tasks = [task for task in (self._reading, self._choosing) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._entries.aclose()
        finally:
            await self.follower.client.aclose()

    def _sized_book(self, symbol: str, replica: Replica) -> Book:
        """The book of a replica, which says its sizes from now on; they never change within a replica."""
        book = replica.book
        if book.sizes is None:
            instrument = replica.listing.instrument if replica.listing else self.instruments.get(symbol)
            if instrument is not None:
                book.sizes = Sizes(instrument.tick_size, instrument.lot_size)
        return book

    def _book_update(self, update: ReplicaUpdate, info: EntryInfo | None) -> BookUpdate:
        symbol, replica, delta, changes, event_ts = update
        state, book, ts = self.state(symbol), self._sized_book(symbol, replica), info.ts if info else 0
        if delta is None:
            event_ts = replica.event_ts
            return BookUpdate(
                symbol, Kind.SNAPSHOT, state, replica.seq, book, ts=ts, info=info, event_ts=event_ts
            )
        changed = changes.counted if self.orders and changes.counted is not None else changes
        bids, asks = ([(change[0], change[1]) for change in side] for side in (changed.bids, changed.asks))
        return BookUpdate(symbol, Kind.DELTA, state, replica.seq, book, bids, asks, 1, ts, info, event_ts)

    def _only_orders_changed(self, update: ReplicaUpdate) -> bool:
        """Whether nothing but the number of orders at some levels is another than in the last update."""
        changes, doubt = update.changes, update.replica.doubt
        same_doubt = self._doubts.get(update.symbol) == doubt
        self._doubts[update.symbol] = doubt
        return (
            same_doubt
            and changes.counted is not None
            and any(changes.counted)
            and not (changes.bids or changes.asks)
        )
