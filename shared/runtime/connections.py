"""Changes to the library's connections: cancellation, closing, demoted servers, secrets, transports."""

import asyncio
from collections.abc import Coroutine, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from depthcast.shared.redis_url import HIDDEN
from depthcast.shared.runtime.error_replies import counts
from depthcast.shared.runtime.redis_tls import ReadsTlsFiles

CLOSE_S: Final = 4.0
"""Time for a connection to send what it has to send before it closes."""


class _Cancellable:
    """Makes a cancellation take effect at once, and never loses one.

    The library writes every command through `asyncio.wait_for`. Before Python 3.12 that loses a cancellation
    which arrives just as the wait completes, and starts a task for each command.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit_s, self.socket_timeout = self.socket_timeout, None  # without it the library writes directly
        try:
            async with asyncio.timeout(limit_s):
                await cast("Any", super()).send_packed_command(command, check_health)
        finally:
            self.socket_timeout = limit_s


_NO_MASTER: Final = ("READONLY", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED", "MOVED", "CLUSTERDOWN")
"""Codes of replies of a server that was demoted, has lost its replicas, or does not have the key's slot.

A server that replies ASK or TRYAGAIN has the slot, and goes on to have it until all keys have moved.
"""


class _LeavesReplicas:
    """Disconnects from a server that is no usable master; the next command resolves the address again.

    Sentinels, the cluster, or the host name then lead to the new master. Replies to the handshake do not
    count: the rest of it would connect anew, and so on without a pause.

    The replies to further commands of a pipeline are lost with the connection, so nobody knows what became of
    them; their error names the reply that ended it, which is counted then.
    """

    is_connected: bool
    _shaking_hands = False
    _left_after = ""

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        self._shaking_hands = True
        if not self.is_connected:
            self._left_after = ""
        try:
            await cast("Any", super()).connect_check_health(*arguments, **options)
        finally:
            self._shaking_hands = False

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        if self._left_after and not self.is_connected:
            counts[self._left_after.partition(" ")[0]] += 1
            raise RedisConnectionError(f"the connection was left after the reply {self._left_after}")
        try:
            return await cast("Any", super()).read_response(*arguments, **options)
        except ResponseError as error:
            no_master = error.status_code in _NO_MASTER or str(error).startswith(_NO_MASTER)
            if no_master and not self._shaking_hands:
                code, text = error.status_code or "", str(error)
                self._left_after = text if text.startswith(code) else f"{code} {text}"
                await cast("Any", self).disconnect(nowait=True)
            raise


class _HidesSecrets:
    """Keeps the password out of what a server answers to it.

    A server that does not know AUTH quotes the first bytes of its arguments in the error.
    """

    password: str | None

    async def on_connect_check_health(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await cast("Any", super()).on_connect_check_health(*arguments, **options)
        except RedisError as error:
            said = str(error)
            text = said.partition("with args")[0]
            if self.password:
                text = text.replace(self.password, HIDDEN)
            if text == said:
                raise
            hidden = type(error)(f"{text}{HIDDEN}")
            hidden.status_code = error.status_code
            raise hidden from None


class TransportAccess:
    """Gives `depthcast.shared.runtime.direct` access to a connection's transport."""

    socket_timeout: float | None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; use it only while connected."""
        return cast("asyncio.Transport", cast("Any", self)._writer.transport)  # noqa: SLF001  # its own

    def host_error(self) -> str:
        """Return the server's address as the library writes it in errors."""
        return cast("str", cast("Any", self)._host_error())  # noqa: SLF001  # its own

    if TYPE_CHECKING:  # the library's

        async def read_response(self) -> Any: ...

        async def disconnect(self, nowait: bool = False) -> None: ...


class _ClosesAtOnce:
    """A pool that closes all its connections before it waits for anything: a cancellation leaves none open.

    The library closes each in a task of its own, and those that are cancelled before they begin close
    nothing. A connection that is still being made is closed once it is there, for the library passes it over.
    """

    _closings = 0

    async def disconnect(self, inuse_connections: bool = True) -> None:
        pool = cast("Any", self)
        connections = [*pool._available_connections]  # noqa: SLF001  # its own
        if inuse_connections:
            self._closings += 1
            connections += pool._in_use_connections  # noqa: SLF001  # its own
        writers = [each._writer for each in connections if each._writer is not None]  # noqa: SLF001  # its own
        for connection in connections:
            await connection.disconnect(nowait=True)  # goes to its end without a pause
        await asyncio.gather(*map(_closed, writers))

    async def ensure_connection(self, connection: Any) -> None:
        closings = self._closings
        await cast("Any", super()).ensure_connection(connection)
        if closings != self._closings:
            await connection.disconnect(nowait=True)
            raise RedisConnectionError("Connection closed while it was being made.")


async def close_together(closings: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run closings side by side, and raise the first error when all are over.

    A cancellation ends the wait for them, and none of them.
    """
    found = await asyncio.shield(asyncio.gather(*closings, return_exceptions=True))
    for each in found:
        if isinstance(each, BaseException):
            raise each


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until a stream that is being closed is closed; after a while, do without what it has to send."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass


class RoutingClient(Redis):
    """A client that sends commands to several servers, by plain clients of the library."""

    def at(self, key: str | bytes) -> Redis:
        """The plain client whose connections go to the server with this key, for its readers."""
        raise NotImplementedError


@cache
def with_mixins(connection_class: type) -> type:
    """Return a connection class of the library with all changes."""
    mixins = (_Cancellable, _LeavesReplicas, _HidesSecrets, ReadsTlsFiles, TransportAccess)
    return type(connection_class.__name__, (*mixins, connection_class), {})


def prepare_pool(pool: Any) -> None:
    """Give a pool of the library, and the connections that it will make, all changes."""
    pool.connection_class = with_mixins(pool.connection_class)
    pool.__class__ = _closing(cast("type", type(pool)))


@cache
def _closing(pool_class: type) -> type:
    return type(pool_class.__name__, (_ClosesAtOnce, pool_class), {})
