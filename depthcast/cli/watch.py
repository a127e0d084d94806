"""`depthcast watch SYMBOL...`: live ladders in a terminal, or plain lines."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from depthcast.cli.follow_options import DEPTHS, follow_options, report
from depthcast.cli.following import FRAME_MS, Following, Show, follow
from depthcast.cli.watch_lines import print_lines
from depthcast.client.book import SubscriptionOptions
from depthcast.shared.runtime.extras import server_extra

TERMINAL_DEPTH: Final = 25
LINES_DEPTH: Final = 10

HELP: Final = """\
Show live books: prices, quantities, and whether they are current.

In a terminal: ladders side by side, as many as fit; q ends, ? lists the keys. A book that may be old is grey
under a red line that says since when. Elsewhere, such as in a pipe, or with --lines: a line for each change
of a book or its state, at most ten a second. SYMBOL '*' stands for all books.

Exit status 1 if a book could not be shown, no longer existed, or if there was no connection at the end.

\b
Examples:
  depthcast watch BTC-USD
  depthcast watch BTC-USD ETH-USD SOL-USD
  depthcast watch BTC-USD --group 1000
  depthcast watch BTC-USD --lines --seconds 10 > book.log
"""


@click.command("watch", help=HELP)
@follow_options
@click.option(
    "--depth", type=click.Choice(DEPTHS),
    help=f"Levels a side. [default: {TERMINAL_DEPTH} in a terminal, else {LINES_DEPTH}]",
)  # fmt: skip
@click.option("--lines", is_flag=True, help="Print lines in a terminal, too.")
def watch(
    *,
    symbols: Sequence[str],
    url: str,
    seconds: float | None,
    group: int,
    depth: str | None,
    lines: bool,
) -> None:
    """See `HELP`."""
    ladders = in_terminal() and not lines
    levels = int(depth or (TERMINAL_DEPTH if ladders else LINES_DEPTH))
    show = _ladders(levels) if ladders else print_lines
    options = SubscriptionOptions(levels, FRAME_MS, group)
    report(asyncio.run(follow(url, symbols, options, seconds, show)))


def in_terminal() -> bool:
    """Return whether this process has a terminal to draw in and to read keys from."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


def _ladders(depth: int) -> Show:
    with server_extra():  # imported here, because it takes long and lines do without
        from depthcast.cli.watch_app import draw_ladders

    async def show(following: Following, stop: asyncio.Event) -> None:
        await draw_ladders(following, stop, depth)

    return show
