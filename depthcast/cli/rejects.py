"""The command `depthcast rejects`."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import click
from redis.asyncio import Redis

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.inspection.reject_text import reject_json, reject_line
from depthcast.shared.errors import RedisUnavailable, SettingsError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position
from depthcast.shared.redis_url import without_credentials
from depthcast.shared.reject_record import RejectRecord
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import POLL_S, Deployed, read_deployed, wait_for_deployed
from depthcast.shared.runtime.command import run_service
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.rejects import RejectFollower, last_rejects, tails
from depthcast.shared.settings import Settings
from depthcast.shared.types import is_symbol

logger = logging.getLogger(__name__)

HELP: Final = """\
Show input that was rejected, with the reason: of SYMBOL, or of all symbols.

Prints the last N records, the oldest first; with --follow, further ones as they come, until it is ended. Each
line has the server's time, the symbol, the reason, the number of events if it is not 1, the ID of the input
entry with the event's index in its array, the event, and a detail if the ingestor gave one. What is not a
symbol is shown too if no SYMBOL is given.

\b
Examples:
  depthcast rejects
  depthcast rejects BTC-USD --follow
  depthcast rejects --json --last 1000 | jq -r .reason | sort | uniq -c
"""


@click.command("rejects", help=HELP)
@click.argument("symbol", required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with further ones as they come.")
@click.option(
    "--last",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Records to begin with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each record, one a line.")
@deployment_options
def rejects(symbol: str | None, *, follow: bool, last: int, as_json: bool, **named: Any) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})
    if symbol is not None and not is_symbol(symbol) and symbol != "_":
        raise SettingsError(
            "SYMBOL", symbol, "must be 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    show = _print_json if as_json else _print_line
    run_service(lambda stop: _until_stopped(stop, _show(settings, symbol, last, follow, show)), settings)


async def _until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` until it is done or `stop` is set."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        await working
    else:
        working.cancel()
        await asyncio.wait([working])


async def _show(
    settings: Settings, symbol: str | None, last: int, follow: bool, show: Callable[[RejectRecord], None]
) -> None:
    keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
    async with redis.connect(settings.redis_url) as client:
        if follow:
            partitions, keys = await wait_for_deployed(client, keys, settings.partitions)
        else:
            partitions, keys = await _deployed(client, keys, settings)
        names = [keys.partition(number).rejects for number in range(partitions)]
        ends, newest = await _newest(client, names, symbol, last, waits=follow)
        for record in newest:
            show(record)
        if not follow:
            return
        async for records in RejectFollower(client, ends).records():
            for _, record in records:
                if symbol is None or record.symbol == symbol:
                    show(record)


async def _newest(
    client: Redis, names: Sequence[str], symbol: str | None, last: int, *, waits: bool
) -> tuple[dict[str, Position], list[RejectRecord]]:
    """Where the streams end, and the last records up to there; `waits` while Redis is away."""
    outage = Outage(logger, "rejects are not read")
    while True:
        try:
            ends = await tails(client, names)
            return ends, await last_rejects(client, ends, symbol, last)
        except RedisUnavailable as error:
            if not waits:
                raise
            outage.note(error)
        await asyncio.sleep(POLL_S / 4)


async def _deployed(client: Redis, keys: DeploymentKeys, settings: Settings) -> Deployed:
    deployed = await read_deployed(client, keys, settings.partitions)
    if deployed is None:
        address = without_credentials(settings.redis_url)
        raise click.ClickException(f"there is no deployment with prefix {settings.prefix!r} at {address}")
    return deployed


def _print_line(record: RejectRecord) -> None:
    click.echo(reject_line(record))


def _print_json(record: RejectRecord) -> None:
    click.echo(json.dumps(reject_json(record), ensure_ascii=False))
