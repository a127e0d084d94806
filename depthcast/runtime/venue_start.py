"""The work of `depthcast feed live`: instruments of the venue, their registration, then the feed itself."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import click
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from depthcast.feed.feeding import Feeding, FeedRefused, check_registered, choose, feedings
from depthcast.feed.source import venue_sizes
from depthcast.feed.symbol_feed import FeedState
from depthcast.feed.venue import Venue
from depthcast.runtime.feed_runs import Stopped, until_stopped
from depthcast.runtime.replay import Producer, register, wait_for_books
from depthcast.runtime.venue_feed import VenueFeed, new_feeder_name
from depthcast.runtime.venue_instruments import read_instruments
from depthcast.runtime.venue_listings import read_listings
from depthcast.runtime.venue_rest import RequestFailed, VenueRest
from depthcast.runtime.venue_sources import Sources
from depthcast.runtime.venue_stats import VenueFeedStats
from depthcast.shared.backoff import Backoff
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.admin import serve_admin
from depthcast.shared.runtime.catalog import wait_for_deployed
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.process_metrics import ProcessMetrics
from depthcast.shared.settings import VenueFeedSettings
from depthcast.shared.types import Symbol

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveOptions:
    """Options of `depthcast feed live`. `renames`: venue symbol → book, "" for the only one."""

    settings: VenueFeedSettings
    venue: Venue
    symbols: Sequence[str]
    renames: Mapping[str, str]
    register: bool = True
    take_over: bool = False


async def feed_live(stop: asyncio.Event, options: LiveOptions) -> None:
    """Feed until `stop` is set; raises `FeedRefused` if that cannot be done or was refused for good."""
    problems: list[str] = []
    with suppress(Stopped):
        await until_stopped(stop, _feed(options, problems))
    if problems:
        raise FeedRefused(f"not all that was asked for could be fed: {'; '.join(problems)}")


async def _feed(options: LiveOptions, problems: list[str]) -> None:
    settings, profile = options.settings, options.venue.profile
    chosen = choose(profile.name, options.symbols, options.renames)
    stats = VenueFeedStats(asyncio.get_running_loop().time, lambda: time.time_ns() // 1000)
    client, watch_client = redis.connect(settings.redis_url), redis.connect(settings.redis_url)
    keys, feeder = DeploymentKeys.at(settings.redis_url, settings.prefix), new_feeder_name()
    async with _admin(settings, stats), _http(profile.headers) as session:
        try:
            rest = VenueRest(session, settings.rest_url or profile.rest_url, profile.request_weight_per_min)
            wanted = await _instruments(options.venue, rest, chosen)
            partitions, keys = await wait_for_deployed(client, keys, settings.partitions, writes=True)
            producer = Producer(client, keys, partitions)
            entries = await _refuse_others(options, Sources(client, keys, feeder), wanted)
            before = {
                item.symbol: sizes
                for item in wanted
                if (sizes := venue_sizes(entries[item.symbol], item, profile.name)) is not None
            }
            registered = await _register(options, producer, wanted, before)
            feed = VenueFeed(
                settings,
                options.venue,
                wanted,
                registered,
                await _listings(watch_client, keys, partitions, wanted),
                before,
                may_relist=options.register if settings.relist is None else settings.relist,
                client=client,
                watch_client=watch_client,
                keys=keys,
                partitions=partitions,
                session=session,
                rest=rest,
                stats=stats,
                feeder=feeder,
            )
            click.echo(
                f"feeding {', '.join(item.symbol for item in wanted)} from {profile.title} as {feeder}"
            )
            try:
                await feed.run()
            finally:
                problems += feed.problems
        finally:
            try:
                await client.aclose()
            finally:
                await watch_client.aclose()


async def _instruments(venue: Venue, rest: VenueRest, chosen: Mapping[str, Any]) -> list[Feeding]:
    """Ask the venue for its instruments until it answers; raises `FeedRefused` for unknown symbols."""
    backoff = Backoff(0.5, 30.0, random.random)
    while True:
        try:
            listed = await read_instruments(venue, rest, list(chosen))
        except RequestFailed as error:
            if error.final:
                raise FeedRefused(
                    f"{venue.profile.title} does not list {', '.join(chosen)}: {error.problem}"
                ) from error
            problem = error.problem
        except ValueError as error:
            problem = f"the list of instruments cannot be read: {error}"
        else:
            closed = [name for name in chosen if name in listed and not listed[name].trading]
            if closed:
                logger.warning("not open for trading now", extra={"symbols": closed})
            return feedings(venue.profile.title, chosen, listed)
        logger.warning("waiting for the venue's instruments", extra={"problem": problem})
        await asyncio.sleep(backoff.next_s())


async def _refuse_others(
    options: LiveOptions, sources: Sources, wanted: Sequence[Feeding]
) -> dict[str, dict[str, Any]]:
    """Return the entries of the hash `sources`; raises `FeedRefused` if another process feeds a symbol.

    Unless it is to be taken over.
    """
    outage = Outage(logger, "waiting for Redis")
    symbols = [item.symbol for item in wanted]
    entries: dict[str, dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] | None = None
    while others is None:
        try:
            others, entries = await sources.others(symbols), await sources.read(symbols)
        except RedisUnavailable as error:
            outage.note(error)
            await asyncio.sleep(0.5)
    outage.over()
    for symbol, entry in others.items():
        feeder, venue = entry.get("feeder"), entry.get("venue")
        if not options.take_over:
            raise FeedRefused(
                f"{symbol} is fed by {feeder} from {venue}: end that, or take it over with --take-over"
            )
        logger.warning("taking a symbol over", extra={"symbol": symbol, "feeder": feeder, "venue": venue})
    return entries


async def _register(
    options: LiveOptions,
    producer: Producer,
    wanted: Sequence[Feeding],
    before: Mapping[Symbol, Instrument],
) -> dict[Any, Instrument]:
    """Return the registered instruments, once they have books; raises `InstrumentsError` for other sizes."""
    by_symbol = {item.symbol: item for item in wanted}
    if options.register:
        await register(producer, [item.instrument for item in wanted])
    return await wait_for_books(
        producer,
        {symbol: item.instrument for symbol, item in by_symbol.items()},
        lambda ours, registered: check_registered(
            by_symbol[ours.symbol], registered, before.get(ours.symbol)
        ),
    )


async def _listings(
    client: Redis, keys: DeploymentKeys, partitions: int, wanted: Sequence[Feeding]
) -> dict[Symbol, Listing]:
    places: dict[int, list[Symbol]] = {}
    for item in wanted:
        places.setdefault(partition_of(item.symbol, partitions), []).append(item.symbol)
    outage = Outage(logger, "waiting for Redis")
    while True:
        try:
            return await read_listings(client, keys, places)
        except RedisUnavailable as error:
            outage.note(error)
            await asyncio.sleep(0.5)


@asynccontextmanager
async def _http(headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=dict(headers)) as session:
        yield session


@asynccontextmanager
async def _admin(settings: VenueFeedSettings, stats: VenueFeedStats) -> AsyncIterator[None]:
    """Serve metrics and health, if a port is set."""
    if settings.admin_port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(stats)
    registry.register(ProcessMetrics("feed"))

    def ready() -> tuple[bool, dict[str, Any]]:
        states = {feed.symbol: str(feed.state) for feed in stats.feeds}
        live = bool(states) and all(state == FeedState.LIVE for state in states.values())
        return live, {"symbols": states}

    runner, port = await serve_admin(settings.admin_host, settings.admin_port, registry, ready)
    click.echo(f"admin listening on http://{settings.admin_host}:{port}")
    try:
        yield
    finally:
        await runner.cleanup()
