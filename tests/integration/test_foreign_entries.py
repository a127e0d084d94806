"""Others write to keys of ours: entries that no leader wrote, values of another type, endless leases.

The table in `docs/operations.md`, "When Redis is in trouble", says the same in words.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.consumer.consumer import Consumer
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT, wall_us
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute
from tests.book_model import brute_digest
from tests.ingestor_runs import FEEDS, Input, Process, Run
from tests.integration.fault_scene import HEARTBEAT_S, Scene, scene
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

JUNK = ("anything", "at all")
REPLACE = "redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'a list')"
STEP_DOWNS = "depthcast_ingestor_step_downs_total"
DAY_US = 86_400_000_000
NOTICED_BY = {
    "meta": {"shared"},
    "instruments": {"ingestor", "gateway"},
    "incarnation": {"ingestor", "gateway"},
    "ingestors": {"ingestor"},
}
"""Packages whose log names the key: running processes read `meta` only to see whether it is there."""

MISMATCHES = "depthcast_gateway_digest_mismatches_total"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthcast.broadcaster.schedule.HEARTBEAT_S", HEARTBEAT_S)
    monkeypatch.setattr("depthcast.ingestor.runtime.leader.RECOVERY_RETRY_S", 0.3)
    monkeypatch.setattr("depthcast.shared.runtime.follow.PAUSE_MOST_S", 0.3)


async def newcomer_holds(url: str, sent: Input) -> None:
    """Check that a consumer that starts now gets the books."""
    wanted = {symbol: brute_digest(model.levels()) for symbol, model in sent.models.items()}
    async with Consumer(url, prefix="faults") as consumer, asyncio.timeout(TIMEOUT_S):
        held: dict[str, int] = {}
        async for update in consumer:
            held[update.symbol] = consumer.digest(update.symbol)
            if held == wanted:
                return


@asynccontextmanager
async def fed(server: EmbeddedServer, folder: Path) -> AsyncIterator[tuple[Run, Input]]:
    """A deployment whose only ingestor crashed after it had published some input."""
    async with patient(server.url) as client:
        run = Run(client, "faults", server.url, folder)
        sent = Input(run, Random(1))
        async with Process(run.settings(), folder) as process:
            await process.leads()
            await sent.send(20)
            await run.published()
            await process.kill()
        yield run, sent


async def leads_on(run: Run, sent: Input) -> None:
    """Check that an ingestor that starts now continues with the books, and counts everything once."""
    async with run.service(run.settings()):
        await sent.send(3)
        info = await run.published()
        await newcomer_holds(run.url, sent)
        assert (info.applied, info.rejected) == (sent.applied, sent.rejected)


class TestDeltas:
    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("where", ["now", "next"])
    async def test_a_leader_publishes_every_book_again(
        self, fresh_server: EmbeddedServer, tmp_path: Path, where: str, count: int
    ) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS, MISMATCHES)
            key, epoch = it.run.keys.deltas, await it.epoch()
            for _ in range(count):
                await it.redis("XADD", key, "*" if where == "now" else f"{epoch}-*", *JUNK)

            async def has_new_epoch() -> bool:
                history = await it.run.history()
                return dict(history[-1][1]).keys() >= {b"_"} and history[-1][0].epoch > epoch

            await eventually(has_new_epoch, message="a new epoch")
            await it.viewer.status_is("live")
            await it.settle()
            await newcomer_holds(it.server.url, it.sent)
            assert await it.counts() == it.exactly_once()
            assert it.metric(MISMATCHES) == it.before[MISMATCHES]
            await it.rises(STEP_DOWNS)

    async def test_also_one_that_starts(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with fed(fresh_server, tmp_path) as (run, sent):
            await execute(run.client, "XADD", run.keys.deltas, "*", *JUNK)
            await leads_on(run, sent)

    async def test_also_if_another_crashed_after_its_seal(
        self, fresh_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        async with fed(fresh_server, tmp_path) as (run, sent):
            info = await run.info()
            assert info is not None
            junk = Position.parse(await execute(run.client, "XADD", run.keys.deltas, "*", *JUNK))
            crashed = Publisher(run.client, (0, run.keys), junk, rejects_max=10)
            await crashed.seal(junk.epoch + 1, Broadcast(info._replace(prev=None, successor=None), ()))
            await leads_on(run, sent)

    async def test_what_cannot_be_proved_is_refused(
        self, fresh_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        """The entries before the foreign one are gone, so nothing says which input the snapshots include."""
        async with fed(fresh_server, tmp_path) as (run, _):
            await execute(run.client, "DEL", run.keys.deltas)
            await execute(run.client, "XADD", run.keys.deltas, "*", *JUNK)
            service, stop = IngestorService(run.settings()), asyncio.Event()
            task = asyncio.create_task(service.run(stop))
            await eventually(lambda: task.done() or (service.leaders and service.leaders[0].problem))
            assert "is of no leader, and what came before it is gone" in service.leaders[0].problem
            assert not run.leads(service)
            await _remedy(run)
            await eventually(lambda: run.leads(service), message="it leads after the remedy")
            assert not service.leaders[0].problem
            stop.set()
            await task


async def _remedy(run: Run) -> None:
    """What `docs/operations.md` says about a partition that cannot be rebuilt."""
    patterns = [f"{{{run.prefix}:0}}:{name}" for name in ("deltas", "symbols", "snapshots:*", "checkpoint:*")]
    keys = [key for pattern in patterns for key in await execute(run.client, "KEYS", pattern)]
    await execute(run.client, "DEL", *keys)


class TestSnapshots:
    async def test_the_leader_replaces_the_stream(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            await it.begin_led(STEP_DOWNS)
            for symbol in FEEDS:
                await it.redis("XADD", it.run.keys.snapshots(symbol), "*", *JUNK)
            await newcomer_holds(it.server.url, it.sent)
            await it.settle()

            async def replaced() -> bool:
                await it.feed(1)
                newest = [await it.run.stream(it.run.keys.snapshots(symbol)) for symbol in FEEDS]
                return all(fields[0][0] == b"s" for entries in newest for _, fields in entries)

            await eventually(replaced, message="no entry of others is left")
            assert it.metric(STEP_DOWNS) == it.before[STEP_DOWNS]

    async def test_a_leader_that_starts_takes_the_newest_of_ours(
        self, fresh_server: EmbeddedServer, tmp_path: Path
    ) -> None:
        async with fed(fresh_server, tmp_path) as (run, sent):
            for symbol in FEEDS:
                await execute(run.client, "XADD", run.keys.snapshots(symbol), "*", *JUNK)
            await leads_on(run, sent)


class TestWrongTypes:
    """A value of another type is named, with its remedy; after that, nothing is missing."""

    @pytest.mark.parametrize(
        "name", ["events", "deltas", "rejects", "leader", "snapshots:LEV", "checkpoint:ORD"]
    )
    async def test_of_a_partition(self, fresh_server: EmbeddedServer, tmp_path: Path, name: str) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            leader, key = it.service.leaders[0], f"{{faults:0}}:{name}"
            await it.redis("EVAL", REPLACE, 1, key)
            if name == "events":
                await eventually(lambda: key in leader.problem)
            else:
                await eventually(partial(_after_input, it, lambda: key in leader.problem))
            assert f"delete it (DEL {key})" in leader.problem
            assert it.service._ready()[1]["problems"] == {0: leader.problem}
            await it.redis("DEL", key)
            if name == "rejects":  # those that were there are gone
                it.sent.rejects.clear()
            await it.settle()
            await eventually(lambda: not leader.problem)
            await newcomer_holds(it.server.url, it.sent)
            assert await it.counts() == it.exactly_once()

    async def test_a_lease_that_never_expires(self, fresh_server: EmbeddedServer, tmp_path: Path) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            leader, key = it.service.leaders[0], it.run.keys.leader
            await it.redis("SET", key, "somebody")
            await eventually(lambda: f"{key} holds a lease that never expires" in leader.problem)
            assert leader.leadership is None
            await it.redis("DEL", key)
            await it.settle()
            await eventually(lambda: not leader.problem)

    @pytest.mark.parametrize("name", ["meta", "instruments", "incarnation", "ingestors"])
    async def test_of_the_deployment(
        self, fresh_server: EmbeddedServer, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with scene(fresh_server, tmp_path) as it:
            it.begin()
            key = f"faults:{name}"
            await it.redis("EVAL", REPLACE, 1, key)
            joining = asyncio.create_task(_joins(fresh_server.url))

            def said() -> list[logging.LogRecord]:
                return [
                    entry
                    for entry in caplog.records
                    if f"DEL {key}" in f"{entry.getMessage()} {getattr(entry, 'problem', '')}"
                ]

            await eventually(
                lambda: {entry.name.split(".")[1] for entry in said()} >= NOTICED_BY[name],
                message="it is said",
            )
            assert {entry.levelname for entry in said()} == {"ERROR"}
            assert it.viewer.states == [], "running processes go on"
            await it.redis("DEL", key)
            async with asyncio.timeout(TIMEOUT_S):
                await joining
            await it.settle()
            await newcomer_holds(it.server.url, it.sent)
            assert await it.counts() == it.exactly_once()


async def _joins(url: str) -> None:
    async with Consumer(url, prefix="faults") as consumer:
        await consumer.wait_for("LEV")


async def _after_input(it: Scene, condition: Callable[[], bool]) -> bool:
    await it.sent.send(1)
    return condition()


class TestClock:
    @pytest.mark.parametrize("standing_by", [False, True])
    async def test_the_way_out_of_a_clock_that_was_a_day_ahead(
        self, fresh_server: EmbeddedServer, tmp_path: Path, standing_by: bool
    ) -> None:
        """`docs/operations.md` says what to do: delete `deltas` while an ingestor waits."""
        async with patient(fresh_server.url) as client:
            run = Run(client, "faults", fresh_server.url, tmp_path)
            sent = Input(run, Random(1))
            ahead = replace(REAL_ENVIRONMENT, now_us=lambda: wall_us() + DAY_US)
            async with run.service(run.settings(), ahead):
                await sent.send(20)
                await run.published()
            seqs = {symbol: (await run.snapshots(symbol))[-1][1].seq for symbol in FEEDS}
            async with running(run, count=2 if standing_by else 1) as services:

                def waits() -> bool:
                    return any(
                        f"DEL {run.keys.deltas}" in s.leaders[0].problem for s in services if s.leaders
                    )

                await eventually(waits, message="it waits, and says so")
                await execute(client, "DEL", run.keys.deltas)
                await sent.send(5)
                info = await run.published()
                assert (info.applied, info.rejected) == (sent.applied, sent.rejected)
                assert (await run.history())[-1][0].epoch < wall_us() // 1000 + 1000
                await newcomer_holds(run.url, sent)
                for symbol, seq in seqs.items():
                    assert (await run.snapshots(symbol))[-1][1].seq > seq, "seqs still go up"
                assert not any(service.leaders[0].problem for service in services)


@asynccontextmanager
async def running(run: Run, count: int) -> AsyncIterator[list[IngestorService]]:
    """Ingestors that need not lead."""
    services, stop = [IngestorService(run.settings()) for _ in range(count)], asyncio.Event()
    tasks = [asyncio.create_task(service.run(stop)) for service in services]
    try:
        yield services
    finally:
        stop.set()
        await asyncio.gather(*tasks)
