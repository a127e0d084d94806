"""The command `depthcast feed synthetic`."""

from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, Speed, deployment_options
from depthcast.feed.synthetic_profiles import MARKET, MarketSymbol
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.synthetic import SyntheticOptions, feed_market
from depthcast.shared.runtime.command import run_service
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings
from depthcast.shared.types import Symbol

HELP: Final = f"""\
Send a lively synthetic market to the input log, until Ctrl-C or --seconds.

Limit orders arrive, change and are cancelled; market orders sweep levels; quiet times and bursts follow
each other; prices drift. Its statistics are close to recorded ones. The same --seed and --rate make the same
market.

Symbols and their kind of feed:
{", ".join(f"{name} ({item.instrument.feed})" for name, item in MARKET.items())}.

The deployment and its instruments must exist: give the ingestor the TOML of --print-instruments, or use
--register. Existing books are cleared first. Levels change in steps of 10 ms, each an atomic array; orders
come one by one.

\b
Examples:
  depthcast feed synthetic --register
  depthcast feed synthetic --register --symbols BTC-USD,ETH-USD --rate 2000
  depthcast feed synthetic --register --seed 7 --speed max --seconds 600
"""


class Symbols(click.ParamType[list[MarketSymbol]]):
    """Names of built-in symbols, separated by commas."""

    name = "symbols"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[MarketSymbol]:
        if isinstance(value, list):
            return value
        names = dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip())
        unknown = [name for name in names if name not in MARKET]
        if unknown or not names:
            problem = f"there is no symbol {unknown[0]!r}" if unknown else "there is no name in it"
            self.fail(f"{problem}; choose from {', '.join(MARKET)}", param, ctx)
        return [MARKET[Symbol(name)] for name in names]


@click.command("synthetic", help=HELP)
@click.option(
    "--symbols",
    type=Symbols(),
    default=list(MARKET.values()),
    metavar="LIST",
    help="Symbols to send. [default: all]",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the market.")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    metavar="N",
    help="Mean events per second and symbol. [default: as measured, 150 to 430]",
)
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    metavar="N|max",
    help="Multiple of real time; max needs --seconds. [default: 1]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.01),
    metavar="N",
    help="End after N seconds of market time. [default: never]",
)
@click.option(
    "--register", is_flag=True, help="Register missing instruments; existing ones stay as they are."
)
@click.option(
    "--print-instruments", is_flag=True, help="Print the instruments as TOML for an ingestor, and exit."
)
@deployment_options
def synthetic(**given: Any) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {name: given.pop(name) for name in SETTINGS})
    if given.pop("print_instruments"):
        click.echo(to_toml(item.instrument for item in given["symbols"]), nl=False)
        return
    options = SyntheticOptions(settings, **given)
    if options.speed == float("inf") and options.seconds is None:
        raise click.UsageError(
            "--speed max needs --seconds: without an end, it would fill the server's memory"
        )
    run_service(lambda stop: feed_market(stop, options), settings)
