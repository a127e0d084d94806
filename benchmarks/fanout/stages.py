"""What each stage of a gateway worker's work for a broadcast costs: everything but the sends.

The core of a gateway runs in this process, over books as `followed` has them, with clients that take
everything at no cost.
"""

import gc
import random
import time
from typing import Final

import hiredis

from benchmarks.fanout.followed import CHANNELS, CLIENTS, PARTITIONS, SYMBOLS, WORKERS
from benchmarks.fanout.market import DEPTH, Market
from benchmarks.fanout.tokens import NullWriter
from benchmarks.harness import SEED, Benchmark, Contender, Measurement, Metric, Run
from depthcast.gateway.delivery.core import Core
from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.codec import decode_snapshot
from depthcast.shared.instruments import Instrument
from depthcast.shared.position import Position
from depthcast.shared.reader import AppliedEntry
from depthcast.shared.settings import GatewaySettings
from depthcast.shared.types import Symbol

TICKS: Final = 15
FEW_SYMBOLS: Final = SYMBOLS // 10

METRICS: Final = (
    Metric("parse_us", "parsing the reply of Redis, µs", "", digits=1, compared=False),
    Metric("read_us", "decoding, checking, applying to the book, µs", "", digits=1, compared=False),
    Metric("apply_us", "history, view, digest, frame, µs", "", digits=1, compared=False),
    Metric("tick_us", "finding the readers, passing the frame, µs", "", digits=1, compared=False),
    Metric("sum_us", "together, µs", "", digits=1),
)


class Worker:
    """The core of a gateway with so many symbols and clients, each of which has `CHANNELS` of them."""

    def __init__(self, symbols: int, clients: int) -> None:
        self.market = Market(symbols, PARTITIONS, messages=False)
        settings = GatewaySettings(follow="all", stale_ms=600_000)
        self.core = Core(settings, lambda: time.time_ns() // 1000, lambda _interval_ms: None)
        self.core.market.set_partitions(PARTITIONS)
        listed = {name: Instrument(Symbol(name), "0.01", "0.001") for name in self.market.symbols}
        self.core.list_instruments(listed)
        snapshots = self.market.snapshots()
        for number, upstream in enumerate(self.core.market.upstreams):
            position = self.market.positions[number]
            of_partition = {
                name: (position, decode_snapshot(raw))
                for name, raw in snapshots.items()
                if self.market.partition_of(name) == number
            }
            updates = upstream.reader.load(position, of_partition)
            self.core.apply(upstream, AppliedEntry(position, None, updates), 0.0)
        chance = random.Random(SEED)
        for number in range(clients):
            session = self.core.open(NullWriter(), Encoding.JSON, str(number), 0.0)
            names = b",".join(
                b'"%b"' % name.encode() for name in chance.sample(self.market.symbols, CHANNELS)
            )
            for _ in answer(session, b'{"op":"subscribe","symbols":[%b],"depth":%d}' % (names, DEPTH)):
                pass
        self.core.tick(0.0)

    def run_round(self) -> Measurement:
        """Medians over some ticks, each divided by its broadcasts."""
        self.one_tick()  # whatever ran between two rounds had the caches
        ticks = [self.one_tick() for _ in range(TICKS)]
        stages = zip(*ticks, strict=True)
        spent = [sorted(times)[TICKS // 2] / len(self.market.symbols) * 1e6 for times in stages]
        names = [metric.name for metric in METRICS]
        return dict(zip(names, [*spent, sum(spent)], strict=True))

    def one_tick(self) -> tuple[float, float, float, float]:
        """Every book changes; returns the CPU time of each stage, in seconds."""
        replies = [
            (number, _reply(position, fields))
            for number, (position, fields) in self.market.tick().entries.items()
        ]
        parsing = reading = applying = 0.0
        clock = time.process_time
        gc.disable()  # as good as off in a gateway, too, which freezes what it has
        for number, reply in replies:
            upstream = self.core.market.upstreams[number]
            begun = clock()
            parser = hiredis.Reader()
            parser.feed(reply)
            position, flat = parser.gets()[0][1][0]
            parsed = clock()
            fields = list(zip(flat[::2], flat[1::2], strict=True))
            entry = upstream.reader.read(Position.parse(position.decode()), fields)
            assert entry is not None
            read = clock()
            self.core.apply(upstream, entry, 0.0)
            applied = clock()
            parsing += parsed - begun
            reading += read - parsed
            applying += applied - read
        begun = clock()
        self.core.tick(0.0)
        spent = clock() - begun
        gc.enable()
        return parsing, reading, applying, spent


def _reply(position: Position, fields: list[tuple[bytes, bytes]]) -> bytes:
    """What XREAD answers with one entry of a stream."""
    strings = [part for field in fields for part in field]
    items = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in strings)
    key = str(position).encode()
    entry = b"*2\r\n$%d\r\n%b\r\n*%d\r\n%b" % (len(key), key, len(strings), items)
    return b"*1\r\n*2\r\n$6\r\ndeltas\r\n*1\r\n" + entry


def run(run: Run) -> None:
    """All clients at one worker, a part of them, none; and few symbols."""
    makers = {
        f"{SYMBOLS:,} symbols, {CLIENTS:,} clients": (SYMBOLS, CLIENTS),
        f"{SYMBOLS:,} symbols, {CLIENTS // WORKERS:,} clients": (SYMBOLS, CLIENTS // WORKERS),
        f"{SYMBOLS:,} symbols, no client": (SYMBOLS, 0),
        f"{FEW_SYMBOLS:,} symbols, {CLIENTS:,} clients": (FEW_SYMBOLS, CLIENTS),
    }
    contenders = [Contender(name, Worker(*sizes).run_round) for name, sizes in makers.items()]
    run.compare("a broadcast of a symbol", contenders, METRICS, baseline=next(iter(makers)))


BENCHMARK = Benchmark("stages", "What the stages of a worker's work cost", run, rounds=7, quick_rounds=1)
