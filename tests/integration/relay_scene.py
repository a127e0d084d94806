"""Two servers with a relay between them: what tests of relays do and look at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from depthcast.runtime.relay import RelayService
from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.cluster import ClusterClient
from depthcast.shared.runtime.redis import RawEntry, execute, parse_entries
from depthcast.shared.settings import RelaySettings
from tests.waiting import TIMEOUT_S


def relay_settings(source: str, target: str, prefix: str, **changes: Any) -> RelaySettings:
    """Settings for tests: short times."""
    short = {"relay_lease_ms": 1000, "snapshot_poll_ms": 50}
    named = {"source_url": source, "redis_url": target, "prefix": prefix}
    return RelaySettings(**{**short, **named, **changes})


@asynccontextmanager
async def running_relay(settings: RelaySettings) -> AsyncIterator[RelayService]:
    """A relay in this process, ended cleanly after the block."""
    service = RelayService(settings)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    try:
        yield service
        assert not running.done() or running.result()
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def entries_of(client: Redis, key: str) -> list[RawEntry]:
    """All entries of a stream."""
    return parse_entries(await execute(client, "XRANGE", key, "-", "+"))


async def content(client: Redis, prefix: str, partitions: int, symbols: list[str]) -> dict[str, Any]:
    """What a relay copies, by a name without the prefix."""
    deployed = await read_deployed(client, DeploymentKeys(prefix, isinstance(client, ClusterClient)), None)
    keys = DeploymentKeys(prefix) if deployed is None else deployed.keys
    found: dict[str, Any] = {"instruments": await client.hgetall(keys.instruments)}
    found["incarnation"] = await execute(client, "GET", keys.incarnation)
    for number in range(partitions):
        of = keys.partition(number)
        found[f"{number} deltas"] = await entries_of(client, of.deltas)
        for symbol in symbols:
            found[f"{number} {symbol}"] = await entries_of(client, of.snapshots(symbol))
    return found


async def difference(
    source: tuple[Redis, str], target: tuple[Redis, str], partitions: int, symbols: list[str]
) -> str:
    """What differs between a source and its copy; empty if nothing does, and neither changed meanwhile."""
    try:
        before = await content(*source, partitions, symbols)
        copied = await content(*target, partitions, symbols)
        after = await content(*source, partitions, symbols)
    except RedisUnavailable as error:
        return error.problem
    if before != after:
        return "the source changes"
    differing = [name for name in before if before[name] != copied[name]]
    return ", ".join(f"{name} ({len(before[name] or '')}, {len(copied[name] or '')})" for name in differing)
