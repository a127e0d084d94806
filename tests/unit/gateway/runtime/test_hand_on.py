"""A connection that becomes a WebSocket or an event stream while its client has stopped reading."""

import asyncio
from typing import Any

import pytest

from depthcast.gateway.runtime.front import Front
from depthcast.gateway.runtime.process import GatewayProcess
from depthcast.shared.instruments import Instrument
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Symbol
from tests.waiting import eventually

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
STREAM = b"GET /v1/stream?symbols=AAA HTTP/1.1\r\nHost: a\r\n\r\n"


class NarrowTransport(asyncio.Transport):
    """Takes the first `room` bytes; what is written after them waits for ever."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.waiting = bytearray()
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def write(self, data: Any) -> None:
        taken, self.room = data[: self.room], max(0, self.room - len(data))
        began = not self.waiting
        self.waiting += data[len(taken) :]
        if began and self.waiting:
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.pause_writing()


@pytest.mark.parametrize("request_bytes", [UPGRADE, STREAM], ids=["websocket", "stream"])
async def test_what_waits_before_it_is_handed_on_is_noticed(request_bytes: bytes) -> None:
    process = GatewayProcess(GatewaySettings())
    process.core.market.set_partitions(1)
    process.core.list_instruments({"AAA": Instrument(Symbol("AAA"), "0.01", "0.001")})
    transport, front = NarrowTransport(room=500), Front(process)
    transport.protocol = front
    front.connection_made(transport)
    front.data_received(request_bytes)
    await eventually(process.clients)
    (client,) = process.clients()
    assert transport.waiting, "a part of `welcome` waits"
    assert not client.writer.clear
