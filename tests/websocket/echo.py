"""An echo of every message on the gateway's own WebSocket, for the Autobahn test suite; only tests have it.

`/echo` is added to a gateway that a test makes. Frames, inflation, limits and closing are the gateway's.
Messages go back framed, and compressed where that was negotiated, by the same functions as market data.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from depthcast.gateway.protocol.frames import BINARY, TEXT, deflated, frame
from depthcast.gateway.protocol.grant import Grant
from depthcast.gateway.protocol.http_head import Head
from depthcast.gateway.protocol.negotiation import Handshake
from depthcast.gateway.runtime.front import Front
from depthcast.gateway.runtime.process import GatewayProcess
from depthcast.gateway.runtime.websocket import WebSocket
from tests.integration.gateway_harness import running_gateway

PATH: Final = "/echo"
LIMITS: Final = {
    "connections_per_address_max": 10**6,
    "connects_per_address_per_s": 10**6,
    "message_bytes_max": 1 << 24,
    "messages_per_s": 10**9,
    "messages_burst_max": 10**9,
    "input_bytes_per_s": 10**12,
    "input_bytes_burst_max": 10**12,
    "input_buffer_bytes_max": 1 << 36,
}
"""The suite has messages of 16 MiB, and connects and sends as fast as it can."""


class Echo(WebSocket):
    """Sends each message back."""

    def message(self, data: str | bytes) -> Iterator[None]:
        text = isinstance(data, str)
        plain = frame(TEXT if text else BINARY, data.encode() if isinstance(data, str) else data)
        self.writer.write(compressed(plain) if self.protocol.extensions else plain)
        yield


def compressed(plain: bytes) -> bytes:
    """Also what becomes longer by it, which the gateway leaves plain: the suite takes no plain answer."""
    shrunk = deflated(plain, 1)
    if shrunk is not plain:
        return shrunk
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    payload = plain[payload_start(plain) :]
    squeezed = squeezer.compress(payload) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    return frame(plain[0] & 0x0F | 0x40, squeezed[:-4])


def payload_start(plain: bytes) -> int:
    """Where the payload of an unmasked frame begins."""
    return {126: 4, 127: 10}.get(plain[1], 2)


@contextmanager
def running_echo(redis_url: str) -> Iterator[str]:
    """The URL of an echo."""

    def add(process: GatewayProcess) -> None:
        def serve(front: Front, protocol: Handshake, _head: Head, _grant: Grant | None) -> WebSocket:
            assert front.transport is not None
            echo = Echo(protocol, front.transport, process.settings, process.counters, process.intake)
            echo.on_end = front.gone
            return echo

        process.paths[PATH] = serve

    with running_gateway(redis_url, "test-echo", prepare=add, **LIMITS) as running:
        yield running.url.replace("http", "ws", 1) + PATH
