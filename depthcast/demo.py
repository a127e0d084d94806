"""`depthcast demo`: the whole path on this machine, from a small synthetic market to live books.

Starts an embedded server (or takes the one named), an ingestor and two gateway workers, feeds them, follows all books
through a WebSocket client and prints best prices and counts each second, until Ctrl-C or `--seconds` ends it.
"""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final, NamedTuple

import click
from redis.asyncio import Redis

from depthcast.client import Client, connect
from depthcast.feed import synthetic_profiles
from depthcast.feed.synthetic import Venue
from depthcast.feed.synthetic_activity import STEP_S
from depthcast.feed.synthetic_orders import Event
from depthcast.feed.synthetic_profiles import MarketSymbol
from depthcast.runtime.deployment import Deployment, local_deployment, to_toml
from depthcast.updates import Kind, State
from shared.book import Book
from shared.codec import pack
from shared.errors import DepthcastError
from shared.keys import DeploymentKeys
from shared.partition import partition_of
from shared.runtime.catalog import wait_for_partitions
from shared.runtime.redis import connect as connect_redis
from shared.runtime.redis import execute
from shared.types import Symbol

PREFIX: Final = "depthcast-demo"
"""Its own keys: a server that was named may hold a deployment already."""

STEPS_AT_ONCE: Final = 25
"""A market that was held up makes up for no more than this."""

SETTLE_S: Final = 10.0
"""At the end, so long is allowed for the last changes to arrive."""

ATOMIC: Final = pack({"atomic": True})


MARKET: Final = tuple(synthetic_profiles.MARKET[Symbol(name)] for name in ("BTC-USD", "ETH-USD", "SOL-USD"))


class Sent(NamedTuple):
    """Events and entries that the demo put into the input log."""

    events: int
    entries: int


class Market:
    """Runs the venues in real time and appends what happens to the input log."""

    def __init__(self, client: Redis, keys: DeploymentKeys, partitions: int, seed: int) -> None:
        self._client = client
        self._keys = keys
        self._partitions = partitions
        self._venues = [
            Venue(item.instrument, _random(seed, item), mid=item.mid, profile=item.profile) for item in MARKET
        ]
        self.sent = Sent(0, 0)

    async def open(self) -> None:
        """Fill the books."""
        for venue in self._venues:
            await self._send(venue, venue.open())

    async def run(self, stop: asyncio.Event) -> None:
        """Move on until `stop` is set."""
        begun = time.monotonic()
        done = 0
        while not stop.is_set():
            await asyncio.sleep(STEP_S)
            due = int((time.monotonic() - begun) / STEP_S) - done
            done += due
            for venue in self._venues:
                steps = range(min(due, STEPS_AT_ONCE))
                await self._send(venue, [event for _ in steps for event in venue.step()])

    async def _send(self, venue: Venue, events: Sequence[Event]) -> None:
        if not events:
            return
        symbol = venue.instrument.symbol
        key = self._keys.partition(partition_of(symbol, self._partitions)).events
        await execute(self._client, "XADD", key, "*", symbol, pack(events), "_", ATOMIC)
        self.sent = Sent(self.sent.events + len(events), self.sent.entries + 1)


def _random(seed: int, item: MarketSymbol) -> Random:
    return Random(f"{seed} {item.instrument.symbol}")  # noqa: S311 - a market to look at, not a secret


