"""One channel to ever more clients: whether the gateway's cost beside the limit stays the same."""

import statistics

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, limit, redis_server
from benchmarks.harness import Benchmark, Metric, Run, Target, paired

LIMIT = "C, send() only"
CLIENTS = (100, 500, 1000, 2000, 5000)
FRAMES = 40_000
RATIO = Metric("ratio", "CPU per delivery ÷ C at the same number", "", compared=False)


def run(run: Run) -> None:
    """The ratio at each number is compared with the median ratio of all numbers."""
    market = Market(1)
    numbers = CLIENTS[::2] if run.quick else CLIENTS
    by_number: dict[int, list[float]] = {}
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter("Depthcast", gateway(redis, market))
        contest.enter(LIMIT, limit("single"))
        for clients in numbers:
            ticks = max(4, FRAMES // clients)
            samples = contest.measure(f"{clients:,} clients", [[0]] * clients, ticks, baseline=LIMIT)
            by_number[clients] = paired(samples, "cpu_us", "Depthcast", LIMIT)
    middle = statistics.median(statistics.median(values) for values in by_number.values())
    even = {f"{clients:,} clients": {"ratio": values} for clients, values in by_number.items()}
    even["middle of all numbers"] = {"ratio": [middle] * run.rounds}
    targets = [
        Target("ratio", f"{clients:,} clients", "middle of all numbers", most=1.2, least=0.8)
        for clients in numbers
    ]
    run.record("ratio to C", even, [RATIO], targets=targets)
    medians = [(clients, statistics.median(values)) for clients, values in by_number.items()]
    run.chart("scaling", "CPU per delivery ÷ C", "clients", {"Depthcast ÷ C": medians})


BENCHMARK = Benchmark("scaling", "From 100 to 5,000 clients", run, rounds=9, quick_rounds=3)
