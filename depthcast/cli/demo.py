"""`depthcast demo`: the whole system on this machine, from a synthetic market to live books.

It starts an embedded server, unless one is named, an ingestor and gateway workers, and feeds them. A fast and
a slow WebSocket client follow all books, and best prices and counts are printed each second, until Ctrl-C or
`--seconds`. At the end the market stops, and both clients must reach the same books.
"""

import asyncio
import signal
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import click

from depthcast.cli.ladder import best_line
from depthcast.client.client import Client, connect
from depthcast.feed.synthetic_profiles import MARKET as BUILT_IN
from depthcast.feed.synthetic_profiles import MarketSymbol
from depthcast.runtime.deployment import Deployment, local_deployment, to_toml
from depthcast.runtime.replay import Producer, Progress, open_producer
from depthcast.runtime.synthetic import SyntheticOptions, run_market
from depthcast.shared.errors import DepthcastError
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.runtime.redis import last_position
from depthcast.shared.settings import WITHIN_REDIS_URL, Settings, variable
from depthcast.shared.types import Symbol
from depthcast.updates import State

PREFIX: Final = "depthcast-demo"
"""Key prefix: a server that was named may hold another deployment."""

REDIS_VARIABLES: Final = tuple(map(variable, ("redis_url", *WITHIN_REDIS_URL)))

MARKET: Final = tuple(BUILT_IN[Symbol(name)] for name in ("BTC-USD", "ETH-USD", "SOL-USD"))
SYMBOLS: Final = tuple(item.instrument.symbol for item in MARKET)
DEPTH: Final = 25

SLOW_S: Final = 0.2
"""The slow client takes this long for each message; it has credit for one at a time."""

SETTLE_S: Final = 15.0
"""Time allowed at the end for the last changes to arrive."""

EQUAL_IN_A_ROW: Final = 3
"""Comparisons that must succeed in a row: one match may be luck while changes are still in flight."""


class Audience:
    """The fast and the slow client, and the tasks that read them."""

    def __init__(self, fast: Client, slow: Client) -> None:
        self.fast = fast
        self.slow = slow
        self.tasks = {asyncio.create_task(_follow(fast, 0)), asyncio.create_task(_follow(slow, SLOW_S))}

    @property
    def deliveries(self) -> int:
        """Snapshots and deltas that the two received."""
        return sum(c.counters.snapshots + c.counters.deltas for c in (self.fast, self.slow))

    async def agree(self) -> bool:
        """Return whether both clients reach the same levels within the deadline, and stay equal."""
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        agreed = 0
        while agreed < EQUAL_IN_A_ROW and asyncio.get_running_loop().time() < deadline:
            await self.check(SLOW_S)
            agreed = agreed + 1 if self._same() else 0
        return agreed == EQUAL_IN_A_ROW

    async def check(self, seconds: float) -> None:
        """Wait; raises a client's error if one has ended."""
        done, _ = await asyncio.wait(self.tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    def _same(self) -> bool:
        return all(
            self.fast.book(symbol).sides[side].levels == self.slow.book(symbol).sides[side].levels
            for symbol in SYMBOLS
            for side in (0, 1)
        )


async def _follow(client: Client, pause_s: float) -> None:
    async for _ in client:
        await asyncio.sleep(pause_s)


def price_line(item: MarketSymbol, client: Client) -> str:
    """Return a line such as `BTC-USD 65000.10 x 0.12 | 65000.12 x 0.7`."""
    instrument = item.instrument
    book = client.book(instrument.symbol)
    stale = "" if client.state(instrument.symbol) is State.LIVE else " stale"
    best = best_line(book.bids.top(1), book.asks.top(1), instrument.tick_size, instrument.lot_size)
    return f"{instrument.symbol} {best}{stale}"


async def run_demo(seconds: float | None, port: int, workers: int, redis_url: str | None, seed: int) -> bool:
    """Run the demo; returns whether the two clients' books agreed at the end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        deployment = await stack.enter_async_context(
            local_deployment(
                to_toml(item.instrument for item in MARKET),
                redis_url=redis_url,
                prefix=PREFIX,
                gateway={"port": port, "workers": workers},
            )
        )
        click.echo(f"open {deployment.gateway_url} to watch; Ctrl-C ends everything")
        producer = await stack.enter_async_context(open_producer(deployment.redis_url, PREFIX, None))
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        return await _watch(deployment, producer, seed, stop)


async def _watch(deployment: Deployment, producer: Producer, seed: int, stop: asyncio.Event) -> bool:
    progress = Progress()
    options = SyntheticOptions(Settings(), MARKET, seed, None, 1.0, None, register=False)
    moving = asyncio.create_task(run_market(producer, options, progress))
    async with (
        connect(deployment.websocket_url) as fast,
        connect(deployment.websocket_url, credit_window=1) as slow,
    ):
        for client in (fast, slow):
            await client.subscribe(SYMBOLS, depth=DEPTH)
        audience = Audience(fast, slow)
        try:
            await _report(audience, progress, moving, stop)
            await _cancel({moving})
            agreed = await audience.agree()
        finally:
            await _cancel({moving, *audience.tasks})
        await _summarise(producer, progress, audience, agreed)
    return agreed


async def _report(
    audience: Audience, progress: Progress, moving: asyncio.Task[None], stop: asyncio.Event
) -> None:
    """Print a line each second until `stop` is set; raises the error if the market or a client ends."""
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            await asyncio.wait({stopping, moving}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            if moving.done():
                await moving
            await audience.check(0)
            prices = "   ".join(price_line(item, audience.fast) for item in MARKET)
            fast, slow = audience.fast.counters, audience.slow.counters
            click.echo(
                f"{prices}   events {progress.events}  fast: {fast.deltas} deltas, {fast.merged} merged  "
                f"slow: {slow.deltas} deltas, {slow.merged} merged"
            )
    finally:
        await _cancel({stopping})


async def _summarise(producer: Producer, progress: Progress, audience: Audience, agreed: bool) -> None:
    last = await last_position(producer.client, producer.keys.partition(0).deltas)
    figures: Mapping[str, object] = {
        "events": progress.events,
        "broadcasts": last.n,
        "deliveries": audience.deliveries,
        "merged": audience.fast.counters.merged + audience.slow.counters.merged,
        "fast and slow books agree": "yes" if agreed else "NO",
    }
    click.echo("  ".join(f"{name} {figure}" for name, figure in figures.items()))


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@click.command("demo")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End after this time; default: at Ctrl-C.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 picks a free port."
)
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Gateway workers.")
@click.option("--redis-url", help="Use this server [DEPTHCAST_REDIS_URL]; default: an embedded one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the market.")
def demo(seconds: float | None, port: int, workers: int, redis_url: str | None, seed: int) -> None:
    """Run everything on this machine: server, ingestor, gateway, a market, a fast and a slow client."""
    environment = read_environment()
    named = bool(redis_url or environment.get(variable("redis_url")))
    # The services of the demo, and not this process, check the other settings.
    given = {name: text for name, text in environment.items() if name in REDIS_VARIABLES}
    address = Settings.load(given, {"redis_url": redis_url or None}).redis_url if named else None
    try:
        agreed = asyncio.run(run_demo(seconds, port, workers, address, seed))
    except DepthcastError as error:
        raise click.ClickException(str(error)) from error
    if not agreed:
        raise click.ClickException("the books of the fast and the slow client differ")
