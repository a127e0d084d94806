"""`make chaos`: real processes, real faults, and a table; exit status 1 if anything was lost or wrong."""

import asyncio
import logging
import sys

import click

from tests.chaos.cluster import Cluster, running_cluster
from tests.chaos.nodes import NodeServers
from tests.chaos.reconciliation import reconcile
from tests.chaos.run import Chaos, chaos
from tests.chaos.servers import OneServer, WatchedServers

DOWN_AFTER_MS = 1500
"""Long enough that a restart of the master does not count as a failure."""

REJECTS_MAX = 10_000_000
"""All are kept, so that each can be counted."""


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long faults go on.")
@click.option(
    "--kills", default=0, help="Instead: so many kill -9 of a leader, each with the others standing by."
)
@click.option("--count", default=0, help="Instead: so many faults.")
@click.option("--cluster", "clustered", is_flag=True, help="In a Redis cluster of six servers.")
@click.option("--seed", default=1, show_default=True, help="Of faults, their order and the input.")
@click.option("--ingestors", default=3, show_default=True)
@click.option("--gateways", default=2, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--lease-ms", default=2000, show_default=True)
@click.option(
    "--sentinel/--no-sentinel", default=True, show_default=True, help="Replicated servers, failovers too."
)
def main(
    seconds: float,
    kills: int,
    count: int,
    clustered: bool,
    seed: int,
    ingestors: int,
    gateways: int,
    partitions: int,
    lease_ms: int,
    sentinel: bool,
) -> None:
    """Break a cluster in every way for a while, and check that all readers end with the correct books."""
    logging.basicConfig(level=logging.CRITICAL)
    redis = NodeServers() if clustered else _servers(watched=sentinel and not kills)
    cluster = running_cluster(
        redis,
        partitions=partitions,
        ingestors=ingestors,
        gateways=gateways,
        settings={"lease_ms": lease_ms, "rejects_max": REJECTS_MAX},
        gateway_settings={},
    )

    async def play() -> bool:
        async with cluster as running, chaos(running, seed) as run:
            return await _play(running, run, seconds, kills, count)

    sys.exit(0 if asyncio.run(play()) else 1)


def _servers(*, watched: bool) -> OneServer | WatchedServers:
    return WatchedServers(1, append_only=True, down_after_ms=DOWN_AFTER_MS) if watched else OneServer()


async def _play(cluster: Cluster, run: Chaos, seconds: float, kills: int, count: int) -> bool:
    click.echo(
        f"{len(cluster.ingestors)} ingestors, {len(cluster.gateways)} gateways, {len(cluster.kinds)} symbols "
        f"in {cluster.partitions} partitions, lease {cluster.lease_s:g} s"
    )
    if kills:
        await run.kills(kills, lambda text: click.echo(f"  {text}"))
    elif count:
        await run.for_faults(count, lambda text: click.echo(f"  {text}"))
    else:
        await run.for_seconds(seconds, lambda text: click.echo(f"  {text}"))
    report = await reconcile(run)
    click.echo("\n".join(report.lines()))
    click.echo("all is as it must be" if report.good else "THIS IS WRONG")
    return report.good


if __name__ == "__main__":
    main()
