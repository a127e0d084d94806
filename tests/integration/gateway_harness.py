"""A gateway in a separate thread with its own event loop, and a stand-in for the ingestor.

The clients in the tests are the independent `websockets` library.
"""

import asyncio
import os
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import orjson
import uvloop
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from depthcast.gateway.runtime.process import GatewayProcess, http_address, listening_socket
from depthcast.runtime.deployment import NO_DRAINING
from depthcast.shared.codec import (
    NO_MARKS,
    WRITTEN_FIELD,
    Marks,
    encode_delta,
    encode_info,
    encode_snapshot,
    pack,
    unpack,
)
from depthcast.shared.digest import MASK, WEIGHT, digest_of
from depthcast.shared.doubt import STALE
from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing, to_table
from depthcast.shared.partition import partition_of
from depthcast.shared.position import Position
from depthcast.shared.replica import Replica
from depthcast.shared.runtime.redis import execute
from depthcast.shared.runtime.stop import Stop
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Delta, EntryInfo, Snapshot, Symbol
from tests.redis_client import patient
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.certificates import Authority

Levels = Mapping[int, int]
TIMEOUT_S = 60.0
AUTHORITY: "Authority | None" = None
"""With an authority, gateways speak TLS, and clients trust it; a fixture sets it for a test (`encrypted`)."""
BIDS, ASKS = {100: 5, 99: 6, 98: 7}, {101: 8, 102: 9}


class FakeIngestor:
    """Writes what an ingestor would: meta, instruments, and snapshots and deltas of given books."""

    def __init__(self, url: str, prefix: str, partitions: int = 1) -> None:
        self.redis: Redis = patient(url)
        self.keys = DeploymentKeys(prefix)
        self.partitions = partitions
        self.books: dict[str, Replica] = {}
        epoch = time.time_ns() // 1_000_000
        self.positions = {number: Position(epoch, -1) for number in range(partitions)}
        self.base = (epoch - 1767225600000) * 2048
        self._writing = asyncio.Lock()  # heartbeats in the background take positions of the same stream

    async def create(self, *symbols: str) -> Self:
        await self.redis.hset(self.keys.meta, mapping={"protocol": 1, "partitions": self.partitions})
        for symbol in symbols:
            await self.register(symbol)
        for number in range(self.partitions):
            await self.publish_to(number, {})
        return self

    async def register(self, symbol: str, tick_size: str = "0.01") -> None:
        instrument = Instrument(Symbol(symbol), tick_size, "0.001")
        await self.redis.hset(self.keys.instruments, symbol, to_json(instrument))

    async def unregister(self, symbol: str) -> None:
        await self.redis.hdel(self.keys.instruments, symbol)

    async def birth(self, symbol: str, bids: Levels | None = None, asks: Levels | None = None) -> None:
        """Publish a new symbol with a book and its first snapshot."""
        self.books[symbol] = replica = Replica()
        number = partition_of(symbol, self.partitions)
        await self.publish_to(number, {symbol: Delta(0, self.base, [], [], 0, 0)})
        replica.seq = self.base
        if bids or asks:
            await self.publish(symbol, bids, asks)
        await self.snapshot(symbol)

    async def snapshot(self, symbol: str, *, beside: bool = False) -> None:
        """Write the newest snapshot, `beside` the one before or in its place."""
        book = self.books[symbol]
        number = partition_of(symbol, self.partitions)
        key = self.keys.partition(number).snapshots(symbol)
        if not beside:
            await self.redis.delete(key)
        snapshot = Snapshot(book.seq, book.book.bids.flat(), book.book.asks.flat(), book.digest, now_us())
        await self.redis.xadd(key, {"s": encode_snapshot(snapshot)}, id=str(self.positions[number]))

    async def publish(self, symbol: str, bids: Levels | None = None, asks: Levels | None = None) -> int:
        """One broadcast of one symbol; returns its seq."""
        await self.publish_many({symbol: (bids or {}, asks or {})})
        return self.books[symbol].seq

    async def relist(self, symbol: str, number: int, tick_size: str, bids: Levels, asks: Levels) -> None:
        """Begin another listing, with other sizes and a book of its own."""
        listing = Listing(number, Instrument(Symbol(symbol), tick_size, "0.001"))
        birth = Delta(0, self.books[symbol].seq + 1, [], [], 0, 0)
        self.books[symbol] = replica = Replica()
        partition = partition_of(symbol, self.partitions)
        await self.publish_to(partition, {symbol: birth}, {symbol: to_table(listing)})
        replica.seq = birth.seq
        await self.publish(symbol, bids, asks)

    async def doubt(self, symbol: str, reason: str | None) -> None:
        """Publish that the producer of a book doubts it; None ends that."""
        partition = partition_of(symbol, self.partitions)
        await self.publish_to(partition, {symbol: self._move(symbol, {}, {})}, {symbol: {STALE: reason}})

    async def publish_many(self, changes: Mapping[str, tuple[Levels, Levels]]) -> None:
        """One broadcast; each symbol's new quantities by price."""
        deltas: dict[int, dict[str, Delta]] = {}
        for symbol, (bids, asks) in changes.items():
            number = partition_of(symbol, self.partitions)
            deltas.setdefault(number, {})[symbol] = self._move(symbol, bids, asks)
        for number, of_partition in deltas.items():
            await self.publish_to(number, of_partition)

    def _move(self, symbol: str, bids: Levels, asks: Levels) -> Delta:
        book = self.books[symbol]
        trial = Delta(book.seq, book.seq + 1, _flat(bids), _flat(asks), 0, 1)
        digest = _digest_after(book, trial)
        delta = trial._replace(digest=digest)
        outcome, _ = book.apply(delta)
        assert outcome.name == "APPLIED"
        return delta

    @asynccontextmanager
    async def beating(self, number: int = 0) -> AsyncIterator[None]:
        """Write heartbeats to a partition in the background."""
        stop = asyncio.Event()

        async def beat() -> None:
            while not stop.is_set():
                await self.publish_to(number, {})
                await asyncio.sleep(0.05)

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            stop.set()  # never cancelled, because nobody would know whether the last entry was written
            await task

    async def until_live(self, gateway: "RunningGateway") -> None:
        """Write heartbeats until a gateway takes its books for live, however long it takes to load them."""
        async with AsyncExitStack() as stack:
            for number in range(self.partitions):
                await stack.enter_async_context(self.beating(number))
            await eventually(lambda: gateway.process.core.market.was_live, message="the books are live")

    async def publish_to(
        self, number: int, deltas: Mapping[str, Delta], marks: Mapping[str, Marks] = NO_MARKS
    ) -> None:
        async with self._writing:
            position = self.positions[number].next()
            prev = "0-0" if position.n == 0 else None
            info = EntryInfo(now_us(), "0-0", 0, 0, 0, None, prev)
            fields: list[Any] = [b"_", encode_info(info)]
            for symbol, delta in deltas.items():
                fields += [symbol, encode_delta(delta, marks.get(symbol, NO_MARKS))]
            fields += [WRITTEN_FIELD, now_us()]
            key = self.keys.partition(number).deltas
            await execute(self.redis, "XADD", key, str(position), *fields)
            self.positions[number] = position


