"""Sends by one call for each or by io_uring: in C that does nothing else, and in the gateway."""

import random

from benchmarks.fanout.contest import BYTES, CPU, RATE, Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.own_lists import CHANGING, CHANNELS, CLIENTS, SYMBOLS
from benchmarks.fanout.servers import gateway, limit, redis_server
from benchmarks.harness import SEED, Benchmark, Metric, Run, Target

SEND, RING = "C, send() only", "C, io_uring"
OURS, OURS_RING = "Depthcast, send()", "Depthcast, io_uring"
JOINED, GATHERED, JOINED_RING = "C, frames joined", "C, frames gathered", "C, joined, io_uring"
FRAMES = 40_000
TICKS = 40
SOFTIRQ = Metric("softirq_us", "softirq thread per delivery", "µs", compared=False)
METRICS = (CPU, SOFTIRQ, RATE, BYTES)


def run(run: Run) -> None:
    """One channel to few and to many clients; then ten channels each, no two lists alike."""
    market = Market(1)
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter(OURS, gateway(redis, market, "send", submit="send"))
        contest.enter(OURS_RING, gateway(redis, market, "ring", submit="auto"))
        contest.enter(SEND, limit("single"))
        contest.enter(RING, limit("ring"))
        for clients in (100, 500) if run.quick else (100, 500, 2000):
            targets = (
                Target("cpu_us", OURS, SEND, most=1.25 if clients == 100 else 1.15),
                Target("cpu_us", OURS_RING, SEND, most=0.9),
            )
            contest.measure(
                f"{clients:,} clients, one channel",
                [[0]] * clients,
                max(4, FRAMES // clients),
                baseline=SEND,
                targets=targets,
                metrics=METRICS,
            )
    market, chance = Market(SYMBOLS), random.Random(SEED)
    lists = [sorted(chance.sample(range(SYMBOLS), CHANNELS)) for _ in range(CLIENTS)]
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter(OURS, gateway(redis, market, "send", submit="send"))
        contest.enter(OURS_RING, gateway(redis, market, "ring", submit="auto"))
        for name, kind in ((JOINED, "joined"), (GATHERED, "gathered"), (JOINED_RING, "joined-ring")):
            contest.enter(name, limit(kind))
        contest.measure(
            f"{CLIENTS:,} clients, each with {CHANNELS} of {SYMBOLS} symbols",
            lists,
            TICKS,
            baseline=JOINED,
            targets=(Target("cpu_us", OURS, JOINED, most=1.5), Target("cpu_us", OURS_RING, JOINED, most=1.5)),
            changing=lambda: chance.sample(market.symbols, CHANGING),
            metrics=METRICS,
        )
    run.note("The softirq thread is the kernel's, of the server's core: work that is charged to no process.")


BENCHMARK = Benchmark("submission", "Sends by send() and by io_uring", run, rounds=9, quick_rounds=3)
