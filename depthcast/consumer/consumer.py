"""The stream consumer: books straight from Redis, for services that want no WebSocket in between.

    async with Consumer("redis://127.0.0.1:6379/0", symbols=["BTC-USD"]) as consumer:
        async for update in consumer:
            print(update.symbol, update.seq, update.book.bids.best(), update.info)

It loads the newest snapshots, follows the deltas of each partition it needs, checks every digest, and starts again by
itself when something is missing; it waits for Redis and for the deployment. Pull-driven: nothing is read or applied until
the next update is asked for, so an update's `book` is exactly at its `seq`.
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
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry, PartitionReader, ReplicaUpdate
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, read_instruments, wait_for_partitions
from depthcast.shared.runtime.follow import Follower
from depthcast.shared.types import EntryInfo
from depthcast.updates import BookUpdate, Kind, State

logger = logging.getLogger(__name__)


class StreamEntry(NamedTuple):
    """One entry of a partition's deltas, as the consumer saw it. `info` None: books were loaded from snapshots."""

    partition: int
    position: Position
    info: EntryInfo | None
    updates: tuple[BookUpdate, ...]


class Consumer:
    """Follows `symbols` (None: all, new ones too) of the deployment with key prefix `prefix`.

    Args:
        redis_url: Redis or Valkey.
        symbols: Symbols wanted; one that does not exist yet is followed from its birth.
        prefix: Key prefix of the deployment.
        partitions: Number of partitions, if it must be this one; otherwise the deployment says it.

    Raises:
        DeploymentMismatch: At `async with`, when `partitions` is another number than the deployment's.
    """

    def __init__(
        self,
        redis_url: str,
        symbols: Collection[str] | None = None,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
    ) -> None:
        self.symbols = None if symbols is None else frozenset(symbols)
        self.partitions = partitions or 0
        self._redis_url = redis_url
        self._keys = DeploymentKeys(prefix)
        self._asked_partitions = partitions
        self._client = redis.connect(redis_url)
        self._parts: dict[int, _Part] = {}
        self._polling: asyncio.Task[None] | None = None
        self._entered = False

    @property
    def resyncs(self) -> int:
        """How often books were loaded again since the first time."""
        return sum(part.follower.resyncs for part in self._parts.values())

    def book(self, symbol: str) -> Book:
        """The book of `symbol` as last seen; raises `ClientError` while there is none."""
        return self._update_source(symbol).shown[symbol].book

    def seq(self, symbol: str) -> int:
        """The state the book of `symbol` is at; raises `ClientError` while there is none."""
        return self._update_source(symbol).shown[symbol].seq

    def digest(self, symbol: str) -> int:
        """The digest of the book of `symbol`; raises `ClientError` while there is none."""
        return self._update_source(symbol).shown[symbol].digest

    def state(self, symbol: str) -> State:
        """LIVE while the book is up to the last entry read, STALE while it is being rebuilt or Redis is away."""
        part = self._parts.get(partition_of(symbol, self.partitions or 1))
        live = part is not None and part.reader.is_current(symbol) and not part.silent
        return State.LIVE if live else State.STALE

    async def wait_for(self, symbol: str, seq: int = 0) -> Book:
        """Read until the book of `symbol` is at `seq` or later; what is read meanwhile is not delivered otherwise."""
        async for entry in self.entries():
            if any(update.symbol == symbol and update.seq >= max(seq, 1) for update in entry.updates):
                break
        return self.book(symbol)

    async def entries(self) -> AsyncIterator[StreamEntry]:
        """Every entry of the partitions followed, those without updates for us too: for those who need `info`."""
        assert self._entered, "use the consumer with async with"
        while True:
            tasks = [part.reading() for part in self._parts.values()]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for part in self._parts.values():
                if (entry := part.taken()) is not None:
                    yield _seen(part, entry)

    async def __aiter__(self) -> AsyncIterator[BookUpdate]:
        async for entry in self.entries():
            for update in entry.updates:
                yield update

    async def __aenter__(self) -> Self:
        try:
            self.partitions = await wait_for_partitions(self._client, self._keys, self._asked_partitions)
            known = await self._known()
        except BaseException:
            await self._client.aclose()
            raise
        numbers = (
            range(self.partitions)
            if self.symbols is None
            else sorted({partition_of(symbol, self.partitions) for symbol in self.symbols})
        )
        for number in numbers:
            self._parts[number] = _Part(number, redis.connect(self._redis_url), self._keys, self.symbols)
        self._spread(known)
        if self.symbols is None:
            self._polling = asyncio.create_task(self._poll(), name="instruments")
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError):
                await self._polling
        for part in self._parts.values():
            await part.close()
        await self._client.aclose()

    def _update_source(self, symbol: str) -> PartitionReader:
        part = self._parts.get(partition_of(symbol, self.partitions or 1))
        if part is None or symbol not in part.reader.shown:
            raise ClientError("no_book", "no book was seen yet", symbol)
        return part.reader

    async def _known(self) -> Collection[str]:
        if self.symbols is not None:
            return self.symbols
        while True:
            try:
                return await read_instruments(self._client, self._keys)
            except RedisUnavailable as error:
                logger.warning("waiting for Redis", extra={"problem": error.problem})
                await asyncio.sleep(POLL_S)

    async def _poll(self) -> None:
        """Learn of new instruments. Their births are read from the deltas: this is for loading after a loss."""
        while True:
            await asyncio.sleep(POLL_S)
            self._spread(await self._known())

    def _spread(self, symbols: Collection[str]) -> None:
        for part in self._parts.values():
            part.symbols = {s for s in symbols if partition_of(s, self.partitions) == part.number}
            # One that was born before the last load is in no entry to come, unless it changes.
            for symbol in sorted(part.symbols):
                part.reader.want(symbol)


