"""Replays a recorded feed through a deployment and compares the books with its oracles, entry by entry.

A stream consumer and a WebSocket client run beside the producer. A window limits the entries in flight:
enough to keep the pipeline busy, but so few that no broadcasts are merged.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from depthcast.client.client import Client, connect
from depthcast.consumer.consumer import Consumer
from depthcast.feed.entry import FeedEntry
from depthcast.feed.oracle import LEVELS_MOST
from depthcast.feed.verification import ObservedBook, Verification
from depthcast.runtime.arrivals import Arrivals
from depthcast.runtime.feed_file import RecordedFeed
from depthcast.runtime.gateway_token import gateway_token
from depthcast.runtime.replay import Producer, Progress, ReplayClock, wait_for_instruments
from depthcast.shared.errors import ClientError, DepthcastError
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.updates import BookUpdate, Kind, State

WINDOW: Final = 32
"""Maximum number of entries in flight."""

WINDOW_EVENTS: Final = 512
"""Maximum number of events in flight, unless one entry has more: about 12 kB, which fits a socket buffer.

With more, the gateway would merge broadcasts whenever this process is slow.
"""

READY_TIMEOUT_S: Final = 20.0
STALL_TIMEOUT_S: Final = 20.0
RETRY_S: Final = 0.1


class VerificationError(DepthcastError):
    """The replay could not be completed; `remedy` says what to check."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}; {remedy}")


