"""The program's processes as the simulation runs them: the real code, started, killed and started again."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import fields
from random import Random
from typing import Any, Final

from websockets.protocol import OPEN
from websockets.typing import Subprotocol

from depthcast.client.client import Client
from depthcast.client.session import ClientSession
from depthcast.client.transport import ConnectionLost, Transport
from depthcast.consumer.consumer import Consumer
from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.flusher import AT_ONCE
from depthcast.gateway.protocol.messages import Encoding
from depthcast.gateway.protocol.negotiation import Handshake
from depthcast.gateway.runtime.connection import Connection
from depthcast.gateway.runtime.intake import Intake
from depthcast.gateway.runtime.market_reader import MarketReader
from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.backoff import Backoff
from depthcast.shared.errors import ClientError
from depthcast.shared.settings import GatewaySettings, IngestorSettings
from depthcast.updates import State
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.producers import PREFIX, URL
from tests.simulation.sockets import ClientTransport, GatewayTransport, Way, dial
from tests.simulation.watch import Held, Watch

AGAIN_S: Final = 0.3
"""A process that ended by itself is started again after this time."""

Main = Coroutine[Any, Any, None]


class Actor(ABC):
    """A part that runs as a process, and as a new process after a crash.

    `ends` counts the errors that ended it; errors other than `may_end_by` are mistakes.
    """

    kind = ""
    may_end_by: frozenset[str] = frozenset()

    def __init__(self, loop: SimulatedLoop, network: Network, name: str, rng: Random) -> None:
        self.loop = loop
        self.network = network
        self.name = name
        self.rng = rng
        self.skew_us = rng.randint(-20_000, 20_000)
        self.incarnation = 0
        self.ends: Counter[str] = Counter()
        self.process = self._new_process()
        self.task: asyncio.Task[None] | None = None

    def _new_process(self) -> Process:
        self.incarnation += 1
        return Process(self.loop, f"{self.name}.{self.incarnation}", Random(self.rng.random()), self.skew_us)

    @abstractmethod
    def main(self) -> Main:
        """The process's whole life."""

    def start(self) -> None:
        """Begin, or begin again as a new process."""
        if self.task is not None:
            self.process = self._new_process()
        self.network.link(self.process)
        self.task = self.process.spawn(self.main())
        self.task.add_done_callback(self._ended, context=self.loop.world.context)

    def kill(self) -> None:
        """As by SIGKILL."""
        self.process.killed = True
        self.network.killed(self.process)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task is not self.task or self.process.killed or task.cancelled():
            return
        error = task.exception()
        self.ends[type(error).__name__ if error else "ended"] += 1
        self.loop.call_later(AGAIN_S, self._again, context=self.loop.world.context)

    def _again(self) -> None:
        if self.task is not None and self.task.done() and not self.process.killed:
            self.start()


class Ingestor(Actor):
    """`depthcast ingestor`; an old leader that still writes can spoil every attempt to recover."""

    kind = "ingestor"
    may_end_by = frozenset({"ended", "RecoveryError"})
    settings: IngestorSettings
    service: IngestorService
    stop: asyncio.Event

    def main(self) -> Main:
        self.stop = asyncio.Event()
        self.service = IngestorService(self.settings, self._environment())
        return self.service.run(self.stop)

    def _environment(self) -> Environment:
        process = self.process
        given: dict[str, Any] = {
            "connect": self.network.connect,
            "now_us": process.now_us,
            "monotonic": self.loop.time,
            "new_name": lambda: f"{process.rng.getrandbits(64):016x}",
            "run_in_thread": _inline,
        }
        return Environment(**{item.name: given[item.name] for item in fields(Environment)})

    @property
    def leads(self) -> bool:
        """Whether it is running and leads a partition."""
        running = self.task is not None and not self.task.done() and not self.process.stands
        return running and any(leader.leadership is not None for leader in self.service.leaders)

    def terminate(self) -> None:
        """As by SIGTERM: it ends by itself, and is started again."""
        self.process.context.run(self.stop.set)


async def _inline(work: Callable[[], Any]) -> Any:
    """Run inline what a process would run in a thread."""
    return work()


