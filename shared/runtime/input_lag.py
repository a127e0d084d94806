"""Asks how long the oldest input of a partition has waited."""

from contextlib import suppress

from redis.asyncio import Redis

from depthcast.shared.codec import INFO_FIELD, decode_info
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import execute, newest_entry, parse_entries


async def consumed_upto(client: Redis, keys: PartitionKeys) -> Position:
    """Return the ID of the last input entry whose result is published, `0-0` if there is none."""
    newest = await newest_entry(client, keys.deltas)
    with suppress(CodecError, PositionError, KeyError):
        return Position.parse(decode_info(dict(newest[1])[INFO_FIELD]).src) if newest else ZERO
    return ZERO


async def input_lag_ms(client: Redis, keys: PartitionKeys) -> int:
    """Return the age of the oldest input entry that was not consumed, in ms by the server's clock."""
    src = await consumed_upto(client, keys)
    waiting = parse_entries(await execute(client, "XRANGE", keys.events, f"({src}", "+", "COUNT", 1))
    if not waiting:
        return 0
    seconds, us = await execute(client, "TIME")
    return max(0, int(seconds) * 1000 + int(us) // 1000 - waiting[0][0].epoch)
