"""`python -m tests.conformance.error_replies`: every command of ours, answered with every error reply.

A deployment runs on a real server behind a proxy. For each command that it was seen to use, and each reply,
the proxy answers that command with that reply for a while. Meanwhile a second ingestor, gateway and consumer
start. Then no process may have ended, none may have tried in a busy loop, and all must have the right books
again. Prints a table of what happened.
"""

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

import click
from redis.asyncio.lock import Lock

from depthcast.broadcaster.runtime import scripts
from depthcast.consumer.consumer import Consumer
from depthcast.feed.entry import FeedEntry
from depthcast.gateway.delivery.core import Core
from depthcast.gateway.runtime.market_reader import MarketReader
from depthcast.ingestor.runtime import membership
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.producer import input_log
from depthcast.runtime import relay_scripts
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.runtime.replay import Producer, register, wait_for_books
from depthcast.shared.instruments import Instrument
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import connect, execute
from depthcast.shared.settings import GatewaySettings, IngestorSettings
from depthcast.shared.slots import spread_tags
from depthcast.shared.types import Symbol
from tests.book_model import brute_digest
from tests.conformance.cluster_of_one import cluster_options, form_cluster
from tests.ingestor_runs import BOTH_FEEDS, FEEDS, Input, Run
from tests.proxy import FaultProxy
from tests.redis_client import patient
from tests.simulation.scripting import sha1_of
from tests.waiting import eventually

REPLIES: Final = (
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOPERM this user has no permissions to run this command",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOREPLICAS Not enough good replicas to write.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MOVED 3999 127.0.0.1:6381",
    "ASK 3999 127.0.0.1:6381",
    "EXECABORT Transaction discarded because of previous errors.",
    "NOSCRIPT No matching script. Please use EVAL.",
    "ERR max number of clients reached",
    "ERR wrong number of arguments for command",
    "ERR unknown command",
    "STRANGE a reply that no server gives today",
)
"""Error replies of real servers, and one of none."""

PREFIX: Final = "sweep"
FOR_S: Final = 0.4
STRIKES_WITHIN_S: Final = 2.0
SETTLED_WITHIN_S: Final = 10.0
TRIES_PER_S_MAX: Final = 150
"""More attempts of one command in a second than all processes together may make while it is refused."""

PRODUCED: Final = Symbol("PRO")
NAMES: Final = {
    sha1_of(text.encode()).decode(): name
    for text, name in (
        (scripts.PUBLISH, "publish"),
        (scripts.STORE, "store"),
        (scripts.TRIM, "trim"),
        (Lock.LUA_REACQUIRE_SCRIPT, "renew lease"),
        (Lock.LUA_RELEASE_SCRIPT, "release lease"),
        (input_log._APPEND, "append input"),
        (relay_scripts.TAKE, "take copy"),
        (relay_scripts.APPEND, "append to copy"),
        (relay_scripts.STORE, "store in copy"),
        (relay_scripts.LAST, "last of copy"),
        (relay_scripts.TRIM, "trim copy"),
        (relay_scripts.RELEASE, "release copy"),
        (relay_scripts.CLAIM, "claim copy"),
    )
}
"""Scripts by their SHA-1."""

SHORT: Final = {
    "depthcast.broadcaster.runtime.publisher.RESEND_S_MAX": 0.2,
    "depthcast.broadcaster.schedule.HEARTBEAT_S": 0.08,
    "depthcast.ingestor.runtime.leader.RECOVERY_RETRY_S": 0.3,
    "depthcast.ingestor.runtime.standby.RETRY_S_MAX": 0.3,
    "depthcast.ingestor.runtime.service.RETRY_S": 0.1,
    "depthcast.ingestor.runtime.service.POLL_S": 0.2,
    "depthcast.ingestor.runtime.state_keeper.RETRY_S": 0.1,
    "depthcast.ingestor.runtime.state_keeper.TRIM_EVERY_S": 0.1,
    "depthcast.gateway.runtime.market_reader.POLL_S": 0.2,
    "depthcast.consumer.consumer.POLL_S": 0.2,
    "depthcast.shared.runtime.catalog.POLL_S": 0.2,
    "depthcast.shared.runtime.follow.PAUSE_MOST_S": 0.2,
    "depthcast.shared.runtime.server_checks.CHECK_EVERY_S": 0.2,
    "depthcast.producer.input_log.RETRY_S_MAX": 0.2,
}
"""Waits that are shortened, so that a fault of half a second is over soon."""


def name_of(words: Sequence[bytes]) -> str:
    """The command, with its subcommand or the script's name."""
    name = words[0].decode().upper()
    if name == "EVALSHA":
        return f"EVALSHA {NAMES.get(words[1].decode(), 'other')}"
    if name == "EVAL":
        return "EVAL list ingestors" if words[1] == membership._HEARTBEAT.encode() else "EVAL"
    if name in ("XINFO", "SCRIPT", "CLIENT"):
        return f"{name} {words[1].decode().upper()}"
    return name


