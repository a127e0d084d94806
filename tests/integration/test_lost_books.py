"""A book that was published and of which nothing is left is not begun again as if it were new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from depthcast.consumer.consumer import Consumer
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime.embedded import EmbeddedServer
from depthcast.shared.codec import decode_delta
from depthcast.shared.errors import ClientError, RedisRefused
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute, read_hash
from tests.book_model import ModelBook, brute_digest
from tests.ingestor_runs import BOTH_FEEDS, FEEDS, Input, Process, Run
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

Lose = Callable[[Run], Awaitable[None]]
QUIET = "LEV"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("depthcast.ingestor.runtime.leader.RECOVERY_RETRY_S", 0.3)


@asynccontextmanager
async def killed(server: EmbeddedServer, folder: Path) -> AsyncIterator[tuple[Run, Input]]:
    """A deployment whose only ingestor was killed when every snapshot was newer than its symbol's birth.

    `deltas` is trimmed as a leader does it: behind the oldest of the newest snapshots.
    """
    async with patient(server.url) as client:
        run = Run(client, "lost", server.url, folder)
        sent = Input(run, Random(1), doubting=False)  # a mark of doubt changes no digest
        async with Process(run.settings(snapshot_interval_ms=50), folder) as process:
            await process.leads()
            await sent.send(30)
            await run.published()

            async def all_renewed() -> bool:
                found = [(await run.snapshots(symbol))[-1][1].digest for symbol in FEEDS]
                return found == [brute_digest(sent.models[symbol].levels()) for symbol in FEEDS]

            await eventually(all_renewed, message="every snapshot is newer than the last change")
            await process.kill()
        oldest = min([(await run.snapshots(symbol))[-1][0] for symbol in FEEDS])
        await execute(client, "XTRIM", run.keys.deltas, "MINID", str(oldest))
        yield run, sent


async def deleted(run: Run) -> None:
    await execute(run.client, "DEL", run.keys.snapshots(QUIET))


async def evicted(run: Run) -> None:
    """Let the server evict it: the only key with a time to live, on a server whose memory is full."""
    await execute(run.client, "PEXPIRE", run.keys.snapshots(QUIET), 10_000_000)
    await execute(run.client, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl", "maxmemory", "1kb")
    with pytest.raises(RedisRefused):
        await execute(run.client, "SET", "anything", "at all")
    await execute(run.client, "CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
    assert not await execute(run.client, "EXISTS", run.keys.snapshots(QUIET))


async def trimmed(run: Run) -> None:
    """Trim `deltas` to its last entry, which the snapshot is older than."""
    last = (await run.history())[-1][0]
    snapshot = (await run.stream(run.keys.snapshots(QUIET)))[0]
    await execute(run.client, "DEL", run.keys.snapshots(QUIET))
    older = Position(last.epoch, 1)
    flat = [part for pair in snapshot[1] for part in pair]
    await execute(run.client, "XADD", run.keys.snapshots(QUIET), str(older), *flat)


async def everything_but_the_record(run: Run) -> None:
    names = [name async for name in run.client.scan_iter(match="{lost:0}:*")]
    await execute(run.client, "DEL", *(name for name in names if name != run.keys.symbols.encode()))


@asynccontextmanager
async def refused(run: Run) -> AsyncIterator[IngestorService]:
    """An ingestor that starts now and does not lead."""
    service, stop = IngestorService(run.settings()), asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        await eventually(lambda: task.done() or (service.leaders and service.leaders[0].problem))
        yield service
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def remedy(run: Run, problem: str) -> None:
    """Run the command that the problem ends with."""
    await execute(run.client, *problem.rpartition(": ")[2].split())


async def digests(run: Run) -> dict[str, int]:
    """The books of a consumer that starts now."""
    found: dict[str, int] = {}
    async with Consumer(run.url, prefix="lost") as consumer, asyncio.timeout(TIMEOUT_S):
        async for update in consumer:
            found[update.symbol] = consumer.digest(update.symbol)
            if found.keys() == FEEDS.keys():
                break
    return found


@pytest.mark.parametrize("lose", [deleted, evicted, trimmed])
async def test_a_lost_book_is_refused_until_it_may_begin_empty(
    fresh_server: EmbeddedServer, tmp_path: Path, lose: Lose
) -> None:
    async with killed(fresh_server, tmp_path) as (run, sent):
        assert sent.models[QUIET].levels() != ModelBook(*FEEDS[QUIET]).levels()
        await lose(run)
        before = await run.history()
        async with refused(run) as service:
            problem = service.leaders[0].problem
            assert f"1 books cannot be rebuilt: {run.keys.snapshots(QUIET)} is gone" in problem
            assert problem.endswith(f"HDEL {run.keys.symbols} {QUIET}")
            assert not service._ready()[0]
            assert await run.history() == before, "nothing was guessed"
            await remedy(run, problem)
            await eventually(lambda: run.leads(service), message="it leads after the remedy")
            assert not service.leaders[0].problem
            sent.models[QUIET] = ModelBook(*FEEDS[QUIET])
            await sent.send(10)
            info = await run.published()
            assert (info.applied, info.rejected, info.ignored) == (sent.applied, sent.rejected, sent.ignored)
            assert await digests(run) == {s: brute_digest(m.levels()) for s, m in sent.models.items()}
            assert (await read_hash(run.client, run.keys.symbols)).keys() == {s.encode() for s in FEEDS}


async def test_newcomers_do_not_show_it_meanwhile(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with killed(fresh_server, tmp_path) as (run, _):
        await deleted(run)
        async with refused(run), Consumer(run.url, prefix="lost") as consumer:
            async with asyncio.timeout(TIMEOUT_S):
                await consumer.wait_for("EVI")
            with pytest.raises(ClientError, match="no book has been read yet"):
                consumer.book(QUIET)


async def test_if_all_is_lost_but_the_record_it_is_said(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with killed(fresh_server, tmp_path) as (run, _):
        await everything_but_the_record(run)
        async with refused(run) as service:
            problem = service.leaders[0].problem
            assert "4 books cannot be rebuilt" in problem
            await remedy(run, problem)
            await eventually(lambda: run.leads(service), message="it leads after the remedy")


async def test_a_deployment_without_the_record_is_led_and_gets_it(
    fresh_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with killed(fresh_server, tmp_path) as (run, sent):
        await execute(run.client, "DEL", run.keys.symbols)
        async with run.service(run.settings()):
            await sent.send(5)
            info = await run.published()
            assert info.applied == sent.applied
            position, fields = next(entry for entry in await run.history() if entry[0].n == 1)
            assert {decode_delta(raw).events for _, raw in fields[1:-1]} == {0}
            seal = str(position._replace(n=0)).encode()
            assert await read_hash(run.client, run.keys.symbols) == {
                symbol.encode(): seal for symbol in FEEDS
            }


@pytest.mark.parametrize("again", [False, True])
async def test_a_withdrawn_symbol_leaves_the_record_with_the_next_leader(
    fresh_server: EmbeddedServer, tmp_path: Path, again: bool
) -> None:
    """Otherwise it could not be born again, as the contract says."""
    async with patient(fresh_server.url) as client:
        run = Run(client, "lost", fresh_server.url, tmp_path)
        async with run.service(run.settings("[A]\n[B]")):
            await run.send(("A", '[["add","bid",5,1]]'), ("B", '[["add","bid",5,1]]'))
            await run.published()
        await execute(client, "HDEL", run.deployment.instruments, "B")
        async with run.service(run.settings(None)):
            assert (await read_hash(client, run.keys.symbols)).keys() == {b"A"}
        await execute(client, "DEL", run.keys.snapshots("B"))
        async with run.service(run.settings("[A]\n[B]" if again else "[A]")):
            names = {b"A", b"B"} if again else {b"A"}
            assert (await read_hash(client, run.keys.symbols)).keys() == names


async def test_a_birth_under_the_same_leader_is_recorded_with_it(run: Run) -> None:
    async with run.service(run.settings("[A]")):
        instrument = await execute(run.client, "HGET", run.deployment.instruments, "A")
        await execute(run.client, "HSET", run.deployment.instruments, "NEW", instrument)
        await eventually(lambda: run.snapshots("NEW"))
        position = (await run.snapshots("NEW"))[0][0]
        held = await read_hash(run.client, run.keys.symbols)
        assert held[b"NEW"] == str(position).encode()
        assert held.keys() == {b"A", b"NEW"}


async def test_a_record_that_others_wrote_to_is_said(fresh_server: EmbeddedServer, tmp_path: Path) -> None:
    async with killed(fresh_server, tmp_path) as (run, _):
        await execute(run.client, "HSET", run.keys.symbols, "LEV", "anything")
        async with refused(run) as service:
            assert f"a value in {run.keys.symbols} is wrong" in service.leaders[0].problem
            assert service.leaders[0].problem.endswith(f"DEL {run.keys.symbols}")
            await execute(run.client, "DEL", run.keys.symbols)
            await execute(run.client, "SET", run.keys.symbols, "anything")
            await eventually(lambda: f"(DEL {run.keys.symbols})" in service.leaders[0].problem)
            await execute(run.client, "DEL", run.keys.symbols)
            await eventually(lambda: run.leads(service), message="it leads after the remedy")


LOSSES = ("deltas", "symbols", "listings", "events", "snapshots", "snapshots:LEV", "checkpoints")
"""What is deleted of a partition, each alone and with any of the others."""
ALL_OF_IT = {"deltas", "symbols", "snapshots"}
"""Without these, nothing says that there were books: the partition begins again."""
STEP = 16
NUMBERS = range(1, 2 ** len(LOSSES))
FEW = [number for number in NUMBERS if number.bit_count() <= 2 or number.bit_count() >= len(LOSSES) - 1]
"""Each alone, each two, all, and all but one."""


async def losses(run: Run, number: int) -> dict[str, list[str]]:
    """The keys of the losses whose bits `number` has."""
    own = run.keys
    keys = {
        "deltas": [own.deltas],
        "symbols": [own.symbols],
        "listings": [own.listings],
        "events": [own.events],
        "snapshots": [own.snapshots(symbol) for symbol in FEEDS],
        "snapshots:LEV": [own.snapshots(QUIET)],
        "checkpoints": [own.checkpoint(symbol) for symbol in FEEDS],
    }
    return {name: keys[name] for bit, name in enumerate(LOSSES) if number >> bit & 1}


async def led(run: Run, text: str) -> bool:
    """Whether an ingestor that starts now leads; it is ended again. Otherwise it says why not."""
    service, stop = IngestorService(run.settings(text)), asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        await eventually(
            lambda: task.done() or run.leads(service) or (service.leaders and service.leaders[0].problem)
        )
        leads = run.leads(service)
        if leads:
            await run.published()
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await task
        return leads
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def parts(symbols: tuple[str, ...], numbers: Sequence[int], *marks: pytest.MarkDecorator) -> list[Any]:
    """Parameters: so many losses for a test at a time."""
    parts = [numbers[first : first + STEP] for first in range(0, len(numbers), STEP)]
    return [pytest.param(symbols, part, marks=marks, id=f"{len(symbols)}-{part[0]}") for part in parts]


@pytest.mark.parametrize(
    ("symbols", "numbers"),
    [
        *parts(("LEV", "EVI"), FEW),
        *parts(("LEV", "EVI"), [number for number in NUMBERS if number not in FEW], pytest.mark.deep),
        *parts(tuple(FEEDS), NUMBERS, pytest.mark.deep),
    ],
)
async def test_whatever_is_deleted_while_no_ingestor_runs_no_wrong_book_is_led(
    fresh_server: EmbeddedServer,
    tmp_path: Path,
    symbols: tuple[str, ...],
    numbers: Sequence[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever leads afterwards has the same books and counts, or empty ones where nothing is left of them."""
    monkeypatch.setattr("depthcast.ingestor.runtime.standby.RECOVERY_TRIES", 1)
    async with killed(fresh_server, tmp_path) as (run, sent):
        await execute(run.client, "DEL", run.keys.leader, run.deployment.ingestors)
        for symbol in FEEDS.keys() - set(symbols):
            await execute(run.client, "HDEL", run.deployment.instruments, symbol)
        names = [name async for name in run.client.scan_iter(match="*")]
        saved = {name: await execute(run.client, "DUMP", name) for name in names}
        wanted = {symbol: brute_digest(sent.models[symbol].levels()) for symbol in symbols}
        empty = {symbol: brute_digest(ModelBook(*FEEDS[symbol]).levels()) for symbol in symbols}
        counted = (sent.applied, sent.rejected, sent.ignored)
        text = BOTH_FEEDS[: BOTH_FEEDS.index("[ORD]")] if "ORD" not in symbols else BOTH_FEEDS
        for number in numbers:
            await execute(run.client, "FLUSHALL")
            for name, value in saved.items():
                await execute(run.client, "RESTORE", name, 0, value)
            lost = await losses(run, number)
            for keys in lost.values():
                await execute(run.client, "DEL", *keys)
            before = await run.history()
            if not await led(run, text):
                assert await run.history() == before, "nothing was guessed"
                assert lost.keys() - {"symbols", "listings"}, "there was no need"
                continue
            info = await run.published()
            counts = (info.applied, info.rejected, info.ignored)
            found = {symbol: (await run.snapshots(symbol))[-1][1].digest for symbol in symbols}
            if "deltas" in lost:
                assert lost.keys() >= ALL_OF_IT, "something is left that says that there were books"
                assert found == (empty if "events" in lost else wanted), lost.keys()
                assert counts == (0, 0, 0) if "events" in lost else info.applied > 0
            else:
                # To delete the record of a lost book is the remedy: it lets the book begin empty.
                gone = {key for keys in lost.values() for key in keys} if "symbols" in lost else set()
                begun = {symbol: empty[symbol] for symbol in symbols if run.keys.snapshots(symbol) in gone}
                assert (counts, found) == (counted, wanted | begun), lost.keys()
