"""Servers under measurement, in one shape: where clients connect, what they send first, where ticks go."""

import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import redis

from benchmarks.fanout.market import DEPTH, Market, Tick, now_us
from benchmarks.fanout.programs import START_S, Program, module_of
from benchmarks.fanout.ticks import entries_as_commands, messages_as_control
from benchmarks.harness import Absent
from benchmarks.machine import load_cores, pin
from benchmarks.native import program
from benchmarks.peers import mosquitto, nats, nginx, node, python
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import WRITTEN_FIELD
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.types import Symbol

ADMIN_PATTERN: Final = r"admin listening on http://127\.0\.0\.1:(\d+)"
READY_PATTERN: Final = r"gateway listening on https?://127\.0\.0\.1:(\d+)"
READY_S: Final = 90.0
QUIET_MS: Final = 600_000
"""Between rounds nothing is published; no gateway shall tell its clients so."""


class Server:
    """A running server. `path`, `subprotocol`: of the WebSocket; `cycle`: ticks may be sent repeatedly.

    `counted`: the first byte of the frames that are deliveries, None if all are; `greeting`: what its trigger
    port gets before all ticks.
    """

    path = "/"
    subprotocol = "-"
    cycle = True
    counted: int | None = None
    greeting = b""

    def __init__(self, running: Program, port: int, trigger_port: int) -> None:
        self.program = running
        self.port = port
        self.trigger_port = trigger_port

    def subscribe(self, channels: Sequence[int]) -> list[str]:
        """What a client of these channels sends."""
        return [" ".join(map(str, channels))]

    def encode(self, market: Market) -> Callable[[Tick], tuple[bytes, list[int]]]:
        """How a tick is sent to the trigger port."""
        numbers = {symbol: number for number, symbol in enumerate(market.symbols)}
        return lambda tick: messages_as_control(numbers, tick)


class Gateway(Server):
    """Our own, fed by the entries of a market."""

    path = "/v1/ws"
    cycle = False

    def __init__(self, running: Program, port: int, redis_port: int, keys: DeploymentKeys) -> None:
        super().__init__(running, port, redis_port)
        self.keys = keys

    def subscribe(
        self,
        channels: Sequence[int],
        depth: int = DEPTH,
        interval_ms: int = 0,
        names: Sequence[str] | None = None,
        group: int = 1,
    ) -> list[str]:
        symbols = [names[number] if names else f"S{number:03}" for number in channels]
        request = {"op": "subscribe", "symbols": symbols, "depth": depth, "interval_ms": interval_ms}
        if group != 1:
            request["group"] = group
        return [orjson.dumps(request).decode()]

    def encode(self, market: Market) -> Callable[[Tick], tuple[bytes, list[int]]]:  # noqa: ARG002 - others need it
        return lambda tick: entries_as_commands(self.keys, tick)

    def metrics(self) -> dict[str, float]:
        """The gateway's own counters, by name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.program.said[0]}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def total(self, name: str) -> float:
        """The sum of a counter over its labels."""
        return sum(value for labelled, value in self.metrics().items() if labelled.partition("{")[0] == name)


class Nchan(Server):
    """nginx with nchan: the channel is in the path, and messages are posted."""

    path = "/subscribe/0"

    def subscribe(self, channels: Sequence[int]) -> list[str]:
        assert list(channels) == [0]
        return []

    def encode(self, market: Market) -> Callable[[Tick], tuple[bytes, list[int]]]:  # noqa: ARG002 - others need it
        return lambda tick: (b"".join(map(_post, tick.messages.values())), [])


class SocketIo(Server):
    """socket.io over a bare WebSocket: its own handshake; every client is in the room of channel 0."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def subscribe(self, channels: Sequence[int]) -> list[str]:
        assert list(channels) == [0]
        return ["40"]


