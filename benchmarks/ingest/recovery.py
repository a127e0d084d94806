"""An ingestor of an orders feed is killed and started again: time until it broadcasts, and its cost."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.books.load import ORDERS_PER_LEVEL, orders_load
from benchmarks.fanout.programs import Program
from benchmarks.fanout.servers import redis_server
from benchmarks.harness import Benchmark, Contender, Metric, Run
from benchmarks.ingest.deployment import POLL_S, WAIT_S, Deployment, deployments
from depthcast.shared.codec import pack
from depthcast.shared.position import Position

SYMBOL: Final = "BTC-USD"
INSTRUMENTS: Final = '["BTC-USD"]\nfeed = "orders"\n'
EVENTS_PER_ENTRY: Final = 100
METRICS: Final = (
    Metric("seconds", "from start to broadcast", "s"),
    Metric("cpu_s", "CPU until then", "s"),
    Metric("peak_mb", "peak memory", "MB", 0),
)


def run(run: Run) -> None:
    """Few orders beside very many."""
    sizes = (1_000, 100_000) if run.quick else (1_000, 1_000_000)
    names = {f"orders{size}": size for size in sizes}
    with redis_server() as server, deployments(server, dict.fromkeys(names, INSTRUMENTS)) as found:
        contenders = []
        for name, size in names.items():
            fill(found[name], size)
            contenders.append(Contender(f"{size:,} resting orders", restarts(found[name])))
        run.compare("after kill -9", contenders, METRICS)
    run.note("The lease of the killed one, 2 s by default, has to run out within this time.")


def fill(deployment: Deployment, orders: int) -> None:
    """Have so many orders rest, and a checkpoint of all of them."""
    opening = orders_load(orders // (2 * ORDERS_PER_LEVEL), 0).opening
    entries = [
        {SYMBOL.encode(): pack(opening[start : start + EVENTS_PER_ENTRY])}
        for start in range(0, len(opening), EVENTS_PER_ENTRY)
    ]
    with deployment.ingestor() as ingestor:
        last = deployment.send(entries)
        deployment.wait_until_published(last)
        wait_for_checkpoint(deployment, last)
        os.kill(ingestor.pid, signal.SIGKILL)


def wait_for_checkpoint(deployment: Deployment, src: Position) -> None:
    """Wait until the checkpoint stands at `src`: its second position."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        head = deployment.client.getrange(deployment.keys.checkpoint(SYMBOL), 0, 95)
        assert isinstance(head, bytes)
        positions = re.findall(rb"\d+-\d+", head)
        if len(positions) > 1 and Position.parse(positions[1]) >= src:
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"no checkpoint at {src} in {WAIT_S:g} s")


def restarts(deployment: Deployment) -> Callable[[], dict[str, float]]:
    """What starts the ingestor, waits until it leads and broadcasts, and kills it again."""

    def restart() -> dict[str, float]:
        newest = deployment.newest()
        assert newest is not None
        began = time.perf_counter()
        with deployment.ingestor() as ingestor:
            deployment.wait_for_epoch_after(newest[0].epoch)
            took = time.perf_counter() - began
            found = {"seconds": took, "cpu_s": ingestor.cpu_s(), "peak_mb": peak_mb(ingestor)}
            os.kill(ingestor.pid, signal.SIGKILL)
        return found

    return restart


def peak_mb(program: Program) -> float:
    """The most memory that the process has had, in MB."""
    for line in Path(f"/proc/{program.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmHWM")


BENCHMARK = Benchmark("recovery", "An ingestor after kill -9", run, rounds=5, quick_rounds=2)
