"""This version beside an earlier one: what a gateway's work costs in both, with the same clients and entries.

`--before PYTHON` names the earlier one by the Python of its environment.
"""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.fanout import one_channel, paced, storm, ten_channels
from benchmarks.fanout.contest import Contest, kinds_of
from benchmarks.fanout.load import Load
from benchmarks.fanout.market import Market
from benchmarks.fanout.servers import gateway, limit, redis_server
from benchmarks.harness import Benchmark, Contender, Run, Target
from depthcast.runtime.embedded import EmbeddedServer

NOW, BEFORE, LIMIT = "now", "before", "C"
MOST = 1.05
"""So much more than before may be chance."""


def run(run: Run) -> None:
    """One channel, ten channels, a common rate, and a storm of clients that come back."""
    assert run.before is not None, "the command line asks for it"
    pythons: dict[str, str | None] = {NOW: None, BEFORE: run.before}
    with redis_server() as redis:
        _saturated(run, redis, pythons, one_channel.CLIENTS[1], 1, one_channel.FRAMES, "single")
        _saturated(run, redis, pythons, ten_channels.CLIENTS, 10, ten_channels.FRAMES, "joined")
        _paced(run, redis, pythons)
        _storm(run, redis, pythons)


def _saturated(
    run: Run,
    redis: EmbeddedServer,
    pythons: dict[str, str | None],
    clients: int,
    channels: int,
    frames: int,
    kind: str,
) -> None:
    """As fast as the clients take it."""
    market = Market(channels)
    with Contest(run, market) as contest:
        for name, python in pythons.items():
            contest.enter(name, gateway(redis, market, f"{name}{channels}", python=python))
        contest.enter(LIMIT, limit(kind))
        title = f"{clients:,} clients × {channels} channel{'s' * (channels > 1)}"
        contest.measure(
            title,
            [list(range(channels))] * clients,
            max(4, frames // clients // channels),
            baseline=BEFORE,
            targets=[Target("cpu_us", NOW, BEFORE, most=MOST)],
        )


def _paced(run: Run, redis: EmbeddedServer, pythons: dict[str, str | None]) -> None:
    lists = [list(range(paced.CHANNELS))] * paced.CLIENTS
    seconds = 2 if run.quick else paced.SECONDS
    with ExitStack() as stack:
        contenders = []
        for name, python in pythons.items():
            market = Market(paced.CHANNELS, messages=False)
            server = stack.enter_context(gateway(redis, market, f"{name}-paced", python=python))
            ticks = paced.WARM_UP_TICKS + run.rounds * seconds * paced.RATE
            file = paced.ticks_file(stack, server, market, lists, ticks)
            load = stack.enter_context(Load(server, kinds_of(server, lists), file))
            load.paced(paced.WARM_UP_TICKS, 1 / paced.RATE)
            contenders.append(Contender(name, partial(paced.one_round, load, seconds)))
        title = f"{paced.CLIENTS:,} clients × {paced.CHANNELS} symbols × {paced.RATE}/s"
        metrics = [replace(paced.CORES, compared=True), paced.P50, paced.P99]
        targets = [Target("cores", NOW, BEFORE, most=MOST)]
        run.compare(title, contenders, metrics, baseline=BEFORE, targets=targets)


def _storm(run: Run, redis: EmbeddedServer, pythons: dict[str, str | None]) -> None:
    lists = [[number % storm.SYMBOLS] for number in range(storm.CLIENTS)]
    with ExitStack() as stack:
        contenders = []
        for name, python in pythons.items():
            market = Market(storm.SYMBOLS, messages=False)
            server = stack.enter_context(gateway(redis, market, f"{name}-storm", python=python))
            load = stack.enter_context(Load(server, kinds_of(server, lists)))
            publisher = storm.Publisher(redis, server, market)
            contenders.append(Contender(name, partial(storm.with_market, load, server, publisher)))
        title = f"{storm.CLIENTS:,} clients come back at once"
        targets = [Target("cpu_ms", NOW, BEFORE, most=MOST)]
        run.compare(title, contenders, [storm.CPU, storm.LONG], baseline=BEFORE, targets=targets)


BENCHMARK = Benchmark("versions", "This version beside an earlier one", run, rounds=5, quick_rounds=2)
