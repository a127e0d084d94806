"""WebSocket connections between simulated clients and gateways, below the program's own code at both ends.

The gateway's end is a transport as its real `Connection` uses it, the client's end a `Transport` of the real
client. Bytes that a client does not read stay in a window of limited size, then in the gateway's buffer, as
with TCP.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgpack
import orjson
from websockets.frames import Frame, Opcode

from depthcast.client.transport import ConnectionLost
from depthcast.gateway.protocol.frames import CLOSE, TEXT
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.close_codes import CloseCode
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import NEXT_S
from tests.unit.gateway.model_client import split_frames

Accept = Callable[["GatewayTransport", Encoding], None]
WINDOW_BYTES: Final = 2_000
"""Maximum unread bytes between the gateway's buffer and the client."""


@dataclass
class Way:
    """A client's link to its gateway: mean delay in seconds, and the faults it causes."""

    loop: SimulatedLoop
    rng: Random
    delay_s: float
    parted: bool = False
    held: list[Callable[[], None]] = field(default_factory=list)
    latest: dict[str, float] = field(default_factory=dict)

    def travel(self, to: Process, arrive: Callable[[], None]) -> None:
        """Deliver in order, separately for each direction."""
        if self.parted:
            self.held.append(lambda: self.travel(to, arrive))
            return
        at = self.loop.time() + self.rng.expovariate(1 / self.delay_s)
        at = self.latest[to.name] = max(at, self.latest.get(to.name, 0.0) + NEXT_S)
        self.loop.call_at(at, arrive, context=to.context)

    def heal(self) -> None:
        """Deliver the messages that were in flight."""
        self.parted = False
        held, self.held = self.held, []
        for travel in held:
            travel()