def _digest_after(book: Replica, delta: Delta) -> int:
    digest = book.digest
    for side, flat in ((book.book.bids, delta.bids), (book.book.asks, delta.asks)):
        numbers = iter(flat)
        for price, quantity in zip(numbers, numbers, strict=True):
            digest += WEIGHT[side.side](price) * (quantity - side.levels.get(price, 0))
    return digest & MASK


def _flat(levels: Levels) -> list[int]:
    return [number for level in levels.items() for number in level]


def now_us() -> int:
    return time.time_ns() // 1000


class RunningGateway:
    """The address of a gateway, and its internals for what cannot be seen from outside."""

    def __init__(
        self, process: GatewayProcess, loop: asyncio.AbstractEventLoop, stop: Stop, url: str
    ) -> None:
        self.process = process
        self.loop = loop
        self.url = url
        self.ws_url = url.replace("http", "ws", 1) + "/v1/ws"
        self._stop = stop

    @property
    def trust(self) -> ssl.SSLContext | None:
        """What a client needs to trust the gateway, None without TLS."""
        return AUTHORITY.trusting() if AUTHORITY is not None else None

    def stop(self) -> None:
        with suppress(RuntimeError):  # it has ended already
            self.loop.call_soon_threadsafe(self._stop.set)

    def connect(self, encoding: str = "json", **options: Any) -> connect:
        """A client that always reads, into an unbounded queue, independently of the test."""
        return connect(
            self.ws_url,
            subprotocols=[Subprotocol(f"depthcast.v1.{encoding}")],
            ssl=self.trust,
            compression=None,
            max_size=None,
            max_queue=None,
            **options,
        )


