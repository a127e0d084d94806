"""A leader of very many symbols is killed, and a hot standby goes on, or an ingestor that is started then.

`DEPTHCAST_BENCH_BEFORE` names a checkout of another version, whose modules are compiled as here: it takes
part as `before`. Every book has a few levels. At the kill an event of one symbol is sent.
"""

import os
import re
import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgpack
import redis

from benchmarks.harness import Absent, Benchmark, Contender, Metric, Run, Target
from benchmarks.recovery.catalog import BEFORE, POLL_S, WAIT_S, Scene, scene
from depthcast.runtime.child import Child
from depthcast.shared.position import Position

SYMBOLS: Final = 100_000
QUICK: Final = 5_000
LEVELS: Final = 2
FILLED_AT_ONCE: Final = 500
LEASE_MS: Final = 1000
TAIL_S: Final = 3.0
"""The slow log is read so long after the last move."""

HOT, COLD = "hot", "cold"
METRICS: Final = (
    Metric("hot_sealed_s", "hot standby: kill -9 to seal", "s", compared=False),
    Metric("hot_led_s", "to first moves", "s", compared=False),
    Metric("hot_moved_s", "to last move", "s", compared=False),
    Metric("hot_input_s", "to the event sent at the kill", "s", compared=False),
    Metric("hot_script_ms", "longest script", "ms", 0, compared=False),
    Metric("hot_command_ms", "longest command", "ms", 0, compared=False),
    Metric("cold_sealed_s", "cold start: kill -9 to seal", "s", compared=False),
    Metric("cold_led_s", "to first moves", "s", compared=False),
    Metric("cold_moved_s", "to last move", "s", compared=False),
    Metric("cold_input_s", "to the event sent at the kill", "s", compared=False),
    Metric("cold_script_ms", "longest script", "ms", 0, compared=False),
    Metric("cold_command_ms", "longest command", "ms", 0, compared=False),
)
TARGETS: Final = {"hot_led_s": 3, "hot_input_s": 3, "hot_script_ms": 20, "cold_script_ms": 20}


