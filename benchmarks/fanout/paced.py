"""1,000 clients with ten symbols each, 20 broadcasts a second: share of a core, and latency."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.fanout.contest import kinds_of
from benchmarks.fanout.load import Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import Gateway, gateway, redis_server
from benchmarks.fanout.ticks import Lists, write_ticks
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target

CLIENTS = 1000
CHANNELS = 10
RATE = 20
SECONDS = 4
WARM_UP_TICKS = 10
CORES = Metric("cores", "cores", "", compared=False)
P50 = Metric("p50_ms", "publish to receive, median", "ms", digits=1, compared=False)
P99 = Metric("p99_ms", "p99", "ms", digits=1, compared=False)
WRITES = Metric("bytes_s", "MB/s", "", digits=1, compared=False)
PARTITIONS = (1, 4)


def run(run: Run) -> None:
    """The same with one partition and with four, whose entries arrive together."""
    seconds = 2 if run.quick else SECONDS
    lists = [list(range(CHANNELS))] * CLIENTS
    names = {partitions: f"P = {partitions}" for partitions in PARTITIONS}
    targets = []
    for name in names.values():
        targets += [Target("cores", name, most=0.6), Target("p99_ms", name, most=40)]
    with redis_server() as redis, ExitStack() as stack:
        contenders = []
        for partitions, name in names.items():
            market = Market(CHANNELS, partitions, messages=False)
            server = stack.enter_context(gateway(redis, market, prefix=f"bench{partitions}"))
            file = ticks_file(stack, server, market, lists, WARM_UP_TICKS + run.rounds * seconds * RATE)
            load = stack.enter_context(Load(server, kinds_of(server, lists), file))
            load.paced(WARM_UP_TICKS, 1 / RATE)
            contenders.append(Contender(name, partial(one_round, load, seconds)))
        title = f"{CLIENTS:,} clients × {CHANNELS} symbols × {RATE}/s"
        run.compare(title, contenders, [CORES, P50, P99, WRITES], targets=targets)


def one_round(load: Load, seconds: int) -> Measurement:
    """So many seconds at the common rate; everything published has to arrive."""
    found, report = load.paced(seconds * RATE, 1 / RATE)
    assert report.complete, "a message is missing"
    return {**found, "bytes_s": report.groups[0]["bytes"] / seconds / 1e6}


def ticks_file(
    stack: ExitStack,
    server: Gateway,
    market: Market,
    lists: Lists,
    ticks: int,
    changing: Sequence[str] | None = None,
) -> Path:
    """A file of so many ticks, kept as long as `stack`."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-ticks-")))
    made = [market.tick(changing) for _ in range(ticks)]
    write_ticks(folder / "ticks", market, made, lists, server.encode(market))
    return folder / "ticks"


BENCHMARK = Benchmark("paced", "20 broadcasts a second", run, rounds=4, quick_rounds=2)
