"""Very many symbols in one partition: start, idle cost, a leader that is killed, beside another version.

`DEPTHCAST_BENCH_BEFORE` names a checkout of another version, whose modules are compiled as here: it takes
part as `before`. The ingestor and a gateway start together, then nothing happens for a while, then the
ingestor is killed and started again.
"""

import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import redis

from benchmarks.fanout.programs import python_module
from benchmarks.harness import Absent, Benchmark, Contender, Metric, Run, Target
from benchmarks.machine import cpu_seconds
from depthcast.runtime.child import Child
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.position import Position

SYMBOLS: Final = 100_000
QUICK: Final = 5_000
IDLE_S: Final = 30.0
SETTLE_S: Final = 10.0
WAIT_S: Final = 90.0
POLL_S: Final = 0.05
PREFIX: Final = "catalog"
BEFORE: Final = "DEPTHCAST_BENCH_BEFORE"
SLOW_US: Final = 1_000
"""Commands that take longer are in the server's slow log."""

METRICS: Final = (
    Metric("first_s", "start to first births", "s", compared=False),
    Metric("births_s", "start to last birth", "s", compared=False),
    Metric("ready_s", "start to gateway ready", "s", compared=False),
    Metric("gateway_cores", "idle gateway", "cores", 3, compared=False),
    Metric("ingestor_cores", "idle ingestor", "cores", 3, compared=False),
    Metric("server_cores", "idle server", "cores", 3, compared=False),
    Metric("led_s", "kill -9 to first moves", "s", compared=False),
    Metric("moved_s", "kill -9 to last move", "s", compared=False),
    Metric("script_ms", "longest script", "ms", 0, compared=False),
    Metric("command_ms", "longest command", "ms", 0, compared=False),
    Metric("log_mb", "log", "MB", compared=False),
)


class Scene:
    """A server, an ingestor and a gateway of one version; `checkout` is where its modules are."""

    def __init__(self, server: EmbeddedServer, checkout: Path, symbols: int, folder: Path) -> None:
        self.server = server
        self.checkout = checkout
        self.symbols = symbols
        self.folder = folder
        self.client: Any = redis.Redis(port=server.port)
        self.keys = DeploymentKeys(PREFIX).partition(0)
        self.slow: dict[int, tuple[str, float]] = {}
        self.children: list[Child] = []
        self.file = folder / "instruments.toml"
        self.file.write_text("".join(f'[S{n}]\ntick_size = "0.01"\n' for n in range(symbols)))
        self.client.config_set("slowlog-log-slower-than", SLOW_US)
        self.client.config_set("slowlog-max-len", 100_000)

    def start(self, module: str, log: str, **settings: object) -> Child:
        """A process of this version; what it says is added to the file `log`."""
        command = python_module(module, redis_url=self.server.url, prefix=PREFIX, **settings)
        with (self.folder / log).open("ab") as output:
            child = Child([shutil.which("env") or "env", "-C", self.checkout, *command], output)
        self.children.append(child)
        return child

    def ingestor(self) -> Child:
        """An ingestor for all symbols."""
        return self.start("ingestor", "ingestor.log", instruments=self.file, symbols_max=2 * self.symbols)

    def until(self, true: Callable[[], object]) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + WAIT_S
        while not true():
            if time.monotonic() > deadline:
                raise Absent(f"not in {WAIT_S:g} s")
            time.sleep(POLL_S)

    def note_slow(self) -> None:
        """Take what the slow log has; the benchmark's own commands are short."""
        for entry in self.client.slowlog_get(1_000):
            name = bytes(entry["command"]).split(b" ")[0].decode().upper()
            self.slow[entry["id"]] = (name, entry["duration"] / 1000)

    def longest(self, *names: str) -> float:
        """The longest of these commands, of all without names, in ms."""
        found = [took for name, took in self.slow.values() if not names or name in names]
        return max(found, default=SLOW_US / 1000)

    def symbols_after(self, last: bytes, epoch: int) -> Iterator[int]:
        """How many symbols the entries of later epochs have, as they come."""
        count = 0
        deadline = time.monotonic() + WAIT_S
        while count < self.symbols:
            if time.monotonic() > deadline:
                raise Absent(f"{count} symbols in {WAIT_S:g} s")
            try:
                found = self.client.xread({self.keys.deltas: last}, count=20, block=1000)
            except redis.ResponseError:  # BUSY: a script runs for seconds
                time.sleep(POLL_S)
                continue
            for _, entries in found:
                for position, fields in entries:
                    if Position.parse(position).epoch > epoch:
                        count += sum(not name.startswith(b"_") for name in fields)
                last = entries[-1][0]
            if count:
                yield count


