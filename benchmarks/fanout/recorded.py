"""A recorded market's busiest stretch, ten times as fast, through ingestor and gateway to many clients."""

import asyncio
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.fanout.load import Kind, Load
from benchmarks.fanout.paced import CORES, P50, P99
from benchmarks.fanout.programs import Program, python_module
from benchmarks.fanout.servers import ADMIN_PATTERN, Gateway, gateway_alone, redis_server, wait_until_live
from benchmarks.harness import Benchmark, Contender, Measurement, Metric, Run, Target
from benchmarks.report import ROOT
from depthcast.feed.entry import CLEAR, UPDATE, Event, FeedEntry
from depthcast.runtime.deployment import to_toml
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.feed_file import RecordedFeed, open_feed
from depthcast.runtime.replay import Progress, ReplayClock, open_producer, replay, wait_for_instruments

FILE: Final = ROOT.parent / "shared" / "data" / "cm_ethusd_perp_20240808.gz"
CLIENTS: Final = 500
DEPTH: Final = 25
SPEED: Final = 10
WINDOW_S: Final = 20
"""Recorded seconds around the peak that are replayed."""
QUIET_MS: Final = 1500
PUBLISHED_S: Final = 1.2
"""The gateway publishes its counters once a second."""
PREFIX: Final = "recorded"
OURS: Final = "Depthcast"
GREATEST = Metric("greatest_ms", "latest", "ms", digits=1, compared=False)
EVENTS = Metric("events_s", "level changes a second", "", digits=0, compared=False)
MERGED = Metric("conflated", "broadcasts merged for a client", "", digits=0, compared=False)


class Stretch(NamedTuple):
    """The book before the stretch, as one entry, and the stretch."""

    opening: FeedEntry
    entries: Sequence[FeedEntry]


def run(run: Run) -> None:
    """Every round begins with the book as it was recorded before the peak."""
    if not FILE.exists():
        run.absent(OURS, FileNotFoundError(f"no recording at {FILE.name}: see tests of recorded data"))
        return
    feed = open_feed(FILE, None, {})
    stretch = around_peak(list(feed.entries()))
    with redis_server() as server, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="depthcast-instruments-")))
        file = folder / "instruments.toml"
        file.write_text(to_toml(feed.instruments().values()), encoding="utf-8")
        common = {"redis_url": server.url, "prefix": PREFIX, "admin_port": 0, "log_level": "error"}
        words = python_module("ingestor", **common, instruments=file)
        stack.enter_context(Program("ingestor", words, ADMIN_PATTERN, measured=False))
        ours = stack.enter_context(gateway_alone(server, PREFIX))
        wait_until_live(ours.port, len(feed.instruments()))
        request = ours.subscribe([0], depth=DEPTH, names=list(feed.instruments()))
        load = stack.enter_context(Load(ours, [Kind(CLIENTS, request)]))
        asyncio.run(_known(server, feed))
        contender = Contender(OURS, partial(one_round, server, load, ours, stretch))
        targets = [Target("p99_ms", OURS, most=40), Target("conflated", OURS, most=0)]
        title = f"ETH perpetual, {SPEED} times as fast, {CLIENTS} clients"
        run.compare(title, [contender], [EVENTS, CORES, P50, P99, GREATEST, MERGED], targets=targets)
        run.note(
            f"The {WINDOW_S} s around the second with the most changes, through an ingestor with the default "
            "interval."
        )


def around_peak(entries: Sequence[FeedEntry]) -> Stretch:
    """The stretch whose middle is the second with the most events."""
    begin = entries[0].at_us or 0
    seconds = Counter[int]()
    for entry in entries[1:]:
        seconds[_second(entry, begin)] += len(entry.events)
    peak = max(seconds, key=lambda second: seconds[second])
    first, last = peak - WINDOW_S // 2, peak + WINDOW_S // 2
    before = [entry for entry in entries if _second(entry, begin) < first]
    inside = [entry for entry in entries if first <= _second(entry, begin) < last]
    opening = entries[0]._replace(events=_levels(before), atomic=True, oracle=None)
    return Stretch(opening, inside)


def one_round(server: EmbeddedServer, load: Load, ours: Gateway, stretch: Stretch) -> Measurement:
    """The opening, then the stretch at its speed; latency is from the broadcast to its arrival."""
    asyncio.run(_begin(server, stretch))
    load.command("settle", QUIET_MS)
    conflated, before = ours.total("depthcast_gateway_conflated_total"), ours.program.cpu_s()

    group, took_s = asyncio.run(_measured(server, load, stretch))
    cores = (ours.program.cpu_s() - before) / took_s
    time.sleep(PUBLISHED_S)
    return {
        "events_s": sum(len(entry.events) for entry in stretch.entries) / took_s,
        "cores": cores,
        "p50_ms": group["p50_us"] / 1e3,
        "p99_ms": group["p99_us"] / 1e3,
        "greatest_ms": group["greatest_us"] / 1e3,
        "conflated": ours.total("depthcast_gateway_conflated_total") - conflated,
    }


async def _known(server: EmbeddedServer, feed: RecordedFeed) -> None:
    """Wait until the ingestor takes the instruments."""
    async with open_producer(server.url, PREFIX, None) as producer:
        await wait_for_instruments(producer, feed)


async def _begin(server: EmbeddedServer, stretch: Stretch) -> None:
    async with open_producer(server.url, PREFIX, None) as producer:
        await producer.send([stretch.opening])


async def _measured(server: EmbeddedServer, load: Load, stretch: Stretch) -> tuple[dict[str, float], float]:
    """Replay while the load reads; what it read, and the seconds that the replay took."""
    async with open_producer(server.url, PREFIX, None) as producer:
        load.command("count")
        began = time.monotonic()
        await replay(producer, iter(stretch.entries), ReplayClock(SPEED), Progress())
        took_s = time.monotonic() - began
        group = (await asyncio.to_thread(load.command, "linger", QUIET_MS)).groups[0]
    assert group["samples"], "nothing arrived while it was replayed"
    return group, took_s


def _second(entry: FeedEntry, begin_us: int) -> int:
    return math.floor(((entry.at_us or 0) - begin_us) / 1e6)


def _levels(entries: Iterable[FeedEntry]) -> list[Event]:
    """A clear, and the book after `entries` of a levels feed."""
    levels: dict[tuple[int, int], int] = {}
    for entry in entries:
        for event in entry.events:
            if event[0] == CLEAR:
                levels.clear()
            elif event[3]:
                levels[event[1], event[2]] = event[3]
            else:
                levels.pop((event[1], event[2]), None)
    return [[CLEAR], *([UPDATE, side, price, quantity] for (side, price), quantity in levels.items())]


BENCHMARK = Benchmark("recorded", "A recorded market at ten times its speed", run, rounds=3, quick_rounds=1)
