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
SINGLES_PER_ROUND: Final = 20_000
METRICS: Final = (
    Metric("rate", "events", "M/s"),
    Metric("cpu_ns", "CPU of the ingestor per event", "ns", 0),
)
FASTER_LEAST: Final = 1.6
"""Than an earlier version, if that takes part."""
SINGLE: Final = "levels, interval 50"
SINGLE_AT_ONCE: Final = "levels, interval 0"
FEEDS: Final = {
    "levels": ('["BTC-USD"]\n', levels_load),
    "orders": ('["BTC-USD"]\nfeed = "orders"\n', orders_load),
}


def run(run: Run) -> None:
    """Both feeds, batches of 100 events, every validation on; and levels with an event in each entry."""
    before = {"": None} | ({"before, ": run.before} if run.before else {})
    batches = BATCHES_PER_ROUND // (3 if run.quick else 1)
    singles = SINGLES_PER_ROUND // (3 if run.quick else 1)
    kinds = {**FEEDS, SINGLE: FEEDS["levels"], SINGLE_AT_ONCE: FEEDS["levels"]}
    measured = {f"{word}{kind}": (kind, python) for kind in kinds for word, python in before.items()}
    texts = {f"p{number}": kinds[kind][0] for number, (kind, _) in enumerate(measured.values())}
    with redis_server() as server, deployments(server, texts) as found, ExitStack() as stack:
        contenders: dict[bool, list[Contender]] = {False: [], True: []}
        for (name, (kind, python)), deployment in zip(measured.items(), found.values(), strict=True):
            single = kind not in FEEDS
            count = singles if single else batches
            load = kinds[kind][1](LEVELS, (run.rounds + 1) * count * (1 if single else 100))
            if single:
                load = Load(load.opening, [[event] for batch in load.batches for event in batch])
            interval_ms = 0 if kind == SINGLE_AT_ONCE else 50
            ingestor = stack.enter_context(deployment.ingestor(python=python, interval_ms=interval_ms))
            contenders[single].append(Contender(name, rounds(deployment, ingestor, load, count)))
        for single, some in contenders.items():
            targets = [] if single else [Target("rate", feed, least=0.6) for feed in FEEDS]
            targets += [
                Target("rate", contender.name, f"before, {contender.name}", least=FASTER_LEAST)
                for contender in some
            ]
            title = (
                "Redis to Redis, an event in each entry"
                if single
                else "Redis to Redis, batches of 100 events"
            )
            run.compare(title, some, METRICS, targets=targets)


def rounds(
    deployment: Deployment, ingestor: Program, load: Load, batches: int
) -> Callable[[], dict[str, float]]:
    """Open the book and run a round to warm up; returns a function that runs the next round."""
    deployment.wait_until_published(deployment.send([{SYMBOL: pack(load.opening)}]))
    slices = iter([load.batches[start : start + batches] for start in range(0, len(load.batches), batches)])

    def go() -> dict[str, float]:
        taken = next(slices)
        entries = deployment.packed([{SYMBOL: pack(batch)} for batch in taken])
        used, began = ingestor.cpu_s(), time.perf_counter()
        info = deployment.wait_until_published(deployment.send_packed(entries))
        took, used = time.perf_counter() - began, ingestor.cpu_s() - used
        assert info.rejected == 0
        events = sum(len(batch) for batch in taken)
        return {"rate": events / took / 1e6, "cpu_ns": used / events * 1e9}

    go()
    return go


BENCHMARK = Benchmark("ingest", "Input to broadcast", run, rounds=9, quick_rounds=3)
