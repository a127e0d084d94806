"""A process of clients that break no rule: `python -m tests.soak.crowd PORT SYMBOLS`.

A line of numbers on standard input says how many of each kind there shall be, in the order of `KINDS`. Once
a second it prints what the measured ones saw, and how connections ended, as a line of JSON.

Every client has an address of its own, as clients of a real gateway have.
"""

import asyncio
import contextlib
import itertools
import random
import resource
import socket
import statistics
import sys
import time
from collections import Counter
from typing import Final, cast

import orjson
import uvloop

from tests.attack.wire import CLOSE, TEXT, frame, message, next_frame, upgrade

KINDS: Final = ("steady", "measured", "crediting", "slow", "stalled", "restless")
SUBSCRIBED: Final = 10
DEPTH: Final = 10
BACK_S: Final = (0.5, 1.5)
SLOW_S: Final = 0.5
"""A slow client reads once in this time, into a small buffer."""
SMALL_BYTES: Final = 4096
RESTLESS_S: Final = (0.5, 5.0)
CREDIT: Final = 50


class Client(asyncio.Protocol):
    """One honest client: subscribes after its handshake, reads, and comes back after it was cut off."""

    def __init__(self, crowd: "Crowd", source: str) -> None:
        self.crowd = crowd
        self.source = source
        self.transport: asyncio.Transport | None = None
        self.greeted = False
        self.leaving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has all of it, but not the class
        self.greeted = False
        self.transport.write(upgrade())

    def data_received(self, data: bytes) -> None:
        if self.greeted:
            self.received(data)
        elif b"101 " in data[:16]:
            self.greeted = True
            self.welcomed()
        else:
            self.crowd.endings[data[:12].decode("latin-1")] += 1
            self.leave()

    def welcomed(self) -> None:
        """Subscribe to some symbols."""
        self.send(op="subscribe", symbols=self.crowd.some(), depth=DEPTH)

    def received(self, data: bytes) -> None:
        """Take what came; most clients do not look at it."""

    def send(self, **fields: object) -> None:
        if self.transport is not None:
            self.transport.write(message(**fields))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None and not self.leaving:
            self.crowd.endings[f"{type(self).__name__.lower()} cut off"] += 1
        self.transport, self.leaving = None, False
        self.crowd.later(random.uniform(*BACK_S), self.crowd.connect, self)

    def leave(self) -> None:
        """End the connection, now and then without a word."""
        if self.transport is not None:
            self.leaving = True
            if random.random() < 0.5:
                self.transport.write(frame(CLOSE, b"\x03\xe8"))
                self.transport.close()
            else:
                self.transport.abort()


class Steady(Client):
    """Reads everything at once."""


class Measured(Client):
    """Looks at the age of everything it reads."""

    buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.buffer = b""
        super().connection_made(transport)

    def received(self, data: bytes) -> None:
        now = time.time() * 1e3
        self.buffer += data
        at = 0
        while (found := next_frame(self.buffer, at)) is not None:
            opcode, payload, at = found
            if opcode == TEXT:
                fields = orjson.loads(payload)
                if fields["type"] == "delta":
                    self.crowd.ages.append(now - fields["ts"] / 1e3)
            elif opcode == CLOSE:
                self.crowd.endings[f"measured closed with {int.from_bytes(payload[:2])}"] += 1
        self.buffer = self.buffer[at:]


class Crediting(Client):
    """Gives credit for a while at a time."""

    def welcomed(self) -> None:
        self.send(op="credit", messages=CREDIT)
        super().welcomed()
        self.crowd.later(1.0, self.go_on)

    def go_on(self) -> None:
        if self.transport is not None:
            self.send(op="credit", messages=CREDIT)
            self.crowd.later(1.0, self.go_on)


class Slow(Client):
    """Reads a little, twice a second."""

    def received(self, data: bytes) -> None:
        transport = self.transport
        if transport is not None:
            transport.pause_reading()
            self.crowd.later(SLOW_S, self.go_on, transport)

    def go_on(self, transport: asyncio.Transport) -> None:
        if transport is self.transport and not transport.is_closing():
            transport.resume_reading()


class Stalled(Client):
    """Never reads again, and comes back once the gateway has given it up."""

    def received(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.pause_reading()
            self.crowd.later(1.0, self.look, self.transport)

    def look(self, transport: asyncio.Transport) -> None:
        if transport is not self.transport:
            return
        state = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state == 1:
            self.crowd.later(1.0, self.look, transport)
        else:
            self.crowd.endings["stalled given up"] += 1
            self.leaving = True
            transport.abort()


class Restless(Client):
    """Leaves after a moment, and comes back."""

    def welcomed(self) -> None:
        super().welcomed()
        self.crowd.later(random.uniform(*RESTLESS_S), self.leave)


CLASSES: Final = dict(zip(KINDS, (Steady, Measured, Crediting, Slow, Stalled, Restless), strict=True))


class Crowd:
    """All clients. `ages`: in ms, of what the measured ones received since the last line."""

    def __init__(self, port: int, symbols: int) -> None:
        self.port = port
        self.symbols = [f"S{number:03}" for number in range(symbols)]
        self.ages: list[float] = []
        self.endings: Counter[str] = Counter()
        self.clients: dict[str, list[Client]] = {kind: [] for kind in KINDS}
        self.loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def some(self) -> list[str]:
        """Some symbols."""
        return random.sample(self.symbols, min(SUBSCRIBED, len(self.symbols)))

    def later(self, seconds: float, call: "object", *words: object) -> None:
        assert callable(call)
        self.loop.call_later(seconds, call, *words)

    def connect(self, client: Client) -> None:
        task = asyncio.ensure_future(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def want(self, counts: dict[str, int]) -> None:
        """Add clients until there are so many of each kind."""
        for kind, count in counts.items():
            while len(self.clients[kind]) < count:
                number = next(self._numbers)
                client = CLASSES[kind](self, f"127.{1 + number // 250}.{number % 250}.1")
                self.clients[kind].append(client)
                self.later(random.uniform(0, 2), self.connect, client)

    async def _connect(self, client: Client) -> None:
        raw = socket.socket()
        raw.setblocking(False)
        if isinstance(client, Slow | Stalled):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        try:
            raw.bind((client.source, 0))
            await self.loop.sock_connect(raw, ("127.0.0.1", self.port))
            await self.loop.create_connection(lambda: client, sock=raw)
        except OSError as error:
            raw.close()
            self.endings[f"not connected: {error.strerror}"] += 1
            self.later(random.uniform(*BACK_S), self.connect, client)

    def report(self) -> bytes:
        """What was seen since the last report."""
        ages, self.ages = sorted(self.ages), []
        fields = {
            "connected": sum(c.transport is not None for clients in self.clients.values() for c in clients),
            "messages": len(ages),
            "p50_ms": statistics.median(ages) if ages else None,
            "p99_ms": ages[int(len(ages) * 0.99)] if ages else None,
            "most_ms": ages[-1] if ages else None,
            "endings": dict(self.endings),
        }
        return orjson.dumps(fields) + b"\n"


async def main(port: int, symbols: int) -> None:
    crowd = Crowd(port, symbols)
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    async def obey() -> None:
        while line := await orders.readline():
            crowd.want(dict(zip(KINDS, map(int, line.split()), strict=True)))

    obeying = asyncio.create_task(obey())
    with contextlib.suppress(BrokenPipeError):
        while not obeying.done():
            await asyncio.sleep(1.0)
            sys.stdout.buffer.write(crowd.report())
            sys.stdout.flush()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
