"""Readers of every kind that watch through all faults: fast and slow clients, and a stream consumer."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from depthcast.client.client import Client, connect
from depthcast.consumer.consumer import Consumer
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, State
from tests.chaos.cluster import PREFIX, Cluster
from tests.chaos.oracle import Kinds, Oracle
from tests.order_flow import view
from tests.slow import slow_client

SLOW_DELAY_S = 0.03
CREDIT = 2
THROTTLE_MS = 200
BACKOFF_S = (0.05, 0.5)


@dataclass
class Watch:
    """The observations of one reader.

    `silence_s`: its longest wait for an update. `problem`: why it ended, if it did. `regressions`: seqs that
    went back within a connection. `went_back`: books that were older on a new connection than on the previous
    one, which happens at a gateway that has not read as far yet.
    """

    name: str
    seqs: dict[str, int] = field(default_factory=dict)
    regressions: list[str] = field(default_factory=list)
    went_back: int = 0
    updates: int = 0
    silence_s: float = 0.0
    problem: str = ""
    _last_at: float = 0.0
    _connections: dict[str, int] = field(default_factory=dict)

    def saw(self, update: BookUpdate, connection: int = 0) -> None:
        """Record an update that came on the given connection."""
        now = time.monotonic()
        if self._last_at:
            self.silence_s = max(self.silence_s, now - self._last_at)
        self._last_at = now
        self.updates += 1
        before = self.seqs.get(update.symbol, 0)
        if update.seq < before and self._connections[update.symbol] < connection:
            self.went_back += 1
        elif update.seq < before:
            self.regressions.append(f"{self.name}: {update.symbol} from {before} to {update.seq}")
        self.seqs[update.symbol] = update.seq
        self._connections[update.symbol] = connection


class ClientWatch:
    """A WebSocket client of one gateway."""

    def __init__(self, name: str, client: Client, *, depth: int = 0, interval_ms: int = 0) -> None:
        self.watch = Watch(name)
        self.client = client
        self.depth = depth
        self.interval_ms = interval_ms

    async def run(self, kinds: Kinds) -> None:
        """Until it is cancelled."""
        try:
            async with self.client as client:
                await self._subscribe(kinds)
                async for update in client:
                    self.watch.saw(update, client.counters.reconnects)
        except Exception as error:
            self.watch.problem = repr(error)  # whatever it was, this reader is gone
            raise

    async def _subscribe(self, kinds: Kinds) -> None:
        while True:
            try:
                await self.client.subscribe(list(kinds), self.depth, self.interval_ms)
                return
            except ClientError as error:
                if error.code not in ("unknown_symbol", "unavailable"):
                    raise
                await asyncio.sleep(0.1)

    def wrong(self, oracles: Mapping[str, Oracle]) -> str | None:
        """The difference from the authority's books, None if they are equal."""
        for symbol, oracle in oracles.items():
            try:
                book, state = self.client.book(symbol), self.client.state(symbol)
            except ClientError:
                return f"{self.watch.name}: no {symbol}"
            levels = oracle.levels(symbol)
            held = book.bids.levels, book.asks.levels
            wanted = view(levels["bid"], 0, self.depth), view(levels["ask"], 1, self.depth)
            if held != wanted or state is not State.LIVE:
                seq = self.client.seq(symbol)
                return f"{self.watch.name}: {symbol} is {state.value} at {seq}: {held} for {wanted}"
        return None


class ConsumerWatch:
    """A stream consumer. It also records when partitions were broadcast.

    By partition: `epochs`, of the last broadcast; `heard`, when it came; `began`, (time, epoch) of each
    epoch's first broadcast, seals aside. Times are monotonic seconds.
    """

    def __init__(self, redis_url: str, partitions: int) -> None:
        self.watch = Watch("consumer")
        self.consumer = Consumer(redis_url, prefix=PREFIX)
        self.epochs = dict.fromkeys(range(partitions), 0)
        self.began: dict[int, list[tuple[float, int]]] = {number: [] for number in range(partitions)}
        self.heard = dict.fromkeys(range(partitions), 0.0)

    async def run(self, _kinds: Kinds) -> None:
        """Until it is cancelled."""
        try:
            async with self.consumer as consumer:
                async for entry in consumer.entries():
                    if entry.info is not None:
                        self._arrived(entry.partition, entry.position.epoch, seals=not entry.position.n)
                    for update in entry.updates:
                        self.watch.saw(update)
        except Exception as error:
            self.watch.problem = repr(error)  # whatever it was, this reader is gone
            raise

    def _arrived(self, partition: int, epoch: int, *, seals: bool) -> None:
        self.heard[partition] = time.monotonic()
        if epoch > self.epochs[partition] and not seals:
            self.epochs[partition] = epoch
            self.began[partition].append((time.monotonic(), epoch))

    def took_over_s(self, partition: int, epoch: int, since: float) -> float | None:
        """Return the seconds from `since` to a later epoch's first broadcast, None if there was none."""
        return next((at - since for at, began in self.began[partition] if began > epoch), None)

    def wrong(self, oracles: Mapping[str, Oracle]) -> str | None:
        """The difference from the authority's books, None if they are equal."""
        for symbol, oracle in oracles.items():
            try:
                book = self.consumer.book(symbol)
            except ClientError:
                return f"consumer: no {symbol}"
            held = {"bid": book.bids.levels, "ask": book.asks.levels}
            if held != oracle.levels(symbol):
                return (
                    f"consumer: {symbol} at {self.consumer.seq(symbol)}: {held} for {oracle.levels(symbol)}"
                )
        return None


def audience(cluster: Cluster) -> tuple[ConsumerWatch, list[ClientWatch]]:
    """All readers: the consumer, and for each gateway a fast, a slow, a throttled and a credit client."""
    clients = []
    for number, url in enumerate(cluster.gateway_urls):
        websocket = url.replace("http", "ws", 1) + "/v1/ws"
        clients += [
            ClientWatch(f"fast-{number}", connect(url, "msgpack", backoff_s=BACKOFF_S)),
            ClientWatch(f"slow-{number}", slow_client(websocket, delay_s=SLOW_DELAY_S)),
            ClientWatch(
                f"throttled-{number}", connect(url, backoff_s=BACKOFF_S), depth=5, interval_ms=THROTTLE_MS
            ),
            ClientWatch(f"credit-{number}", connect(url, credit_window=CREDIT, backoff_s=BACKOFF_S)),
        ]
    return ConsumerWatch(cluster.redis.url, cluster.partitions), clients


class MismatchCount(logging.Handler):
    """Counts digest mismatches that followers in this process log."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "digest" in str(getattr(record, "reason", ""))
