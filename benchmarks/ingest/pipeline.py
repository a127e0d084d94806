"""From `events` through the books to `deltas`: the ingestor process on one core, Redis on another."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from benchmarks.books.load import Load, levels_load, orders_load
from benchmarks.fanout.programs import Program
from benchmarks.fanout.servers import redis_server
from benchmarks.harness import Benchmark, Contender, Metric, Run, Target
from benchmarks.ingest.deployment import Deployment, deployments
from depthcast.shared.codec import pack

SYMBOL: Final = b"BTC-USD"
LEVELS: Final = 500
BATCHES_PER_ROUND: Final = 3_000
METRICS: Final = (
    Metric("rate", "events", "M/s"),
    Metric("cpu_ns", "CPU of the ingestor per event", "ns", 0),
)
FEEDS: Final = {
    "levels": ('["BTC-USD"]\n', levels_load),
    "orders": ('["BTC-USD"]\nfeed = "orders"\n', orders_load),
}


def run(run: Run) -> None:
    """Both feeds, batches of 100 events, every validation on."""
    batches = BATCHES_PER_ROUND // (3 if run.quick else 1)
    with (
        redis_server() as server,
        deployments(server, {feed: text for feed, (text, _) in FEEDS.items()}) as found,
        ExitStack() as stack,
    ):
        contenders = []
        for feed, (_, make) in FEEDS.items():
            load = make(LEVELS, (run.rounds + 1) * batches * 100)
            ingestor = stack.enter_context(found[feed].ingestor())
            contenders.append(Contender(feed, rounds(found[feed], ingestor, load, batches)))
        targets = [Target("rate", feed, least=0.6) for feed in FEEDS]
        run.compare("Redis to Redis, batches of 100 events", contenders, METRICS, targets=targets)


def rounds(
    deployment: Deployment, ingestor: Program, load: Load, batches: int
) -> Callable[[], dict[str, float]]:
    """Open the book and run a round to warm up; returns a function that runs the next round."""
    deployment.wait_until_published(deployment.send([{SYMBOL: pack(load.opening)}]))
    slices = iter(
        [
            [{SYMBOL: pack(batch)} for batch in load.batches[start : start + batches]]
            for start in range(0, len(load.batches), batches)
        ]
    )

    def go() -> dict[str, float]:
        entries = next(slices)
        used, began = ingestor.cpu_s(), time.perf_counter()
        info = deployment.wait_until_published(deployment.send(entries))
        took, used = time.perf_counter() - began, ingestor.cpu_s() - used
        assert info.rejected == 0
        events = 100 * len(entries)
        return {"rate": events / took / 1e6, "cpu_ns": used / events * 1e9}

    go()
    return go


BENCHMARK = Benchmark("ingest", "Input to broadcast", run, rounds=9, quick_rounds=3)
