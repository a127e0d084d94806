"""Reads the end of a stream, again and again: what a reader of `deltas` does most of its time.

For each command the library takes a connection from its pool, looks whether it is still good, prepares for retries,
starts a timer, wakes through a stream of its own and gives the connection back: four times the work of asking and
parsing. So a `Tail` keeps one of its connections for as long as entries come, and speaks to the transport itself.
Everything else stays the library's: addresses, TLS, authentication, what is said on connecting, what its errors mean.
Whatever goes wrong, the connection is closed and given back, and the next read begins with the library again.
"""

import asyncio
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from depthcast.shared.position import Position
from depthcast.shared.runtime.connections import TransportAccess
from depthcast.shared.runtime.redis import RawEntry, map_errors, parse_entries, read_stream

_CLOSED: Final = "Connection closed by server."
"""As the library puts it."""

_ERROR: Final = ord("-")
"""How a reply of error begins."""

_XREAD: Final = b"*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$%d\r\n%d\r\n$5\r\nBLOCK\r\n$%d\r\n%d\r\n$7\r\nSTREAMS\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"


class Tail:
    """Reads one stream through `client`, for one task. Raises as `read_stream` does, which is used with other clients."""

    def __init__(self, client: Redis, key: str) -> None:
        self.client = client
        self.key = key
        self._line: _Line | None = None
        self._pool = cast("Any", client.connection_pool)
        self._lends = issubclass(self._pool.connection_class, TransportAccess)

    async def read(self, after: Position, *, count: int, block_ms: int) -> list[RawEntry]:
        """Up to `count` entries after `after`; waits up to `block_ms` for the first."""
        if not self._lends:
            return await read_stream(self.client, self.key, after, count=count, block_ms=block_ms)
        line = self._line
        if line is None or not line.usable:
            async with map_errors():
                line = await self._take()
        command = _xread(self.key.encode(), b"%d-%d" % after, count, block_ms)
        try:
            reply = await line.ask(command)
        except BaseException:
            async with map_errors():
                await self._give_back(closed=True)
                raise
        if not reply:
            await self.release()
            return []
        return parse_entries(reply[0][1])

    async def release(self) -> None:
        """Give the connection back, for other commands of the client; `read` takes one again."""
        if self._line is not None:
            await self._give_back(closed=not self._line.usable)

    async def _take(self) -> "_Line":
        await self.release()
        connection = await self._pool.get_connection()
        self._line = _Line(connection)
        return self._line

    async def _give_back(self, *, closed: bool) -> None:
        line, self._line = self._line, None
        assert line is not None
        line.end()
        if closed:
            await line.connection.disconnect(nowait=True)
        await self._pool.release(line.connection)


class _Line(asyncio.Protocol):
    """Stands between a connection's transport and the library's protocol, which it tells what becomes of the transport.

    `usable`: nothing speaks against another command.
    """

    def __init__(self, connection: TransportAccess) -> None:
        self.connection = connection
        self.usable = True
        self._timeout_s = connection.socket_timeout
        self._loop = asyncio.get_running_loop()
        self._transport = connection.transport
        self._library = cast("asyncio.Protocol", self._transport.get_protocol())
        self._parser = hiredis.Reader(protocolError=InvalidResponse)
        self._reply: asyncio.Future[Any] | None = None
        self._begun = False
        self._transport.set_protocol(self)

    async def ask(self, command: bytes) -> Any:
        """Send a packed command and wait for its reply; raises what the library does. Not used again after that."""
        reply = self._reply = self._loop.create_future()
        timer = None if self._timeout_s is None else self._loop.call_later(self._timeout_s, self._expire)
        self._transport.write(command)
        try:
            found = await reply
        finally:
            self._reply = None
            if timer is not None:
                timer.cancel()
        if found is _LEFT_TO_LIBRARY:
            return await self.connection.read_response()
        return found

    def end(self) -> None:
        """Leave the transport to the library."""
        self.usable = False
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._library)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or reply.done():
            self.usable = False  # nobody asked: the library would not go on with it either
            self._library.data_received(data)
            return
        if not self._begun and data[0] == _ERROR:
            self.end()
            self._library.data_received(data)
            reply.set_result(_LEFT_TO_LIBRARY)
            return
        try:
            self._parser.feed(data)
            found = self._parser.gets()
        except Exception as error:  # noqa: BLE001  # a server that does not speak Redis: whoever asked is told
            reply.set_exception(error)
            return
        self._begun = found is False
        if not self._begun:
            self.usable = not self._parser.has_data()
            reply.set_result(found)

    def eof_received(self) -> bool | None:
        self._fail(RedisConnectionError(_CLOSED))
        return self._library.eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        where = self.connection.host_error()
        self._fail(
            RedisConnectionError(_CLOSED if exc is None else f"Error while reading from {where} : {exc.args}")
        )
        self._library.connection_lost(exc)  # type: ignore[arg-type] # the declared type is too narrow

    def pause_writing(self) -> None:
        self._library.pause_writing()

    def resume_writing(self) -> None:
        self._library.resume_writing()

    def _expire(self) -> None:
        self._fail(RedisTimeoutError(f"Timeout reading from {self.connection.host_error()}"))

    def _fail(self, error: Exception) -> None:
        self.usable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


_LEFT_TO_LIBRARY: Final = object()
"""In the place of a reply: the library is to read it."""


def _xread(key: bytes, after: bytes, count: int, block_ms: int) -> bytes:
    return _XREAD % (
        len(b"%d" % count), count, len(b"%d" % block_ms), block_ms, len(key), key, len(after), after,
    )  # fmt: skip
