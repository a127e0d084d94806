"""1,000 clients that want one message a second beside 1,000 that want all: what the first 1,000 add."""

import struct
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.paced import ticks_file
from benchmarks.fanout.servers import gateway, limit, redis_server
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target

CLIENTS = 1000
CHANNELS = 10
RATE = 20
INTERVAL_MS = 1000
SECONDS, QUICK_SECONDS = 4, 2
EVERY, THROTTLED = 0, 1
ALONE, BESIDE, LIMIT = "1,000 alone", "with 1,000 throttled", "C, the throttled ones' writes"
CORES = Metric("cores", "cores", "", digits=3, compared=False)
ADDED = Metric("added", "added cores", "", digits=4, compared=False)


def run(run: Run) -> None:
    """Both gateways and, for the size of their writes, the C program, in turn."""
    seconds = QUICK_SECONDS if run.quick else SECONDS
    with redis_server() as redis, ExitStack() as stack:
        loads = {}
        ticks = (1 + run.rounds) * seconds * RATE
        for name, prefix in ((ALONE, "alone"), (BESIDE, "beside")):
            market = Market(CHANNELS, messages=False)
            server = stack.enter_context(gateway(redis, market, prefix))
            file = ticks_file(stack, server, market, [list(range(CHANNELS))] * CLIENTS, ticks)
            kinds = [Kind(CLIENTS, server.subscribe(range(CHANNELS)), EVERY, snapshots=CHANNELS)]
            if name == BESIDE:
                slow = server.subscribe(range(CHANNELS), interval_ms=INTERVAL_MS)
                kinds.append(Kind(CLIENTS, slow, THROTTLED))
            loads[name] = stack.enter_context(Load(server, kinds, file))
        loads[ALONE].paced(seconds * RATE, 1 / RATE, EVERY)
        _, report = loads[BESIDE].paced(seconds * RATE, 1 / RATE, EVERY)
        group = report.groups[THROTTLED]
        write_bytes = round(group["bytes"] / (group["frames"] / CHANNELS))
        writer = stack.enter_context(_writer(stack, write_bytes))
        contenders = [Contender(name, partial(one_round, load, seconds)) for name, load in loads.items()]
        contenders.append(Contender(LIMIT, partial(writes, writer, seconds)))
        samples = run.compare(f"{CHANNELS} symbols × {RATE}/s", contenders, [CORES])
        added = [
            more - less for more, less in zip(samples[BESIDE]["cores"], samples[ALONE]["cores"], strict=True)
        ]
        per_second = {"Depthcast": {"added": added}, LIMIT: {"added": samples[LIMIT]["cores"]}}
        targets = [Target("added", "Depthcast", LIMIT, most=1.5)]
        run.record("added by 1,000 throttled clients", per_second, [ADDED], targets=targets)
        run.note(f"A throttled client gets about {write_bytes:,} B a second in one write.")


def one_round(load: Load, seconds: int) -> Measurement:
    """Cores that the gateway took until those that want all have all, whatever the throttled ones have."""
    found, _ = load.paced(seconds * RATE, 1 / RATE, EVERY)
    return found


def writes(load: Load, seconds: int) -> Measurement:
    """Cores that as many writes of that size take in C, all of them once a second."""
    found, _ = load.paced(seconds, INTERVAL_MS / 1000)
    return found


def _writer(stack: ExitStack, size: int) -> Load:
    """1,000 clients of the C program, and ticks with one message of that size."""
    server = stack.enter_context(limit("single"))
    body = struct.pack("<III", 1, 0, size) + b"x" * size
    data = struct.pack("<I", len(body)) + body
    file = Path(stack.enter_context(TemporaryDirectory(prefix="depthcast-ticks-"))) / "ticks"
    file.write_bytes(struct.pack("<III", len(data), CLIENTS, 0) + data)
    return Load(server, [Kind(CLIENTS, server.subscribe([0]))], file)


BENCHMARK = Benchmark("throttled", "Throttled clients beside others", run, rounds=4, quick_rounds=2)
