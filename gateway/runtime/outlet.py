"""A transport as the sessions see it, and the hooks that tell when it is full, drained or gone.

The handshake and the parsing of frames stay with the web server's own protocol; the hooks stand before it and pass everything on.
"""

import asyncio
from collections.abc import Callable

_LOW_SHARE = 2
"""Writing goes on once the buffer has fallen to the mark divided by this."""


class TransportOutlet:
    """Writes prebuilt frames to a transport. `paused` is kept by the hooks; after `shut` nothing more is written.

    `send` is the transport's own method: on the hot path a Python function in between would cost as much again.
    """

    __slots__ = ("_transport", "paused", "send", "shut")

    def __init__(self, transport: asyncio.Transport, mark_bytes: int) -> None:
        transport.set_write_buffer_limits(high=mark_bytes, low=mark_bytes // _LOW_SHARE)
        self._transport = transport
        self.send = transport.write
        self.paused = False
        self.shut = False

    def write(self, data: bytes) -> None:
        if self.shut:
            return
        try:
            self.send(data)
        except RuntimeError:
            self.shut = True  # the handle is closed already, and connection_lost is on its way

    def buffered(self) -> int:
        return 0 if self.shut else self._transport.get_write_buffer_size()


class Hooks(asyncio.Protocol):
    """Stands between a transport and `inner`, its protocol so far."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        outlet: TransportOutlet,
        *,
        on_full: Callable[[], None],
        on_drained: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.inner = inner
        self.outlet = outlet
        self.on_full = on_full
        self.on_drained = on_drained
        self.on_lost = on_lost
        self.received = 0

    def data_received(self, data: bytes) -> None:
        self.received += 1
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        self.outlet.paused = True
        self.inner.pause_writing()
        self.on_full()

    def resume_writing(self) -> None:
        self.outlet.paused = False
        self.inner.resume_writing()
        self.on_drained()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.outlet.shut = True
        self.inner.connection_lost(exc)  # type: ignore[arg-type] # the declared type is too narrow
        self.on_lost()
