"""The command `depthcast doctor`."""

import asyncio
import json
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final

import click

from depthcast.cli.feed_options import SETTINGS, deployment_options
from depthcast.cli.gateway_url import gateway_url_option
from depthcast.inspection.findings import CHECKS, Finding, findings
from depthcast.runtime.inspect import check_partitions, find_misplaced_keys, read_deployment
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.command import with_remedy
from depthcast.shared.runtime.environment import read_environment
from depthcast.shared.settings import Settings, errors_about

HELP: Final = """\
Say what is wrong with a deployment, and what to do about it.

Checks the server (version, persistence, eviction, memory, replicas, clocks), leaders, input lag, lost input,
rejects of the last --rejects-s seconds by reason, instruments, and every key: input that goes to a key nobody
reads, such as depthcast:0:events without braces or a partition that does not exist, and keys of another type.
Nothing is written. docs/operations.md lists all checks.

Exit status: 0 nothing is wrong, 1 something is, 2 the server cannot be reached or a setting is bad.

\b
Examples:
  depthcast doctor
  depthcast doctor --ignore persistence --gateway-url http://127.0.0.1:8080
  depthcast doctor --json
"""


@click.command("doctor", help=HELP)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object for each finding.")
@click.option(
    "--ignore", type=click.Choice(CHECKS), multiple=True, metavar="CHECK",
    help="Leave out the findings of a check; may be given several times.",
)  # fmt: skip
@click.option(
    "--rejects-s", type=click.FloatRange(min=0), default=3600.0, show_default=True, metavar="S",
    help="Count rejects of the last so many seconds.",
)  # fmt: skip
@click.option(
    "--keys-max", type=click.IntRange(1), default=1_000_000, show_default=True, metavar="N",
    help="Look at the names of about so many keys at most.",
)  # fmt: skip
@gateway_url_option("--gateway-url", help="A gateway to check; may be given several times.", multiple=True)
@deployment_options
def doctor(
    *,
    as_json: bool,
    ignore: Collection[str],
    rejects_s: float,
    keys_max: int,
    gateway_url: Sequence[str],
    **named: Any,
) -> None:
    """See `HELP`."""
    settings = Settings.load(read_environment(), {name: named[name] for name in SETTINGS})
    try:
        with errors_about(settings.typed):
            found = asyncio.run(_examine(settings, rejects_s, keys_max, gateway_url))
    except RedisUnavailable as error:
        click.echo(f"Error: {with_remedy(error)}", err=True)
        sys.exit(2)
    found = [finding for finding in found if finding.check not in ignore]
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], indent=2))
    else:
        _show(found)
    sys.exit(1 if found else 0)


async def _examine(
    settings: Settings, rejects_s: float, keys_max: int, gateways: Sequence[str]
) -> list[Finding]:
    async with redis.connect(settings.redis_url) as client:
        state = await read_deployment(
            client, settings.redis_url, settings.prefix, rejects_s=rejects_s, gateways=gateways
        )
        await check_partitions(state, settings.partitions)
        await find_misplaced_keys(client, state, keys_max)
    return findings(state)


def _show(found: Sequence[Finding]) -> None:
    for finding in found:
        click.echo(f"{finding.check}: {finding.problem}")
        click.echo(f"    → {finding.remedy}")
    count = len(found)
    click.echo("nothing is wrong" if not count else f"{count} finding{'s' if count > 1 else ''}")
