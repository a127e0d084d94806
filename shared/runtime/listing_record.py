"""Reads the leader's record of listings (`docs/protocol.md`, section 2.2.3)."""

import asyncio
import json
import logging
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.errors import CodecError
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.runtime.redis import read_hash
from depthcast.shared.types import Symbol, is_symbol

logger = logging.getLogger(__name__)

PARSED_PER_SLICE: Final = 2_000
"""So many values are parsed at a time; then other tasks run."""


async def read_record(client: Redis, keys: PartitionKeys) -> dict[str, Listing]:
    """The record of listings, empty if an older version led; raises `RedisUnavailable`.

    What is malformed is logged and left out: the stream names the listings of all its books too.
    """
    record: dict[str, Listing] = {}
    known: dict[bytes, Listing] = {}  # most symbols have the same sizes as many others
    for place, (name, raw) in enumerate((await read_hash(client, keys.listings)).items()):
        if place % PARSED_PER_SLICE == PARSED_PER_SLICE - 1:
            await asyncio.sleep(0)
        symbol = name.decode("utf-8", "replace")
        same = known.get(raw)
        if same is not None and is_symbol(symbol):
            record[symbol] = same._replace(instrument=same.instrument._replace(symbol=Symbol(symbol)))
            continue
        try:
            listing = of_table(symbol, json.loads(raw))
        except (ValueError, RecursionError, CodecError) as error:
            about = {"key": keys.listings, "symbol": symbol, "problem": str(error)}
            logger.error("a listing in the record is malformed", extra=about)  # noqa: TRY400
            continue
        if listing is not None:
            record[symbol] = known[raw] = listing
    return record
