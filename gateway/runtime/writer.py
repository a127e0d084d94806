"""Wraps a transport for the sessions."""

import asyncio

from depthcast.gateway.delivery.writer import Send
from depthcast.gateway.runtime.submission import DirectSend, direct_send
from depthcast.gateway.runtime.tls_transport import TlsTransport


class TransportWriter:
    """Writes prebuilt frames to a transport. Its protocol maintains `clear`; after `shut` nothing is written.

    The transport reports when bytes begin to wait in it, and when none wait any more. While none wait, frames
    may go directly to the socket, because the transport's write costs more than the rest of a delivery in
    Python. That needs a separate descriptor: the transport's may already belong to another connection before
    the end of this one is reported. With TLS, the transport itself encrypts and sends at once.
    """

    __slots__ = ("_direct", "_mark_bytes", "_transport", "clear", "shut")

    def __init__(self, transport: asyncio.Transport, mark_bytes: int) -> None:
        transport.set_write_buffer_limits(high=0, low=0)
        self._transport = transport
        self._mark_bytes = mark_bytes
        self._direct: DirectSend | None = None
        self.clear = transport.get_write_buffer_size() == 0
        self.shut = False

    @property
    def paused(self) -> bool:
        return not self.clear and self.buffered() > self._mark_bytes

    def write(self, data: bytes) -> None:
        if self.shut:
            return
        try:
            self._transport.write(data)
        except RuntimeError:
            self.shut = True  # the handle is closed already, and connection_lost is on its way

    def buffered(self) -> int:
        return 0 if self.shut else self._transport.get_write_buffer_size()

    def direct(self) -> Send:
        if isinstance(self._transport, TlsTransport):
            return self._transport.send
        if self._direct is None:
            peer = self._transport.get_extra_info("socket")
            if peer is None:
                raise OSError("the transport has no socket")
            self._direct = direct_send(peer)
        return self._direct

    def close(self) -> None:
        """Close the descriptor for direct sends, because the transport has closed."""
        self.shut = True
        if self._direct is not None:
            self._direct.close()
