"""Ten channels to each client, the same ten for all: cost of a message when a tick's are joined."""

from benchmarks.fanout.contest import Contest
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, limit, node_peer, python_peer, redis_server
from benchmarks.harness import Benchmark, Run, Target

CHANNELS = 10
CLIENTS = 1000
LIMIT = "C, frames joined"
FRAMES = 400_000
TARGETS = (
    Target("cpu_us", "Depthcast", LIMIT, most=1.35),
    Target("cpu_us", "websockets broadcast", "Depthcast", least=8),
)


def run(run: Run) -> None:
    """Every tick changes all ten."""
    market = Market(CHANNELS)
    with redis_server() as redis, Contest(run, market) as contest:
        contest.enter("Depthcast", gateway(redis, market))
        contest.enter(LIMIT, limit("joined"))
        contest.enter("C, send() each", limit("single"), share=0.2)
        contest.enter("websockets broadcast", python_peer("websockets"), share=0.1)
        contest.enter("picows", python_peer("picows"), share=0.2)
        contest.enter("Node ws", node_peer("ws"), share=0.2)
        contest.enter("uWebSockets.js", node_peer("uws"), share=0.2)
        title = f"{CLIENTS:,} clients × {CHANNELS} channels"
        lists = [list(range(CHANNELS))] * CLIENTS
        found = contest.measure(title, lists, FRAMES // (CLIENTS * CHANNELS), baseline=LIMIT, targets=TARGETS)
        run.chart_bars(
            "ten-channels", "Server CPU per message, ten channels a client", "µs", "cpu_us", {title: found}
        )


BENCHMARK = Benchmark(
    "ten-channels", "Ten channels, the same for every client", run, rounds=5, quick_rounds=2
)
