"""What a connection with one subscription, to which nothing is sent, takes of the gateway's memory."""

from contextlib import ExitStack
from functools import partial

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, redis_server
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target
from depthcast.runtime.embedded import EmbeddedServer

CLIENTS = 2000
WARM_UP = 50
PLAIN, DEFLATE = "plain", "compression negotiated"
KIB = Metric("kib", "memory per connection", "KiB", digits=1, compared=False)
OFFER = "permessage-deflate; client_max_window_bits"


def run(run: Run) -> None:
    """A gateway for each round, for freed memory is not always given back."""
    with redis_server() as server:
        contenders = [
            Contender(name, partial(one_round, server, extensions))
            for name, extensions in ((PLAIN, "-"), (DEFLATE, OFFER))
        ]
        targets = [Target("kib", PLAIN, most=20), Target("kib", DEFLATE, most=50)]
        run.compare(f"{CLIENTS:,} idle connections", contenders, [KIB], targets=targets)


def one_round(server: EmbeddedServer, extensions: str) -> Measurement:
    """Memory before and after so many clients came; some came before, for what only the first ones cost."""
    market = Market(1, messages=False)
    prefix = f"idle-{market.epoch}"
    with ExitStack() as stack:
        ours = stack.enter_context(gateway(server, market, prefix))
        messages = ours.subscribe([0])
        stack.enter_context(Load(ours, [Kind(WARM_UP, messages, extensions=extensions)]))
        before = ours.program.memory()
        stack.enter_context(Load(ours, [Kind(CLIENTS, messages, extensions=extensions)]))
        return {"kib": (ours.program.memory() - before) / CLIENTS / 1024}


BENCHMARK = Benchmark("idle", "Idle connections", run, rounds=2, quick_rounds=1)
