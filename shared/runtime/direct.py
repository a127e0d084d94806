"""Sends commands through a client over one connection that is kept, at a quarter of the library's cost.

For each command the library takes a connection from its pool, checks it, prepares for retries, starts a
timer, wakes through a stream reader and returns the connection. That is four times the work of sending and
parsing. So a `DirectClient` keeps one of the client's connections and uses its transport directly. The
library still handles addresses, TLS, authentication and errors. After any error the connection is closed and
returned, and the next command begins with a connection from the pool.
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
from depthcast.shared.runtime.connections import RoutingClient, TransportAccess

_CLOSED: Final = "Connection closed by server."
"""The same text as the library's."""

_CLOSED_HERE: Final = "Connection closed by another task."

_ERROR: Final = ord("-")
"""First byte of an error reply."""


class ReplyTooBig(DepthcastError):
    """A reply exceeds its limit; the connection is closed without reading the rest."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a reply is larger than {most} bytes")


class DirectClient:
    """Sends commands on `key` through `client`, one at a time. `received`: bytes of the last reply.

    Who sends while another command is under way is refused: its reply could not be told from the other one's.
    """

    def __init__(self, client: Redis, key: str, reply_bytes_max: int | None = None) -> None:
        self.client = client
        self.key = key
        self.received = 0
        self._reply_bytes_max = reply_bytes_max
        self._borrowed: _BorrowedConnection | None = None
        self._renewals = self._renewed = 0
        self._borrowing = False
        # Asked once: a class of the library is a Protocol, which makes the question a dozen calls.
        self._routing = client if isinstance(client, RoutingClient) else None

    @property
    def pool(self) -> Any:
        """The pool of connections to the server that commands go to now."""
        client = self.client if self._routing is None else self._routing.at(self.key)
        return client.connection_pool

    @property
    def possible(self) -> bool:
        """Whether the client's transports can be used; if not, nothing may be sent."""
        return issubclass(self.pool.connection_class, TransportAccess)

    @property
    def usable(self) -> bool:
        """Whether it keeps a connection over which a command may be sent now."""
        return self._borrowed is not None and self._borrowed.usable

    async def send(self, command: bytes) -> Any:
        """Send a packed command and return its reply.

        Raises the library's errors, `ReplyTooBig` once a reply exceeds `reply_bytes_max`, and `RuntimeError`
        while another command is under way.
        """
        borrowed = self._borrowed
        if self._borrowing or (borrowed is not None and borrowed.busy):
            raise RuntimeError("a DirectClient sends one command at a time, and another one is under way")
        if borrowed is None or not borrowed.usable or borrowed.pool is not self.pool:
            borrowed = await self._borrow()
        try:
            reply = await borrowed.send(command)
        except AskError:
            await self._return(borrowed, closed=False)
            raise
        except BaseException:
            await self._return(borrowed, closed=True)
            raise
        self.received = borrowed.received
        return reply

    async def release(self) -> None:
        """Return the connection to the pool; the next `send` borrows one again.

        While a command is under way, this closes the connection instead: its reply must reach nobody else.
        """
        if self._borrowed is not None:
            await self._return(self._borrowed, closed=not self._borrowed.usable)

    async def close(self) -> None:
        """Close the connection; the next `send` borrows another one.

        A command that is under way fails with the library's `ConnectionError`: its outcome is unknown.
        """
        if self._borrowed is not None:
            await self._return(self._borrowed, closed=True)

    def renew(self) -> None:
        """Have the next `send` connect anew; a command that is under way keeps its connection."""
        self._renewals += 1
        if self._borrowed is not None:
            self._borrowed.retire()

    async def _borrow(self) -> "_BorrowedConnection":
        self._borrowing = True
        try:
            await self.release()
            pool = self.pool
            connection = await pool.get_connection()
            try:
                await self._connect_anew(connection)
                self._borrowed = _BorrowedConnection(connection, pool, self._reply_bytes_max)
            except BaseException:
                await connection.disconnect(nowait=True)
                await pool.release(connection)
                raise
            return self._borrowed
        finally:
            self._borrowing = False

    async def _connect_anew(self, connection: Any) -> None:
        """Close and open a connection of the pool if a new one is wanted: it may have been idle until now."""
        while self._renewed != self._renewals:
            renewals = self._renewals
            await connection.disconnect(nowait=True)
            await connection.connect()
            self._renewed = renewals

    async def _return(self, borrowed: "_BorrowedConnection", *, closed: bool) -> None:
        """Return it to its pool, unless another task has done so while a command waited."""
        if self._borrowed is not borrowed:
            return
        self._borrowed = None
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
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another command may be sent."""
        return self._usable and self._reply is None and not self._transport.is_closing()

    @property
    def busy(self) -> bool:
        """Whether a command is under way."""
        return self._reply is not None

    async def send(self, command: bytes) -> Any:
        """Send a packed command and wait for its reply; after an error the connection is not usable."""
        self.received = 0
        reply = self._reply = self._loop.create_future()
        self._transport.write(command)
        self._sent_at = self._loop.time()
        if self._timer is None and self._timeout_s is not None:
            self._timer = self._loop.call_later(self._timeout_s, self._expire)
        try:
            found = await reply
        finally:
            self._reply = None
        if found is _LEFT_TO_LIBRARY:
            return await self.connection.read_response()
        return found

    def retire(self) -> None:
        """Take no further command; the one under way goes on."""
        self._usable = False

    def end(self) -> None:
        """Give the transport back to the library's protocol, and fail the command under way, if there is one.

        One that is being closed keeps this protocol, which passes everything on; over TLS it names none any
        more.
        """
        self._fail(RedisConnectionError(_CLOSED_HERE))
        self._leave()

    def _leave(self) -> None:
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
            self._leave()
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
            if self._parser.has_data():
                self._usable = False
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
        """End what has waited too long. One timer serves many commands, because to make it costs more."""
        assert self._timeout_s is not None
        self._timer = None
        if self._reply is None:
            return
        left_s = self._sent_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._expire)
            return
        self._fail(RedisTimeoutError(f"Timeout reading from {self.connection.host_error()}"))

    def _fail(self, error: Exception) -> None:
        self._usable = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


_LEFT_TO_LIBRARY: Final = object()
"""Marks a reply that the library has to parse."""
