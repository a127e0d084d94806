"""Reads the leader's record of listings (`docs/protocol.md`, section 2.2.3)."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

from depthcast.shared.errors import CodecError
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.listing import Listing, of_table
from depthcast.shared.runtime.redis import read_hash
from depthcast.shared.types import Symbol, is_symbol

logger = logging.getLogger(__name__)

PARSED_PER_SLICE: Final = 2_000
"""So many values are parsed at a time; then other tasks run."""


async def read_record(client: Redis, keys: PartitionKeys) -> dict[str, Listing]:
    """The record of listings, empty if an older version led; raises `RedisUnavailable`."""
    return await RecordReader(keys).read(client)


class RecordReader:
    """Reads the record, again and again, and parses only what has changed."""

    def __init__(self, keys: PartitionKeys) -> None:
        self.keys = keys
        self._raw: dict[bytes, bytes] = {}
        self._parsed: dict[str, Listing] = {}

    async def read(self, client: Redis) -> dict[str, Listing]:
        """The record of listings, empty if an older version led; raises `RedisUnavailable`.

        What is malformed is logged and left out: the stream names the listings of all its books too.
        """
        raw = await read_hash(client, self.keys.listings)
        before = self._raw
        changed, kept = raw, dict[str, Listing]()
        if raw.keys() == before.keys():
            changed = {name: value for name, value in raw.items() if before[name] != value}
            again = {name.decode("utf-8", "replace") for name in changed}
            kept = {symbol: listing for symbol, listing in self._parsed.items() if symbol not in again}
        parsed = await _parsed(changed, self.keys.listings)
        self._raw, self._parsed = raw, kept | parsed
        return dict(self._parsed)


async def _parsed(raw_record: Mapping[bytes, bytes], key: str) -> dict[str, Listing]:
    record: dict[str, Listing] = {}
    known: dict[bytes, Listing] = {}  # most symbols have the same sizes as many others
    for place, (name, raw) in enumerate(raw_record.items()):
        if place % PARSED_PER_SLICE == PARSED_PER_SLICE - 1:
            await asyncio.sleep(0)
        symbol = name.decode("utf-8", "replace")
        same = known.get(raw)
        if same is not None and is_symbol(symbol):
            instrument = Instrument(Symbol(symbol), *same.instrument[1:])
            record[symbol] = Listing(same.number, instrument, same.withdrawn)
            continue
        try:
            listing = of_table(symbol, json.loads(raw))
        except (ValueError, RecursionError, CodecError) as error:
            about = {"key": key, "symbol": symbol, "problem": str(error)}
            logger.error("a listing in the record is malformed", extra=about)  # noqa: TRY400
            continue
        if listing is not None:
            record[symbol] = known[raw] = listing
    return record
