"""Reads the listings of symbols, as the leaders record them (`docs/protocol.md`, section 2.2.3)."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from redis.asyncio import Redis

from depthcast.shared.errors import CodecError
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.runtime import redis
from depthcast.shared.types import Symbol


async def read_listings(
    client: Redis, keys: DeploymentKeys, partitions: Mapping[int, Iterable[Symbol]]
) -> dict[Symbol, Listing]:
    """Return the listings of symbols, given by partition; older leaders record none."""
    found: dict[Symbol, Listing] = {}
    for number, members in partitions.items():
        symbols = list(members)
        raws = await redis.execute(client, "HMGET", keys.partition(number).listings, *symbols)
        for symbol, raw in zip(symbols, raws, strict=True):
            with suppress(ValueError, CodecError):
                listing = None if raw is None else of_table(symbol, json.loads(raw))
                if listing is not None:
                    found[symbol] = listing
    return found
