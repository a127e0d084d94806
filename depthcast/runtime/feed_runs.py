"""The work of `depthcast feed replay`: replays or verifies files one after another, and reports progress."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import click

from depthcast.feed.entry import Instruments
from depthcast.runtime.arrivals import Arrivals
from depthcast.runtime.deployment import local_deployment, to_toml
from depthcast.runtime.feed_file import RecordedFeed
from depthcast.runtime.replay import (
    Producer,
    Progress,
    ReplayClock,
    open_producer,
    refuse_fed,
    register,
    replay,
    wait_for_instruments,
)
from depthcast.runtime.verify import Verifier, verify
from depthcast.shared.errors import DepthcastError, SettingsError
from depthcast.shared.partition import partition_of
from depthcast.shared.settings import Settings

PROGRESS_S: Final = 1.0


@dataclass(frozen=True)
class ReplayOptions:
    """Options of `depthcast feed replay`. `deployed`: a Redis address was given. `speed` may be infinite."""

    settings: Settings
    speed: float
    deployed: bool
    register: bool
    limit: int | None
    window: int
    gateway_url: str | None
    encoding: str

    def clock(self) -> ReplayClock:
        """Make a clock that begins with the first entry."""
        return ReplayClock(None if self.speed == float("inf") else self.speed)


class OraclesDisagree(DepthcastError):
    """A verification found differences and has printed them."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        super().__init__(f"not verified: {', '.join(files)}")


class NotApplied(DepthcastError):
    """Not everything that was meant for a book got there; `problems`: why, by file."""

    def __init__(self, problems: Mapping[str, Sequence[str]]) -> None:
        self.problems = problems
        files = "; ".join(f"{name}: {', '.join(texts)}" for name, texts in problems.items())
        super().__init__(f"not everything got into its book: {files}")


class Stopped(DepthcastError):
    """A signal ended the work early."""