@contextmanager
def scene(checkout: Path, symbols: int) -> Iterator[Scene]:
    """The scene, with nothing running."""
    with TemporaryDirectory(prefix="depthcast-bench-") as folder, EmbeddedServer() as server:
        made = Scene(server, checkout, symbols, Path(folder))
        try:
            yield made
        finally:
            for child in made.children:
                child.send(signal.SIGKILL)
                child.wait(10)


def measure(checkout: Path, symbols: int, idle_s: float) -> dict[str, float]:
    """All measures of one version."""
    found: dict[str, float] = {}
    with scene(checkout, symbols) as made:
        began = time.monotonic()
        ingestor = made.ingestor()
        gateway = made.start("gateway", "gateway.log", port=0, anonymous="true")
        with suppress(Absent):  # not in time
            for count in made.symbols_after(b"0-0", 0):
                found.setdefault("first_s", time.monotonic() - began)
                if count >= symbols:
                    found["births_s"] = time.monotonic() - began
            made.note_slow()
            made.until(lambda: is_ready(made.folder / "gateway.log"))
            found["ready_s"] = time.monotonic() - began
        time.sleep(SETTLE_S)
        found |= idle(made, ingestor, gateway, idle_s)
        made.note_slow()
        newest = made.client.xrevrange(made.keys.deltas, count=1)[0][0]
        began = time.monotonic()
        os.kill(ingestor.pid, signal.SIGKILL)
        made.ingestor()
        with suppress(Absent):  # not in time
            for count in made.symbols_after(newest, Position.parse(newest).epoch):
                found.setdefault("led_s", time.monotonic() - began)
                if count >= symbols:
                    found["moved_s"] = time.monotonic() - began
        time.sleep(SETTLE_S)
        made.note_slow()
        found["script_ms"] = made.longest("EVALSHA", "EVAL")
        found["command_ms"] = made.longest()
        found["log_mb"] = (made.folder / "ingestor.log").stat().st_size / 1e6
    return found


def is_ready(log: Path) -> bool:
    """Whether the gateway that writes this log says that it is ready."""
    said = log.read_text(encoding="utf-8", errors="replace").partition("http://127.0.0.1:")[2]
    port = said.partition("\n")[0].split("/")[0].split()[0] if said else ""
    if not port.isdigit():
        return False
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def idle(made: Scene, ingestor: Child, gateway: Child, idle_s: float) -> dict[str, float]:
    """What the processes and the server use while nothing happens."""

    def used() -> Sequence[float]:
        return (cpu_seconds(gateway.pid), cpu_seconds(ingestor.pid), server_s(made.client))

    before = used()
    time.sleep(idle_s)
    cores = [(now - then) / idle_s for now, then in zip(used(), before, strict=True)]
    return dict(zip(("gateway_cores", "ingestor_cores", "server_cores"), cores, strict=True))


def server_s(client: Any) -> float:
    """Seconds that the server has spent on commands."""
    return sum(float(stats["usec"]) for stats in client.info("commandstats").values()) / 1e6


def run(run: Run) -> None:
    """This version, and another one if it is named."""
    symbols = QUICK if run.quick else SYMBOLS
    idle_s = IDLE_S / 3 if run.quick else IDLE_S
    here = Path(__file__).parents[2]
    checkouts = {"this version": here}
    if before := os.environ.get(BEFORE):
        checkouts["before"] = Path(before)

    def contender(name: str, checkout: Path) -> Contender:
        return Contender(name, lambda: measure(checkout, symbols, idle_s))

    contenders = [contender(name, checkout) for name, checkout in checkouts.items()]
    targets = [Target("script_ms", "this version", most=20), Target("led_s", "this version", most=3)]
    run.compare(f"{symbols:,} symbols, one partition", contenders, METRICS, targets=targets)
    run.note("Server: the time that its commands took, by INFO commandstats. The lease is 2 s.")


BENCHMARK = Benchmark("catalog", "Very many symbols", run, rounds=2, quick_rounds=1)
