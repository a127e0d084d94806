"""`depthcast watch SYMBOL`: a live ladder in the terminal, or plain lines if the output is not a terminal."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from depthcast.cli.gateway_url import gateway_url_option
from depthcast.cli.ladder import best_line, rows
from depthcast.client.client import Client, connect
from depthcast.shared.errors import DepthcastError
from depthcast.shared.types import Side
from depthcast.updates import State

FRAME_S: Final = 0.1
"""Shortest time between two drawings; the gateway merges what happens in between."""

COLOURS: Final = {Side.BID: "green", Side.ASK: "red"}


class Lag:
    """Age of the last update on arrival, in milliseconds, by this machine's clock."""

    def __init__(self) -> None:
        self.ms: float | None = None

    def measure(self, ts: int) -> None:
        """Update the age from an update that has just arrived; `ts` in µs since 1970, 0 = unknown."""
        if ts:
            self.ms = (time.time_ns() // 1000 - ts) / 1000

    def __str__(self) -> str:
        return "-" if self.ms is None else f"{self.ms:.1f} ms"


def status_line(client: Client, symbol: str, lag: Lag) -> str:
    """Return a line with seq, lag and this connection's counts."""
    counters, reason = client.counters, client.stale_reason(symbol)
    said = "" if reason is None else f": {reason}"
    return (
        f"seq {client.seq(symbol)}  lag {lag}  messages {counters.snapshots + counters.deltas}  "
        f"merged {counters.merged}  {client.state(symbol)}{said}"
    )


def ladder(client: Client, symbol: str, depth: int, lag: Lag) -> Group:
    """Return the lines to draw: the symbol, its ladder and the status line."""
    table = Table(box=None, padding=(0, 2))
    for name, justify in (("price", "right"), ("quantity", "right"), ("depth", "left")):
        table.add_column(name, justify=justify, header_style="dim")  # type: ignore[arg-type]  # a literal type
    book = client.book(symbol)
    before: Side | None = None
    for row in rows(book, depth, *client.sizes(symbol)):
        if before is Side.ASK and row.side is Side.BID:
            table.add_row("", "", "")
        before = row.side
        colour = COLOURS[row.side]
        table.add_row(Text(row.price, colour), row.quantity, Text(row.bar, colour))
    live = client.state(symbol) is State.LIVE
    title = Text(symbol, "bold" if live else "bold yellow")
    return Group(title, table, Text(status_line(client, symbol, lag), "dim"))


async def watch_book(url: str, symbol: str, depth: int, seconds: float | None) -> None:
    """Show `symbol` until a signal, or for `seconds`; raises `ClientError`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    async with connect(url) as client:
        await client.subscribe([symbol], depth=depth, interval_ms=int(FRAME_S * 1000))
        lag = Lag()
        following = asyncio.create_task(_follow(client, lag))
        try:
            if sys.stdout.isatty():
                await _draw(lambda: ladder(client, symbol, depth, lag), stop, following)
            else:
                await _print(client, symbol, lag, stop, following)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def _follow(client: Client, lag: Lag) -> None:
    async for update in client:
        lag.measure(update.ts)


async def _draw(picture: Callable[[], Group], stop: asyncio.Event, following: asyncio.Task[None]) -> None:
    with Live(picture(), console=Console(), auto_refresh=False, screen=True) as live:
        while not await _wait_or_end(FRAME_S, stop, following):
            live.update(picture(), refresh=True)


async def _print(
    client: Client, symbol: str, lag: Lag, stop: asyncio.Event, following: asyncio.Task[None]
) -> None:
    """Print a line when the book or its state has changed, at most one per `FRAME_S`."""
    shown: tuple[object, ...] = ()
    while True:
        ended = await _wait_or_end(FRAME_S, stop, following)
        now = client.seq(symbol), client.state(symbol), client.stale_reason(symbol)
        if now[0] and now != shown:
            shown = now
            book = client.book(symbol)
            best = best_line(book, *client.sizes(symbol))
            click.echo(f"{symbol} {best}  {status_line(client, symbol, lag)}")
        if ended:
            return


async def _wait_or_end(seconds: float, stop: asyncio.Event, following: asyncio.Task[None]) -> bool:
    """Wait; returns whether to end. Raises the error that ended `following`."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        both: set[asyncio.Future[object]] = {stopping, following}  # type: ignore[arg-type]  # both are futures
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if following.done():
        await following
    return stop.is_set()


@click.command("watch")
@click.argument("symbol")
@gateway_url_option("--url", default="http://127.0.0.1:8080", help="Address of a gateway.", show_default=True)
@click.option("--depth", type=click.Choice(["1", "5", "10", "25", "50"]), default="10", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="End after this time; default: at Ctrl-C.")
def watch(symbol: str, url: str, depth: str, seconds: float | None) -> None:
    """Show the live book of SYMBOL as a ladder, with its sequence number, lag and merged counts.

    If the output is not a terminal, prints a line for each change of book or state, at most ten a second.
    """
    try:
        asyncio.run(watch_book(url, symbol, int(depth), seconds))
    except DepthcastError as error:
        raise click.ClickException(str(error)) from error