async def until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`; if `stop` is set first, cancel it, clean up and raise `Stopped`."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait([working])
    if working.cancelled():
        raise Stopped("stopped before the end")
    working.result()


async def replay_all(feeds: Sequence[RecordedFeed], options: ReplayOptions) -> None:
    """Replay every feed into the deployment of the settings; raises `NotApplied`."""
    settings = options.settings
    failed: dict[str, list[str]] = {}
    async with open_producer(settings.redis_url, settings.prefix, settings.partitions) as producer:
        for feed in feeds:
            if options.register:
                await register(producer, feed.instruments().values())
            registered = await wait_for_instruments(producer, feed)
            await refuse_fed(producer, list(registered))
            failed |= await _replay_one(feed, producer, registered, options)
    if failed:
        raise NotApplied(failed)


async def _replay_one(
    feed: RecordedFeed, producer: Producer, registered: Instruments, options: ReplayOptions
) -> dict[str, list[str]]:
    """Replay one feed and print its summary; returns why not all of it was applied, by the file's name."""
    progress, begun = Progress(), time.monotonic()
    arrivals = Arrivals(producer.client, producer.keys)
    await arrivals.begin(partition_of(symbol, producer.partitions) for symbol in registered)
    try:
        async with _reporting(feed, progress):
            entries = islice(feed.entries(registered), options.limit)
            await replay(producer, entries, options.clock(), progress, arrivals)
            await arrivals.finish()
    finally:
        problems = [*arrivals.problems(), *feed.account.problems()]
        outcome = "; ".join(problems) if problems else "all applied"
        click.echo(f"{_status(feed, progress, time.monotonic() - begun)}; {outcome}")
        for line in summary(feed, arrivals):
            click.echo(f"  {line}")
    return {feed.path.name: problems} if problems else {}


def summary(feed: RecordedFeed, arrivals: Arrivals) -> list[str]:
    """Return what a replay noticed besides its entries: rejects, gaps, and skipped lines."""
    lines = []
    if arrivals.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in arrivals.rejected.most_common())
        lines.append(f"rejected events: {reasons}")
        lines += [f"  {text}" for text in arrivals.findings.first]
    account = feed.account
    if account.reloads:
        lines.append(f"snapshots: {account.reloads}; updates proven by the venue: {account.proven}")
    return lines + account.lines()


async def verify_all(feeds: Sequence[RecordedFeed], options: ReplayOptions) -> None:
    """Verify every feed, in the deployment of the settings, or each in a temporary one of its own.

    Raises `OraclesDisagree`, and `NotApplied` if all agree but not everything got into its book.
    """
    wrong: list[str] = []
    failed: dict[str, list[str]] = {}
    for feed in feeds:
        verifier = await _verify_one(feed, options)
        if not verifier.result.agreed:
            wrong.append(feed.path.name)
        if problems := [
            *verifier.arrivals.problems(),
            *feed.account.problems(),
            *_uncompared(feed, verifier),
        ]:
            failed[feed.path.name] = problems
    if wrong:
        raise OraclesDisagree(wrong)
    if failed:
        raise NotApplied(failed)


def _uncompared(feed: RecordedFeed, verifier: Verifier) -> list[str]:
    """Return why a verification without a difference proves nothing."""
    tickers = feed.account.skipped["tickers"]
    if not verifier.progress.entries:
        return ["nothing was compared: the file has no entry"]
    if tickers and not verifier.result.client.compared:
        return [f"none of {tickers} tickers could be compared with a state of its book"]
    return []


async def _verify_one(feed: RecordedFeed, options: ReplayOptions) -> Verifier:
    """Verify one feed and print the result."""
    async with _verifiable(feed, options) as (producer, redis_url, gateway_url, check):
        begun = time.monotonic()
        verifier = await verify(
            feed,
            producer,
            redis_url=redis_url,
            gateway_url=gateway_url,
            encoding=options.encoding,
            clock=options.clock(),
            window=options.window,
            limit=options.limit,
            check=check,
        )
        for line in report(feed, verifier, time.monotonic() - begun):
            click.echo(line)
    return verifier


def report(feed: RecordedFeed, verifier: Verifier, elapsed_s: float) -> list[str]:
    """Return the result of a verification as one line; differences follow on further lines."""
    result, progress = verifier.result, verifier.progress
    if result.client.compared:
        figures = ", ".join(
            f"{tally.agreed}/{tally.compared} {what}at the {tally.place}"
            for tally, what in ((result.client, f"{feed.format.oracle} "), (result.consumer, ""))
        )
    else:
        figures = (
            f"no oracle in the file; {progress.entries} entries, WebSocket client and stream consumer agree"
        )
        figures = figures if result.agreed else f"no oracle in the file; {progress.entries} entries compared"
    rate = progress.entries / elapsed_s if elapsed_s else 0.0
    effort = (
        f"{progress.entries} entries, {progress.events} events in {elapsed_s:.1f} s, {rate:.0f} entries/s"
    )
    lines = [f"{feed.path.name}: {figures}, {result.merged} merged ({effort})"]
    lines += [f"  {text}" for tally in (result.client, result.consumer) for text in tally.disagreeing]
    if result.merged or result.shared:
        lines.append(
            "  broadcasts were merged: run the ingestor with --interval-ms 0, or use a smaller --window"
        )
    return lines + [f"  {line}" for line in summary(feed, verifier.arrivals)]


@asynccontextmanager
async def _verifiable(
    feed: RecordedFeed, options: ReplayOptions
) -> AsyncIterator[tuple[Producer, str, str, Callable[[], None]]]:
    """Yield a producer, the Redis and gateway URLs, and a check of the deployment."""
    settings = options.settings
    if not options.deployed:
        async with (
            local_deployment(
                to_toml(feed.instruments().values()),
                prefix=settings.prefix,
                partitions=settings.partitions or 1,
                ingestor={"interval_ms": 0},
            ) as deployment,
            open_producer(deployment.redis_url, settings.prefix, settings.partitions) as producer,
        ):
            yield producer, deployment.redis_url, deployment.gateway_url, deployment.check
        return
    if options.gateway_url is None:
        raise SettingsError(
            "--gateway-url", None, "must name the deployment's gateway when --redis-url is given"
        )
    async with open_producer(settings.redis_url, settings.prefix, settings.partitions) as producer:
        if options.register:
            await register(producer, feed.instruments().values())
        yield producer, settings.redis_url, options.gateway_url, lambda: None


@asynccontextmanager
async def _reporting(feed: RecordedFeed, progress: Progress) -> AsyncIterator[None]:
    """Report progress on standard error each second."""

    async def say() -> None:
        begun = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_S)
            click.echo(_status(feed, progress, time.monotonic() - begun), err=True)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()


def _status(feed: RecordedFeed, progress: Progress, elapsed_s: float) -> str:
    rate = progress.events / elapsed_s if elapsed_s else 0.0
    return (
        f"{feed.path.name}: {progress.entries} messages, {progress.events} events, "
        f"{rate:.0f} events/s, {progress.behind_s:.1f} s behind"
    )