class Verifier:
    """Verifies one feed with one deployment.

    `check` is called repeatedly and raises if the deployment is broken. `progress` counts what was sent.
    """

    def __init__(
        self,
        feed: RecordedFeed,
        producer: Producer,
        consumer: Consumer,
        client: Client,
        *,
        clock: ReplayClock,
        window: int = WINDOW,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.feed = feed
        self.result = Verification()
        self.progress = Progress()
        self._producer = producer
        self._consumer = consumer
        self._client = client
        self._clock = clock
        self._window = window
        self._check = check
        self._symbols = set(feed.instruments())
        self._without_book = {(place, symbol) for place in ("consumer", "client") for symbol in self._symbols}
        self._progressed = asyncio.Event()
        self._sending = asyncio.Lock()
        self.arrivals = Arrivals(producer.client, producer.keys)

    async def run(self, limit: int | None = None) -> Verification:
        """Send up to `limit` entries and compare all; raises `VerificationError` if there is no progress."""
        registered = await wait_for_instruments(self._producer, self.feed)
        async with asyncio.timeout(READY_TIMEOUT_S):
            await self._subscribe()
        watching = [asyncio.create_task(self._watch_consumer()), asyncio.create_task(self._watch_client())]
        try:
            await self._until(lambda: not self._without_book, watching)
            await self.arrivals.begin(partition_of(name, self._producer.partitions) for name in registered)
            # A mark of doubt alone changes no book: there is nothing to compare after it.
            found = self.feed.entries(registered, verify=True)
            entries = (entry for entry in found if entry.events or not entry.stale)
            await self._send(islice(entries, limit), watching)
            await self._until(lambda: not self.result.in_flight, watching)
            await self.arrivals.finish()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        return self.result

    async def _subscribe(self) -> None:
        """Subscribe to full books; retries, because a gateway learns of new instruments within a second."""
        while True:
            try:
                await self._client.subscribe(sorted(self._symbols), depth=0)
                return
            except ClientError as error:
                if error.code not in ("unknown_symbol", "unavailable"):
                    raise
            await asyncio.sleep(RETRY_S)

    async def _send(self, entries: Iterator[FeedEntry], watching: list[asyncio.Task[None]]) -> None:
        for batch in self._batches(entries):
            events = sum(len(entry.events) for entry in batch)
            await self._until(lambda: self._has_room(len(batch), events), watching)  # noqa: B023 - awaited here
            if (wait_s := self._clock.due_in_s(batch[0])) > 0:
                await asyncio.sleep(wait_s)
            # Reading waits until the IDs of the sent entries are known.
            async with self._sending:
                places = await self._producer.send(batch)
                self.arrivals.sent(places, batch)
                for (partition, position), entry in zip(places, batch, strict=True):
                    self.result.sent(partition, position, entry)
            await self.arrivals.room()
            self.progress.entries += len(batch)
            self.progress.events += events

    def _batches(self, entries: Iterator[FeedEntry]) -> Iterator[list[FeedEntry]]:
        """Group entries into half windows, so that one half is in flight while the other is filled."""
        batch: list[FeedEntry] = []
        events = 0
        entries_most = max(self._window // 2, 1) if self._clock.speed is None else 1
        for entry in entries:
            if batch and (len(batch) >= entries_most or events + len(entry.events) > WINDOW_EVENTS // 2):
                yield batch
                batch, events = [], 0
            batch.append(entry)
            events += len(entry.events)
        if batch:
            yield batch

    def _has_room(self, entries: int, events: int) -> bool:
        result = self.result
        fits = (
            result.in_flight + entries <= self._window and result.events_in_flight + events <= WINDOW_EVENTS
        )
        return fits or not result.in_flight

    async def _watch_consumer(self) -> None:
        async for entry in self._consumer.entries():
            async with self._sending:
                views = {
                    update.symbol: _observed(update, self._consumer.digest(update.symbol))
                    for update in entry.updates
                }
                self._note_books("consumer", views)
                if entry.info is None:
                    for symbol, view in views.items():
                        self.result.loaded(symbol, view)
                    continue
                before = self.result.in_flight
                self.result.consumer_read(entry.partition, Position.parse(entry.info.src), views)
            if views or self.result.in_flight != before:  # a heartbeat changes nothing
                self._progressed.set()

    async def _watch_client(self) -> None:
        async for update in self._client:
            if update.state is State.REMOVED:
                raise VerificationError(f"{update.symbol} was removed", "register it again")
            if update.symbol not in self._symbols or update.kind is Kind.STATUS:
                continue
            view = _observed(update, self._client.digest(update.symbol))
            self._note_books("client", [update.symbol])
            self.result.client_received(update.symbol, view, update.merged)
            self._progressed.set()

    def _note_books(self, place: str, symbols: "dict[str, ObservedBook] | list[str]") -> None:
        if self._without_book:
            self._without_book.difference_update([(place, symbol) for symbol in symbols])
            self._progressed.set()

    async def _until(self, done: Callable[[], bool], watching: list[asyncio.Task[None]]) -> None:
        """Wait until `done`; raises a reader's error, or `VerificationError` if there is no progress."""
        while not done():
            self._progressed.clear()
            moved = asyncio.ensure_future(self._progressed.wait())
            try:
                await asyncio.wait(
                    [moved, *watching], timeout=STALL_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                stood_still = not moved.done()
                moved.cancel()
            for task in watching:
                if task.done():
                    task.result()
            self._check()
            if stood_still and not done():
                raise self._stalled()

    def _stalled(self) -> VerificationError:
        if self._without_book:
            places = ", ".join(sorted(f"{symbol} ({place})" for place, symbol in self._without_book))
            return VerificationError(f"no book arrived of {places}", "is an ingestor running?")
        return VerificationError(
            f"{self.result.in_flight} entries were not seen everywhere in {STALL_TIMEOUT_S:g} s",
            "are the ingestor and the gateway of the same deployment, and running?",
        )


async def verify(
    feed: RecordedFeed,
    producer: Producer,
    *,
    redis_url: str,
    gateway_url: str,
    encoding: str,
    clock: ReplayClock,
    window: int,
    limit: int | None,
    check: Callable[[], None],
) -> Verifier:
    """Verify one feed and return the verifier. Raises `VerificationError`, `ClientError`, `FeedError`."""
    consumer = Consumer(redis_url, feed.instruments(), prefix=producer.keys.prefix)
    async with consumer, connect(gateway_url, encoding, token=gateway_token()) as client:
        verifier = Verifier(feed, producer, consumer, client, clock=clock, window=window, check=check)
        await verifier.run(limit)
        return verifier


def _observed(update: BookUpdate, digest: int) -> ObservedBook:
    return ObservedBook(
        update.seq, digest, update.book.bids.top(LEVELS_MOST), update.book.asks.top(LEVELS_MOST)
    )