class GatewayTransport(asyncio.Transport):
    """The gateway's end, sending half: a buffer that empties as the client reads."""

    def __init__(self, way: Way, gateway: Process) -> None:
        super().__init__()
        self.way = way
        self.gateway = gateway
        self.client: ClientTransport | None = None
        self.protocol: asyncio.Protocol = asyncio.Protocol()
        self.buffer = bytearray()
        self.window = WINDOW_BYTES
        self.high = self.low = 0
        self.full = self.closing = self.gone = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closing or self.gone

    def pause_reading(self) -> None:
        """Nothing to do: what a simulated client sends is little."""

    def resume_reading(self) -> None:
        """Nothing to do, as above."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high, self.low = high or 0, low or 0

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: Any) -> None:
        if self.gone or self.closing:
            return
        self.buffer += data
        self._pump()
        if len(self.buffer) > self.high and not self.full:
            self.full = True
            self._said().pause_writing()

    def read_by_client(self, count: int) -> None:
        """The client has taken `count` bytes out of the window."""
        self.window += count
        self._pump()
        if self.full and len(self.buffer) <= self.low:
            self.full = False
            self._said().resume_writing()
        if self.closing and not self.buffer:
            self.abort()

    def _pump(self) -> None:
        chunk = bytes(self.buffer[: self.window])
        client = self.client
        if chunk and client is not None and not self.gone:
            del self.buffer[: len(chunk)]
            self.window -= len(chunk)
            self.way.travel(client.process, lambda: client.arrived(chunk))

    def receive(self, raw: bytes) -> None:
        """Bytes of the client have arrived."""
        if not self.gone:
            self.protocol.data_received(raw)

    def _said(self) -> asyncio.BaseProtocol:
        return self.protocol

    def close(self) -> None:
        self.closing = True
        if not self.buffer:
            self.abort()

    def abort(self) -> None:
        client = self.client
        if client is not None and not self.gone:
            self.way.travel(client.process, client.ended)
        self.lose()

    def lose(self) -> None:
        """Block both directions."""
        if not self.gone:
            self.gone = True
            self.way.loop.call_soon(self.protocol.connection_lost, None, context=self.gateway.context)


class ClientTransport:
    """The client's end: a `depthcast.client.transport.Transport`."""

    def __init__(self, way: Way, process: Process, encoding: Encoding) -> None:
        self.way = way
        self.process = process
        self.encoding = encoding
        self.gateway: GatewayTransport | None = None
        self.raw = bytearray()
        self.inbox: deque[tuple[int, bytes, int]] = deque()
        self.received = self.acknowledged = 0
        self.arrival: asyncio.Future[None] | None = None
        self.lost: ConnectionLost | None = None

    def arrived(self, chunk: bytes) -> None:
        """Receive bytes from the gateway."""
        self.raw += chunk
        self.received += len(chunk)
        for opcode, payload in split_frames(self.raw):
            self.inbox.append((opcode, payload, self.received - len(self.raw)))
        self._wake()

    def ended(self) -> None:
        """The gateway's end is gone."""
        if self.lost is None:
            self.lost = ConnectionLost(CloseCode.LOST)
        self._wake()

    def _wake(self) -> None:
        if self.arrival is not None and not self.arrival.done():
            self.arrival.set_result(None)

    async def receive(self) -> Mapping[str, Any]:
        while not self.inbox:
            if self.lost is not None:
                raise self.lost
            self._acknowledge(self.received)
            self.arrival = self.way.loop.create_future()
            await self.arrival
        opcode, payload, end = self.inbox.popleft()
        self._acknowledge(end)
        if opcode == CLOSE:
            self.lost = ConnectionLost(int.from_bytes(payload[:2], "big"), payload[2:].decode())
            raise self.lost
        message: Mapping[str, Any] = orjson.loads(payload) if opcode == TEXT else msgpack.unpackb(payload)
        return message

    def _acknowledge(self, until: int) -> None:
        """Everything up to the byte `until` was read."""
        gateway, count = self.gateway, until - self.acknowledged
        if gateway is not None and count > 0:
            self.acknowledged = until
            self.way.travel(gateway.gateway, lambda: gateway.read_by_client(count))

    async def send(self, message: Mapping[str, Any]) -> None:
        if self.lost is not None:
            raise self.lost
        text = self.encoding is Encoding.JSON
        raw: bytes = orjson.dumps(message) if text else msgpack.packb(message)
        self._tell(Frame(Opcode.TEXT if text else Opcode.BINARY, raw))

    async def close(self) -> None:
        if self.lost is None:
            self.lost = ConnectionLost(1000)
        self._tell(Frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))

    def _tell(self, frame: Frame) -> None:
        gateway = self.gateway
        if gateway is not None and not gateway.gone:
            raw = frame.serialize(mask=True)
            self.way.travel(gateway.gateway, lambda: gateway.receive(raw))

    def drop(self) -> None:
        """Drop this end: its process was killed, or the connection was cut."""
        gateway = self.gateway
        self.ended()
        if gateway is not None:
            self.way.travel(gateway.gateway, gateway.lose)


async def dial(
    way: Way, client: Process, gateway: Process, accept: Accept | None, encoding: Encoding
) -> ClientTransport:
    """Connect `client` to `gateway`, where `accept` takes it; raises `ConnectionLost`."""
    answered: asyncio.Future[bool] = way.loop.create_future()
    end = ClientTransport(way, client, encoding)

    def reply(taken: bool) -> None:
        if not answered.done():
            answered.set_result(taken)

    def arrive() -> None:
        if accept is None or gateway.killed:
            way.travel(client, lambda: reply(False))
            return
        transport = GatewayTransport(way, gateway)
        transport.client, end.gateway = end, transport
        way.travel(client, lambda: reply(True))
        accept(transport, encoding)

    target = client.loop.world if accept is None or gateway.killed else gateway
    way.travel(target, arrive)
    try:
        async with asyncio.timeout(1.0):
            taken = await answered
    except TimeoutError:
        taken = False
    if not taken:
        end.drop()
        raise ConnectionLost(CloseCode.LOST, "refused")
    return end
