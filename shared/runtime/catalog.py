"""What the deployment fixed, read from Redis: the number of partitions and the instruments."""

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from redis.asyncio import Redis

from shared.errors import DeploymentMismatch, InstrumentsError, RedisUnavailable
from shared.instruments import Instrument, from_json
from shared.keys import DeploymentKeys
from shared.runtime.redis import read_hash

logger = logging.getLogger(__name__)

PROTOCOL: Final = 1
POLL_S: Final = 1.0


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
    """All registered instruments by symbol.

    A malformed value is logged and hides no other; the symbol keeps the definition it had `before`, if any: a slip of an
    operator must not withdraw a living book.
    """
    table = await read_hash(client, keys.instruments)
    instruments = {}
    for name, raw in table.items():
        symbol = name.decode("utf-8", "replace")
        try:
            instruments[symbol] = from_json(symbol, raw)
        except InstrumentsError as error:
            logger.warning("malformed instrument", extra={"symbol": symbol, "problem": error.problem})
            if symbol in before:
                instruments[symbol] = before[symbol]
    return instruments
