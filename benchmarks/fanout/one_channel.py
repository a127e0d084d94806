"""One channel to all clients, as fast as they take it: what one delivery costs the server."""

import statistics

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import (
    gateway,
    limit,
    mosquitto_broker,
    nats_server,
    nchan,
    node_peer,
    python_peer,
    redis_server,
    socket_io,
)
from benchmarks.harness import Benchmark, Metric, Run, Target, paired

OURS = "Depthcast"
OURS_RING = "Depthcast, io_uring"
LIMIT = "C, send() only"
CLIENTS = (100, 500, 2000, 5000)
CHARTED = (500, 2000)
FRAMES = 20_000
RATIO = Metric("ratio", "CPU per delivery ÷ Depthcast", "", compared=False)


def run(run: Run) -> None:
    """From 100 to 5,000 clients."""
    market = Market(1)
    found: dict[int, dict[str, dict[str, list[float]]]] = {}
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter(OURS, gateway(redis, market))
        contest.enter(OURS_RING, gateway(redis, market, "ring", submit="auto"))
        contest.enter(LIMIT, limit("single"))
        contest.enter("uvloop alone", python_peer("uvloop"))
        contest.enter("picows", python_peer("picows"))
        contest.enter("aiohttp send_bytes", python_peer("aiohttp"))
        contest.enter("websockets broadcast", python_peer("websockets"))
        contest.enter("Starlette", python_peer("starlette"))
        contest.enter("Node ws", node_peer("ws"))
        contest.enter("uWebSockets.js", node_peer("uws"))
        contest.enter("socket.io, Redis Streams adapter", socket_io(redis), share=0.5)
        contest.enter("nginx with nchan", nchan())
        contest.enter("NATS by WebSocket", nats_server(), share=0.5)
        contest.enter("mosquitto by WebSocket", mosquitto_broker(), share=0.5)
        for clients in CLIENTS[1:2] if run.quick else CLIENTS:
            targets = (
                Target("cpu_us", OURS, LIMIT, most=1.25 if clients == 100 else 1.15),
                Target("cpu_us", "websockets broadcast", OURS, least=1.5),
                Target("cpu_us", "Starlette", OURS, least=2.2),
            )
            ticks = max(4, FRAMES // clients)
            found[clients] = contest.measure(
                f"{clients:,} clients", [[0]] * clients, ticks, baseline=LIMIT, targets=targets
            )
    _record_cheapest(run, found)
    bars = {f"{clients:,} clients": samples for clients, samples in found.items() if clients in CHARTED}
    run.chart_bars("one-channel", "Server CPU per delivery, one channel", "µs", "cpu_us", bars)


def _record_cheapest(run: Run, found: dict[int, dict[str, dict[str, list[float]]]]) -> None:
    """Compare the peer with the lowest median at each number of clients with the gateway as shipped."""
    samples = {}
    for clients, of in found.items():
        costs = {name: paired(of, "cpu_us", name, OURS) for name in of.keys() - {OURS, OURS_RING, LIMIT}}
        if costs:
            name = min(costs, key=lambda peer: statistics.median(costs[peer]))
            samples[f"{clients:,} clients: {name}"] = {"ratio": costs[name]}
    targets = [Target("ratio", name, least=1) for name in samples]
    run.record("the cheapest peer", samples, [RATIO], targets=targets)


BENCHMARK = Benchmark("one-channel", "One channel to every client", run, rounds=7, quick_rounds=3)
