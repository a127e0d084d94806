"""What TLS and a token cost a gateway, by connection and by delivery, beside plain ones."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import jwt
import redis
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.frames import Frame, Opcode

from benchmarks.fanout.market import Market, Tick, now_us
from benchmarks.fanout.servers import Gateway, gateway, redis_server
from benchmarks.fanout.tokens import claims
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.shared.codec import WRITTEN_FIELD

CLIENTS = 200
TICKS = 200
WARM_UP = 20
PLAIN, TOKEN, TLS, BOTH = "plain", "a token", "TLS 1.3", "TLS 1.3 and a token"
DELIVERY = Metric("delivery_us", "CPU per delivery", "µs", digits=1)
CONNECTION = Metric("connection_us", "CPU per connection", "µs", digits=0)
KIB = Metric("kib", "memory per connection", "KiB", digits=1)
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
TIMEOUT_S = 60.0
CONNECTIONS_MAX = 1_000_000
"""All clients present the same token."""


class Token(NamedTuple):
    """What clients present, and the file with the key that the gateway checks it with; empty without."""

    text: str = ""
    keys: str = ""


NO_TOKEN = Token()


class Client(asyncio.Protocol):
    """Subscribes, and counts the frames that come. `on_frame` is called for each."""

    def __init__(self, message: str, crowd: "Crowd") -> None:
        self.message = message
        self.crowd = crowd
        self.buffer = bytearray()
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        token = self.crowd.token and b"Authorization: Bearer %b\r\n" % self.crowd.token.encode()
        head = UPGRADE + (token or b"") + b"\r\n"
        transport.write(head + Frame(Opcode.TEXT, self.message.encode()).serialize(mask=True))

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
    """Clients of one gateway, in this process: only the gateway's costs are measured.

    `token`: what each presents, empty if none.
    """

    def __init__(self, token: str) -> None:
        self.token = token
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
        signing, keys = ec.generate_private_key(ec.SECP256R1()), Path(folder) / "keys.pem"
        public = signing.public_key()
        keys.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        token = Token(jwt.encode(claims(CONNECTIONS_MAX), signing, "ES256"), str(keys))
        contenders = [
            Contender(PLAIN, partial(one_round, server, None, "")),
            Contender(TOKEN, partial(one_round, server, None, "", token)),
            Contender(TLS, partial(one_round, server, trust, str(cert))),
            Contender(BOTH, partial(one_round, server, trust, str(cert), token)),
        ]
        targets = [
            Target("delivery_us", TOKEN, PLAIN, most=1.25),
            Target("delivery_us", TLS, PLAIN, most=2.0),
            Target("kib", BOTH, most=60),
        ]
        name = f"{CLIENTS} clients of one symbol"
        run.compare(name, contenders, [DELIVERY, CONNECTION, KIB], baseline=PLAIN, targets=targets)
        run.note(
            "The certificate has an ECDSA key (P-256), and so has a token (ES256). No session is resumed."
        )


def one_round(
    server: EmbeddedServer, trust: ssl.SSLContext | None, cert: str, token: Token = NO_TOKEN
) -> Measurement:
    """Connect, then follow a market. The gateway also serves clients without a token, to be waited for."""
    market = Market(1, messages=False)
    settings: dict[str, object] = {"tls_cert": cert}
    if token.keys:
        settings |= {
            "token_keys": token.keys,
            "anonymous": "true",
            "connections_per_token_max": CONNECTIONS_MAX,
        }
    with ExitStack() as stack:
        ours = stack.enter_context(gateway(server, market, f"tls-{market.epoch}", trust, None, **settings))
        return asyncio.run(measured(ours, market, trust, token.text))


async def measured(ours: Gateway, market: Market, trust: ssl.SSLContext | None, token: str) -> Measurement:
    """What `CLIENTS` clients cost beyond the first few."""
    crowd, (message,) = Crowd(token), ours.subscribe([0])
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


BENCHMARK = Benchmark("tls", "TLS and tokens, by connection and by delivery", run, rounds=5, quick_rounds=1)