@dataclass
class Refusals:
    """Answers `command` with `replies` in turn while it is set; counts every command seen.

    `naming`: how a command is called, with or without its key.
    """

    naming: Callable[[list[bytes]], str] = field(default=name_of)
    command: str = ""
    replies: Iterator[str] = field(default_factory=lambda: iter(()))
    seen: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def __call__(self, words: list[bytes]) -> str | None:
        name = self.naming(words)
        self.seen[name] += 1
        if name != self.command:
            return None
        self.refused += 1
        return next(self.replies)


@dataclass
class Participants:
    """Tasks of the deployment, by name; none of them ends by itself."""

    tasks: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self.tasks[name] = asyncio.create_task(work, name=name)

    def ended(self) -> list[str]:
        """What ended, and why."""
        return [
            f"{name} ended: {task.exception()!r}"
            for name, task in self.tasks.items()
            if task.done() and not task.cancelled()
        ]

    async def end(self, *names: str) -> None:
        ending = [self.tasks.pop(name) for name in names]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


class Deployment:
    """One deployment in this process, behind the proxy."""

    def __init__(self, run: Run, link: FaultProxy, url: str) -> None:
        self.run = run
        self.url = url
        self.refusals = Refusals()
        link.refuse = self.refusals
        self.parts = Participants()
        self.sent = Input(run, Random(1), doubting=False)
        self.held: dict[str, Callable[[], dict[str, int]]] = {}
        self.leading: IngestorService | None = None
        self.produced = 0

    def settings(self) -> IngestorSettings:
        text = BOTH_FEEDS + f"[{PRODUCED}]\n"
        return self.run.settings(text, redis_url=self.url, snapshot_interval_ms=50, retention_s=0)

    async def ingest(self) -> None:
        service = IngestorService(self.settings())
        self.leading = self.leading or service
        await service.run(asyncio.Event())

    async def consume(self, name: str) -> None:
        async with Consumer(self.url, prefix=PREFIX) as consumer:
            held: dict[str, int] = {}
            self.held[name] = lambda: held
            async for update in consumer:
                held[update.symbol] = consumer.digest(update.symbol)

    async def view(self, name: str) -> None:
        core = Core(GatewaySettings(redis_url=self.url, prefix=PREFIX), lambda: 0, lambda _: None)
        reader = MarketReader(core, lambda _: None)

        def held() -> dict[str, int]:
            return {
                symbol: listing.replica.digest
                for symbol, listing in core.market.listings.items()
                if listing.replica is not None and not listing.stale
            }

        self.held[name] = held
        await reader.run()

    async def produce(self) -> None:
        client = connect(self.url)
        try:
            await eventually(lambda: self.leading is not None and self.run.leads(self.leading))
            producer = Producer(client, self.run.deployment, 1)
            wanted = {PRODUCED: Instrument(PRODUCED)}
            await register(producer, wanted.values())
            await wait_for_books(producer, wanted, lambda *_: None)
            while True:
                events = [["update", "bid", 1, self.produced + 1]]
                await producer.send([FeedEntry(PRODUCED, events, None, None, False, None, 0)])
                self.produced += 1
                await asyncio.sleep(0.02)
        finally:
            await client.aclose()

    async def settle(self) -> None:
        """Everybody has the right books."""
        await self.sent.send(2)
        wanted = {symbol: brute_digest(model.levels()) for symbol, model in self.sent.models.items()}
        counts = self.sent.rejected, self.sent.ignored

        def wrong() -> list[str]:
            if ended := self.parts.ended():
                return ended
            return [
                f"{name}: {symbol}"
                for name, held in self.held.items()
                for symbol in FEEDS
                if held().get(symbol) != wanted[symbol]
            ]

        async def uncounted() -> list[str]:
            info = await self.run.info()
            found = (0, 0) if info is None else (info.rejected, info.ignored)
            return [] if found == counts else [f"rejected and ignored are {found}, not {counts}"]

        async def right() -> bool:
            return bool(self.parts.ended()) or not (wrong() or await uncounted())

        with suppress(AssertionError):
            await eventually(right, timeout_s=SETTLED_WITHIN_S)
        if problems := wrong() or await uncounted():
            raise Unsettled(problems)


class Unsettled(Exception):
    """Somebody ended, or has wrong books."""


@dataclass
class ClusterRun(Run):
    """A deployment of one partition in a cluster of one server."""

    @property
    def deployment(self) -> DeploymentKeys:
        return DeploymentKeys(PREFIX, clustered=True, tags=tuple(spread_tags(PREFIX, 1)))


@asynccontextmanager
async def deployment(server_url: str, folder: Path) -> AsyncIterator[Deployment]:
    """A deployment that has settled."""
    async with FaultProxy(server_url) as link, _settled(Run, server_url, folder, link, link.url) as it:
        yield it


@asynccontextmanager
async def clustered_deployment(folder: Path) -> AsyncIterator[Deployment]:
    """A deployment that has settled in a cluster of one server, which says that it is where the proxy is."""
    async with (
        FaultProxy("") as link,
        EmbeddedServer(options=cluster_options(link.port)) as server,
        patient(server.url) as client,
    ):
        link.target = server.url
        await form_cluster(client)
        url = f"redis+cluster://{HOST}:{link.port}"
        async with _settled(ClusterRun, server.url, folder, link, url) as it:
            yield it