class Nats(Server):
    """NATS: clients speak its protocol in frames of a WebSocket, the publisher speaks it over TCP."""

    counted = ord("M")
    """Beside `MSG` a client gets `INFO` and `PING`."""
    greeting = nats.GREETING

    def subscribe(self, channels: Sequence[int]) -> list[str]:
        assert list(channels) == [0]
        return [as_binary(nats.GREETING), as_binary(nats.SUBSCRIBE)]

    def encode(self, market: Market) -> Callable[[Tick], tuple[bytes, list[int]]]:  # noqa: ARG002 - others need it
        return lambda tick: (b"".join(map(nats.publish, tick.messages.values())), [])


class Mosquitto(Server):
    """mosquitto: clients speak MQTT in frames of a WebSocket, the publisher speaks it over TCP."""

    path = "/mqtt"
    subprotocol = "mqtt"
    counted = mosquitto.PUBLISH
    greeting = mosquitto.CONNECT

    def subscribe(self, channels: Sequence[int]) -> list[str]:
        assert list(channels) == [0]
        return [as_binary(mosquitto.CONNECT), as_binary(mosquitto.SUBSCRIBE)]

    def encode(self, market: Market) -> Callable[[Tick], tuple[bytes, list[int]]]:  # noqa: ARG002 - others need it
        return lambda tick: (b"".join(map(mosquitto.publish, tick.messages.values())), [])


def as_binary(message: bytes) -> str:
    """Write a binary message as the clients file of the load has it."""
    return "0x" + message.hex()


def _post(message: bytes) -> bytes:
    head = f"POST /publish/0 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(message)}\r\n\r\n"
    return head.encode() + message


@contextmanager
def redis_server() -> Iterator[EmbeddedServer]:
    """A Redis of our own, on the load's cores."""
    with EmbeddedServer() as server:
        pin(server.pid, load_cores())
        yield server


@contextmanager
def gateway(
    server: EmbeddedServer,
    market: Market,
    prefix: str = "bench",
    trust: ssl.SSLContext | None = None,
    python: str | None = None,
    **settings: object,
) -> Iterator[Gateway]:
    """The gateway as shipped, on the market's books as they are now; `settings` beside its defaults.

    `trust`: what a client needs to trust it, where it speaks TLS. `python`: that of another version.
    """
    keys = DeploymentKeys(prefix)
    with redis.Redis(port=server.port) as client:
        _publish_books(client, keys, market)
    with gateway_alone(server, prefix, python, stale_ms=QUIET_MS, heartbeat_ms=QUIET_MS, **settings) as found:
        if settings.get("follow") == "asked":
            wait_until_ready(found.port)
        else:
            wait_until_live(found.port, len(market.symbols), trust)
        yield found


@contextmanager
def gateway_alone(
    server: EmbeddedServer, prefix: str, python: str | None = None, /, **settings: object
) -> Iterator[Gateway]:
    """The gateway as shipped, whoever feeds it; `python`: that of another version."""
    common = {"redis_url": server.url, "prefix": prefix, "port": 0, "admin_port": 0, "log_level": "warning"}
    # All clients come from this machine's address. Versions without these limits do not know their names.
    unlimited = {"connections_per_address_max": 1_000_000, "connects_per_address_per_s": 1_000_000}
    common |= {name: value for name, value in unlimited.items() if knows(python, name)}
    pattern = rf"{ADMIN_PATTERN}[\s\S]*{READY_PATTERN}"
    with Program("gateway", module_of(python, "gateway", **common, **settings), pattern) as running:
        yield Gateway(running, int(running.said[1]), server.port, DeploymentKeys(prefix))


def knows(python: str | None, setting: str) -> bool:
    """Whether the gateway of that version has a setting."""
    asked = subprocess.run(
        [*module_of(python, "gateway"), "--help"], capture_output=True, text=True, check=True
    )
    return f"--{setting.replace('_', '-')} " in asked.stdout


def _publish_books(client: "redis.Redis", keys: DeploymentKeys, market: Market) -> None:
    """What an ingestor would have left: meta, instruments, an entry of each partition, snapshots."""
    client.hset(keys.meta, mapping={"protocol": 1, "partitions": market.partitions})
    for symbol in market.symbols:
        client.hset(keys.instruments, symbol, to_json(Instrument(Symbol(symbol), "0.01", "0.001")))
    for number, (position, fields) in market.opening().items():
        written = WRITTEN_FIELD, b"%d" % now_us()
        client.xadd(keys.partition(number).deltas, dict([*fields, written]), id=str(position))
    for symbol, data in market.snapshots().items():
        number = market.partition_of(symbol)
        client.xadd(keys.partition(number).snapshots(symbol), {"s": data}, id=str(market.positions[number]))


