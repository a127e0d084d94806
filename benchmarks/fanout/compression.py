"""Frames compressed once for all, beside a library that compresses for each client, and none."""

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, python_peer, redis_server
from benchmarks.harness import Benchmark, Run, Target

CLIENTS = 1000
CHANNELS = 10
TICKS = 20
SIZE_MIN = 64
OFFER = "permessage-deflate"
PLAIN, SHARED, EACH = (
    "Depthcast, plain",
    "Depthcast, compressed once",
    "websockets, compressed for each client",
)


def run(run: Run) -> None:
    """Ten deltas of some 200 bytes in a tick; the least size to compress is lowered to include them."""
    market = Market(CHANNELS)
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter(PLAIN, gateway(redis, market, "plain"))
        contest.enter(SHARED, gateway(redis, market, "shared", deflate_bytes_min=SIZE_MIN), extensions=OFFER)
        contest.enter(EACH, python_peer("websockets", "deflate"), share=1 / TICKS, extensions=OFFER)
        contest.measure(
            f"{CLIENTS:,} clients × {CHANNELS} channels",
            [list(range(CHANNELS))] * CLIENTS,
            TICKS,
            baseline=PLAIN,
            targets=[Target("cpu_us", EACH, SHARED, least=8)],
        )


BENCHMARK = Benchmark("compression", "Compressed once for all", run, rounds=3, quick_rounds=2)
