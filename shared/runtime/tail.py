"""Reads the end of a stream repeatedly, at a quarter of the library's cost.

For each command the library takes a connection from its pool, checks it, prepares for retries, starts a
timer, wakes through a stream reader and returns the connection. That is four times the work of sending and
parsing. So a `Tail` keeps one of the client's connections while entries come, and uses its transport
directly. The library still handles addresses, TLS, authentication and errors. After any error the connection
is closed and returned, and the next read begins with a connection from the pool.
"""

import asyncio
import sys
from typing import Any, Final, cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import AskError, InvalidResponse
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from depthcast.shared.errors import DepthcastError
from depthcast.shared.position import Position
from depthcast.shared.runtime.cluster import plain_client
from depthcast.shared.runtime.connections import TransportAccess
from depthcast.shared.runtime.redis import RawEntry, map_errors, parse_streams, read_stream

_CLOSED: Final = "Connection closed by server."
"""The same text as the library's."""

_ERROR: Final = ord("-")
"""First byte of an error reply."""

_XREAD: Final = (
    b"*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$%d\r\n%d\r\n$5\r\nBLOCK\r\n$%d\r\n%d\r\n"
    b"$7\r\nSTREAMS\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
)


class ReplyTooBig(DepthcastError):
    """A reply exceeds its limit; the connection is closed without reading the rest."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a reply is larger than {most} bytes")


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
        self.client = client
        self.key = key
        self.reply_bytes = 0
        self._reply_bytes_max = reply_bytes_max
        self._follows = follows
        self._borrowed: _BorrowedConnection | None = None

    async def read(self, after: Position, *, count: int, block_ms: int) -> list[RawEntry]:
        """Read up to `count` entries after `after`; waits up to `block_ms` for the first."""
        pool = self._pool
        if not issubclass(pool.connection_class, TransportAccess):
            return await self._read_by_client(after, count, block_ms)
        borrowed = self._borrowed
        if borrowed is None or not borrowed.usable or borrowed.pool is not pool:
            async with map_errors(self.key):
                borrowed = await self._borrow()
        command = _xread(self.key.encode(), b"%d-%d" % after, count, block_ms)
        try:
            reply = await borrowed.send(command)
        except AskError:
            async with map_errors(self.key):
                await self._return(closed=False)
                if not self._follows:
                    raise
            return await self._read_by_client(after, count, block_ms)
        except BaseException as error:
            moved = isinstance(error, RedisConnectionError) and self._pool is not pool
            async with map_errors(self.key):
                await self._return(closed=True)
                if not moved:
                    raise
            return await self.read(after, count=count, block_ms=block_ms)
        self.reply_bytes = borrowed.received
        if not reply:
            await self.release()
            return []
        return parse_streams(reply)

    async def _read_by_client(self, after: Position, count: int, block_ms: int) -> list[RawEntry]:
        client = plain_client(self.client, self.key)
        entries = await read_stream(client, self.key, after, count=count, block_ms=block_ms)
        self.reply_bytes = sum(len(name) + len(raw) for _, fields in entries for name, raw in fields)
        return entries

    async def release(self) -> None:
        """Return the connection to the pool; the next `read` borrows one again."""
        if self._borrowed is not None:
            await self._return(closed=not self._borrowed.usable)

    async def _borrow(self) -> "_BorrowedConnection":
        await self.release()
        pool = self._pool
        connection = await pool.get_connection()
        self._borrowed = _BorrowedConnection(connection, pool, self._reply_bytes_max)
        return self._borrowed

    @property
    def _pool(self) -> Any:
        """The pool of connections to the server that is to be read now."""
        return plain_client(self.client, self.key).connection_pool

    async def _return(self, *, closed: bool) -> None:
        borrowed, self._borrowed = self._borrowed, None
        assert borrowed is not None
        borrowed.end()
        if closed:
            await borrowed.connection.disconnect(nowait=True)
        await borrowed.pool.release(borrowed.connection)


class _BorrowedConnection(asyncio.Protocol):
    """Replaces the library's protocol on a connection's transport, and passes events on to that protocol.

    `received`: bytes of the last reply.
    """

    def __init__(self, connection: TransportAccess, pool: Any, reply_bytes_max: int | None) -> None:
        self.connection = connection
        self.pool = pool
        self._usable = True
        self.received = 0
        self._received_max = sys.maxsize if reply_bytes_max is None else reply_bytes_max
        self._timeout_s = connection.socket_timeout
        self._loop = asyncio.get_running_loop()
        self._transport = connection.transport
        self._library = cast("asyncio.Protocol", self._transport.get_protocol())
        self._parser = hiredis.Reader(protocolError=InvalidResponse)
        self._reply: asyncio.Future[Any] | None = None
        self._begun = False
        self._transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another command may be sent."""
        return self._usable and not self._transport.is_closing()

    async def send(self, command: bytes) -> Any:
        """Send a packed command and wait for its reply; after an error the connection is not usable."""
        self.received = 0
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
        """Give the transport back to the library's protocol.

        One that is being closed keeps this protocol, which passes everything on; over TLS it names none any
        more.
        """
        self._usable = False
        if not self._transport.is_closing() and self._transport.get_protocol() is self:
            self._transport.set_protocol(self._library)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or reply.done():
            self._usable = False  # no command was sent: the library would drop the connection too
            self._library.data_received(data)
            return
        if not self._begun and data[0] == _ERROR:
            self.end()
            self._library.data_received(data)
            reply.set_result(_LEFT_TO_LIBRARY)
            return
        self.received += len(data)
        if self.received > self._received_max:
            self._fail(ReplyTooBig(self._received_max))
            return
        try:
            self._parser.feed(data)
            found = self._parser.gets()
        except Exception as error:  # noqa: BLE001  # the server does not speak Redis; `send` raises it
            reply.set_exception(error)
            return
        self._begun = found is False
        if not self._begun:
            self._usable = not self._parser.has_data()
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
        self._usable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


_LEFT_TO_LIBRARY: Final = object()
"""Marks a reply that the library has to parse."""


def _xread(key: bytes, after: bytes, count: int, block_ms: int) -> bytes:
    return _XREAD % (
        len(b"%d" % count), count, len(b"%d" % block_ms), block_ms, len(key), key, len(after), after,
    )  # fmt: skip
