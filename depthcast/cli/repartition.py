"""The command `depthcast repartition`."""

import asyncio
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.shared.errors import SettingsError
from depthcast.shared.redis_url import is_cluster, without_credentials
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about, variable

HELP: Final = """\
Move a stopped deployment to COUNT partitions, under another prefix of the same server.

End producers, wait until all input is consumed, and end all ingestors first. Books, orders, listings, doubt,
times and counts are written as they are and read back; input that is not consumed is refused, with its
number. The old deployment is only read. If the command is killed, run it again: nobody can use the new
deployment before it is whole. Then start everything with the new prefix, and delete the keys of the old one
when you are sure.

\b
Example:
  depthcast repartition 16 --into depthcast-16
"""


@click.command("repartition", help=HELP)
@click.argument("count", metavar="COUNT", type=click.IntRange(1, 4096))
@click.option("--into", required=True, metavar="TEXT", help="Key prefix of the new deployment.")
@deployment_options
def repartition(count: int, into: str, **named: Any) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})
    address = without_credentials(settings.redis_url)
    if is_cluster(settings.redis_url):
        problem = "is a cluster: deployments there cannot be moved to another number of partitions"
        raise SettingsError(variable("redis_url"), address, problem)
    with errors_about({"DEPTHCAST_PREFIX": "--into"}):
        new = Settings(redis_url=settings.redis_url, prefix=into)
    with errors_about(settings.typed):
        moved = asyncio.run(_run(settings, new.prefix, count))
    counts = ", ".join(f"{number} {name}" for name, number in moved.counts.items())
    click.echo(f"{len(moved.books)} books in {count} partitions at {address}, prefix {new.prefix}")
    click.echo(f"read back, and equal; events: {counts}")


async def _run(settings: Settings, into: str, count: int) -> Any:
    from depthcast.runtime.repartition import repartition as move

    async with redis.connect(settings.redis_url) as client:
        return await move(client, settings.prefix, into, count)
