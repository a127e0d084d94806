"""Ten channels to each client, no two with the same ten: cost of a message that no others share."""

import random

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, limit, python_peer, redis_server
from benchmarks.harness import SEED, Benchmark, Run, Target

SYMBOLS = 200
CHANGING = 100
"""Symbols that change in a tick, so that each client gets five messages of a tick, on average."""
CHANNELS = 10
CLIENTS = 1000
LIMIT = "C, frames joined"
TICKS = 40
TARGETS = (Target("cpu_us", "Depthcast", LIMIT, most=1.5),)


def run(run: Run) -> None:
    """Each list is a sample of its own."""
    market = Market(SYMBOLS)
    chance = random.Random(SEED)
    lists = [sorted(chance.sample(range(SYMBOLS), CHANNELS)) for _ in range(CLIENTS)]
    assert len(set(map(tuple, lists))) == CLIENTS, "no two alike"
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter("Depthcast", gateway(redis, market))
        contest.enter(LIMIT, limit("joined"))
        contest.enter("websockets broadcast", python_peer("websockets"), share=0.25)
        title = f"{CLIENTS:,} clients, each with {CHANNELS} of {SYMBOLS} symbols"
        found = contest.measure(
            title,
            lists,
            TICKS,
            baseline=LIMIT,
            targets=TARGETS,
            changing=lambda: chance.sample(market.symbols, CHANGING),
        )
        run.chart_bars(
            "own-lists", "Server CPU per message, every client another list", "µs", "cpu_us", {title: found}
        )


BENCHMARK = Benchmark("own-lists", "Ten channels, every client another list", run, rounds=5, quick_rounds=2)
