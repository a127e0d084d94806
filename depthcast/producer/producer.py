"""The producer that programs import.

    async with Producer("redis://127.0.0.1:6379/0") as producer:
        await producer.send("BTC-USD", [("update", "bid", Decimal("65000.10"), "0.005")])

Events are checked and converted before they are sent, and go to the partition of their symbol. Entries are
sent in order, many at once, each exactly once. While Redis is away they wait, up to a limit of bytes; then
`send` waits.
"""

import asyncio
import json
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from depthcast.producer.events import EventLike, Sizes, encode_events, encode_options
from depthcast.producer.input_log import Fields, InputLog
from depthcast.producer.sent import SentIds
from depthcast.shared.codec import pack
from depthcast.shared.errors import CodecError, InputLagging, InvalidEvent, RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.reject_record import RejectRecord
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import HOLD_S, POLL_S, read_instruments, wait_for_deployed
from depthcast.shared.runtime.input_lag import consumed_upto, input_lag_ms, lost_input
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.rejects import RejectFollower, tails
from depthcast.shared.types import is_symbol

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH_ENTRIES_MAX: Final = 1_000
REJECTS_KEPT: Final = 10_000
"""Rejects that wait for `rejects()`; older ones are dropped, but counted."""

WATCH_S: Final = 0.25
"""Time between looks at input lag, and at what was consumed."""


class Receipt:
    """What `send` returns: `await` it for the ID of the entry in the input log."""

    def __init__(self, partition: int, symbol: str, events: int) -> None:
        self.partition = partition
        self.symbol = symbol
        self.events = events
        self._id: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

    @property
    def id(self) -> Position | None:
        """The entry's ID; None while it is not in the input log."""
        done = self._id.done() and not self._id.cancelled()
        return self._id.result() if done else None

    def __await__(self) -> Generator[Any, None, Position]:
        return asyncio.shield(self._id).__await__()

    def sent(self, position: Position) -> None:
        """Set the ID."""
        if not self._id.done():
            self._id.set_result(position)

    def cancel(self) -> None:
        """Tell whoever waits that the producer was left before the entry was known to be in the input log."""
        self._id.cancel()


@dataclass
class ProducerCounters:
    """What a producer has done. `rejected`: events refused by the ingestor, by reason.

    `waited_s`: time that `send` waited for room, for Redis or for input lag. `dropped`: rejects that nobody
    took from `rejects()`. `lost`: input entries, of anybody, that were deleted unread from the partitions
    this producer sends to: when it grows, send the books again.
    """

    entries: int = 0
    events: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0
    dropped: int = 0
    lost: int = 0


@dataclass
class _Waiting:
    receipt: Receipt
    fields: Fields
    size: int


