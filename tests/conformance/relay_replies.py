"""`python -m tests.conformance.relay_replies`: every command of a relay, answered with every error reply.

Two real servers, an ingestor at the source, and relays, which reach either server through a proxy. For each
side, each command that relays were seen to send there, and each reply, the proxy answers that command with
that reply for a while; meanwhile a second relay starts. No relay may end or try in a busy loop, the reply has
to be named, and afterwards the copy has to be the source, entry by entry, without having begun again.
"""

import asyncio
import logging
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Final, NamedTuple
from unittest.mock import patch

import click
from redis.asyncio import Redis

from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.runtime.ports import HOST
from depthcast.runtime.relay import RelayService
from depthcast.runtime.relay_sides import SOURCE, TARGET
from depthcast.shared.runtime import error_replies
from depthcast.shared.runtime.redis import execute
from tests.conformance.cluster_of_one import beside, cluster_options, form_cluster
from tests.conformance.error_replies import (
    PREFIX,
    REPLIES,
    SHORT,
    ClusterRun,
    Participants,
    Refusals,
    Unsettled,
)
from tests.conformance.sent import sent
from tests.ingestor_runs import BOTH_FEEDS, FEEDS, Input, Run
from tests.integration.relay_scene import difference, entries_of, relay_settings
from tests.proxy import FaultProxy
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

FOR_S: Final = 0.25
STRIKES_WITHIN_S: Final = 20.0
NAMED_WITHIN_S: Final = 10.0
SETTLED_WITHIN_S: Final = TIMEOUT_S
TRIES_PER_S_MAX: Final = 150

SHORT_RELAY: Final = {
    "depthcast.runtime.relay.POLL_S": 0.1,
    "depthcast.runtime.relay.RETRY_S": 0.1,
    "depthcast.runtime.relay_partition.RETRY_S_MAX": 0.2,
}
"""Waits that are shortened, beside those of ingestors."""

ON_LEAVING: Final = ("HDEL relays", "EVALSHA release copy leader")
"""Sent by a relay that ends."""

ON_TAKING_OVER: Final = ("EVALSHA last of copy leader",)
"""Sent by a relay that takes over."""

ON_BEGINNING_AGAIN: Final = (
    "XREVRANGE snapshots",
    "HGETALL instruments",
    "HSET instruments",
    "SET incarnation",
)
"""Sent where a copy is lost; the source reads its own instruments at each start."""

EXPECTED: Final = {
    (SOURCE, name)
    for name in (
        "EXEC", "GET incarnation", "HGETALL instruments", "HGETALL meta", "MULTI", "TIME",
        "WATCH instruments", "XRANGE deltas", "XREAD deltas", "XREAD snapshots", "XREVRANGE snapshots",
        "ZRANGEBYSCORE revoked",
    )
} | {
    (TARGET, name)
    for name in (
        "EVALSHA append to copy leader", "EVALSHA claim copy meta", "EVALSHA last of copy leader",
        "EVALSHA release copy leader", "EVALSHA store in copy leader", "EVALSHA take copy leader",
        "EVALSHA trim copy leader", "EXISTS events", "GET incarnation", "HDEL relays", "HGETALL instruments",
        "HGETALL relays", "HSET instruments", "HSET relays", "SET incarnation", "TIME", "ZADD revoked",
    )
}  # fmt: skip
"""Commands that the recording must have seen, lest the sweep grow empty."""


NOT_NAMED: Final = frozenset(
    # Not about the copy itself: metrics count it, and `/readyz` stays as it is.
    ("HDEL relays", "EVALSHA release copy leader", "HGETALL relays", "HSET relays",
     # Parts of a transaction are named with the error of the whole; a script that is lost is loaded again.
     "MULTI", "EXEC", "SCRIPT LOAD")
)  # fmt: skip