class Succession:
    """Ingestors of one version in a scene, of which one leads."""

    def __init__(self, made: Scene) -> None:
        self.made = made
        self.logs: dict[int, Path] = {}

    def ingestor(self) -> Child:
        """Another ingestor for all symbols."""
        log = f"ingestor-{len(self.made.children)}.log"
        settings: dict[str, Any] = {"lease_ms": LEASE_MS, "admin_port": 0}
        child = self.made.start(
            "ingestor", log, instruments=self.made.file, symbols_max=2 * self.made.symbols, **settings
        )
        self.logs[child.pid] = self.made.folder / log
        return child

    def fill(self) -> None:
        """Give every book some levels, and wait until that is published."""
        client, keys, symbols = self.made.client, self.made.keys, self.made.symbols
        events = [
            [0, side, (100 - level, 101 + level)[side], 5] for level in range(LEVELS) for side in (0, 1)
        ]
        value = msgpack.packb(events)
        for first in range(0, symbols, FILLED_AT_ONCE):
            names = range(first, min(first + FILLED_AT_ONCE, symbols))
            last = client.xadd(keys.events, {f"S{name}": value for name in names})
        self.made.until(lambda: self._covers(client.xrevrange(keys.deltas, count=1)[0][1], last))

    def until_hot(self, standby: Child) -> None:
        """Wait until it follows."""
        self.made.until(lambda: self._metric(standby, "following") == 1)

    def takeover(self, leader: Child, standby: Child | None) -> tuple[Child, dict[str, float]]:
        """Kill the leader; returns the next one, and the times since."""
        client, keys = self.made.client, self.made.keys
        self.made.note_slow()
        self.made.slow.clear()
        slow_from = client.slowlog_get(1)[0]["id"] if client.slowlog_len() else -1
        last = client.xrevrange(keys.deltas, count=1)[0][0]
        began = time.monotonic()
        os.kill(leader.pid, signal.SIGKILL)
        successor = self.ingestor() if standby is None else standby
        sent = client.xadd(keys.events, {"S7": msgpack.packb([[1, 0, 50, 9]])})
        found: dict[str, float] = {}
        with suppress(Absent):  # not in time
            self._watch(last, sent, began, found)
        time.sleep(TAIL_S)
        self.made.note_slow()
        self.made.slow = {number: each for number, each in self.made.slow.items() if number > slow_from}
        found["script_ms"] = self.made.longest("EVALSHA", "EVAL")
        found["command_ms"] = self.made.longest()
        return successor, found

    def _watch(self, last: bytes, sent: bytes, began: float, found: dict[str, float]) -> None:
        epoch, moved, at = Position.parse(last).epoch, 0, last
        while moved < self.made.symbols or "input_s" not in found:
            if time.monotonic() > began + WAIT_S:
                raise Absent(f"{moved} symbols in {WAIT_S:g} s")
            try:
                read = self.made.client.xread({self.made.keys.deltas: at}, count=50, block=1000)
            except redis.ResponseError:  # BUSY: a script runs for seconds
                time.sleep(POLL_S)
                continue
            now = time.monotonic() - began
            for _, entries in read:
                for at, fields in entries:
                    if Position.parse(at).epoch > epoch:
                        found.setdefault("sealed_s", now)
                        symbols = sum(not name.startswith(b"_") for name in fields)
                        if symbols:
                            found.setdefault("led_s", now)
                        moved += symbols
                        if moved >= self.made.symbols:
                            found.setdefault("moved_s", now)
                        if self._covers(fields, sent):
                            found.setdefault("input_s", now)

    @staticmethod
    def _covers(fields: dict[bytes, bytes], sent: bytes) -> bool:
        return Position.parse(msgpack.unpackb(fields[b"_"])["src"]) >= Position.parse(sent)

    def _metric(self, child: Child, name: str) -> float:
        said = self.logs[child.pid].read_text(encoding="utf-8", errors="replace")
        found = re.search(r"admin listening on http://127\.0\.0\.1:(\d+)", said)
        if found is None:
            return 0
        address = f"http://127.0.0.1:{found[1]}/metrics"
        with suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"depthcast_ingestor_{name}{{"):
                    return float(line.split()[-1])
        return 0


def measure(checkout: Path, symbols: int) -> dict[str, float]:
    """Both kinds of takeover of one version."""
    measured: dict[str, float] = {}
    with scene(checkout, symbols) as made:
        succession = Succession(made)
        leader = succession.ingestor()
        for _ in made.symbols_after(b"0-0", 0):
            pass
        succession.fill()
        standby = succession.ingestor()
        succession.until_hot(standby)
        leader, found = succession.takeover(leader, standby)
        measured |= {f"{HOT}_{name}": value for name, value in found.items()}
        _, found = succession.takeover(leader, None)
        measured |= {f"{COLD}_{name}": value for name, value in found.items()}
    return measured


def run(run: Run) -> None:
    """This version, and another one if it is named."""
    symbols = QUICK if run.quick else SYMBOLS
    checkouts = {"this version": Path(__file__).parents[2]}
    if before := os.environ.get(BEFORE):
        checkouts["before"] = Path(before)

    def contender(name: str, checkout: Path) -> Contender:
        return Contender(name, lambda: measure(checkout, symbols))

    contenders = [contender(name, checkout) for name, checkout in checkouts.items()]
    targets = [Target(name, "this version", most=most) for name, most in TARGETS.items()]
    title = f"{symbols:,} symbols, one partition, lease {LEASE_MS} ms"
    run.compare(title, contenders, METRICS, targets=targets, rounds=1)


BENCHMARK = Benchmark(
    "succession", "When the leader of very many symbols goes", run, rounds=1, quick_rounds=1
)
