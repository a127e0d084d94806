"""The command `depthcast feed synthetic`."""

import os
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, Speed, deployment_options
from depthcast.feed.synthetic_profiles import MARKET, MarketSymbol
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.synthetic import SyntheticOptions, feed_market
from depthcast.shared.runtime.command import run_service
from depthcast.shared.settings import Settings
from depthcast.shared.types import Symbol

HELP: Final = f"""\
Send a lively synthetic market to the input log, until Ctrl-C or --seconds.

Limit orders arrive, change and are cancelled, market orders walk through levels, quiet spells and bursts follow each
other, prices drift. The same --seed and --rate make the same market. Its statistics come close to recorded ones.

Symbols, with their kind of feed: {", ".join(f"{name} ({item.instrument.feed})" for name, item in MARKET.items())}.

The deployment must exist, and the instruments too: give the ingestor the TOML of --print-instruments, or use
--register. Books that are there already are emptied and begun anew. Levels of a step of 10 ms change as one atomic
array; orders come one by one.

\b
Examples:
  depthcast feed synthetic --register
  depthcast feed synthetic --register --symbols BTC-USD,ETH-USD --rate 2000
  depthcast feed synthetic --register --seed 7 --speed max --seconds 600
"""


class Symbols(click.ParamType[list[MarketSymbol]]):
    """Names of built-in symbols, with commas between them."""

    name = "symbols"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[MarketSymbol]:
        if isinstance(value, list):
            return value
        names = dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip())
        unknown = [name for name in names if name not in MARKET]
        if unknown or not names:
            problem = f"there is no {unknown[0]!r}" if unknown else "there is no name in it"
            self.fail(f"{problem}; choose of {', '.join(MARKET)}", param, ctx)
        return [MARKET[Symbol(name)] for name in names]


@click.command("synthetic", help=HELP)
@click.option(
    "--symbols",
    type=Symbols(),
    default=list(MARKET.values()),
    metavar="LIST",
    help="Which ones. [default: all]",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    metavar="N",
    help="Mean events a second and symbol. [default: as measured, 150 to 430 by symbol]",
)
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    metavar="N|max",
    help="So many times as fast; max needs --seconds. [default: 1]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    metavar="N",
    help="End after so many seconds of the market's own time. [default: never]",
)
@click.option(
    "--register", is_flag=True, help="Register instruments that are missing; those there stay as they are."
)
@click.option(
    "--print-instruments", is_flag=True, help="Print the instruments as TOML for an ingestor, and end."
)
@deployment_options
def synthetic(**given: Any) -> None:
    """See `HELP`."""
    settings = Settings.load(os.environ, {name: given.pop(name) for name in SETTINGS})
    if given.pop("print_instruments"):
        click.echo(to_toml(item.instrument for item in given["symbols"]), nl=False)
        return
    options = SyntheticOptions(settings, **given)
    if options.speed == float("inf") and options.seconds is None:
        raise click.UsageError(
            "--speed max needs --seconds: without an end it would fill the server's memory"
        )
    run_service(lambda stop: feed_market(stop, options), settings)
