"""`depthcast tail SYMBOL...`: live books as JSON lines."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

import click

from depthcast.cli.follow_options import DEPTHS, follow_options, report
from depthcast.cli.following import Following, follow, unless_stopped
from depthcast.cli.ladder import decimals
from depthcast.client.book import SubscriptionOptions
from depthcast.updates import BookUpdate, State

HELP: Final = """\
Print live books as JSON lines: one line for each change of a book or its state.

Each line has the whole book up to --depth, so it means something without the lines before it:

\b
  {"symbol": "BTC-USD", "state": "live", "reason": null, "seq": 7, "ts": 1767225600000000,
   "event_ts": 1767225599998000, "merged": 1, "because": null,
   "bids": [["65000.10", "0.005"]], "asks": [["65000.20", "0.007"]]}

Levels are [price, quantity] as exact decimal text, the best first. state is live, stale or removed; reason
says why, if that is known. A removed book has no other fields. ts is the time of the broadcast in µs since
1970, null if only the state changed; event_ts is the newest time at the source in the line, null if the
producer names none. merged is the number of broadcasts in the line: more than 1 with --interval-ms, or if
whoever reads the lines is slow; 0 for a new book, or if only the state changed. because says what held them
back at the gateway: buffer, credit or interval; null if nothing did. With --group, group is the number of
ticks in a level.
SYMBOL '*' stands for all books.

Exit status 1 if a book could not be shown, no longer existed, or if there was no connection at the end.

\b
Examples:
  depthcast tail BTC-USD | jq -r '[.ts, .bids[0][0], .asks[0][0]] | @tsv'
  depthcast tail '*' --depth 1 | jq -c 'select(.state != "live") | {symbol, state, reason}'
  depthcast tail BTC-USD --count 1 | jq .bids
"""


@click.command("tail", help=HELP)
@follow_options
@click.option(
    "--depth", type=click.Choice(DEPTHS), default="10", show_default=True, help="Levels a side of each line."
)
@click.option(
    "--interval-ms", type=click.IntRange(0, 60_000), default=0, show_default=True, metavar="MS",
    help="Least time between two lines of a book; changes in between are merged.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N lines. [default: never]")
def tail(
    *,
    symbols: Sequence[str],
    url: str,
    seconds: float | None,
    group: int,
    depth: str,
    interval_ms: int,
    count: int | None,
) -> None:
    """See `HELP`."""
    levels = int(depth)

    async def show(following: Following, stop: asyncio.Event) -> None:
        await unless_stopped(stop, print_changes(following, levels, count))

    options = SubscriptionOptions(levels, interval_ms, group)
    report(asyncio.run(follow(url, symbols, options, seconds, show)))


async def print_changes(following: Following, depth: int, count: int | None) -> None:
    """Print a line for each update, up to `count`; raises `ClientError`."""
    printed = 0
    async with aclosing(following.updates()) as updates:
        async for update in updates:
            click.echo(json.dumps(to_json(update, following, depth), ensure_ascii=False))
            printed += 1
            if printed == count:
                return


def to_json(update: BookUpdate, following: Following, depth: int) -> dict[str, Any]:
    """Return the line for an update, with up to `depth` levels a side."""
    symbol = update.symbol
    if update.state is State.REMOVED:
        return {"symbol": symbol, "state": update.state, "reason": following.ended.get(symbol)}
    sizes, book = following.client.sizes(symbol), update.book
    grouped = {} if following.group == 1 else {"group": following.group}
    return {
        "symbol": symbol,
        "state": update.state,
        "reason": None if update.state is State.LIVE else following.state(symbol)[1],
        "seq": update.seq,
        "ts": update.ts or None,
        "event_ts": update.event_ts,
        "merged": update.merged,
        "because": update.because,
        **grouped,
        "bids": decimals(book.bids.top(depth), *sizes),
        "asks": decimals(book.asks.top(depth), *sizes),
    }
