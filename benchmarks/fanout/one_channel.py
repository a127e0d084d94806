"""One channel to all clients, as fast as they take it: what one delivery costs the server."""

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, limit, nchan, node_peer, python_peer, redis_server, socket_io
from benchmarks.harness import Benchmark, Run, Target

LIMIT = "C, send() only"
FRAMES = 40_000
TARGETS = (
    Target("cpu_us", "Depthcast", LIMIT, most=1.25),
    Target("cpu_us", "websockets broadcast", "Depthcast", least=1.5),
    Target("cpu_us", "Starlette", "Depthcast", least=2.2),
)


def run(run: Run) -> None:
    """500 and 2,000 clients."""
    market = Market(1)
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter("Depthcast", gateway(redis, market))
        contest.enter(LIMIT, limit("single"))
        contest.enter("uvloop alone", python_peer("uvloop"))
        contest.enter("aiohttp send_bytes", python_peer("aiohttp"))
        contest.enter("websockets broadcast", python_peer("websockets"))
        contest.enter("Starlette", python_peer("starlette"))
        contest.enter("Node ws", node_peer("ws"))
        contest.enter("socket.io, Redis Streams adapter", socket_io(redis), share=0.5)
        contest.enter("nginx with nchan", nchan())
        bars = {}
        for clients in (500,) if run.quick else (500, 2000):
            title = f"{clients:,} clients"
            found = contest.measure(
                title, [[0]] * clients, FRAMES // clients, baseline=LIMIT, targets=TARGETS
            )
            bars[title] = found
        run.chart_bars("one-channel", "Server CPU per delivery, one channel", "µs", "cpu_us", bars)


BENCHMARK = Benchmark("one-channel", "One channel to every client", run, rounds=11, quick_rounds=3)
