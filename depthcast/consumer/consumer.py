"""The stream consumer: books straight from Redis, for services that do not need a gateway.

    async with Consumer("redis://127.0.0.1:6379/0", symbols=["BTC-USD"]) as consumer:
        async for update in consumer:
            print(update.symbol, update.seq, update.book.bids.best(), update.info)

A consumer loads the newest snapshots, follows the deltas of each partition it needs, and checks every digest.
After a gap it loads again by itself. It waits while Redis is away or the deployment does not exist yet.
Nothing is applied before the next update is requested, so an update's `book` is exactly at its `seq`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from redis.asyncio import Redis

from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError, RedisUnavailable
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, read_instruments, sample_clock, wait_for_partitions
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.types import EntryInfo
from depthcast.updates import BookUpdate, Kind, State

logger = logging.getLogger(__name__)


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


class Consumer:
    """A reader of a deployment's books, used with `async with`.

    `async for` delivers a `BookUpdate` for each change, and never ends by itself: it waits while Redis is
    away. `entries()` delivers whole stream entries instead.

    Args:
        redis_url: Address of Redis or Valkey, in the form of the setting `DEPTHCAST_REDIS_URL`.
        symbols: Names to follow; one that does not exist yet is followed from its first broadcast. None
            follows all symbols, including later ones.
        prefix: Key prefix of the deployment.
        partitions: Number of partitions that the deployment must have; None accepts any.
        stale_ms: Books whose newest entry was written longer ago are STALE.
        input_lag_max_ms: Books are STALE while the oldest unread input of their partition is older.

    Raises:
        SettingsError: If the address is not valid.
        DeploymentMismatch: At `async with`, if the deployment has another number of partitions or uses
            another version of the contract.
    """

    def __init__(
        self,
        redis_url: str,
        symbols: Collection[str] | None = None,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
        stale_ms: int = 5000,
        input_lag_max_ms: int = 5000,
    ) -> None:
        self.symbols = None if symbols is None else frozenset(symbols)
        self.partitions = partitions or 0
        self._redis_url = redis_url
        self._keys = DeploymentKeys(prefix)
        self._wanted_partitions = partitions
        self._client = redis.connect(redis_url)
        self._clock = ServerClock()
        self._stale_s = stale_ms / 1000
        self._input_lag_max_ms = input_lag_max_ms
        self._followed: dict[int, _FollowedPartition] = {}
        self._polling: asyncio.Task[None] | None = None
        self._entered = False
        self._outage = Outage(logger, "waiting for Redis", key=self._keys.instruments)

    @property
    def resyncs(self) -> int:
        """Number of times that books were loaded again after the first load."""
        return sum(followed.follower.resyncs for followed in self._followed.values())

    def book(self, symbol: str) -> Book:
        """Return the current book of `symbol`; raises `ClientError` (`no_book`) while there is none."""
        return self._reader_of(symbol).shown[symbol].book

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`; raises `ClientError` while there is none."""
        return self._reader_of(symbol).shown[symbol].seq

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol`; raises `ClientError` while there is none."""
        return self._reader_of(symbol).shown[symbol].digest

    def listing(self, symbol: str) -> Listing | None:
        """Return what the book of `symbol` stands for: the number of its listing, its sizes and rules.

        None if an ingestor of an older version leads, which does not say it; the `instruments` hash has the
        sizes then. Raises `ClientError` while there is no book.
        """
        return self._reader_of(symbol).shown[symbol].listing

    def state(self, symbol: str) -> State:
        """Return LIVE if the book has every entry read so far and these are not old, STALE otherwise.

        Old are entries written longer than `stale_ms` ago, by the server's clock, and those of an ingestor
        that lags more than `input_lag_max_ms` behind its input. A withdrawn symbol's book is STALE.
        """
        followed = self._followed.get(partition_of(symbol, self.partitions or 1))
        return State.STALE if followed is None else followed.state(symbol)

    def stale_reason(self, symbol: str) -> str | None:
        """Return why a producer calls the book of `symbol` stale, None while it does not.

        Raises `ClientError` while there is no book.
        """
        return self._reader_of(symbol).shown[symbol].doubt

    def age_s(self, symbol: str) -> float | None:
        """Return how long ago, by the server's clock, the newest entry was written that the book includes.

        None if that is not known, as at the start while no ingestor is writing. Raises `ClientError` while
        there is no book.
        """
        self._reader_of(symbol)
        return self._followed[partition_of(symbol, self.partitions)].age_s()

    async def wait_for(self, symbol: str, seq: int = 0) -> Book:
        """Read until the book of `symbol` is at `seq` or later; updates read on the way are not delivered."""
        async for entry in self.entries():
            if any(update.symbol == symbol and update.seq >= max(seq, 1) for update in entry.updates):
                break
        return self.book(symbol)

    async def entries(self) -> AsyncIterator[StreamEntry]:
        """Deliver every entry of the followed partitions, including those that change no followed symbol."""
        assert self._entered, "use the consumer with async with"
        while True:
            tasks = [followed.read_task() for followed in self._followed.values()]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for followed in self._followed.values():
                if (entry := followed.take_entry()) is not None:
                    yield _stream_entry(followed, entry)

    async def __aiter__(self) -> AsyncIterator[BookUpdate]:
        async for entry in self.entries():
            for update in entry.updates:
                yield update

    async def __aenter__(self) -> Self:
        try:
            self.partitions = await wait_for_partitions(self._client, self._keys, self._wanted_partitions)
            known = await self._known_symbols()
        except BaseException:
            await self._client.aclose()
            raise
        numbers = (
            range(self.partitions)
            if self.symbols is None
            else sorted({partition_of(symbol, self.partitions) for symbol in self.symbols})
        )
        for number in numbers:
            client = redis.connect(self._redis_url)
            freshness = Freshness(self._clock, self._stale_s, self._input_lag_max_ms)
            self._followed[number] = _FollowedPartition(number, client, self._keys, self.symbols, freshness)
        self._assign(known)
        self._polling = asyncio.create_task(self._poll(), name="poll")
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling
        for followed in self._followed.values():
            await followed.close()
        await self._client.aclose()

    def _reader_of(self, symbol: str) -> PartitionReader:
        followed = self._followed.get(partition_of(symbol, self.partitions or 1))
        if followed is None or symbol not in followed.reader.shown:
            raise ClientError("no_book", "no book has been read yet", symbol)
        return followed.reader

    async def _known_symbols(self) -> Collection[str]:
        if self.symbols is not None:
            return self.symbols
        while True:
            try:
                found = await read_instruments(self._client, self._keys)
            except RedisUnavailable as error:
                self._outage.note(error)
                await asyncio.sleep(POLL_S)
            else:
                self._outage.over()
                return found

    async def _poll(self) -> None:
        """Read the server's clock, and the names of new symbols.

        Their books come with the deltas; a later load needs the names.
        """
        while True:
            try:
                await sample_clock(self._client, self._clock)
            except RedisUnavailable as error:
                self._outage.note(error)
            else:
                self._outage.over()
            await asyncio.sleep(POLL_S)
            if self.symbols is None:
                self._assign(await self._known_symbols())

    def _assign(self, symbols: Collection[str]) -> None:
        """Give each followed partition its symbols."""
        for followed in self._followed.values():
            followed.symbols = {s for s in symbols if partition_of(s, self.partitions) == followed.number}
            # A symbol born before the last load appears in no later entry unless it changes.
            for symbol in sorted(followed.symbols):
                followed.reader.want(symbol)


class _FollowedPartition:
    """One partition: its reader, and at most one entry that is being read.

    The next entry is read only after the previous one was taken, so the books match what the user has
    received. `freshness`: of the last entry taken.
    """

    def __init__(
        self,
        number: int,
        client: Redis,
        keys: DeploymentKeys,
        wanted: frozenset[str] | None,
        freshness: Freshness,
    ) -> None:
        self.number = number
        self.symbols: set[str] = set()
        self.freshness = freshness
        self.reader = PartitionReader(lambda symbol: wanted is None or symbol in wanted)
        self.follower = Follower(client, keys.partition(number), self.reader, self._known_symbols)
        self._entries = self.follower.entries()
        self._reading: asyncio.Task[AppliedEntry | None] | None = None

    def _known_symbols(self) -> set[str]:
        return self.symbols | set(self.reader.shown)

    def read_task(self) -> asyncio.Task[AppliedEntry | None]:
        """Return the task that reads the next entry; starts it if there is none."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._entries))
        return self._reading

    def take_entry(self) -> AppliedEntry | None:
        """Return the entry if it has been read, else None."""
        if self._reading is None or not self._reading.done():
            return None
        entry = self._reading.result()
        self._reading = None
        if entry is not None and entry.written is not None:
            self.freshness.record(entry.written, asyncio.get_running_loop().time())
        return entry

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
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._entries.aclose()
        await self.follower.client.aclose()


def _stream_entry(followed: _FollowedPartition, entry: AppliedEntry) -> StreamEntry:
    updates = tuple(_book_update(followed, update, entry.info) for update in entry.updates)
    return StreamEntry(followed.number, entry.position, entry.info, updates)


def _book_update(followed: _FollowedPartition, update: ReplicaUpdate, info: EntryInfo | None) -> BookUpdate:
    state = followed.state(update.symbol)
    replica, ts = update.replica, info.ts if info else 0
    if update.delta is None:
        return BookUpdate(update.symbol, Kind.SNAPSHOT, state, replica.seq, replica.book, ts=ts, info=info)
    bids, asks = ([(price, new) for price, new, _ in side] for side in update.changes)
    return BookUpdate(
        update.symbol, Kind.DELTA, state, replica.seq, replica.book, bids, asks, merged=1, ts=ts, info=info
    )
