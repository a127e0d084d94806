"""1,000 clients on 20 different groups, beside 1,000 that have the book as it is: what grouping adds."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.paced import CORES, P50, P99, RATE, WARM_UP_TICKS, WRITES, one_round, ticks_file
from benchmarks.fanout.servers import Gateway, gateway, redis_server
from benchmarks.harness import Benchmark, Contender, Run, Target

CLIENTS = 1000
CHANNELS = 10
GROUPS = range(2, 22)
"""In ticks. The books have a level at every other tick, so a bucket has one to ten levels."""
SECONDS, QUICK_SECONDS = 4, 2
AS_IT_IS, GROUPED = "one view for all", f"{len(GROUPS)} groups"


def run(run: Run) -> None:
    """Every broadcast changes every view: two levels a side change, and not by as much in opposite ways."""
    seconds = QUICK_SECONDS if run.quick else SECONDS
    with redis_server() as redis, ExitStack() as stack:
        contenders = []
        for name, groups in ((AS_IT_IS, [1]), (GROUPED, list(GROUPS))):
            market = Market(CHANNELS, messages=False)
            server = stack.enter_context(gateway(redis, market, prefix=f"groups{len(groups)}"))
            lists = [list(range(CHANNELS))] * CLIENTS
            file = ticks_file(stack, server, market, lists, WARM_UP_TICKS + run.rounds * seconds * RATE)
            load = stack.enter_context(Load(server, kinds_of_groups(server, groups), file))
            load.paced(WARM_UP_TICKS, 1 / RATE)
            contenders.append(Contender(name, partial(one_round, load, seconds)))
        title = f"{CLIENTS:,} clients × {CHANNELS} symbols × {RATE}/s"
        targets = [Target(metric, GROUPED, AS_IT_IS, most=2) for metric in ("cores", "p99_ms")]
        run.compare(title, contenders, [CORES, P50, P99, WRITES], targets=targets)
    run.note(f"Each of the {len(GROUPS)} groups has {CLIENTS // len(GROUPS)} clients.")


def kinds_of_groups(server: Gateway, groups: Sequence[int]) -> list[Kind]:
    """The clients in equal parts on these groups, each with all symbols."""
    share, channels = CLIENTS // len(groups), range(CHANNELS)
    return [Kind(share, server.subscribe(channels, group=group), snapshots=CHANNELS) for group in groups]


BENCHMARK = Benchmark("grouped", "1,000 clients on 20 groups", run, rounds=4, quick_rounds=2)