def wait_until_live(port: int, symbols: int, trust: ssl.SSLContext | None = None) -> None:
    """Wait until a gateway shows so many live books."""
    deadline = time.monotonic() + START_S
    url = f"{'http' if trust is None else 'https'}://127.0.0.1:{port}/v1/symbols"
    while time.monotonic() < deadline:
        with urllib.request.urlopen(url, timeout=10, context=trust) as answer:  # noqa: S310 - of this machine
            states = [item["state"] for item in orjson.loads(answer.read())]
        if states.count("live") == symbols:
            return
        time.sleep(0.05)
    raise Absent(f"the gateway had no live books in {START_S:g} s")


def wait_until_ready(port: int) -> None:
    """Wait until a gateway is ready, whether it has books or not."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
            return
        time.sleep(0.02)
    raise Absent(f"the gateway was not ready in {READY_S:g} s")


@contextmanager
def limit(kind: str) -> Iterator[Server]:
    """The C program that only sends: `joined` or `single`."""
    with Program(f"limit {kind}", [program("limit"), kind], r"(\d+) (\d+)\n") as running:
        yield Server(running, *map(int, running.said))


@contextmanager
def python_peer(name: str, *words: str) -> Iterator[Server]:
    """One of the peers in benchmarks/peers; raises `Absent` if their environment cannot be made."""
    with Program(name, [python.environment(), *python.module(name), *words], r"(\d+) (\d+)\n") as running:
        yield Server(running, *map(int, running.said))


@contextmanager
def node_peer(name: str) -> Iterator[Server]:
    """A peer that runs on Node; raises `Absent` if there is none, or npm could not install it."""
    with Program(name, node.command(name), r"(\d+) (\d+)\n") as running:
        yield Server(running, *map(int, running.said))


@contextmanager
def socket_io(server: EmbeddedServer) -> Iterator[Server]:
    """socket.io with its adapter on that Redis; raises `Absent` likewise."""
    with Program("socket.io", [*node.command("socketio"), str(server.port)], r"(\d+) (\d+)\n") as running:
        yield SocketIo(running, *map(int, running.said))


@contextmanager
def nchan() -> Iterator[Server]:
    """Nginx with nchan, one worker; raises `Absent`."""
    with TemporaryDirectory(prefix="depthcast-nginx-") as folder:
        words, port = nginx.command(Path(folder))
        with Program("nginx with nchan", words, nginx.READY) as running:
            yield Nchan(running, port, port)


@contextmanager
def nats_server() -> Iterator[Server]:
    """NATS, on one core as it is; raises `Absent`."""
    with TemporaryDirectory(prefix="depthcast-nats-") as folder:
        words, port, trigger_port = nats.command(Path(folder))
        with Program("nats-server", words, nats.READY) as running:
            yield Nats(running, port, trigger_port)


@contextmanager
def mosquitto_broker() -> Iterator[Server]:
    """Mosquitto, without storage; raises `Absent`."""
    with TemporaryDirectory(prefix="depthcast-mosquitto-") as folder:
        words, port, trigger_port = mosquitto.command(Path(folder))
        with Program("mosquitto", words, mosquitto.READY) as running:
            yield Mosquitto(running, port, trigger_port)


def write_kinds(
    path: Path, kinds: Iterable[tuple[int, int, str, str, Sequence[str]]], counted: int | None = None
) -> None:
    """The clients file of the load: (how many, group, subprotocol, extensions, messages).

    `counted`: as in `Server`.
    """
    first = "-" if counted is None else str(counted)
    lines = [
        "\t".join([str(count), str(group), subprotocol or "-", extensions or "-", first, *messages])
        for count, group, subprotocol, extensions, messages in kinds
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
