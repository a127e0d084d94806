"""Runs synthetic venues in real time and appends their events to a deployment's input log."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

import click

from depthcast.feed.entry import Event, FeedEntry
from depthcast.feed.synthetic import Venue
from depthcast.feed.synthetic_activity import STEP_S
from depthcast.feed.synthetic_profiles import MarketSymbol
from depthcast.runtime.feed_runs import PROGRESS_S, Stopped, until_stopped
from depthcast.runtime.replay import Producer, Progress, open_producer, register, wait_for_books
from depthcast.shared.errors import InstrumentsError
from depthcast.shared.instruments import Feed, Instrument
from depthcast.shared.settings import Settings

STEPS_PER_BATCH: Final = 10
"""Maximum number of steps in one round trip, if several are due."""


@dataclass(frozen=True)
class SyntheticOptions:
    """Options of `depthcast feed synthetic`.

    `speed` may be infinite. `rate` None uses each profile's rate; with `seconds` None it never ends.
    """

    settings: Settings
    symbols: Sequence[MarketSymbol]
    seed: int
    rate: float | None
    speed: float
    seconds: float | None
    register: bool

    def venues(self) -> list[Venue]:
        """Make the venues, each with its own random numbers."""
        return [open_venue(item, self.seed, self.rate) for item in self.symbols]


def open_venue(item: MarketSymbol, seed: int, rate: float | None = None) -> Venue:
    """Make the venue of a built-in symbol; the same seed and rate make the same market."""
    random = Random(f"{seed} {item.instrument.symbol}")  # noqa: S311 - a market to look at, not a secret
    return Venue(item.instrument, random, mid=item.mid, profile=item.profile, rate=rate)


async def feed_market(stop: asyncio.Event, options: SyntheticOptions) -> None:
    """Feed the deployment of the settings until the end, or until `stop` is set."""
    progress = Progress()
    begun = time.monotonic()
    with suppress(Stopped):
        await until_stopped(stop, _feed(options, progress))
    click.echo(f"{_status(progress, time.monotonic() - begun)}; ended")


async def run_market(producer: Producer, options: SyntheticOptions, progress: Progress) -> None:
    """Clear and fill the books, then send each step when it is due."""
    venues = options.venues()
    await _send(producer, [_entry(venue, venue.open()) for venue in venues], progress)
    begun = time.monotonic()
    done, steps = 0, float("inf") if options.seconds is None else round(options.seconds / STEP_S)
    while done < steps:
        late_s = time.monotonic() - begun - done * STEP_S / options.speed
        if late_s < 0:
            await asyncio.sleep(-late_s)
        progress.behind_s = max(late_s, 0.0) if options.speed != float("inf") else 0.0
        due = max(1, min(late_s * options.speed / STEP_S, STEPS_PER_BATCH, steps - done))
        entries = [_entry(venue, venue.step()) for _ in range(int(due)) for venue in venues]
        await _send(producer, [entry for entry in entries if entry.events], progress)
        done += int(due)


async def _feed(options: SyntheticOptions, progress: Progress) -> None:
    settings = options.settings
    instruments = {item.instrument.symbol: item.instrument for item in options.symbols}
    async with open_producer(settings.redis_url, settings.prefix, settings.partitions) as producer:
        if options.register:
            await register(producer, instruments.values())
        await wait_for_books(producer, instruments, _check_same)
        async with _reporting(progress):
            await run_market(producer, options, progress)


async def _send(producer: Producer, entries: Iterable[FeedEntry], progress: Progress) -> None:
    batch = list(entries)
    if batch:
        await producer.send(batch)
    progress.entries += len(batch)
    progress.events += sum(len(entry.events) for entry in batch)


def _entry(venue: Venue, events: list[Event]) -> FeedEntry:
    """Make the entry of a step. Level changes and an opening are atomic; orders apply one by one."""
    instrument = venue.instrument
    now_us = time.time_ns() // 1000
    atomic = instrument.feed is Feed.LEVELS or len(events[:1] and events[0]) == 1
    return FeedEntry(instrument.symbol, events, now_us, now_us, atomic, None, 0)


def _check_same(ours: Instrument, registered: Instrument) -> None:
    for name in ("feed", "tick_size", "lot_size"):
        if getattr(ours, name) != getattr(registered, name):
            raise InstrumentsError(
                ours.symbol,
                f"is registered with {name} {getattr(registered, name)!s}, the synthetic market has "
                f"{getattr(ours, name)!s}; leave it out with --symbols, or use another --prefix",
            )


@asynccontextmanager
async def _reporting(progress: Progress) -> AsyncIterator[None]:
    """Report progress on standard error each second."""

    async def say() -> None:
        begun = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_S)
            click.echo(_status(progress, time.monotonic() - begun), err=True)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()


def _status(progress: Progress, elapsed_s: float) -> str:
    rate = progress.events / elapsed_s if elapsed_s else 0.0
    return (
        f"synthetic: {progress.entries} messages, {progress.events} events, "
        f"{rate:.0f} events/s, {progress.behind_s:.1f} s behind"
    )
