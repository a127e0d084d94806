"""2,000 clients come back at once while the market moves: cost of their return, and of encoding."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import redis

from benchmarks.fanout.contest import kinds_of
from benchmarks.fanout.load import Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import Gateway, gateway, python_peer, redis_server
from benchmarks.harness import Absent, Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import EmbeddedServer

CLIENTS = 2000
SYMBOLS = 10
RATE = 5
"""Low, for what is delivered meanwhile is not what is measured; enough to see that it is encoded once."""
OURS, BARE = "Depthcast", "aiohttp, handshakes only"
CPU = Metric("cpu_ms", "server CPU per client", "ms", digits=3)
LONG = Metric("seconds", "until all are back", "s", digits=1, compared=False)
SHARE = Metric("encodings", "snapshots encoded per view and tick", "", compared=False)
SETTLE_MS = 100
"""What a server still has to do for the connections that were cut belongs to it."""
ENCODINGS = 'depthcast_gateway_encodings_total{type="snapshot"}'


def run(run: Run) -> None:
    """All connections are cut; then all connect and subscribe to a symbol at once."""
    market = Market(SYMBOLS, messages=False)
    lists = [[number % SYMBOLS] for number in range(CLIENTS)]
    with redis_server() as server, ExitStack() as stack:
        ours = stack.enter_context(gateway(server, market))
        load = stack.enter_context(Load(ours, kinds_of(ours, lists)))
        publisher = Publisher(server, ours, market)
        contenders = [Contender(OURS, partial(with_market, load, ours, publisher))]
        try:
            bare = stack.enter_context(python_peer("aiohttp"))
            peers = stack.enter_context(Load(bare, kinds_of(bare, lists)))
            contenders.append(Contender(BARE, partial(come_back, peers, 0)))
        except Absent as absent:
            run.absent(BARE, absent)
        targets = [Target("cpu_ms", OURS, BARE, most=1.3), Target("encodings", OURS, most=1)]
        title = f"{CLIENTS:,} clients, one symbol each"
        run.compare(title, contenders, [CPU, LONG, SHARE], baseline=BARE, targets=targets)
        run.note(
            f"During the return {RATE} broadcasts a second change every view. The bare server takes a "
            "subscription and answers nothing; the gateway sends welcome, a confirmation, a snapshot and "
            "what changes meanwhile."
        )


def come_back(load: Load, frames: int, publisher: "Publisher | None" = None) -> Measurement:
    """Cut and connect again, until everybody has so many frames."""
    before = load.server.program.cpu_s()
    with publisher.running() if publisher else nullcontext():
        report = load.command("reconnect", frames)
    assert report.complete, "somebody did not come back"
    load.command("settle", SETTLE_MS)
    return {"cpu_ms": (load.server.program.cpu_s() - before) / CLIENTS * 1e3, "seconds": report.seconds}


def with_market(load: Load, server: Gateway, publisher: "Publisher") -> Measurement:
    """The same while broadcasts go on; encodings by the gateway's own count."""
    before = server.metrics()[ENCODINGS]
    found = come_back(load, len(("welcome", "subscribed", "snapshot")), publisher)
    time.sleep(1.5)  # the gateway publishes its counters once a second
    encoded = server.metrics()[ENCODINGS] - before
    return {**found, "encodings": encoded / SYMBOLS / (publisher.ticks + 1)}


class Publisher:
    """Appends a tick of the market at the common rate while it runs. `ticks`: how many, in the last run."""

    def __init__(self, server: EmbeddedServer, target: Gateway, market: Market) -> None:
        self.client = redis.Redis(port=server.port)
        self.keys = target.keys
        self.market = market
        self.ticks = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """In a thread, for the block."""
        self.ticks = 0
        stop = threading.Event()
        thread = threading.Thread(target=self._publish, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _publish(self, stop: threading.Event) -> None:
        while not stop.wait(1 / RATE):
            for number, (position, fields) in self.market.tick().entries.items():
                self.client.xadd(self.keys.partition(number).deltas, dict(fields), id=str(position))
            self.ticks += 1


BENCHMARK = Benchmark("storm", "2,000 clients reconnect at once", run, rounds=5, quick_rounds=2)
