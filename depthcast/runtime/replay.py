"""Sends a feed to the input log: waits for the deployment, keeps the pace, pipelines entries."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from depthcast.feed.entry import FeedEntry, Instruments
from depthcast.feed.feeding import FeedRefused
from depthcast.producer.input_log import Fields, InputLog
from depthcast.runtime.arrivals import Arrivals
from depthcast.runtime.feed_file import RecordedFeed
from depthcast.runtime.venue_listings import read_listings
from depthcast.runtime.venue_sources import Sources
from depthcast.shared.codec import pack
from depthcast.shared.errors import DepthcastError, RedisUnavailable
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, read_instruments, wait_for_deployed
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.types import Symbol

logger = logging.getLogger(__name__)

ENTRIES_PER_STEP: Final = 32


@dataclass
class Progress:
    """What was sent so far. `behind_s`: how late the last entry was, if paced."""

    entries: int = 0
    events: int = 0
    behind_s: float = 0.0


class Producer(InputLog):
    """The input log, for entries of a feed."""

    async def send(self, entries: Sequence[FeedEntry]) -> list[tuple[int, Position]]:
        """Add `entries` in one step, each exactly once; returns partition and ID of each."""
        return await self.append([(entry.symbol, fields_of(entry)) for entry in entries])


class ReplayClock:
    """Says when each entry is due, at `speed` times the recorded pace; None = as fast as possible."""

    def __init__(self, speed: float | None) -> None:
        self.speed = speed
        self._first_us: int | None = None
        self._begun = 0.0

    def due_in_s(self, entry: FeedEntry) -> float:
        """Return the seconds until `entry` is due, negative if it is late. The first entry is due at once."""
        if self.speed is None or entry.at_us is None:
            return 0.0
        now = time.monotonic()
        if self._first_us is None:
            self._first_us, self._begun = entry.at_us, now
        return self._begun + (entry.at_us - self._first_us) / 1e6 / self.speed - now


@asynccontextmanager
async def open_producer(redis_url: str, prefix: str, partitions: int | None) -> AsyncIterator[Producer]:
    """Yield a producer once the deployment exists; raises `DeploymentMismatch`."""
    client, keys = redis.connect(redis_url), DeploymentKeys.at(redis_url, prefix)
    try:
        deployed = await wait_for_deployed(client, keys, partitions, writes=True)
        producer = Producer(client, deployed.keys, deployed.partitions)
        yield producer
        await producer.forget()
    finally:
        await client.aclose()


async def register(producer: Producer, instruments: Iterable[Instrument]) -> None:
    """Register missing instruments; existing ones stay as they are. Waits while Redis is away."""
    outage = Outage(logger, "waiting for Redis", key=producer.keys.instruments)
    for instrument in instruments:
        while True:
            try:
                async with redis.map_errors(producer.keys.instruments):
                    symbol, value = instrument.symbol, to_json(instrument)
                    await producer.client.hsetnx(producer.keys.instruments, symbol, value)
                break
            except RedisUnavailable as error:
                outage.note(error)
                await asyncio.sleep(POLL_S / 4)
    outage.over()


async def wait_for_instruments(producer: Producer, feed: RecordedFeed) -> dict[Symbol, Instrument]:
    """Wait for the books of a feed; its numbers must be multiples of the registered sizes."""
    return await wait_for_books(
        producer, feed.instruments(), lambda _, registered: feed.check({registered.symbol: registered})
    )


async def wait_for_books(
    producer: Producer, wanted: Instruments, check: Callable[[Instrument, Instrument], None]
) -> dict[Symbol, Instrument]:
    """Wait until all instruments are registered and have a book, and log it; returns what books stand for.

    That is their listing, with its number, which may differ from what is registered while the book holds
    levels. An ingestor reads new instruments within a second; until then it rejects events of their symbols.
    `check` compares each wanted instrument with that, and raises `InstrumentsError` if they differ too much.
    """
    said = ""
    while True:
        registered = await _registered(producer)
        known = sorted(wanted.keys() & registered.keys())
        listings = await _listings(producer, known)
        if listings is None:
            await asyncio.sleep(POLL_S / 4)
            continue
        standing = {symbol: _standing(registered[symbol], listings.get(symbol)) for symbol in known}
        for symbol in known:
            check(wanted[symbol], standing[symbol])
        unlisted = [symbol for symbol in known if not _is_listed(registered[symbol], listings.get(symbol))]
        lacking = await _lacking(producer, sorted(wanted), registered, unlisted)
        if not lacking:
            return {symbol: standing[symbol] for symbol in wanted}
        if lacking != said:
            logger.warning(lacking)
            said = lacking
        await asyncio.sleep(POLL_S / 4)


async def refuse_fed(producer: Producer, symbols: Sequence[Symbol]) -> None:
    """Raise `FeedRefused` if a live feed writes one of the books: it would be neither one's."""
    outage = Outage(logger, "waiting for Redis", key=producer.keys.sources)
    others: dict[str, dict[str, Any]] | None = None
    while others is None:
        try:
            others = await Sources(producer.client, producer.keys, "").others(symbols)
        except RedisUnavailable as error:
            outage.note(error)
            await asyncio.sleep(POLL_S / 4)
    outage.over()
    for symbol, entry in others.items():
        raise FeedRefused(
            f"{symbol} is fed live by {entry.get('feeder')} from {entry.get('venue')}: end that, or replay "
            f"under another name with --symbol"
        )


