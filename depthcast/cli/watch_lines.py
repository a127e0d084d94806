"""`depthcast watch` where there is no terminal: a line for each change of a book or its state."""

import asyncio

import click

from depthcast.cli.following import FRAME_MS, Following
from depthcast.cli.ladder import best_line
from depthcast.cli.shown import Shown
from depthcast.client.session import ClientCounters
from depthcast.updates import State


async def print_lines(following: Following, stop: asyncio.Event) -> None:
    """Print a line for each book that has changed, until `stop` is set; raises `ClientError`."""
    printed: dict[str, tuple[object, ...]] = {}
    stopping = asyncio.create_task(stop.wait())
    try:
        async with following.reading() as reading:
            done: set[asyncio.Task[bool] | asyncio.Task[None]] = set()
            while not done:
                done, _ = await asyncio.wait(
                    [stopping, reading], timeout=FRAME_MS / 1000, return_when=asyncio.FIRST_COMPLETED
                )
                _print_changed(following, printed)
    finally:
        stopping.cancel()


def _print_changed(following: Following, printed: dict[str, tuple[object, ...]]) -> None:
    for symbol in following.symbols:
        book = following.shown(symbol, 1)
        now = book.seq, book.state, book.reason
        if book.state is not None and now != printed.get(symbol):
            printed[symbol] = now
            click.echo(line(book, following.client.counters))


def line(book: Shown, counters: ClientCounters) -> str:
    """Return a line with best prices, seq, lag, this connection's counts, and the state."""
    said = "" if book.reason is None else f": {book.reason}"
    if book.state is State.REMOVED:
        return f"{book.symbol} {book.state}{said}"
    best = best_line(book.bids, book.asks, book.tick_size, book.lot_size)
    lag = "-" if book.lag_ms is None else f"{book.lag_ms:.1f} ms"
    return (
        f"{book.symbol} {best}  seq {book.seq}  lag {lag}  messages {counters.snapshots + counters.deltas}  "
        f"merged {counters.merged}  {book.state}{said}"
    )
