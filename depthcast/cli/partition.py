"""The command `depthcast partition`."""

import asyncio
from typing import Final

import click

from depthcast.shared.errors import SettingsError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.redis_url import without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.catalog import Deployed, read_deployed
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about
from depthcast.shared.types import is_symbol

HELP: Final = """\
Print the number of the partition that SYMBOL belongs to: crc32(SYMBOL) mod P. With --key, print the key of
the stream that its input is added to.

P comes from --partitions or DEPTHCAST_PARTITIONS, else from the deployment in Redis. Without any of them the
exit status is 1. In a cluster the key follows from what the deployment has recorded, so that is always read.

\b
Examples:
  depthcast partition BTC-USD --partitions 16
  redis-cli XADD "$(depthcast partition --key BTC-USD)" '*' BTC-USD '[["add","bid",6500010,5]]'
"""


@click.command("partition", help=HELP)
@click.argument("symbol")
@click.option("--partitions", metavar="P", help="Number of partitions. [default: the deployment's]")
@click.option("--redis-url", metavar="URL", help="Redis of the deployment. [DEPTHCAST_REDIS_URL]")
@click.option("--prefix", metavar="TEXT", help="Its key prefix. [DEPTHCAST_PREFIX]")
@click.option("--key", is_flag=True, help="Print the key of the input log instead of the number.")
def partition(symbol: str, *, key: bool, **given: str | None) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), given)
    if not is_symbol(symbol):
        raise SettingsError(
            "SYMBOL", symbol, "must be 1 to 32 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        )
    with errors_about(settings.typed):
        partitions, keys = _known(settings, key=key) or asyncio.run(_deployed(settings))
    number = partition_of(symbol, partitions)
    click.echo(keys.partition(number).events if key else number)


def _known(settings: Settings, *, key: bool) -> Deployed | None:
    """What is asked for, if it follows from the settings alone."""
    keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
    if settings.partitions is None or (key and keys.clustered):
        return None
    return Deployed(settings.partitions, keys)


async def _deployed(settings: Settings) -> Deployed:
    client = redis.connect(settings.redis_url)
    keys = DeploymentKeys.at(settings.redis_url, settings.prefix)
    try:
        deployed = await read_deployed(client, keys, settings.partitions)
    finally:
        await client.aclose()
    if deployed is None:
        address = without_credentials(settings.redis_url)
        raise click.ClickException(
            f"there is no deployment with prefix {settings.prefix!r} at {address}; give --partitions"
        )
    return deployed
