"""What the library's connections do differently here: cancelled at once, gone from a server that was demoted, lent."""

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ReadOnlyError


class _Cancellable:
    """Mixed into the library's connections: a cancellation is never lost, and takes effect at once.

    Before Python 3.12, `asyncio.wait_for` drops a cancellation that arrives just as what it waits for completes, and the
    library writes every command through it, a task for each.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit_s, self.socket_timeout = self.socket_timeout, None  # without one, the library writes directly
        try:
            async with asyncio.timeout(limit_s):
                await cast("Any", super()).send_packed_command(command, check_health)
        finally:
            self.socket_timeout = limit_s


class _LeavesReplicas:
    """Mixed in likewise: a server that refuses writes was demoted, so the next command connects anew.

    Then the address is resolved again: by the sentinels, or by whatever moves a name to the new master.
    """

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await cast("Any", super()).read_response(*arguments, **options)
        except ReadOnlyError:
            await cast("Any", self).disconnect(nowait=True)
            raise


class TransportAccess:
    """Mixed in likewise: what `depthcast.shared.runtime.tail` needs to speak to a connection's transport itself, for a while."""

    socket_timeout: float | None

    @property
    def transport(self) -> asyncio.Transport:
        """Of a connection that is connected."""
        return cast("asyncio.Transport", cast("Any", self)._writer.transport)  # noqa: SLF001  # its own

    def host_error(self) -> str:
        """Who is at the other end, as the library's errors name it."""
        return cast("str", cast("Any", self)._host_error())  # noqa: SLF001  # its own

    if TYPE_CHECKING:  # the library's

        async def read_response(self) -> Any: ...

        async def disconnect(self, nowait: bool = False) -> None: ...


@cache
def with_mixins(connection_class: type) -> type:
    """A connection class of the library with what is told above."""
    return type(
        connection_class.__name__, (_Cancellable, _LeavesReplicas, TransportAccess, connection_class), {}
    )
