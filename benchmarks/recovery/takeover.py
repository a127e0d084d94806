"""From a signal to the leading ingestor to the next epoch: 500 symbols, 500 levels a side, half by order.

Two ingestors, a steady load. In each round the leader gets a signal; the time goes to the entry that moves
the symbols into the epoch of the other.
"""

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgpack
import redis

from benchmarks.fanout.programs import Program, python_module
from benchmarks.harness import Absent, Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.keys import DeploymentKeys

SYMBOLS: Final = 500
LEVELS: Final = 500
QUICK: Final = 100
LEASE_MS: Final = 2000
LOAD_S: Final = 0.002
WAIT_S: Final = 60.0

SIGTERM, KILL = "SIGTERM", "kill -9"
STILL = Metric("still_ms", "signal to next epoch's moves", "ms", digits=0, compared=False)
ADMIN: Final = r"admin listening on http://127\.0\.0\.1:(\d+)"


class Pair:
    """Two ingestors on one server, and what feeds them."""

    def __init__(self, server: EmbeddedServer, symbols: int, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self.symbols = symbols
        self.stack = stack
        self.keys = DeploymentKeys("takeover").partition(0)
        self.client: Any = redis.Redis(port=server.port)
        self.file = folder / "instruments.toml"
        feeds = ("levels", "orders")
        self.file.write_text("".join(f'[S{n}]\nfeed = "{feeds[n % 2]}"\n' for n in range(symbols)))
        self.ingestors = [self.start()]
        self.until(lambda: self.client.exists(self.keys.leader))
        self.fill()
        self.ingestors.append(self.start())

    def start(self) -> Program:
        """Another ingestor."""
        command = python_module(
            "ingestor",
            redis_url=self.server.url,
            prefix="takeover",
            instruments=self.file,
            lease_ms=LEASE_MS,
            admin_port=0,
        )
        return self.stack.enter_context(Program("ingestor", command, ADMIN, measured=False))

    def until(self, true: Callable[[], object]) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + WAIT_S
        while not true():
            if time.monotonic() > deadline:
                raise Absent(f"the ingestors were not ready in {WAIT_S:g} s")
            time.sleep(0.02)

    def fill(self) -> None:
        """The books: 500 levels a side, of one order each."""
        for number in range(self.symbols):
            events = [
                [0, side, (10_000 - level, 10_001 + level)[side], 5, 2 * level + side][: 4 + number % 2]
                for level in range(LEVELS)
                for side in (0, 1)
            ]
            self.client.xadd(self.keys.events, {f"S{number}": msgpack.packb(events)})
        total = 2 * LEVELS * self.symbols
        self.until(lambda: self.info().get("applied", 0) >= total)

    def info(self) -> dict[str, int]:
        """What the last entry says."""
        newest = self.client.xrevrange(self.keys.deltas, count=1)
        found: dict[str, int] = msgpack.unpackb(newest[0][1][b"_"]) if newest else {}
        return found

    def leader(self) -> Program:
        """The one that leads, once the other follows hot and both know of each other."""
        self.until(lambda: sorted(map(self.state, self.ingestors)) == [(0, 1, 2), (1, 0, 2)])
        return next(one for one in self.ingestors if self.state(one)[0])

    def state(self, one: Program) -> tuple[int, int, int]:
        """How many partitions it leads and follows, and how many ingestors it knows."""
        with urllib.request.urlopen(f"http://127.0.0.1:{one.said[0]}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        values = {line.partition("{")[0].split()[0]: line.split()[-1] for line in lines if line[0] != "#"}
        names = ("leading", "following", "ingestors")
        leading, following, known = (
            int(float(values.get(f"depthcast_ingestor_{name}", 0))) for name in names
        )
        return leading, following, known

    def load(self, stop: threading.Event) -> None:
        """A steady trickle of changes over all symbols."""
        with redis.Redis(port=self.server.port) as client:
            number = 0
            while not stop.wait(LOAD_S):
                number += 1
                symbol = number % self.symbols
                event = [1, 0, 9_950, number, 100][: 4 + symbol % 2]
                client.xadd(self.keys.events, {f"S{symbol}": msgpack.packb([event])})

    def round(self, number: signal.Signals) -> Measurement:
        """One leader ends, the other goes on, and the first is started again."""
        leader = self.leader()
        last = self.client.xrevrange(self.keys.deltas, count=1)[0][0]
        began = time.monotonic()
        os.kill(leader.pid, number)
        epoch = last.partition(b"-")[0]
        while True:
            for _, entries in self.client.xread({self.keys.deltas: last}, block=1000):
                for last, _ in entries:
                    if not last.startswith(epoch) and not last.endswith(b"-0"):
                        still_ms = (time.monotonic() - began) * 1000
                        leader.stop()
                        self.ingestors[self.ingestors.index(leader)] = self.start()
                        return {"still_ms": still_ms}


@contextmanager
def pair(symbols: int) -> Iterator[Pair]:
    """Two ingestors under load."""
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="depthcast-bench-")))
        both = Pair(server, symbols, folder, stack)
        stop = threading.Event()
        loading = threading.Thread(target=both.load, args=(stop,))
        loading.start()
        stack.callback(loading.join)
        stack.callback(stop.set)
        yield both


def run(run: Run) -> None:
    """Leaders end in turn by either signal."""
    symbols = QUICK if run.quick else SYMBOLS
    with pair(symbols) as both:
        contenders = [
            Contender(SIGTERM, lambda: both.round(signal.SIGTERM)),
            Contender(KILL, lambda: both.round(signal.SIGKILL)),
        ]
        targets = [
            Target("still_ms", SIGTERM, most=200),
            Target("still_ms", KILL, most=LEASE_MS + 1000),
        ]
        title = f"{symbols} symbols × {LEVELS} levels a side, lease {LEASE_MS} ms"
        run.compare(title, contenders, [STILL], targets=targets)
    run.note("Half of the symbols are fed by order.")


BENCHMARK = Benchmark("takeover", "When the leading ingestor goes", run, rounds=7, quick_rounds=2)
