"""The command `depthcast partition`."""

import asyncio
from typing import Final

import click

from depthcast.shared.errors import SettingsError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.redis_url import without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import read_partitions
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about
from depthcast.shared.types import is_symbol

HELP: Final = """\
Print the number of the partition that SYMBOL belongs to: crc32(SYMBOL) mod P.

P comes from --partitions or DEPTHCAST_PARTITIONS, else from the deployment in Redis. Without any of them the
exit status is 1.

\b
Examples:
  depthcast partition BTC-USD --partitions 16
  redis-cli XADD "{depthcast:$(depthcast partition BTC-USD)}:events" '*' BTC-USD '[["add","bid",6500010,5]]'
"""


@click.command("partition", help=HELP)
@click.argument("symbol")
@click.option("--partitions", metavar="P", help="Number of partitions. [default: the deployment's]")
@click.option("--redis-url", metavar="URL", help="Redis of the deployment. [DEPTHCAST_REDIS_URL]")
@click.option("--prefix", metavar="TEXT", help="Its key prefix. [DEPTHCAST_PREFIX]")
def partition(symbol: str, **given: str | None) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), given)
    if not is_symbol(symbol):
        raise SettingsError(
            "SYMBOL", symbol, "must be 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    with errors_about(settings.typed):
        partitions = settings.partitions or asyncio.run(_deployed(settings))
    click.echo(partition_of(symbol, partitions))


async def _deployed(settings: Settings) -> int:
    client = redis.connect(settings.redis_url)
    try:
        partitions = await read_partitions(client, DeploymentKeys(settings.prefix), None)
    finally:
        await client.aclose()
    if partitions is None:
        address = without_credentials(settings.redis_url)
        raise click.ClickException(
            f"there is no deployment with prefix {settings.prefix!r} at {address}; give --partitions"
        )
    return partitions