@asynccontextmanager
async def _settled(
    kind: type[Run], server_url: str, folder: Path, link: FaultProxy, url: str
) -> AsyncIterator[Deployment]:
    with shortened():
        async with patient(server_url) as client:
            it = Deployment(kind(client, PREFIX, server_url, folder), link, url)
            it.parts.start("ingestor", it.ingest())
            it.parts.start("gateway", it.view("gateway"))
            it.parts.start("consumer", it.consume("consumer"))
            it.parts.start("producer", it.produce())
            try:
                await eventually(lambda: "PRO" in it.held.get("consumer", dict)() or it.parts.ended())
                await it.settle()
                yield it
            finally:
                await it.parts.end(*it.parts.tasks)


@contextmanager
def shortened() -> Iterator[None]:
    """Shorten waits, and log nothing."""
    with suppress(asyncio.CancelledError):
        logging.disable(logging.CRITICAL)
        patches = [patch(name, value) for name, value in SHORT.items()]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()
            logging.disable(logging.NOTSET)


async def refuse(it: Deployment, command: str, replies: Sequence[str], for_s: float = FOR_S) -> str:
    """Answer `command` with `replies` in turn for a while; returns what happened. Raises `Unsettled`.

    Without a command nothing is refused.
    """
    refusals = it.refusals
    leading = _leadership(it)
    refusals.refused = 0
    if command == "SCRIPT LOAD":
        await execute(it.run.client, "SCRIPT", "FLUSH")
    refusals.replies, refusals.command = cycle(replies), command
    it.parts.start("second ingestor", it.ingest())
    it.parts.start("second gateway", it.view("second gateway"))
    it.parts.start("second consumer", it.consume("second consumer"))
    if command:
        with suppress(AssertionError):
            await eventually(lambda: refusals.refused, timeout_s=STRIKES_WITHIN_S)
    await asyncio.sleep(for_s)
    refusals.command = ""
    refused = refusals.refused
    try:
        await it.settle()
    finally:
        await it.parts.end("second ingestor", "second gateway", "second consumer")
        it.held.pop("second gateway", None)
        it.held.pop("second consumer", None)
    if refused > TRIES_PER_S_MAX * for_s:
        raise Unsettled([f"a busy loop: {refused} attempts in {for_s} s"])
    if not refused:
        return "-"
    return "waits" if leading is _leadership(it) is not None else "leads anew"


def _leadership(it: Deployment) -> Any:
    leaders = it.leading.leaders if it.leading is not None else []
    return leaders[0].leadership if leaders else None


async def commands_of(it: Deployment) -> list[str]:
    """Every command of the deployment, recorded in a run in which each part starts and ends."""
    await refuse(it, "", [], 1.0)
    await execute(it.run.client, "SCRIPT", "FLUSH")
    await refuse(it, "", [], 0.5)
    return sorted(it.refusals.seen)


@asynccontextmanager
async def _new(folder: Path, server: EmbeddedServer | None) -> AsyncIterator[Deployment]:
    """A new deployment on this server, or in a cluster of its own."""
    if server is None:
        async with clustered_deployment(folder) as it:
            yield it
        return
    async with patient(server.url) as client:
        await execute(client, "FLUSHALL")
    async with deployment(server.url, folder) as it:
        yield it


async def sweep(only: str | None, *, cluster: bool) -> bool:
    """Print the table; returns whether all went well."""
    failures: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None if cluster else stack.enter_context(EmbeddedServer())
        async with _new(folder, server) as it:
            commands = [name for name in await commands_of(it) if only is None or only in name]
        codes = [reply.split()[0] if not reply.startswith("ERR") else reply for reply in REPLIES]
        click.echo(f"| command | {' | '.join(codes)} |")
        click.echo("| --- |" + " --- |" * len(codes))
        for command in commands:
            cells: list[str] = []
            while len(cells) < len(REPLIES):
                async with _new(folder, server) as it:
                    await _row(it, command, cells, failures)
            click.echo(f"| {command} | {' | '.join(cells)} |")
    for failure in failures:
        click.echo(failure)
    return not failures


async def _row(it: Deployment, command: str, cells: list[str], failures: list[str]) -> None:
    """Add the cells of a command, up to the first failure."""
    for reply in REPLIES[len(cells) :]:
        try:
            cells.append(await refuse(it, command, [reply]))
        except Unsettled as problem:
            cells.append("FAILS")
            failures.append(f"{command}, {reply}: {problem}")
            return


@click.command(help="Answer every command with every error reply, and print what happens.")
@click.option("--only", help="only commands whose name has this text")
@click.option("--cluster", is_flag=True, help="in a cluster of one server")
def main(only: str | None, cluster: bool) -> None:
    """Run the command; see the module."""
    raise SystemExit(0 if asyncio.run(sweep(only, cluster=cluster)) else 1)


if __name__ == "__main__":
    main()