class _Part:
    """One partition followed: its reader, and at most one entry being waited for.

    An entry is only asked for once the one before was used up: that keeps the books at what the user was told.
    """

    def __init__(
        self, number: int, client: Redis, keys: DeploymentKeys, wanted: frozenset[str] | None
    ) -> None:
        self.number = number
        self.symbols: set[str] = set()
        self.silent = False
        self.reader = PartitionReader(lambda symbol: wanted is None or symbol in wanted)
        self.follower = Follower(client, keys.partition(number), self.reader, self._known)
        self._entries = self.follower.entries()
        self._reading: asyncio.Task[AppliedEntry | None] | None = None

    def _known(self) -> set[str]:
        return self.symbols | set(self.reader.shown)

    def reading(self) -> asyncio.Task[AppliedEntry | None]:
        """The task that reads the next entry."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._entries))
        return self._reading

    def taken(self) -> AppliedEntry | None:
        """The entry read, None when there is none yet."""
        if self._reading is None or not self._reading.done():
            return None
        entry = self._reading.result()
        self._reading = None
        self.silent = entry is None
        return entry

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._entries.aclose()
        await self.follower.client.aclose()


def _seen(part: _Part, entry: AppliedEntry) -> StreamEntry:
    updates = tuple(_update(part.reader, update, entry.info) for update in entry.updates)
    return StreamEntry(part.number, entry.position, entry.info, updates)


def _update(reader: PartitionReader, update: ReplicaUpdate, info: EntryInfo | None) -> BookUpdate:
    state = State.LIVE if reader.is_current(update.symbol) else State.STALE
    replica, ts = update.replica, info.ts if info else 0
    if update.delta is None:
        return BookUpdate(update.symbol, Kind.SNAPSHOT, state, replica.seq, replica.book, ts=ts, info=info)
    bids, asks = ([(price, new) for price, new, _ in side] for side in update.changes)
    return BookUpdate(
        update.symbol, Kind.DELTA, state, replica.seq, replica.book, bids, asks, merged=1, ts=ts, info=info
    )