class Tally:
    """What the demo's client was sent."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.deltas = 0
        self.merged = 0

    async def follow(self, client: Client) -> None:
        """Count updates until cancelled."""
        async for update in client:
            self.snapshots += update.kind is Kind.SNAPSHOT
            self.deltas += update.kind is Kind.DELTA
            self.merged += max(update.merged - 1, 0)


def price_line(item: MarketSymbol, book: Book, state: State) -> str:
    """`BTC-USD 65000.10 x 12 | 65000.12 x 7`, the quantities in lots."""
    decimals = len(item.instrument.tick_size.partition(".")[2])
    sides = []
    for side in book.sides:
        best = side.best()
        shown = "-" if best is None else f"{best / 10**decimals:.{decimals}f} x {side.levels[best]}"
        sides.append(shown)
    stale = "" if state is State.LIVE else " stale"
    return f"{item.instrument.symbol} {sides[0]} | {sides[1]}{stale}"


async def run_demo(seconds: float | None, port: int, workers: int, redis_url: str | None, seed: int) -> bool:
    """The demo; whether the client's books agreed with a fresh client's at the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    instruments = [item.instrument for item in MARKET]
    gateway = {"port": port, "workers": workers}
    async with local_deployment(
        to_toml(instruments), redis_url=redis_url, prefix=PREFIX, gateway=gateway
    ) as deployment:
        click.echo(f"open {deployment.gateway_url} to watch; Ctrl-C ends everything")
        redis, keys = connect_redis(deployment.redis_url), DeploymentKeys(PREFIX)
        try:
            partitions = await wait_for_partitions(redis, keys, None)
            return await _watch(deployment, Market(redis, keys, partitions, seed), stop)
        finally:
            await redis.aclose()


async def _watch(deployment: Deployment, market: Market, stop: asyncio.Event) -> bool:
    symbols = [item.instrument.symbol for item in MARKET]
    await market.open()
    tally = Tally()
    async with connect(deployment.websocket_url) as client:
        await client.subscribe(symbols, depth=10)
        following = asyncio.create_task(tally.follow(client))
        moving = asyncio.create_task(market.run(stop))
        try:
            await _report(client, market, tally, stop, {following, moving})
            await moving
            agreed = await _agree(deployment, client, symbols)
        finally:
            for task in (following, moving):
                task.cancel()
            await asyncio.gather(following, moving, return_exceptions=True)
    _summarise(market, tally, agreed)
    return agreed


async def _report(
    client: Client, market: Market, tally: Tally, stop: asyncio.Event, tasks: set[asyncio.Task[None]]
) -> None:
    """A line each second until `stop` is set, or until one of `tasks` fails."""
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            done, _ = await asyncio.wait({stopping, *tasks}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            for task in done & tasks:
                await task
            prices = "   ".join(
                price_line(item, client.book(symbol), client.state(symbol))
                for item in MARKET
                for symbol in (item.instrument.symbol,)
            )
            click.echo(
                f"{prices}   events {market.sent.events}  deltas {tally.deltas}  merged {tally.merged}"
            )
    finally:
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping


async def _agree(deployment: Deployment, client: Client, symbols: Sequence[Symbol]) -> bool:
    """Whether a client that joins now is sent the very books that ours has come to, within a deadline."""
    async with connect(deployment.websocket_url) as fresh:
        await fresh.subscribe(symbols, depth=10)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                for symbol in symbols:
                    await fresh.wait_for(symbol)
                while not all(_same(client, fresh, symbol) for symbol in symbols):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await anext(fresh)
                return True
    return False


def _same(one: Client, other: Client, symbol: Symbol) -> bool:
    return all(
        one.book(symbol).sides[side].levels == other.book(symbol).sides[side].levels for side in (0, 1)
    ) and one.seq(symbol) == other.seq(symbol)


def _summarise(market: Market, tally: Tally, agreed: bool) -> None:
    figures: Mapping[str, object] = {
        "events": market.sent.events,
        "input entries": market.sent.entries,
        "snapshots": tally.snapshots,
        "deltas": tally.deltas,
        "merged": tally.merged,
        "books agree": "yes" if agreed else "NO",
    }
    click.echo("  ".join(f"{name} {figure}" for name, figure in figures.items()))


@click.command("demo")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), help="End after so many seconds; default: at Ctrl-C."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one."
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Gateway workers.")
@click.option("--redis-url", envvar="DEPTHCAST_REDIS_URL", help="Use this server; default: an embedded one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
def demo(seconds: float | None, port: int, workers: int, redis_url: str | None, seed: int) -> None:
    """Run everything on this machine: server, ingestor, gateways, a market and a client."""
    try:
        agreed = asyncio.run(run_demo(seconds, port, workers, redis_url, seed))
    except DepthcastError as error:
        raise click.ClickException(str(error)) from error
    if not agreed:
        raise click.ClickException("the books of two clients differ")
