"""Asks how long the oldest input of a partition has waited, and how much was deleted unread."""

from contextlib import suppress

from redis.asyncio import Redis

from depthcast.shared.codec import INFO_FIELD, decode_info
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import execute, newest_entry, parse_entries
from depthcast.shared.types import EntryInfo


async def consumed_upto(client: Redis, keys: PartitionKeys) -> Position:
    """Return the ID of the last input entry whose result is published, `0-0` if there is none."""
    info = await _newest_info(client, keys)
    with suppress(PositionError):
        return ZERO if info is None else Position.parse(info.src)
    return ZERO


async def lost_input(client: Redis, keys: PartitionKeys) -> int | None:
    """Return how many input entries were deleted unread, as last published; None if nobody says."""
    info = await _newest_info(client, keys)
    return None if info is None else info.lost or 0


async def _newest_info(client: Redis, keys: PartitionKeys) -> EntryInfo | None:
    newest = await newest_entry(client, keys.deltas)
    with suppress(CodecError, KeyError):
        return decode_info(dict(newest[1])[INFO_FIELD]) if newest else None
    return None


async def input_lag_ms(client: Redis, keys: PartitionKeys) -> int:
    """Return the age of the oldest input entry that was not consumed, in ms by the server's clock."""
    src = await consumed_upto(client, keys)
    waiting = parse_entries(await execute(client, "XRANGE", keys.events, f"({src}", "+", "COUNT", 1))
    if not waiting:
        return 0
    seconds, us = await execute(client, "TIME")
    return max(0, int(seconds) * 1000 + int(us) // 1000 - waiting[0][0].epoch)
