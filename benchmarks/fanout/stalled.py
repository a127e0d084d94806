"""Half of 5,000 clients read nothing: whether the others notice, and whether the gateway's memory grows."""

import time
from contextlib import ExitStack
from functools import partial

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.paced import P50, P99, ticks_file
from benchmarks.fanout.servers import Gateway, gateway, redis_server
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target

HALF = 2500
CHANNELS = 10
RATE = 20
SECONDS = 3
FULL_S = 15
"""Ample time for the buffers of stalled clients, and the history of the channels, to fill."""
MEMORY_S, MEMORY_QUICK_S = 60, 10
HEALTHY, STALLED = 0, 1
ALONE, BESIDE = "2,500 alone", "2,500 beside 2,500 that stall"
CORES = Metric("cores", "cores", "", compared=False)
SLOPE = Metric("slope_bytes", "growth per stalled client and minute", "B", digits=0, compared=False)


def run(run: Run) -> None:
    """Two gateways in turn, then the memory of the second one for a minute."""
    seconds = 2 if run.quick else SECONDS
    memory_s = MEMORY_QUICK_S if run.quick else MEMORY_S
    ticks = (1 + run.rounds) * seconds * RATE
    with redis_server() as redis, ExitStack() as stack:
        contenders = []
        loads = {}
        for name, prefix in ((ALONE, "alone"), (BESIDE, "beside")):
            market = Market(CHANNELS, messages=False)
            # Stalled clients shall stay: as shipped they are closed after 30 s.
            server = stack.enter_context(gateway(redis, market, prefix, stall_timeout_s=86_400))
            more = (FULL_S + memory_s) * RATE * (name == BESIDE)
            file = ticks_file(stack, server, market, [list(range(CHANNELS))] * HALF, ticks + more)
            load = loads[name] = stack.enter_context(Load(server, _kinds(server, name), file))
            if name == BESIDE:
                load.command("stall", STALLED, 1)
                load.paced(FULL_S * RATE, 1 / RATE)
            load.paced(seconds * RATE, 1 / RATE)
            contenders.append(Contender(name, partial(one_round, load, seconds)))
        targets = [Target("p99_ms", BESIDE, ALONE, most=1.2)]
        run.compare("half stalled", contenders, [CORES, P50, P99], baseline=ALONE, targets=targets)
        run.record(
            f"memory over {memory_s} s",
            {"Depthcast": {"slope_bytes": [growth(loads[BESIDE], memory_s)]}},
            [SLOPE],
            targets=[Target("slope_bytes", "Depthcast", most=1024)],
        )


def one_round(load: Load, seconds: int) -> Measurement:
    """The healthy ones' latency; everything published has to reach them."""
    found, report = load.paced(seconds * RATE, 1 / RATE)
    assert report.groups[HEALTHY]["frames"] == HALF * CHANNELS * seconds * RATE, "a message is missing"
    return found


def growth(load: Load, seconds: int) -> float:
    """Bytes by which the gateway's memory grows for each stalled client and minute, while ticks go on."""
    before, began = load.server.program.memory(), time.monotonic()
    load.paced(seconds * RATE, 1 / RATE)
    grown = load.server.program.memory() - before
    return grown / HALF / (time.monotonic() - began) * 60


def _kinds(server: Gateway, name: str) -> list[Kind]:
    messages = server.subscribe(range(CHANNELS))
    healthy = Kind(HALF, messages, HEALTHY, snapshots=CHANNELS)
    return [healthy, Kind(HALF, messages, STALLED, snapshots=CHANNELS)] if name == BESIDE else [healthy]


BENCHMARK = Benchmark("stalled", "Half of the clients stall", run, rounds=4, quick_rounds=1)
