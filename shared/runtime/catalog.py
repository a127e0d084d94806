"""What the deployment fixed, read from Redis: the number of partitions and the instruments."""

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.errors import DeploymentMismatch, InstrumentsError, RedisUnavailable
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.runtime.redis import map_errors, read_hash

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0

HOLD_S: Final = 5.0
"""When Redis has lost everything, ingestors have so long to register again what a reader still knows of."""


async def read_partitions(client: Redis, keys: DeploymentKeys, wanted: int | None) -> int | None:
    """Number of partitions of the deployment, None while no ingestor has created it.

    Raises `DeploymentMismatch` when `wanted` is set and differs, or when the deployment speaks another protocol.
    """
    meta = await read_hash(client, keys.meta)
    if b"partitions" not in meta:
        return None
    if int(meta.get(b"protocol", PROTOCOL)) != PROTOCOL:
        raise DeploymentMismatch("protocol", PROTOCOL, int(meta[b"protocol"]))
    partitions = int(meta[b"partitions"])
    if wanted is not None and wanted != partitions:
        raise DeploymentMismatch("DEPTHCAST_PARTITIONS", wanted, partitions)
    return partitions


async def wait_for_partitions(client: Redis, keys: DeploymentKeys, wanted: int | None) -> int:
    """Wait, saying so, until an ingestor has created the deployment; returns its number of partitions."""
    said = ""
    while True:
        try:
            partitions = await read_partitions(client, keys, wanted)
            if partitions is not None:
                return partitions
            waiting = "waiting for an ingestor to create the deployment"
        except RedisUnavailable as error:
            waiting = f"waiting for Redis: {error.problem}"
        if waiting != said:
            logger.warning(waiting, extra={"key": keys.meta})
            said = waiting
        await asyncio.sleep(POLL_S / 4)


async def read_instruments(
    client: Redis, keys: DeploymentKeys, before: Mapping[str, Instrument] = MappingProxyType({})
) -> dict[str, Instrument]:
    """All registered instruments by symbol, in the order of symbols: a server lists a hash in any order.

    A malformed value is logged and hides no other; the symbol keeps the definition it had `before`, if any: a slip of an
    operator must not withdraw a living book.
    """
    return _parsed(await read_hash(client, keys.instruments), before)


def _parsed(table: Mapping[bytes, bytes], before: Mapping[str, Instrument]) -> dict[str, Instrument]:
    instruments = {}
    for name, raw in sorted(table.items()):
        symbol = name.decode("utf-8", "replace")
        try:
            instruments[symbol] = from_json(symbol, raw)
        except InstrumentsError as error:
            logger.warning("malformed instrument", extra={"symbol": symbol, "problem": error.problem})
            if symbol in before:
                instruments[symbol] = before[symbol]
    return instruments


class Catalog:
    """The instruments as last polled. What Redis lost is not taken for withdrawn.

    `instruments`: all known ones by symbol. `incarnation`: names the data they were read from, None when nobody has
    named it. Redis has lost everything when the name changes, or `meta` is gone; what was known then stays until there is
    a deployment again, and for `HOLD_S` at least.
    """

    def __init__(self, client: Redis, keys: DeploymentKeys) -> None:
        self.client = client
        self.keys = keys
        self.instruments: Mapping[str, Instrument] = {}
        self.incarnation: bytes | None = None
        self._polled = False
        self._lost_at: float | None = None

    async def poll(self, now: float) -> bool:
        """Read again at `now` (s, monotonic); whether Redis has lost everything. Raises `RedisUnavailable`."""
        async with map_errors(), self.client.pipeline(transaction=True) as pipeline:
            pipeline.get(self.keys.incarnation)
            pipeline.exists(self.keys.meta)
            pipeline.hgetall(self.keys.instruments)
            incarnation, deployed, table = await pipeline.execute()
        found = _parsed(table, self.instruments)
        if not self._lost(incarnation, deployed=bool(deployed)):
            self.incarnation, self.instruments, self._lost_at = incarnation, found, None
            self._polled = True
            return False
        if self._lost_at is None:
            logger.warning("Redis has lost the deployment", extra={"key": self.keys.meta})
            self._lost_at = now
        if deployed and now - self._lost_at >= HOLD_S:
            self.incarnation, self.instruments, self._lost_at = incarnation, found, None
        else:
            self.instruments = dict(sorted({**self.instruments, **found}.items()))
        return True

    def accept(self) -> None:
        """What was lost has been written again: the next poll takes what it finds."""
        self._polled = False
        self._lost_at = None

    def _lost(self, incarnation: bytes | None, *, deployed: bool) -> bool:
        if not self._polled:
            return False
        named = self.incarnation is not None and incarnation != self.incarnation
        return named or not deployed
