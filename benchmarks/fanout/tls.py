"""What TLS costs a gateway: CPU of a delivery, CPU and memory of a connection, beside plain ones."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import redis
import trustme
from websockets.frames import Frame, Opcode

from benchmarks.fanout.market import Market, Tick, now_us
from benchmarks.fanout.servers import Gateway, gateway, redis_server
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import HOST, EmbeddedServer
from depthcast.shared.codec import WRITTEN_FIELD

CLIENTS = 200
TICKS = 200
WARM_UP = 20
PLAIN, TLS = "plain", "TLS 1.3"
DELIVERY = Metric("delivery_us", "CPU per delivery", "µs", digits=1)
CONNECTION = Metric("connection_us", "CPU per connection", "µs", digits=0)
KIB = Metric("kib", "memory per connection", "KiB", digits=1)
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TIMEOUT_S = 60.0


class Client(asyncio.Protocol):
    """Subscribes, and counts the frames that come. `on_frame` is called for each."""

    def __init__(self, message: str, crowd: "Crowd") -> None:
        self.message = message
        self.crowd = crowd
        self.buffer = bytearray()
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(UPGRADE + Frame(Opcode.TEXT, self.message.encode()).serialize(mask=True))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.open:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.open = True
            del self.buffer[: end + 4]
        while (size := _frame_bytes(self.buffer)) and size <= len(self.buffer):
            del self.buffer[:size]
            self.crowd.count()


class Crowd:
    """Clients of one gateway, in this process: only the gateway's costs are measured."""

    def __init__(self) -> None:
        self.frames = self.wanted = 0
        self.there = asyncio.Event()

    def count(self) -> None:
        """One more frame has come."""
        self.frames += 1
        if self.frames == self.wanted:
            self.there.set()

    async def connect(self, port: int, message: str, clients: int, trust: ssl.SSLContext | None) -> None:
        """Connect so many clients, one after the other, until each has its first book."""
        loop = asyncio.get_running_loop()
        for _ in range(clients):
            self._want(3)  # welcome, subscribed, snapshot
            await loop.create_connection(lambda: Client(message, self), HOST, port, ssl=trust)
            await self._all()

    async def follow(self, ticks: Sequence[Tick], server: Gateway, clients: int) -> None:
        """Publish each tick when all clients have the one before."""
        with redis.Redis(port=server.trigger_port) as publisher:
            for tick in ticks:
                self._want(clients)
                for number, (position, fields) in tick.entries.items():
                    written = WRITTEN_FIELD, b"%d" % now_us()
                    key = server.keys.partition(number).deltas
                    publisher.xadd(key, dict([*fields, written]), id=str(position))
                await self._all()

    def _want(self, frames: int) -> None:
        self.there.clear()
        self.wanted = self.frames + frames

    async def _all(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.there.wait()


def _frame_bytes(buffer: bytearray) -> int:
    """Size of the first frame of a server, 0 if its header has not come."""
    if len(buffer) < 2:
        return 0
    size = buffer[1]
    if size < 126:
        return 2 + size
    length = 2 if size == 126 else 8
    return 2 + length + int.from_bytes(buffer[2 : 2 + length], "big") if len(buffer) >= 2 + length else 0


def run(run: Run) -> None:
    """A gateway for each round, for freed memory is not always given back."""
    with redis_server() as server, TemporaryDirectory(prefix="depthcast-tls-") as folder:
        ca, cert = trustme.CA(), Path(folder) / "cert.pem"
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(cert))
        trust = ssl.create_default_context()
        ca.configure_trust(trust)
        contenders = [
            Contender(PLAIN, partial(one_round, server, None, "")),
            Contender(TLS, partial(one_round, server, trust, str(cert))),
        ]
        targets = [Target("delivery_us", TLS, PLAIN, most=2.0), Target("kib", TLS, most=60)]
        name = f"{CLIENTS} clients of one symbol"
        run.compare(name, contenders, [DELIVERY, CONNECTION, KIB], baseline=PLAIN, targets=targets)
        run.note("The certificate has an ECDSA key (P-256). No session is resumed.")


def one_round(server: EmbeddedServer, trust: ssl.SSLContext | None, cert: str) -> Measurement:
    """Connect, then follow a market."""
    market = Market(1, messages=False)
    with ExitStack() as stack:
        ours = stack.enter_context(gateway(server, market, f"tls-{market.epoch}", trust, tls_cert=cert))
        return asyncio.run(measured(ours, market, trust))


async def measured(ours: Gateway, market: Market, trust: ssl.SSLContext | None) -> Measurement:
    """What `CLIENTS` clients cost beyond the first few."""
    crowd, (message,) = Crowd(), ours.subscribe([0])
    await crowd.connect(ours.port, message, WARM_UP, trust)
    memory, cpu_s = ours.program.memory(), ours.program.cpu_s()
    await crowd.connect(ours.port, message, CLIENTS, trust)
    connection_us = (ours.program.cpu_s() - cpu_s) / CLIENTS * 1e6
    kib = (ours.program.memory() - memory) / CLIENTS / 1024
    clients = WARM_UP + CLIENTS
    ticks = [market.tick() for _ in range(WARM_UP + TICKS)]
    await crowd.follow(ticks[:WARM_UP], ours, clients)
    cpu_s = ours.program.cpu_s()
    await crowd.follow(ticks[WARM_UP:], ours, clients)
    delivery_us = (ours.program.cpu_s() - cpu_s) / (TICKS * clients) * 1e6
    return {"delivery_us": delivery_us, "connection_us": connection_us, "kib": kib}


BENCHMARK = Benchmark("tls", "TLS", run, rounds=5, quick_rounds=1)
