"""The commands `depthcast instruments`."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.inspection.listings import Registered
from depthcast.runtime.instruments import Instruments, NotDone
from depthcast.shared.errors import InstrumentsError, SettingsError
from depthcast.shared.instruments import Feed, Instrument, OnCross, from_table
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.redis_url import without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about
from depthcast.shared.sizes import is_size
from depthcast.shared.types import is_symbol

HELP: Final = """\
Show and change the instruments of a deployment.

A change waits until the leader's listing is as wanted, and then prints it. The exit status is 1 if it is not
in time; the message says what holds it up. A new listing begins with an empty book: producers send it again.

\b
Examples:
  depthcast instruments list
  depthcast instruments add BTC-USD --tick-size 0.01 --lot-size 0.001
  depthcast instruments set BTC-USD --tick-size 0.001 --relist
  depthcast instruments withdraw BTC-USD
"""


@click.group("instruments", help=HELP)
def instruments() -> None:
    """See `HELP`."""


class Size(click.ParamType[str]):
    """A tick size or lot size as decimal text."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_size(value):
            self.fail(f"{value!r}; write a positive decimal, such as 0.01", param, ctx)
        return str(value)


def _terms(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with an option for each part of an instrument."""
    function = click.option(
        "--on-cross",
        type=click.Choice([str(choice) for choice in OnCross]),
        help="What a crossing event does.",
    )(function)
    function = click.option(
        "--feed", type=click.Choice([str(choice) for choice in Feed]), help="How events address the book."
    )(function)
    function = click.option("--lot-size", type=Size(), metavar="DECIMAL", help="Size of a lot.")(function)
    return click.option("--tick-size", type=Size(), metavar="DECIMAL", help="Size of a tick.")(function)


_wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the leader.",
)


@instruments.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each symbol, one a line.")
@deployment_options
def list_(*, as_json: bool, **named: Any) -> None:
    """Show every symbol: its listing, its sizes, and whether a change waits.

    Withdrawn symbols are shown with the sizes of their last listing.
    """
    found, partitions = _run(named, 0.0, _all)
    if as_json:
        for item in found:
            click.echo(json.dumps(_table(item, partitions)))
        return
    table = Table(box=None)
    for column in ("symbol", "partition", "listing", "tick size", "lot size", "feed", "on cross", "state"):
        table.add_column(column)
    for item in found:
        table.add_row(*("-" if value is None else str(value) for value in _table(item, partitions).values()))
    Console(soft_wrap=True).print(table)


@instruments.command("add")
@click.argument("symbol")
@_terms
@_wait
@deployment_options
def add(symbol: str, wait_s: float, **named: Any) -> None:
    """Register SYMBOL; sizes are 1, the feed is levels and crossing events are rejected by default."""
    instrument = _changed(Instrument(_checked(symbol)), named)
    _say(_run(named, wait_s, lambda deployment: deployment.add(instrument)))


@instruments.command("set")
@click.argument("symbol")
@_terms
@click.option(
    "--relist", is_flag=True, help="Begin a new listing even if the book holds levels: it is emptied."
)
@_wait
@deployment_options
def set_(symbol: str, wait_s: float, *, relist: bool, **named: Any) -> None:
    """Change SYMBOL; what is not given stays.

    Without --relist a change waits until the book is empty. With it, the new listing begins at this place
    of the input: what producers send after the command has returned is for the new listing.
    """
    _checked(symbol)

    async def change(deployment: Instruments) -> Listing:
        found = await deployment.one(symbol)
        if found.wanted is None:
            raise NotDone(
                found.problem or f"{symbol} is not registered; depthcast instruments add registers it"
            )
        return await deployment.set(_changed(found.wanted, named), relist=relist)

    _say(_run(named, wait_s, change))


@instruments.command("withdraw")
@click.argument("symbol")
@_wait
@deployment_options
def withdraw(symbol: str, wait_s: float, **named: Any) -> None:
    """Withdraw SYMBOL: its events are rejected, its book ends, and its subscriptions too."""
    _say(_run(named, wait_s, lambda deployment: deployment.withdraw(_checked(symbol))))


def _run(
    named: dict[str, Any], wait_s: float, work: Callable[[Instruments], Coroutine[Any, Any, Any]]
) -> Any:
    """Do `work` with the deployment that the options name."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})

    async def run() -> Any:
        keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
        async with redis.connect(settings.redis_url) as client:
            deployed = await read_deployed(client, keys, settings.partitions, writes=work is not _all)
            if deployed is None:
                address = without_credentials(settings.redis_url)
                raise NotDone(f"there is no deployment with prefix {settings.prefix!r} at {address}")
            return await work(Instruments(client, deployed.keys, deployed.partitions, wait_s))

    with errors_about(settings.typed):
        return asyncio.run(run())


async def _all(deployment: Instruments) -> tuple[list[Registered], int]:
    return await deployment.all(), deployment.partitions


def _checked(symbol: str) -> Any:
    if not is_symbol(symbol):
        raise SettingsError(
            "SYMBOL", symbol, "must be 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    return symbol


def _changed(instrument: Instrument, named: dict[str, Any]) -> Instrument:
    """The instrument with the parts that were given; the others stay."""
    table = instrument._asdict()
    symbol = table.pop("symbol")
    given = {name: named[name] for name in ("tick_size", "lot_size", "feed", "on_cross")}
    try:
        return from_table(symbol, table | {name: value for name, value in given.items() if value is not None})
    except InstrumentsError as error:
        raise SettingsError("SYMBOL", symbol, error.problem) from error


def _table(item: Registered, partitions: int) -> dict[str, Any]:
    of = item.listing.instrument if item.listing is not None else item.wanted
    return {
        "symbol": item.symbol,
        "partition": partition_of(item.symbol, partitions),
        "listing": None if item.listing is None else item.listing.number,
        "tick_size": None if of is None else of.tick_size,
        "lot_size": None if of is None else of.lot_size,
        "feed": None if of is None else str(of.feed),
        "on_cross": None if of is None else str(of.on_cross),
        "state": item.state,
    }


def _say(listing: Listing | None) -> None:
    if listing is None:
        click.echo("withdrawn; it never had a listing")
        return
    of = listing.instrument
    end = ", withdrawn" if listing.withdrawn else ""
    click.echo(
        f"{of.symbol}: listing {listing.number}, tick size {of.tick_size}, lot size {of.lot_size}, "
        f"feed {of.feed}, on cross {of.on_cross}{end}"
    )
