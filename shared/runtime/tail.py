"""Reads the end of a stream repeatedly, over one connection while entries come."""

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from depthcast.shared.position import Position
from depthcast.shared.runtime.direct import DirectClient, ReplyTooBig
from depthcast.shared.runtime.redis import RawEntry, map_errors, parse_streams, read_stream

__all__ = ["ReplyTooBig", "Tail"]

_XREAD: Final = (
    b"*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$%d\r\n%d\r\n$5\r\nBLOCK\r\n$%d\r\n%d\r\n"
    b"$7\r\nSTREAMS\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
)


class Tail:
    """Reads one stream through `client`, for one task.

    It raises the same errors as `read_stream`, which replaces it if the client's transports cannot be used;
    and `ReplyTooBig` once a reply exceeds `reply_bytes_max`. `reply_bytes`: size of the last reply, about.
    If the client moves to another server, it goes on reading there, whatever became of the connection.

    `follows`: in a cluster, a stream that has moved before the rest of its slot is read where it is. There is
    no limit of bytes for that.
    """

    def __init__(
        self, client: Redis, key: str, reply_bytes_max: int | None = None, *, follows: bool = True
    ) -> None:
        self.key = key
        self.reply_bytes = 0
        self._follows = follows
        self.client = client
        self._direct = DirectClient(client, key, reply_bytes_max)

    async def read(self, after: Position, *, count: int, block_ms: int) -> list[RawEntry]:
        """Read up to `count` entries after `after`; waits up to `block_ms` for the first."""
        direct = self._direct
        pool = direct.pool
        if not direct.possible:
            return await self._read_by_client(after, count, block_ms)
        command = _xread(self.key.encode(), b"%d-%d" % after, count, block_ms)
        try:
            reply = await direct.send(command)
        except (RedisError, OSError) as error:
            if self._follows and isinstance(error, AskError):
                return await self._read_by_client(after, count, block_ms)
            if isinstance(error, RedisConnectionError) and direct.pool is not pool:
                return await self.read(after, count=count, block_ms=block_ms)
            async with map_errors(self.key):
                raise
        self.reply_bytes = direct.received
        if not reply:
            await direct.release()
            return []
        return parse_streams(reply)

    async def _read_by_client(self, after: Position, count: int, block_ms: int) -> list[RawEntry]:
        entries = await read_stream(self.client, self.key, after, count=count, block_ms=block_ms)
        self.reply_bytes = sum(len(name) + len(raw) for _, fields in entries for name, raw in fields)
        return entries

    async def release(self) -> None:
        """Return the connection to the pool; the next `read` borrows one again."""
        await self._direct.release()


def _xread(key: bytes, after: bytes, count: int, block_ms: int) -> bytes:
    return _XREAD % (
        len(b"%d" % count), count, len(b"%d" % block_ms), block_ms, len(key), key, len(after), after,
    )  # fmt: skip
