"""Connections to servers that nobody closed, found right after the test that left them.

Otherwise the garbage collector finds them during a later test, which then fails in its place.
"""

import functools
import weakref
from typing import Any

from redis.asyncio.connection import AbstractConnection

_made: "weakref.WeakSet[AbstractConnection]" = weakref.WeakSet()


def watch_connections() -> None:
    """Note from now on each connection that the library makes."""
    make = AbstractConnection.__init__

    @functools.wraps(make)
    def noted(self: AbstractConnection, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        _made.add(self)

    AbstractConnection.__init__ = noted  # type: ignore[method-assign]


def connections_left() -> list[str]:
    """Name each connection of asyncio that is open although its event loop is closed; none is named twice."""
    left = [connection for connection in tuple(_made) if _is_left(connection)]
    for connection in left:
        _made.discard(connection)
    return [repr(connection) for connection in left]


def _is_left(connection: AbstractConnection) -> bool:
    """A stand-in of fakeredis has no loop, and no socket that it could leave open."""
    loop = getattr(connection._writer, "_loop", None)
    return loop is not None and bool(loop.is_closed())
