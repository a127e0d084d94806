"""The stream consumer: books straight from Redis, for services that do not need a gateway.

    async with Consumer("redis://127.0.0.1:6379/0", symbols="BTC-USD") as consumer:
        async for update in consumer:
            print(update.symbol, update.seq, update.book.bids.best(), update.info)

A consumer loads the newest snapshots, follows the deltas of each partition it needs, and checks every digest.
After a gap it loads again by itself. It waits while Redis is away or the deployment does not exist yet.
Nothing is applied before the next update is requested, so an update's `book` is exactly at its `seq`.

A service that must miss nothing while it restarts stores `position`, and starts again with it as `since`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from depthcast.consumer.announcement import Announcement
from depthcast.consumer.followed import FollowedPartition, StreamEntry
from depthcast.consumer.positions import Positions
from depthcast.frames import WithFrames
from depthcast.shared.book import Book
from depthcast.shared.errors import ClientError, RedisUnavailable, SettingsError
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.replica import Replica
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, read_instruments, sample_clock, wait_for_deployed
from depthcast.shared.runtime.connections import close_together
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.replicas import PRIMARY, ReadingPlace, place_of, reading_client
from depthcast.shared.settings import REPLICA_LAG_MAX_MS, check_read_from
from depthcast.shared.sizes import Sizes
from depthcast.updates import BookUpdate, OnUpdate, State, deliver, names_of

logger = logging.getLogger(__name__)


class _Taken(NamedTuple):
    """An entry to deliver, with the partition that it is of."""

    followed: FollowedPartition
    entry: StreamEntry


class Consumer(WithFrames):
    """A reader of a deployment's books, used with `async with`.

    `async for` delivers a `BookUpdate` for each change, and never ends by itself: it waits while Redis is
    away. `entries()` delivers whole stream entries instead.

    Args:
        redis_url: Address of Redis or Valkey, in the form of the setting `DEPTHCAST_REDIS_URL`.
        symbols: A name or several to follow; one that does not exist yet is followed from its first
            broadcast. None follows all symbols, including later ones.
        prefix: Key prefix of the deployment.
        partitions: Number of partitions that the deployment must have; None accepts any.
        stale_ms: Books whose newest entry was written longer ago are STALE.
        input_lag_max_ms: Books are STALE while the oldest unread input of their partition is older.
        since: The `position` of an earlier consumer of the same symbols. What that one delivered does not
            come again, and nothing after it is missed: each change comes by itself if Redis still has the
            book from before it, otherwise the symbol comes as a snapshot that includes the change.
        orders: Deliver an update also when a level's quantity stays while the number of its orders changes;
            such levels are then among an update's `bids` and `asks`. The books of orders feeds have the
            numbers in any case, as `book.bids.orders` by price and `book.bids.top_orders()`; those of levels
            feeds do not, so their `orders` is None.
        read_from: `replica` reads books from a replica of the server, as long as one follows it closely;
            its user there needs the same rights. All else is at the primary.
        replica_lag_max_ms: A replica that is further behind is not read from.
        name: A name for this consumer: up to 64 letters, digits, points, hyphens and underscores. With one,
            it says each second how far it is, so that the metrics of the ingestors have its lag. Two that run
            at the same time need two names.

    Raises:
        SettingsError: If the address, `name` or `read_from` is not valid; at `async with`, if `since` names a
            partition that the deployment does not have.
        PositionError: If `since` is not the text of a `position`.
        DeploymentMismatch: At `async with`, if the deployment has another number of partitions or uses
            another version of the contract.
    """

    def __init__(
        self,
        redis_url: str,
        symbols: str | Collection[str] | None = None,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
        stale_ms: int = 5000,
        input_lag_max_ms: int = 5000,
        since: Positions | str | None = None,
        orders: bool = False,
        read_from: str = "primary",
        replica_lag_max_ms: int = REPLICA_LAG_MAX_MS,
        name: str | None = None,
    ) -> None:
        check_read_from(read_from)
        self.symbols = None if symbols is None else frozenset(names_of(symbols))
        self.partitions = partitions or 0
        self._since = Positions.parse(since) if isinstance(since, str) else since or Positions()
        self._orders = orders
        self._redis_url = redis_url
        self._read_from = read_from
        self._replica_lag_max_ms = replica_lag_max_ms
        self._keys = DeploymentKeys.at(redis_url, prefix)
        self._wanted_partitions = partitions
        self._client = redis.connect(redis_url)
        self._announcement = None if name is None else Announcement(self._client, self._keys.consumers, name)
        self._clock = ServerClock()
        self._stale_s = stale_ms / 1000
        self._input_lag_max_ms = input_lag_max_ms
        self._followed: dict[int, FollowedPartition] = {}
        self._order: deque[FollowedPartition] = deque()
        self._delivering: _Taken | None = None
        self._undelivered: deque[BookUpdate] = deque()
        self._polling: asyncio.Task[None] | None = None
        self._entered = False
        self._outage = Outage(logger, "waiting for Redis", key=self._keys.instruments)

    @property
    def resyncs(self) -> int:
        """Number of times that books were loaded again after the first load."""
        return sum(followed.follower.resyncs for followed in self._followed.values())

    @property
    def position(self) -> Positions:
        """How far updates were delivered. Store it after you have handled them, and give it as `since`.

        It moves on with the last update of each stream entry. While a symbol is loaded again after a gap, it
        stays where it was: after a restart, changes may come twice then, but none is missed.
        """
        followed = self._followed.items()
        return Positions({number: each.position for number, each in followed if each.position is not None})

    @property
    def places(self) -> Mapping[int, ReadingPlace]:
        """Which server each partition is read from, and how far it is behind its primary."""
        return {number: place_of(each.follower.client) for number, each in self._followed.items()}

    def book(self, symbol: str) -> Book:
        """Return the current book of `symbol`; raises `ClientError` (`no_book`) while there is none."""
        return self._partition_of(symbol).book(symbol)

    def seq(self, symbol: str) -> int:
        """Return the sequence number of the book of `symbol`; raises `ClientError` while there is none."""
        return self._replica(symbol).seq

    def digest(self, symbol: str) -> int:
        """Return the digest of the book of `symbol`; raises `ClientError` while there is none."""
        return self._replica(symbol).digest

    def sizes(self, symbol: str) -> Sizes:
        """Return tick size and lot size of `symbol` as decimal text, such as `("0.01", "0.001")`.

        Raises `ClientError`: `no_book` while there is none, `no_sizes` if nothing says what its sizes are.
        """
        sizes = self.book(symbol).sizes
        if sizes is None:
            raise ClientError("no_sizes", "the stream does not say them: its ingestor is too old", symbol)
        return sizes

    def listing(self, symbol: str) -> Listing | None:
        """Return what the book of `symbol` stands for: the number of its listing, its sizes and rules.

        None if an ingestor of an older version leads, which does not say it. Raises `ClientError` while there
        is no book.
        """
        return self._replica(symbol).listing

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
        return self._replica(symbol).doubt

    def event_ts(self, symbol: str) -> int | None:
        """Return the newest time at the source of what the book of `symbol` includes, µs since 1970.

        None if the producer names none. Raises `ClientError` while there is no book.
        """
        return self._replica(symbol).event_ts

    def input_age_s(self, symbol: str) -> float | None:
        """Return how long ago, by the server's clock, the last input of `symbol` came.

        `age_s` stays small while any symbol of the partition is fed; this grows in a quiet market, and if
        the producer of `symbol` is gone. None if it is not known, as while there was no input. Raises
        `ClientError` while there is no book.
        """
        server_us = self._clock.now_us(asyncio.get_running_loop().time())
        input_ts = self._replica(symbol).input_ts
        if server_us is None or not input_ts:
            return None
        return max((server_us - input_ts) / 1e6, 0.0)

    def age_s(self, symbol: str) -> float | None:
        """Return how long ago, by the server's clock, the newest entry was written that the book includes.

        None if that is not known, as at the start while no ingestor is writing. Raises `ClientError` while
        there is no book.
        """
        return self._partition_of(symbol).age_s()

    async def wait_for(self, symbol: str, seq: int = 0) -> Book:
        """Read until the book of `symbol` is at `seq` or later; updates read on the way are not delivered."""
        followed = self._followed.get(partition_of(symbol, self.partitions or 1))
        while followed is None or not followed.holds(symbol, seq):
            self._pass(await self._step())
        return followed.book(symbol)

    async def follow(self) -> None:
        """Keep the books up to date for ever; run it as a task. It takes all updates."""
        while True:
            self._pass(await self._step())

    async def run(self, on_update: OnUpdate) -> None:
        """Call `on_update` with each update, for ever; raises what `on_update` raises."""
        await deliver(self, on_update)

    async def entries(self) -> AsyncIterator[StreamEntry]:
        """Deliver every entry of the followed partitions, including those that change no followed symbol."""
        while True:
            if (taken := await self._step()) is not None:
                self._pass(taken)
                yield taken.entry

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BookUpdate:
        while not self._undelivered:
            self._delivering = await self._step()
            if self._delivering is not None:
                self._undelivered.extend(self._delivering.entry.updates)
                if not self._undelivered:
                    self._pass(self._delivering)
        update = self._undelivered.popleft()
        if not self._undelivered:
            self._pass(self._delivering)
        return update

    async def __aenter__(self) -> Self:
        assert not self._entered, "a consumer is entered once; make another one"
        try:
            self.partitions, self._keys = await wait_for_deployed(
                self._client, self._keys, self._wanted_partitions
            )
            self._check_since()
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
            self._followed[number] = FollowedPartition(
                number,
                reading_client(
                    self._redis_url,
                    self._keys.partition(number).deltas,
                    self._read_from,
                    self._replica_lag_max_ms,
                    redis.connect,
                ),
                self._keys,
                self.symbols,
                Freshness(self._clock, self._stale_s, self._input_lag_max_ms),
                self._since.get(number),
                orders=self._orders,
            )
        self._order.extend(self._followed.values())
        self._assign(known)
        self._polling = asyncio.create_task(self._poll(), name="poll")
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._polling is not None:
                self._polling.cancel()
                with suppress(asyncio.CancelledError):
                    await self._polling
            if self._announcement is not None and (kind is None or issubclass(kind, asyncio.CancelledError)):
                await self._announcement.leave()
        finally:
            followed = [each.close() for each in self._followed.values()]
            await close_together([*followed, self._client.aclose()])

    async def _step(self) -> _Taken | None:
        """Take an entry of any partition, or read until there is one; None if it is nothing to deliver."""
        assert self._entered, "use the consumer with async with"
        if (taken := self._take()) is not None:
            return taken
        tasks = [followed.read_task() for followed in self._order]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return self._take()

    def _take(self) -> _Taken | None:
        """Take an entry that has been read; no partition waits because others have more to read."""
        for _ in range(len(self._order)):
            followed = self._order[0]
            self._order.rotate(-1)
            if (entry := followed.take_entry()) is not None:
                return _Taken(followed, entry)
        return None

    def _pass(self, taken: _Taken | None) -> None:
        """Count an entry as delivered, whatever was not iterated over yet."""
        self._undelivered.clear()
        if taken is not None:
            taken.followed.pass_entry(taken.entry.position)

    def _partition_of(self, symbol: str) -> FollowedPartition:
        """The partition with the book of `symbol`; raises `ClientError` while there is no book."""
        followed = self._followed.get(partition_of(symbol, self.partitions or 1))
        if followed is None or symbol not in followed.reader.shown:
            raise ClientError("no_book", "no book has been read yet", symbol)
        return followed

    def _replica(self, symbol: str) -> Replica:
        return self._partition_of(symbol).reader.shown[symbol]

    def _check_since(self) -> None:
        last = max(self._since, default=0)
        if last >= self.partitions:
            problem = f"names partition {last}, and the deployment has only {self.partitions}"
            raise SettingsError("since", str(self._since), problem)

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
                await sample_clock(self._client, self._clock, self._keys)
            except RedisUnavailable as error:
                self._outage.note(error)
            else:
                self._outage.over()
            if self._announcement is not None:
                now_us = self._clock.now_us(asyncio.get_running_loop().time())
                ages_s = {number: each.age_s() for number, each in self._followed.items()}
                places = self.places.items()
                behind = {number: at.lag_ms for number, at in places if at.server != PRIMARY}
                await self._announcement.say(now_us, ages_s, behind)
            await asyncio.sleep(POLL_S)
            if self.symbols is None:
                self._assign(await self._known_symbols())

    def _assign(self, symbols: Collection[str]) -> None:
        """Give each followed partition its symbols, with their instruments where those were read."""
        instruments: Mapping[str, Instrument] = symbols if isinstance(symbols, Mapping) else {}
        for followed in self._followed.values():
            followed.instruments = instruments
            followed.symbols = {s for s in symbols if partition_of(s, self.partitions) == followed.number}
            # A symbol born before the last load appears in no later entry unless it changes.
            for symbol in sorted(followed.symbols):
                followed.reader.want(symbol)