async def replay(
    producer: Producer,
    entries: Iterator[FeedEntry],
    clock: ReplayClock,
    progress: Progress,
    arrivals: Arrivals | None = None,
) -> None:
    """Send each entry when it is due; `arrivals` follows what becomes of them. Raises `FeedError`."""
    for batch in batches(entries, clock):
        first = batch[0]
        wait_s = clock.due_in_s(first)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        progress.behind_s = max(0.0, -wait_s)
        places = await producer.send(batch)
        if arrivals is not None:
            arrivals.sent(places, batch)
            await arrivals.room()
        progress.entries += len(batch)
        progress.events += sum(len(entry.events) for entry in batch)


def batches(entries: Iterator[FeedEntry], clock: ReplayClock) -> Iterator[list[FeedEntry]]:
    """Group entries to be sent together: a full step at full speed, one entry when pacing.

    What comes before an error is yielded before it is raised.
    """
    size = ENTRIES_PER_STEP if clock.speed is None else 1
    batch: list[FeedEntry] = []
    try:
        for entry in entries:
            batch.append(entry)
            if len(batch) >= size:
                yield batch
                batch = []
    except DepthcastError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


async def _registered(producer: Producer) -> dict[Symbol, Instrument]:
    try:
        found = await read_instruments(producer.client, producer.keys)
        return {instrument.symbol: instrument for instrument in found.values()}
    except RedisUnavailable as error:
        logger.warning("waiting for Redis", extra={"problem": error.problem})
        return {}


async def _listings(producer: Producer, symbols: Sequence[Symbol]) -> dict[Symbol, Listing] | None:
    """Return the listings of symbols that leaders have recorded; None while Redis is away."""
    places: dict[int, list[Symbol]] = {}
    for symbol in symbols:
        places.setdefault(partition_of(symbol, producer.partitions), []).append(symbol)
    try:
        return await read_listings(producer.client, producer.keys, places)
    except RedisUnavailable as error:
        logger.warning("waiting for Redis", extra={"problem": error.problem})
        return None


def _standing(registered: Instrument, listing: Listing | None) -> Instrument:
    """Return what a book stands for, with the number of its listing; 0 if no leader records one."""
    if listing is None or not _is_listed(registered, listing):
        return registered._replace(listing=0)
    return listing.instrument._replace(listing=listing.number)


def _is_listed(registered: Instrument, listing: Listing | None) -> bool:
    """Return whether the recorded listing is the one that events are for; leaders may record none."""
    return listing is None or (not listing.withdrawn and listing.number >= registered.listing)


async def _lacking(
    producer: Producer,
    symbols: Sequence[Symbol],
    registered: Container[Symbol | str],
    unlisted: Sequence[Symbol],
) -> str:
    """Return a message that lists what is still missing; empty if nothing is."""
    missing = [symbol for symbol in symbols if symbol not in registered]
    if missing:
        return (
            f"waiting for {', '.join(missing)} to be registered: use --register, or give the ingestor the "
            "file of --print-instruments"
        )
    bookless = sorted({*unlisted, *await _without_book(producer, symbols)})
    return f"waiting for an ingestor to create the books of {', '.join(bookless)}" if bookless else ""


async def _without_book(producer: Producer, symbols: Sequence[Symbol]) -> list[Symbol]:
    """Return the symbols without a snapshot. A new book is published together with its first snapshot."""
    keys = [
        producer.keys.partition(partition_of(symbol, producer.partitions)).snapshots(symbol)
        for symbol in symbols
    ]
    try:
        async with producer.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.exists(key)
            there = await redis.run_pipeline(pipeline)
    except RedisUnavailable as error:
        logger.warning("waiting for Redis", extra={"problem": error.problem})
        return list(symbols)
    return [symbol for symbol, exists in zip(symbols, there, strict=True) if not exists]


def fields_of(entry: FeedEntry) -> Fields:
    """The fields of the input entry that a feed's entry becomes."""
    about: dict[str, object] = {"atomic": True} if entry.atomic else {}
    if entry.ts is not None:
        about["ts"] = entry.ts
    if entry.stale:
        about["stale"] = entry.stale
    if entry.live or entry.sure:
        about["live"] = True
    if entry.listing is not None:
        about["listing"] = entry.listing
    named: Fields = ["_", pack(about)] if about else []
    return [entry.symbol, pack(entry.events), *named]
