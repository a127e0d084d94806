"""The commands `depthcast feed …`."""

from pathlib import Path
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, Rename, Speed, deployment_options
from depthcast.cli.gateway_url import gateway_url_option
from depthcast.cli.live import live
from depthcast.cli.synthetic import synthetic
from depthcast.feed import recorded_books
from depthcast.feed.detect import FORMATS
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.feed_file import open_feed
from depthcast.runtime.feed_runs import ReplayOptions, replay_all, until_stopped, verify_all
from depthcast.runtime.verify import WINDOW
from depthcast.shared.runtime.command import run_service
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, variable

REPLAY_HELP: Final = """\
Send recorded market data to the input log, paced as it was recorded.

FILE is plain, gzip or zstd, of a format that `depthcast feed formats` lists: recordings of venues, read by
the same adapters as `depthcast feed live`, files of data vendors, plain CSV, or JSON lines:

\b
  {"symbol": "BTC-USD", "tick_size": "0.01", "lot_size": "0.001"}
  {"symbol": "BTC-USD", "at_ms": 0, "events": [["update", "bid", 6500010, 5], ["add", "ask", 6500020, 7]]}
  {"symbol": "BTC-USD", "at_ms": 40, "atomic": true, "ts": 1767225600000000, "events": [["clear"]]}

An event is [op, side, price, quantity, order_id] with trailing items omitted, in integer ticks and lots.
atomic: all or nothing. ts: time at the source in µs since 1970. at_ms: when to send the line, in ms from any
fixed origin. A line without events describes the instrument; with "numbers": "decimal" in it, prices and
quantities are decimals.

The deployment and its instruments must exist: give the ingestor the TOML of --print-instruments, or use
--register. A venue's message becomes one atomic entry, and a venue's snapshot clears and reloads the book.
The registered sizes may be others than those of the file: numbers are converted exactly, or the file is
refused before anything is sent. So it is while a live feed writes one of the books.

The summary shows rejected events with the lines they came from, gaps, and skipped lines by kind. Exit status
1 if anything that was meant for a book did not get there.

With --verify the books are compared with the recording's own oracle (best prices, or the venue's checksums)
after every message, at a WebSocket client and at a stream consumer. Without --redis-url a deployment is
started for this and removed afterwards. With it, the ingestor must run with --interval-ms 0, and
--gateway-url is needed. Exit status 1 if anything disagrees.

\b
Examples:
  depthcast feed replay spot_btcusdt.gz --speed 10 --register
  depthcast feed replay spot_btcusdt.gz --verify
  depthcast feed replay mine.jsonl --symbol TEST-1 --redis-url redis://127.0.0.1:6379/0
"""


CONVERSION: Final = """\
Anything else: convert it to JSON lines or to plain CSV, such as

  symbol,side,price,quantity,ts,entry
  BTC-USD,bid,65000.10,0.5,1767225600000000,1

with one row for each level that changed, quantity 0 where it went, and the same entry in rows that belong
together. Parquet with these columns is read as well. A table of another program becomes that by its own
tools, for example in Python with pandas:
frame[["symbol", "side", "price", "quantity", "ts", "entry"]].to_csv("book.csv", index=False)."""


@click.group("feed")
def feed() -> None:
    """Feed market data into the books: live from a venue, recorded or synthetic."""


feed.add_command(live)
feed.add_command(synthetic)


@feed.command("formats")
def formats() -> None:
    """List the formats that replay reads, with an example line of each, and how to get files like that."""
    for each in (*FORMATS.values(), recorded_books.FORMAT):
        click.echo(f"{each.name}: {each.title}")
        click.echo(f"    {each.example}")
        click.echo(f"    {each.how}")
        if each.oracle:
            click.echo(f"    --verify compares with its {each.oracle}.")
        click.echo()
    click.echo(CONVERSION)


@feed.command("replay", help=REPLAY_HELP)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--speed",
    type=Speed(),
    metavar="N|max",
    help="Multiple of the recorded speed. [default: 1; max with --verify]",
)
@click.option("--verify", is_flag=True, help="Compare every state with the recording's oracle; see above.")
@click.option(
    "--register", is_flag=True, help="Register missing instruments; existing ones stay as they are."
)
@click.option(
    "--print-instruments",
    is_flag=True,
    help="Print the file's instruments as TOML for an ingestor, and exit.",
)
@click.option(
    "--symbol",
    "renames",
    type=Rename(),
    multiple=True,
    metavar="[OLD=]NEW",
    help="Replay a symbol under another name.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(sorted(FORMATS)),
    help="The file's format. [default: detected]",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after N entries of each file.")
@click.option(
    "--window",
    type=click.IntRange(1, 1024),
    default=WINDOW,
    show_default=True,
    help="With --verify: maximum number of entries in flight.",
)
@gateway_url_option("--gateway-url", help="With --verify and --redis-url: the deployment's gateway.")
@click.option(
    "--encoding",
    type=click.Choice(["json", "msgpack"]),
    default="json",
    show_default=True,
    help="With --verify: encoding of the WebSocket client.",
)
@deployment_options
def replay(**given: Any) -> None:
    """See `REPLAY_HELP`."""
    named = {name: given.pop(name) for name in SETTINGS}
    environment = read_environment()
    deployed = bool(named["redis_url"] or environment.get(variable("redis_url")))
    settings = Settings.load(environment, named)
    renames = dict(given.pop("renames"))
    format_name = given.pop("format_name")
    feeds = [open_feed(path, format_name, renames) for path in given.pop("files")]
    if given.pop("print_instruments"):
        for each in feeds:
            click.echo(to_toml(each.instruments().values()), nl=False)
        return
    speed, verify = given.pop("speed"), given.pop("verify")
    default_speed = float("inf") if verify else 1.0
    options = ReplayOptions(settings, speed=speed or default_speed, deployed=deployed, **given)
    work = verify_all if verify else replay_all
    run_service(lambda stop: until_stopped(stop, work(feeds, options)), settings)
