"""The command `depthcast feed live`."""

from typing import Final

import click

from depthcast.cli.feed_options import Rename
from depthcast.feed.venues.registry import VENUES
from depthcast.runtime.venue_start import LiveOptions, feed_live
from depthcast.shared.runtime.command import run_service, settings_options
from depthcast.shared.settings import VenueFeedSettings

HELP: Final = f"""\
Feed books live from a venue, until Ctrl-C or SIGTERM.

SYMBOL is the venue's own name of an instrument, such as BTCUSDT or BTC/USD; its book here has the same name,
with - for signs that no symbol may have, or the one of --as. Sizes come from the venue's list of instruments.

Venues: {", ".join(sorted(VENUES))}.

A book is live here only while the venue's own numbers and checksums prove it: after a gap, a wrong checksum,
a lost or a silent connection it is marked stale at once, and replaced in one step when it is known again.
When the feed ends, its books are stale.

The deployment must exist, with an ingestor. Exit status 0 after a signal, 1 where a symbol could not be fed
or was refused for good, 2 for wrong settings.

\b
Examples:
  depthcast feed live binance BTCUSDT ETHUSDT
  depthcast feed live kraken BTC/USD --as BTC/USD=BTC-USD-KRAKEN --admin-port 9101
"""


@click.command("live", help=HELP)
@click.argument("venue", metavar="VENUE", type=click.Choice(sorted(VENUES)))
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.option(
    "--as",
    "renames",
    type=Rename(),
    multiple=True,
    metavar="[SYMBOL=]NEW",
    help="Feed a symbol into a book of another name.",
)
@click.option(
    "--register/--no-register",
    default=True,
    show_default=True,
    help="Register missing instruments with the venue's sizes; existing ones stay as they are.",
)
@click.option(
    "--take-over", is_flag=True, help="Feed symbols that another process feeds: that one ends for them."
)
@settings_options(VenueFeedSettings)
def live(
    settings: VenueFeedSettings,
    venue: str,
    symbols: tuple[str, ...],
    renames: tuple[tuple[str, str], ...],
    *,
    register: bool,
    take_over: bool,
) -> None:
    """Run the feed of `symbols`."""
    options = LiveOptions(settings, VENUES[venue], symbols, dict(renames), register, take_over)
    run_service(lambda stop: feed_live(stop, options), settings)
