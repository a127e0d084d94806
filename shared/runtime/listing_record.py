"""Reads the leader's record of listings (`docs/protocol.md`, section 2.2.3)."""

import json
import logging

from redis.asyncio import Redis

from depthcast.shared.errors import CodecError
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.runtime.redis import read_hash

logger = logging.getLogger(__name__)


async def read_record(client: Redis, keys: PartitionKeys) -> dict[str, Listing]:
    """The record of listings, empty if an older version led; raises `RedisUnavailable`.

    What is malformed is logged and left out: the stream names the listings of all its books too.
    """
    record = {}
    for name, raw in (await read_hash(client, keys.listings)).items():
        symbol = name.decode("utf-8", "replace")
        try:
            listing = of_table(symbol, json.loads(raw))
        except (ValueError, RecursionError, CodecError) as error:
            about = {"key": keys.listings, "symbol": symbol, "problem": str(error)}
            logger.error("a listing in the record is malformed", extra=about)  # noqa: TRY400
            continue
        if listing is not None:
            record[symbol] = listing
    return record