@dataclass
class Copying:
    """A source, its copy, and relays between them.

    `copied`: a client of the copy's server. `compared`: clients that know the keys of either side.
    """

    run: Run
    copied: Redis
    compared: tuple[Redis, Redis]
    urls: tuple[str, str]
    sides: dict[str, Refusals]
    parts: Participants = field(default_factory=Participants)
    relays: dict[str, tuple[RelayService, asyncio.Event]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.input = Input(self.run, Random(1), doubting=False)

    def start(self, name: str) -> None:
        """Start a relay."""
        service, stop = RelayService(relay_settings(*self.urls, self.run.prefix)), asyncio.Event()
        self.relays[name] = service, stop
        self.parts.start(name, service.run(stop))

    async def stop(self, name: str) -> None:
        """End a relay in order."""
        _, stop = self.relays.pop(name)
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await self.parts.tasks.pop(name)

    def ended(self) -> list[str]:
        """Relays that ended, and why."""
        return [
            f"{name} ended: {task.exception()!r}" for name, task in self.parts.tasks.items() if task.done()
        ]

    def replaced(self) -> int:
        """How often a copy began again."""
        found = [service for service, _ in self.relays.values()]
        return sum(each.replaced for one in found for copy in one.deployments for each in copy.partitions)

    def failures(self, side: str) -> int:
        """Attempts that failed at a side, as metrics count them."""
        return sum(copy.failures()[side] for one, _ in self.relays.values() for copy in one.deployments)

    def shown(self) -> str:
        """What `/readyz` of all relays says."""
        return " ".join(str(service._ready()) for service, _ in self.relays.values())

    async def target_deltas(self) -> str:
        """The key of the copy's entries."""
        found = await execute(self.copied, "KEYS", "*:deltas")
        return str(found[0].decode()) if found else "none"

    async def settle(self) -> None:
        """Send something; the copy has to become the source."""
        await self.input.send(2)
        await self.run.published()
        problem = ""

        async def same() -> bool:
            nonlocal problem
            source, target = self.compared
            problem = await difference((source, PREFIX), (target, PREFIX), 1, list(FEEDS))
            ends = await entries_of(self.copied, await self.target_deltas())
            return bool(self.ended()) or not (problem or not ends)

        with suppress(AssertionError):
            await eventually(same, timeout_s=SETTLED_WITHIN_S)
        if problems := self.ended() or ([problem] if problem else []):
            raise Unsettled(problems)


async def refuse(it: Copying, side: str, command: str, replies: Sequence[str]) -> str:
    """Answer a command at one side for a while; returns where that is named. Raises `Unsettled`."""
    refusals = it.sides[side]
    if command in ON_TAKING_OVER:
        await it.stop("first")
    before, failed, counted = it.replaced(), it.failures(side), sum(error_replies.totals().values())
    refusals.replies, refusals.refused, refusals.command = cycle(replies), 0, command
    begins = (side == TARGET and command in ON_BEGINNING_AGAIN) or command == "XREVRANGE snapshots"
    await _provoke(it, command, begins=begins)
    with suppress(AssertionError):
        await eventually(lambda: refusals.refused, timeout_s=STRIKES_WITHIN_S)
    began, shown = asyncio.get_running_loop().time(), set[str]()

    def seen(held_s: float) -> Struck:
        shown.add(it.shown())
        replied = sum(error_replies.totals().values()) - counted
        return Struck(command, replies, refusals.refused, it.failures(side) - failed, replied, shown, held_s)

    while asyncio.get_running_loop().time() < began + FOR_S:
        shown.add(it.shown())
        await asyncio.sleep(0.01)
    while (struck := seen(asyncio.get_running_loop().time() - began)).problems():
        if struck.held_s > NAMED_WITHIN_S:
            break
        await asyncio.sleep(0.01)
    refusals.command = ""
    try:
        await it.settle()
    finally:
        if "second" in it.relays:
            with suppress(Exception):
                await it.stop("second")
    await eventually(lambda: it.relays["first"][0].deployments[0].ready, timeout_s=SETTLED_WITHIN_S)
    wrong = struck.problems()
    if it.replaced() > before and not begins:
        wrong.append("the copy began again")
    if not struck.refused:
        wrong.append("it was not sent")
    if wrong:
        raise Unsettled(wrong)
    return "shown" if struck.is_shown else "counted"


class Struck(NamedTuple):
    """What came of a refusal: attempts refused, failures and error replies counted, what `/readyz` said."""

    command: str
    replies: Sequence[str]
    refused: int
    failures: int
    counted: int
    shown: set[str]
    held_s: float

    @property
    def is_shown(self) -> bool:
        words = {reply.split()[0] for reply in self.replies}
        words |= {"of another type"} if "WRONGTYPE" in words else set()
        return any(word in text for word in words for text in self.shown)

    def problems(self) -> list[str]:
        """What is wrong with that."""
        wrong = []
        if self.refused > TRIES_PER_S_MAX * self.held_s:
            wrong.append(f"a busy loop: {self.refused} attempts in {self.held_s:.2f} s")
        if not self.refused:
            return wrong
        if not self.counted and self.command != "MULTI":  # it may count as a change of what is watched
            wrong.append("no error reply is counted")
        if self.command not in NOT_NAMED and not _does_without(self.command, self.replies):
            if not self.is_shown:
                wrong.append(f"nothing names it: {self.shown}")
            if not self.failures:
                wrong.append("no failure is counted")
        return wrong


async def _provoke(it: Copying, command: str, *, begins: bool) -> None:
    """Do what makes relays send the command; a second one always starts."""
    if command == "SCRIPT LOAD":
        await execute(it.copied, "SCRIPT", "FLUSH")
    if begins:
        await execute(it.copied, "FLUSHALL")
    if command in ON_TAKING_OVER:
        it.start("first")
    it.start("second")
    await it.input.send(20)  # some change a book, so there are entries and snapshots to copy
    if command in ON_LEAVING:
        second = it.relays["second"][0].deployments[0]
        await eventually(lambda: second.ready or it.ended())
        await it.stop("second")


def _does_without(command: str, replies: Sequence[str]) -> bool:
    """Without the right to WATCH, relays read the key whole each time."""
    return command.startswith("WATCH") and replies[0].startswith("NOPERM")


async def commands_of(it: Copying, expected: Collection[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Every command that relays send, by side, from their start to their end; waits for those `expected`."""
    it.start("other")
    await eventually(lambda: it.relays["other"][0].deployments[0].ready or it.ended())
    await it.settle()
    await it.stop("other")
    await execute(it.copied, "DEL", await it.target_deltas())
    await execute(it.copied, "SCRIPT", "FLUSH")
    await it.settle()
    await eventually(lambda: all(it.sides[side].seen[command] for side, command in expected))
    return [
        (side, command)
        for side, refusals in it.sides.items()
        for command in sorted(refusals.seen)
        if command != "UNWATCH"  # sent where something else failed
    ]


@asynccontextmanager
async def copying(folder: Path, *, cluster: bool) -> AsyncIterator[Copying]:
    """A source and its copy, at rest."""
    async with AsyncExitStack() as stack:
        for name, value in {**SHORT, **SHORT_RELAY}.items():
            stack.enter_context(patch(name, value))
        sides: dict[str, Refusals] = {}
        urls, clients, compared, servers = [], [], [], []
        for side in (SOURCE, TARGET):
            link = await stack.enter_async_context(FaultProxy(""))
            options = cluster_options(link.port) if cluster else {}
            server = stack.enter_context(EmbeddedServer(options=options))
            link.target = server.url
            client = await stack.enter_async_context(patient(server.url))
            compared.append(client)
            if cluster:
                await form_cluster(client)
                direct = beside(server).connect(f"redis+cluster://{HOST}:{server.port}")
                compared[-1] = await stack.enter_async_context(direct)
            sides[side] = link.refuse = Refusals(sent)
            urls.append(f"redis+cluster://{HOST}:{link.port}" if cluster else link.url)
            clients.append(client)
            servers.append(server)
        kind, environment, own = Run, REAL_ENVIRONMENT, servers[0].url
        if cluster:
            kind, own = ClusterRun, f"redis+cluster://{HOST}:{servers[0].port}"
            environment = beside(servers[0])
        run = kind(clients[0], PREFIX, own, folder)
        it = Copying(run, clients[1], (compared[0], compared[1]), (urls[0], urls[1]), sides)
        settings = run.settings(BOTH_FEEDS, snapshot_interval_ms=50, retention_s=30, lease_ms=2000)
        await stack.enter_async_context(run.service(settings, environment))
        await execute(clients[0], "ZADD", run.deployment.revoked, 2**33, "sub:alice")
        it.start("first")
        try:
            await eventually(lambda: it.relays["first"][0].deployments[0].ready or it.ended())
            await it.settle()
            yield it
        finally:
            await it.parts.end(*it.parts.tasks)


async def sweep(only: str | None, *, cluster: bool) -> list[str]:
    """Print the table; returns what is wrong."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        async with copying(Path(folder), cluster=cluster) as it:
            for side, command in await commands_of(it, EXPECTED):
                if only is not None and only not in f"{side} {command}":
                    continue
                cells: Counter[str] = Counter()
                for reply in REPLIES:
                    try:
                        cells[await refuse(it, side, command, [reply])] += 1
                    except (Unsettled, AssertionError) as problem:
                        cells["FAILS"] += 1
                        failures.append(f"{side}, {command}, {reply}: {problem}")
                click.echo(f"| {side} | {command} | {dict(cells)} |")
    return failures


@click.command(help="Answer every command of a relay with every error reply.")
@click.option("--only", help="only commands whose side and name have this text")
@click.option("--cluster", is_flag=True, help="between two clusters of one server")
def main(only: str | None, *, cluster: bool) -> None:
    """Run the command; see the module."""
    logging.getLogger().addHandler(logging.NullHandler())
    failures = asyncio.run(sweep(only, cluster=cluster))
    for failure in failures:
        click.echo(failure)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
