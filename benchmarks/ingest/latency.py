"""From XADD to a WebSocket client in a quiet market: one event at a time, beside a bare hop through Redis.

Everything runs as shipped, and on all cores. The sender, the readers of the bare hops and the WebSocket
clients are tasks of this process. In a turn every path gets one event, in another order each turn; the next
path has its turn some milliseconds after the arrival.
"""

import asyncio
import gc
import random
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import aiohttp
import redis.asyncio

from benchmarks.fanout.servers import gateway_alone, redis_server, wait_until_live
from benchmarks.harness import SEED, Benchmark, Metric, Run, Target
from benchmarks.ingest.deployment import Deployment
from benchmarks.machine import CORES, pin
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import pack
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of

SYMBOL: Final = "BTC-USD"
LEVELS: Final = 10
CYCLES_PER_ROUND: Final = 100
CYCLES_QUICK: Final = 50
QUIET_S: Final = 0.055
"""Between turns, so that each event is the first change in more than 50 ms."""
PAUSE_S: Final = 0.004
"""Between the arrival on one path and the event of the next."""
WAIT_S: Final = 10.0

HOP: Final = "XADD → XREAD, redis-py"
RAW: Final = "XADD → XREAD, raw sockets"
METRICS: Final = (Metric("p50_ms", "median", "ms", 3), Metric("p99_ms", "99th percentile", "ms", 3))
RATIO_MOST: Final = 2.8


class Variant(NamedTuple):
    """A deployment that is measured; `python` runs it."""

    name: str
    interval_ms: int
    partitions: int
    python: str | None


class Way(Protocol):
    """A way from XADD to an arrival."""

    async def send(self, number: int) -> float:
        """Send an event; returns the seconds to its arrival."""
        ...

    async def close(self) -> None: ...


class Waiter:
    """An arrival that is waited for: `expect` before it is sent, `arrive` when it is there."""

    def __init__(self) -> None:
        self._arrival: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def expect(self) -> "asyncio.Future[float]":
        self._arrival = asyncio.get_running_loop().create_future()
        return self._arrival

    def arrive(self) -> None:
        if not self._arrival.done():
            self._arrival.set_result(time.perf_counter())


class DepthcastWay(Waiter):
    """XADD by redis-py to a partition's input; arrival at a WebSocket client of the gateway."""

    def __init__(self, client: Any, events: str, web_socket: aiohttp.ClientWebSocketResponse) -> None:
        super().__init__()
        self.client = client
        self.events = events
        self.web_socket = web_socket
        self.expected = ""
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        async for message in self.web_socket:
            if self.expected in message.data:
                self.arrive()

    async def send(self, number: int) -> float:
        event = pack([[1, 0, 100, number]])
        self.expected = f"[[100,{number}]]"
        arrival = self.expect()
        began = time.perf_counter()
        await self.client.xadd(self.events, {SYMBOL: event})
        return await arrival - began

    async def close(self) -> None:
        self.reading.cancel()
        await self.web_socket.close()


class HopWay(Waiter):
    """XADD and a blocking XREAD, both by redis-py."""

    def __init__(self, client: Any, reader: Any, key: str) -> None:
        super().__init__()
        self.client = client
        self.reader = reader
        self.key = key
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        after: Any = "0-0"
        while True:
            for _, entries in await self.reader.xread({self.key: after}, count=200, block=1500) or ():
                self.arrive()
                after = entries[-1][0]

    async def send(self, number: int) -> float:
        event = pack([[1, 0, 100, number]])
        arrival = self.expect()
        began = time.perf_counter()
        await self.client.xadd(self.key, {SYMBOL: event})
        return await arrival - began

    async def close(self) -> None:
        self.reading.cancel()


class RawWay:
    """XADD and a blocking XREAD, as bytes over two sockets, without an event loop."""

    def __init__(self, port: int, key: str) -> None:
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.settimeout(WAIT_S)
        self.key = key.encode()
        self.after = b"0-0"

    async def send(self, number: int) -> float:
        writer, reader = self.sockets
        reader.sendall(_command(b"XREAD", b"BLOCK", b"1500", b"STREAMS", self.key, self.after))
        await asyncio.sleep(PAUSE_S)
        command = _command(b"XADD", self.key, b"*", SYMBOL.encode(), pack([[1, 0, 100, number]]))
        began = time.perf_counter()
        writer.sendall(command)
        reply = reader.recv(4096)
        took = time.perf_counter() - began
        assert reply.startswith(b"*1\r\n")
        self.after = writer.recv(4096).split(b"\r\n")[1]
        return took

    async def close(self) -> None:
        for each in self.sockets:
            each.close()


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def variants(before: str | None) -> list[Variant]:
    """What is measured; `before`: the Python of an earlier version, which takes part too."""
    found = []
    for python, word in ((None, ""), (before, "before, ")) if before else ((None, ""),):
        found += [
            Variant(f"{word}interval 0", 0, 1, python),
            Variant(f"{word}interval 50", 50, 1, python),
            Variant(f"{word}interval 0, 4 partitions", 0, 4, python),
        ]
    return found