@contextmanager
def running_gateway(
    redis_url: str, prefix: str, *, prepare: Callable[[GatewayProcess], None] | None = None, **settings: Any
) -> Iterator[RunningGateway]:
    """A gateway, on a free port unless the settings name one; `prepare` gets the process before it serves."""
    follow = os.environ.get("DEPTHCAST_FOLLOW", "all")
    common: dict[str, Any] = {"redis_url": redis_url, "prefix": prefix, "port": 0, "follow": follow}
    given = {**common, **NO_DRAINING, **settings}
    if AUTHORITY is not None:
        given = {**dict(zip(("tls_cert", "tls_key"), AUTHORITY.issue(), strict=True)), **given}
    chosen = GatewaySettings(**given)
    started = threading.Event()
    found: list[RunningGateway] = []

    async def main() -> None:
        with listening_socket(chosen, chosen.port, shared=False) as bound:
            process, stop = GatewayProcess(chosen), Stop()
            if prepare is not None:
                prepare(process)
            url = http_address(bound, tls=bool(chosen.tls_cert))
            found.append(RunningGateway(process, asyncio.get_running_loop(), stop, url))
            await process.run(bound, stop, started.set)

    thread = threading.Thread(target=uvloop.run, args=(main(),), daemon=True)
    thread.start()
    assert started.wait(TIMEOUT_S), "the gateway did not start"
    try:
        yield found[0]
    finally:
        found[0].stop()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "the gateway did not end"


@asynccontextmanager
async def fake_ingestor(
    url: str, prefix: str, *symbols: str, partitions: int = 1
) -> AsyncIterator[FakeIngestor]:
    """A stand-in that has created the deployment."""
    ingestor = await FakeIngestor(url, prefix, partitions).create(*symbols)
    try:
        yield ingestor
    finally:
        await ingestor.redis.aclose()


@asynccontextmanager
async def served(
    redis_url: str, prefix: str, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    """A gateway with the books of AAA and BBB, and their publisher."""
    async with fake_ingestor(redis_url, prefix, "AAA", "BBB") as ingestor:
        for symbol in ("AAA", "BBB"):
            await ingestor.birth(symbol, BIDS, ASKS)
        with running_gateway(redis_url, prefix, **settings) as running:
            await ingestor.until_live(running)
            yield running, ingestor


class Client:
    """A client that keeps its books by the protocol's rules, and checks every rule on the way."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []
        self.books: dict[str, ClientBook] = {}

    async def send(self, **message: Any) -> None:
        if self.connection.subprotocol == "depthcast.v1.msgpack":
            await self.connection.send(pack(message))
        else:
            await self.connection.send(orjson.dumps(message).decode())

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            raw = await self.connection.recv()
        message: dict[str, Any] = orjson.loads(raw) if isinstance(raw, str) else unpack(raw, "message")
        self.messages.append(message)
        self._follow(message)
        return message

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Receive up to the first message of that type with those fields."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                message = await self.receive()
                if message["type"] == kind and all(message.get(name) == fields[name] for name in fields):
                    return message

    async def until_seq(self, symbol: str, seq: int) -> dict[str, Any]:
        """Receive until the book of `symbol` is at `seq`."""
        message: dict[str, Any] = {}
        async with asyncio.timeout(TIMEOUT_S):
            while symbol not in self.books or self.books[symbol].seq < seq:
                message = await self.receive()
        assert self.books[symbol].seq == seq
        return message

    def _follow(self, message: dict[str, Any]) -> None:
        if message["type"] in ("snapshot", "delta"):
            self.books.setdefault(message["symbol"], ClientBook()).take(message)


class ClientBook:
    """One view as a client keeps it."""

    def __init__(self) -> None:
        self.seq = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        else:
            assert message["prev_seq"] == self.seq
            assert message["merged"] >= 1
        assert message["seq"] > self.seq
        self.seq = message["seq"]
        for side, rows in ((self.bids, message["bids"]), (self.asks, message["asks"])):
            for price, quantity in rows:
                if quantity:
                    side[price] = quantity
                else:
                    assert side.pop(price, None), "only what is held is taken away"
        assert digest_of(self.bids.items(), self.asks.items()) == message["digest"]


@asynccontextmanager
async def client_of(gateway: RunningGateway, encoding: str = "json", **options: Any) -> AsyncIterator[Client]:
    async with gateway.connect(encoding, **options) as connection:
        client = Client(connection)
        assert (await client.receive())["type"] == "welcome"
        yield client


async def code_of(client: Client) -> int:
    """Read until the connection is closed; the code of the close frame."""
    async with asyncio.timeout(TIMEOUT_S):
        with suppress(ConnectionClosed):
            while True:
                await client.connection.recv()
    code = client.connection.close_code
    assert code is not None
    return code