class Gateway(Actor):
    """`depthcast gateway`, without its web server: its connections are the real ones on simulated sockets."""

    kind = "gateway"
    settings: GatewaySettings
    core: Core | None = None
    market_reader: MarketReader | None = None

    def main(self) -> Main:
        self.ends_of_clients: list[ClientTransport] = []
        self.connections: dict[Connection, None] = {}
        return self._run()

    async def _run(self) -> None:
        self.core = Core(self.settings, self.process.now_us, self._alarm)
        self.intake = Intake(self.loop, self.settings, self.loop.time)
        self.market_reader = MarketReader(self.core, lambda _: None, self.network.connect)
        async with asyncio.TaskGroup() as group:
            self.group = group
            group.create_task(self.market_reader.run())
            group.create_task(self._sweep())

    def _alarm(self, interval_ms: int) -> None:
        assert self.core is not None
        if interval_ms == AT_ONCE:
            self.loop.call_soon(self.core.flusher.flush_grid, interval_ms)
            return
        interval_s = interval_ms / 1000
        due = (math.floor(self.loop.time() / interval_s) + 1) * interval_s
        self.loop.call_at(due, self.core.flusher.flush_grid, interval_ms)

    async def _sweep(self) -> None:
        assert self.core is not None
        while True:
            await asyncio.sleep(0.1)
            closing = dict(self.core.sweep(self.loop.time()))
            for connection in tuple(self.connections):
                if connection.session in closing:
                    connection.close(closing[connection.session])

    def accept(self, transport: GatewayTransport, encoding: Encoding) -> None:
        """A client has connected; called in the gateway's process."""
        assert self.core is not None
        assert transport.client is not None
        self.ends_of_clients.append(transport.client)
        protocol = Handshake(deflate=False, state=OPEN)
        protocol.subprotocol = Subprotocol(encoding.value)
        connection = Connection(self.core, protocol, transport, self.intake)
        transport.set_protocol(connection)
        self.connections[connection] = None
        connection.on_end = lambda: self.connections.pop(connection, None)
        connection.serve()

    @property
    def serves(self) -> bool:
        return self.core is not None and self.task is not None and not self.task.done()

    def kill(self) -> None:
        super().kill()
        for end in self.ends_of_clients:
            end.way.travel(end.process, end.ended)

    def start(self) -> None:
        self.core = self.market_reader = None
        super().start()


class StreamConsumer(Actor):
    """A service with the stream consumer. It stores books and place after each update, in one step."""

    kind = "consumer"
    symbols: list[str] | None
    watch: Watch
    read_from = "primary"
    replica_lag_max_ms = 2000
    consumer: Consumer | None = None
    stored: tuple[str, dict[str, Held]] = ("", {})

    async def main(self) -> None:
        place, books = self.stored
        held = {**books}
        read_from: dict[str, Any] = {
            "read_from": self.read_from,
            "replica_lag_max_ms": self.replica_lag_max_ms,
        }
        consumer = Consumer(URL, self.symbols, prefix=PREFIX, since=place, **read_from)
        seen: dict[str, int] = {}
        async with consumer:
            self.consumer = consumer
            async for update in consumer:
                self.watch.reader(self.name, seen, update)
                self.watch.service(self.name, held, update)
                self.stored = str(consumer.position), {**held}
                if self.rng.random() < 0.02:
                    await asyncio.sleep(self.rng.random() * 0.3)


class WebClient(Actor):
    """A program with the WebSocket client: fast or slow, with credit or not, that changes its mind."""

    kind = "client"
    gateways: list[Gateway]
    symbols: list[str]
    watch: Watch
    pause_s: float
    credit: int | None
    changes_until_s: float
    client: Client | None = None

    def start(self) -> None:
        self.encoding = self.rng.choice((Encoding.JSON, Encoding.MSGPACK))
        self.depth = self.rng.choice((0, 1, 5, 10, 25))
        self.interval_ms = self.rng.choice((0, 0, 0, 40, 100))
        self.group = self.rng.choice((1, 1, 1, 7))
        self.moods = Random(f"moods {self.depth} {self.rng.getstate()[1][0]}")
        self.transport: ClientTransport | None = None
        self.way = Way(self.loop, Random(self.rng.random()), 0.002)
        super().start()

    def kill(self) -> None:
        super().kill()
        self.cut()

    def cut(self) -> None:
        """Break the connection."""
        if self.transport is not None:
            self.transport.drop()

    async def _dial(self) -> Transport:
        gateway = self.rng.choice(self.gateways)
        accept = gateway.accept if gateway.serves else None
        self.transport = await dial(self.way, self.process, gateway.process, accept, self.encoding)
        return self.watch.connection(self.name, self.transport)

    async def main(self) -> None:
        while True:
            backoff = Backoff(0.05, 0.4, self.rng.random)
            client = self.client = Client(self._dial, ClientSession(self.credit), backoff)
            try:
                async with client:
                    await self._use(client)
            except (ClientError, ConnectionLost) as error:
                self.watch.refused(self.name, error)
                await asyncio.sleep(0.2)

    async def _use(self, client: Client) -> None:
        await client.subscribe(self.symbols, self.depth, self.interval_ms, self.group)
        async for update in client:
            self.watch.counted(self.name, client)
            if update.state is State.REMOVED:
                return
            self.watch.sized(self.name, client, update.symbol)
            if self.pause_s and self.loop.time() < self.changes_until_s:
                await asyncio.sleep(self.pause_s * self.rng.random())
            if self.loop.time() < self.changes_until_s and self.rng.random() < 0.01:
                self.depth = self.rng.choice((0, 1, 5, 10, 25))
                self.group = self.rng.choice((1, 1, 1, 7))
                await client.subscribe(self.symbols, self.depth, self.interval_ms, self.group)
            if self.loop.time() < self.changes_until_s and self.moods.random() < 0.03:
                try:
                    await client.unsubscribe(self.symbols)
                except ClientError as error:
                    if error.code != "not_subscribed":  # it was withdrawn just then
                        raise
                await asyncio.sleep(self.moods.random())
                await client.subscribe(self.symbols, self.depth, self.interval_ms, self.group)