class Producer:
    """Sends events to a deployment; used with `async with`, which waits for the deployment.

    Args:
        redis_url: Address of Redis or Valkey, in the form of the setting `DEPTHCAST_REDIS_URL`.
        prefix: Key prefix of the deployment.
        partitions: Number of partitions that the deployment must have; None accepts any.
        batch_entries: Most entries sent in one step.
        batch_bytes: A step is not filled further beyond this size.
        linger_ms: Time that an entry may wait for others to be sent with it.
        buffer_bytes_max: Bytes of entries that wait; `send` waits for room beyond it.
        lag_max_ms: Limit of the age of the oldest input of a partition that was not consumed; None for none.
        on_lag: Whether `send` waits while the limit is exceeded, or raises `InputLagging`.
        on_reject: Called with each reject of what this producer sent.

    Raises:
        SettingsError: If the address is not valid.
        DeploymentMismatch: At `async with`, if the deployment has another number of partitions or uses
            another version of the contract.
        CopyError: At `async with`, if the deployment is a copy that a relay keeps, or is being moved to other
            partitions.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        prefix: str = "depthcast",
        partitions: int | None = None,
        batch_entries: int = 64,
        batch_bytes: int = 256 << 10,
        linger_ms: float = 0.0,
        buffer_bytes_max: int = 16 << 20,
        lag_max_ms: int | None = 30_000,
        on_lag: Literal["wait", "raise"] = "wait",
        on_reject: Callable[[RejectRecord], None] | None = None,
    ) -> None:
        self.counters = ProducerCounters()
        self.partitions = partitions or 0
        self._wanted_partitions = partitions
        self._batch_entries = min(max(1, batch_entries), BATCH_ENTRIES_MAX)
        self._batch_bytes = batch_bytes
        self._linger_s = linger_ms / 1000
        self._buffer_bytes_max = buffer_bytes_max
        self._lag_max_ms = lag_max_ms
        self._on_lag = on_lag
        self._on_reject = on_reject
        self._keys = DeploymentKeys.at(redis_url, prefix)
        self._clients = [redis.connect(redis_url) for _ in range(3)]
        self._client, self._reading, self._following = self._clients
        self._log: InputLog | None = None
        self._sizes: dict[str, Sizes] = {}
        self._ready: set[str] = set()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._in_flight: Sequence[_Waiting] = ()
        self._lags: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._sent: dict[int, SentIds] = {}
        self._unmatched: list[tuple[str, RejectRecord]] = []
        self._rejects: deque[RejectRecord] = deque(maxlen=REJECTS_KEPT)
        self._follower: RejectFollower | None = None
        self._partition_of_key: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._outage = Outage(logger, "the producer waits for Redis")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting_bytes(self) -> int:
        """Bytes of entries that are not in the input log yet."""
        return self._waiting_bytes

    async def send(
        self, symbol: str, events: Iterable[EventLike], *, atomic: bool = False, ts: int | None = None
    ) -> Receipt:
        """Check `events` and queue them as one entry; returns a receipt, which can be awaited for its ID.

        Waits for the symbol's book to exist, for room, and for input lag. What was queued is sent even if the
        caller does not await the receipt; `flush` and leaving the `async with` block wait for all.

        Args:
            symbol: A registered symbol.
            events: Each `(op, side, price, quantity, order_id)` without trailing items that mean nothing. Op
                and side are names or numbers. Integers are ticks and lots; a `Decimal` or text is converted
                by the symbol's sizes.
            atomic: All events apply, or none.
            ts: Time at the source, in µs since 1970.

        Raises:
            InvalidEvent: If an event is wrong; then nothing of them is sent.
            InputLagging: If input of the partition waits too long, and `on_lag` is "raise".
        """
        self._check_tasks()
        begun = asyncio.get_running_loop().time()
        sizes = await self._sizes_of(symbol)
        options = encode_options(symbol, atomic, ts, sizes.listing)
        array, count = encode_events(sizes, events)
        named: list[str | bytes] = ["_", pack(options)] if options else []
        fields: Fields = [symbol, array, *named]
        receipt = Receipt(partition_of(symbol, self.partitions), symbol, count)
        size = sum(map(len, fields))
        await self._room(receipt.partition, size)
        self.counters.waited_s += asyncio.get_running_loop().time() - begun
        self._waiting.append(_Waiting(receipt, fields, size))
        self._waiting_bytes += size
        self._notify()
        return receipt

    async def flush(self) -> None:
        """Wait until everything queued is in the input log."""
        await self._until(lambda: not self._waiting and not self._in_flight)

    async def consumed(self) -> None:
        """Wait until everything queued so far is consumed by an ingestor, and its rejects were reported."""
        await self.flush()
        wanted = {partition: sent.last for partition, sent in self._sent.items() if sent.last is not None}
        for partition, last in wanted.items():
            keys = self._keys.partition(partition)
            while await self._ask(partial(consumed_upto, self._reading, keys)) < last:
                await self._changed.wait()  # the watching task looks now and then, too
            (end,) = (await self._ask(partial(tails, self._reading, [keys.rejects]))).values()
            await self._until(partial(self._has_followed, keys.rejects, end))

    async def rejects(self) -> AsyncIterator[RejectRecord]:
        """Deliver the rejects of what this producer sent, for ever."""
        while True:
            await self._until(lambda: bool(self._rejects))
            while self._rejects:
                yield self._rejects.popleft()

    async def __aenter__(self) -> Self:
        try:
            self.partitions, self._keys = await wait_for_deployed(
                self._client, self._keys, self._wanted_partitions, writes=True
            )
            await self._ask(self._read_sizes)
            keys = [self._keys.partition(number).rejects for number in range(self.partitions)]
            self._partition_of_key = {key: number for number, key in enumerate(keys)}
            self._follower = RejectFollower(
                self._following, await self._ask(partial(tails, self._reading, keys))
            )
        except BaseException:
            await self._close()
            raise
        self._log = InputLog(self._client, self._keys, self.partitions)
        for work in (self._append(), self._watch(), self._follow()):
            task = asyncio.create_task(work)
            task.add_done_callback(lambda _: self._notify())
            self._tasks.append(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            for entry in (*self._in_flight, *self._waiting):
                entry.receipt.cancel()
            if self._log is not None and not self._in_flight:
                await self._log.forget()
            await self._close()

    async def _close(self) -> None:
        for client in self._clients:
            await client.aclose()

    # --- what a send waits for ------------------------------------------------------------------------------

    async def _sizes_of(self, symbol: str) -> Sizes:
        """The sizes of a symbol that has a book."""
        if symbol not in self._ready:
            if not is_symbol(symbol):
                remedy = "a symbol is 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"
                raise InvalidEvent(f"{symbol!r:.60}", None, "this is no symbol", remedy)
            await self._ask(self._read_sizes)
        deadline = asyncio.get_running_loop().time() + HOLD_S
        while symbol not in self._sizes:
            # Redis may have lost everything; ingestors write it again.
            if symbol not in self._ready or asyncio.get_running_loop().time() > deadline:
                self._ready.discard(symbol)
                remedy = f"add it to the file of the ingestor, or with depthcast instruments add {symbol}"
                raise InvalidEvent(symbol, None, "there is no such instrument", remedy)
            await asyncio.sleep(WATCH_S)
            await self._ask(self._read_sizes)
        if symbol not in self._ready:
            await self._book_exists(symbol)
            self._ready.add(symbol)
        return self._sizes[symbol]

    async def _book_exists(self, symbol: str) -> None:
        """Wait until an ingestor has made the book: until then it rejects events of the symbol."""
        partition = partition_of(symbol, self.partitions)
        key = self._keys.partition(partition).snapshots(symbol)
        said = False
        while True:
            exists = await self._ask(partial(redis.execute, self._reading, "EXISTS", key))
            listing = (await self._ask(partial(self._read_listings, [symbol]))).get(symbol)
            if exists and (listing is None or not listing.withdrawn):
                break
            if not said:
                logger.warning("waiting for an ingestor to create the book", extra={"symbol": symbol})
                said = True
            await asyncio.sleep(WATCH_S)
        if listing is not None:
            self._sizes[symbol] = Sizes.of(listing.instrument, listing.number)
        if partition not in self._lags:
            keys = self._keys.partition(partition)
            self._lags[partition] = await self._ask(partial(input_lag_ms, self._reading, keys))

    async def _room(self, partition: int, size: int) -> None:
        """Wait until an entry of so many bytes may be queued."""
        limit = self._lag_max_ms
        lag_ms = self._lags.get(partition, 0)
        if limit is not None and lag_ms > limit:
            if self._on_lag == "raise":
                raise InputLagging(partition, lag_ms, limit)
            logger.warning("waiting for input lag", extra={"partition": partition, "lag_ms": lag_ms})
            await self._until(lambda: self._lags[partition] <= limit)
            logger.info("input lag is within the limit again", extra={"partition": partition})
        await self._until(lambda: not self._waiting or self._waiting_bytes + size <= self._buffer_bytes_max)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask Redis until it answers."""
        while True:
            try:
                answer = await question()
            except RedisUnavailable as error:
                self._outage.note(error)
                await asyncio.sleep(WATCH_S)
            else:
                self._outage.over()
                return answer

    def _has_followed(self, key: str, end: Position) -> bool:
        return self._follower is not None and self._follower.position[key] >= end

    # --- tasks ----------------------------------------------------------------------------------------------

    async def _append(self) -> None:
        """Send what is queued, in order."""
        assert self._log is not None
        while True:
            await self._until(lambda: bool(self._waiting))
            if self._linger_s and len(self._waiting) < self._batch_entries:
                await asyncio.sleep(self._linger_s)
            batch = self._next_batch()
            self._in_flight = batch
            places = await self._log.append([(entry.receipt.symbol, entry.fields) for entry in batch])
            self._record(batch, places)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < self._batch_entries and size < self._batch_bytes:
            batch.append(self._waiting.popleft())
            size += batch[-1].size
        return batch

    def _record(self, batch: Sequence[_Waiting], places: Sequence[tuple[int, Position]]) -> None:
        """Note that a batch is in the input log."""
        ids: dict[int, list[Position]] = {}
        for partition, position in places:
            ids.setdefault(partition, []).append(position)
        for partition, positions in ids.items():
            self._sent.setdefault(partition, SentIds()).add(positions[0], positions[-1])
            self._lags.setdefault(partition, 0)
        self._in_flight = ()
        for entry, (_, position) in zip(batch, places, strict=True):
            self._waiting_bytes -= entry.size
            self.counters.entries += 1
            self.counters.events += entry.receipt.events
            entry.receipt.sent(position)
        unmatched, self._unmatched = self._unmatched, []
        for key, record in unmatched:
            self._match(key, record)
        self._notify()

    async def _watch(self) -> None:
        """Follow input lag and instruments."""
        outage = Outage(logger, "the producer does not see input lag")
        read_at = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                for partition in list(self._lags):
                    keys = self._keys.partition(partition)
                    self._lags[partition] = await input_lag_ms(self._reading, keys)
                    self._note_lost(partition, await lost_input(self._reading, keys))
                if asyncio.get_running_loop().time() - read_at >= POLL_S:
                    await self._read_sizes()
                    read_at = asyncio.get_running_loop().time()
            except RedisUnavailable as error:
                outage.note(error)
            else:
                outage.over()
            self._notify()

    def _note_lost(self, partition: int, lost: int | None) -> None:
        """Say so if input was deleted unread since the last look."""
        if lost is None:
            return
        more = lost - self._lost.get(partition, lost)  # what was lost before the first look is not ours
        self._lost[partition] = lost
        if more > 0:
            self.counters.lost += more
            extra = {"partition": partition, "entries": more}
            logger.error("input was deleted before it was read; send the books again", extra=extra)

    async def _read_sizes(self) -> None:
        """Read the instruments, and for those in use what their books stand for, which may differ."""
        instruments = await read_instruments(self._reading, self._keys)
        asked = [symbol for symbol in self._ready if symbol in instruments]
        listings = await self._read_listings(asked)
        sizes = {symbol: Sizes.of(instrument) for symbol, instrument in instruments.items()}
        # A symbol that came into use meanwhile was not asked for: what is known of its listing stays.
        later = (self._ready & self._sizes.keys() & sizes.keys()).difference(asked)
        self._sizes = sizes | {symbol: self._sizes[symbol] for symbol in later}
        for symbol, listing in listings.items():
            self._sizes[symbol] = Sizes.of(listing.instrument, listing.number)
            if listing.withdrawn:
                self._ready.discard(symbol)

    async def _read_listings(self, symbols: Sequence[str]) -> dict[str, Listing]:
        """The last listings of symbols, as the leaders record them; older leaders record none."""
        if not symbols:
            return {}
        async with self._reading.pipeline(transaction=False) as pipeline:
            for symbol in symbols:
                keys = self._keys.partition(partition_of(symbol, self.partitions))
                pipeline.hget(keys.listings, symbol)
            raws = await redis.run_pipeline(pipeline)
        found = {}
        for symbol, raw in zip(symbols, raws, strict=True):
            with suppress(ValueError, CodecError):
                listing = of_table(symbol, json.loads(raw)) if raw is not None else None
                if listing is not None:
                    found[symbol] = listing
        return found

    async def _follow(self) -> None:
        """Report rejects of what was sent."""
        assert self._follower is not None
        async for records in self._follower.records():
            for key, record in records:
                self._match(key, record)
            self._notify()

    def _match(self, key: str, record: RejectRecord) -> None:
        """Report a reject if it is of ours; while an append is under way, that may not be known yet."""
        partition = self._partition_of_key[key]
        sent = self._sent.get(partition)
        if sent is not None and record.source in sent:
            self.counters.rejected[record.reason] += record.events
            self.counters.dropped += len(self._rejects) == REJECTS_KEPT
            self._rejects.append(record)
            if self._on_reject is not None:
                self._on_reject(record)
        elif self._in_flight:
            self._unmatched.append((key, record))

    # --- waiting --------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        """Wake up whoever waits for a condition."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; raises what ended one of the tasks."""
        self._check_tasks()
        while not condition():
            await self._changed.wait()
            self._check_tasks()

    def _check_tasks(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