def run(run: Run) -> None:
    """All ways in turns."""
    measured = variants(run.before)
    with redis_server() as server, ExitStack() as stack:
        pin(server.pid, CORES)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-bench-")))
        ports = {each: _start(stack, server, folder, number, each) for number, each in enumerate(measured)}
        samples = asyncio.run(_measure(run, server, ports))
    targets = [
        Target(metric.name, each.name, HOP, most=RATIO_MOST)
        for metric in METRICS
        for each in measured
        if each.python is None
    ]
    run.record("XADD to arrival, a quiet market", samples, METRICS, baseline=HOP, targets=targets)


def _start(stack: ExitStack, server: EmbeddedServer, folder: Path, number: int, variant: Variant) -> int:
    """Start a deployment with prefix `l<number>`; returns the port of its gateway."""
    prefix = f"l{number}"
    deployment = Deployment(server, prefix, f'["{SYMBOL}"]\n', folder)
    stack.callback(deployment.client.close)
    ingestor = stack.enter_context(
        deployment.ingestor(
            measured=False,
            python=variant.python,
            partitions=variant.partitions,
            interval_ms=variant.interval_ms,
        )
    )
    gateway = stack.enter_context(gateway_alone(server, prefix, variant.python))
    for program in (ingestor, gateway.program):
        pin(program.pid, CORES)
    wait_until_live(gateway.port, 1)
    return gateway.port


async def _measure(
    run: Run, server: EmbeddedServer, ports: Mapping[Variant, int]
) -> dict[str, dict[str, list[float]]]:
    cycles = CYCLES_QUICK if run.quick else CYCLES_PER_ROUND
    samples: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        ways = await _ways(stack, server, ports)
        numbers = iter(range(2, 1 << 40))  # each level has a quantity of 1 already
        shuffler = random.Random(SEED)
        gc.freeze()
        for number in range(run.rounds + 1):
            took: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(cycles):
                for name, way in shuffler.sample(list(ways.items()), len(ways)):
                    async with asyncio.timeout(WAIT_S):
                        took[name].append(await way.send(next(numbers)) * 1000)
                    await asyncio.sleep(PAUSE_S)
                await asyncio.sleep(QUIET_S)
            run.say(f"round {number} of {run.rounds}")
            if number:  # the first warms up
                for name, values in took.items():
                    cuts = statistics.quantiles(values, n=100, method="inclusive")
                    for metric, value in (("p50_ms", cuts[49]), ("p99_ms", cuts[98])):
                        samples.setdefault(name, {}).setdefault(metric, []).append(value)
    return samples


async def _ways(
    stack: AsyncExitStack, server: EmbeddedServer, ports: Mapping[Variant, int]
) -> dict[str, Way]:
    def client() -> Any:
        found = redis.asyncio.Redis(port=server.port)
        stack.push_async_callback(found.aclose)
        return found

    session = await stack.enter_async_context(aiohttp.ClientSession())
    sender = client()
    ways: dict[str, Way] = {}
    for number, (variant, port) in enumerate(ports.items()):
        keys = DeploymentKeys(f"l{number}").partition(partition_of(SYMBOL, variant.partitions))
        for level in range(LEVELS):
            fields = {SYMBOL: pack([[1, 0, 100 - level, 1], [1, 1, 101 + level, 1]])}
            await sender.xadd(keys.events, fields)
        web_socket = await session.ws_connect(f"http://127.0.0.1:{port}/v1/ws")
        await web_socket.send_str(f'{{"op":"subscribe","symbols":["{SYMBOL}"],"depth":{LEVELS}}}')
        ways[variant.name] = DepthcastWay(sender, keys.events, web_socket)
    ways[HOP] = HopWay(sender, client(), "hop")
    ways[RAW] = RawWay(server.port, "raw")
    for way in ways.values():
        stack.push_async_callback(way.close)
    await asyncio.sleep(1.0)
    return ways


BENCHMARK = Benchmark("latency", "From input to a client, one event at a time", run, rounds=9, quick_rounds=3)
