"""Reads and writes the list of revoked tokens in Redis. Entries end by the server's clock, never by ours."""

from typing import Final, NamedTuple

from redis.asyncio import Redis

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.revocation import REVOKED_MAX, Revoked, parse_members
from depthcast.shared.runtime.redis import execute

_ADD: Final = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
local isNew = not redis.call('ZSCORE', KEYS[1], ARGV[1])
if isNew and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], 'GT', now + tonumber(ARGV[2]), ARGV[1])
return 1
"""
"""ARGV: the member, how long it stays (s), how many there may be. Replies 0 if there is no room."""


class Entry(NamedTuple):
    """A member of the list, and for how many more seconds it stays."""

    member: str
    left_s: int


async def read_revoked(client: Redis, key: str) -> Revoked:
    """Return what is revoked now. The list is short, and read every second by each gateway."""
    now = await _now_s(client)
    members = await execute(client, "ZRANGEBYSCORE", key, now, "+inf", "LIMIT", 0, REVOKED_MAX)
    if not isinstance(members, list):
        raise RedisUnavailable("a reply is not that of ZRANGEBYSCORE; is it Redis that answers?")
    return parse_members(members)


async def revoke(client: Redis, key: str, member: str, seconds: int) -> bool:
    """Add an entry for `seconds`, or extend it; returns False if the list is full."""
    return bool(await execute(client, "EVAL", _ADD, 1, key, member, seconds, REVOKED_MAX))


async def allow_again(client: Redis, key: str, member: str) -> bool:
    """Remove an entry; returns whether there was one."""
    return bool(await execute(client, "ZREM", key, member))


async def list_revoked(client: Redis, key: str) -> list[Entry]:
    """Return all entries that still count, those that end first at the beginning."""
    now = await _now_s(client)
    flat = await execute(client, "ZRANGEBYSCORE", key, now, "+inf", "WITHSCORES")
    return [
        Entry(name.decode("utf-8", "replace"), round(float(score) - now))
        for name, score in zip(flat[::2], flat[1::2], strict=True)
    ]


async def _now_s(client: Redis) -> int:
    """The server's time, in whole seconds since 1970: it stamped the entries."""
    try:
        seconds, _ = await execute(client, "TIME")
        return int(seconds)
    except (TypeError, ValueError) as error:
        raise RedisUnavailable("a reply is not that of TIME; is it Redis that answers?") from error
