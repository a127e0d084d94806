"""`depthcast repartition`: the same books and counts under another number of partitions."""

import asyncio
from itertools import count
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from depthcast import Consumer, Producer
from depthcast.cli.main import main
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.runtime import repartition as module
from depthcast.runtime.repartition import NotRepartitioned, repartition
from depthcast.shared.errors import CopyError, RedisUnavailable
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.redis import execute
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.waiting import eventually

SYMBOLS = [f"S{number}" for number in range(12)]
INSTRUMENTS = "".join(
    f'[{symbol}]\nfeed = "{"orders" if number % 3 == 0 else "levels"}"\n'
    for number, symbol in enumerate(SYMBOLS)
)


async def fill(run: Run, producer: Producer, rng: Random, rounds: int = 30) -> None:
    """Random input of both feeds; some of it is rejected, and some puts books in doubt."""
    for number in range(rounds):
        symbol = rng.choice(SYMBOLS)
        if SYMBOLS.index(symbol) % 3 == 0:
            await producer.send(symbol, [("add", "bid", rng.randint(1, 9), 5, f"{number}-{rng.random()}")])
        else:
            await producer.send(symbol, [("update", "ask", rng.randint(10, 19), rng.randint(1, 5))])
        if rng.random() < 0.2:
            await producer.send(symbol, [("reduce", "bid", 500, 1, "nobody")])
    await producer.consumed()


async def books_of(url: str, prefix: str) -> dict[str, Any]:
    async with Consumer(url, prefix=prefix) as consumer:
        reading = asyncio.create_task(_read(consumer))
        for symbol in SYMBOLS:
            await consumer.wait_for(symbol)
        found = {
            symbol: (
                consumer.digest(symbol),
                consumer.book(symbol).bids.levels,
                consumer.book(symbol).asks.levels,
            )
            for symbol in SYMBOLS
        }
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return found


async def _read(consumer: Consumer) -> None:
    async for _ in consumer:
        pass


async def stopped(run: Run, partitions: int, *, seed: int = 1) -> dict[str, Any]:
    """A deployment that was led and ended; returns its books."""
    async with run.service(run.settings(INSTRUMENTS, partitions=partitions)) as service:
        async with Producer(run.url, prefix=run.prefix) as producer:
            await fill(run, producer, Random(seed))
            log = run.deployment.partition(partition_of("S1", partitions)).events
            await execute(run.client, "XADD", log, "*", "_", '{"stale": "gap"}', "S1", "[]")
            await producer.send("S1", [("update", "bid", 1, 1)])
            await producer.consumed()
        await eventually(lambda: service.stats.partitions[0].leading)
        return await books_of(run.url, run.prefix)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 3), (3, 1)])
async def test_books_and_counts_are_the_same(run: Run, before: int, after: int) -> None:
    books = await stopped(run, before)
    into = f"{run.prefix}-new"
    result = await asyncio.to_thread(
        CliRunner().invoke, main,
        ["repartition", str(after), "--into", into, "--prefix", run.prefix, "--redis-url", run.url],
        env=without_settings(),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"{len(SYMBOLS)} books in {after} partitions" in result.output
    moved = Run(run.client, into, run.url, run.folder)
    async with moved.service(moved.settings(INSTRUMENTS)):
        assert await books_of(run.url, into) == books
        async with Producer(run.url, prefix=into) as producer:
            await fill(moved, producer, Random(2))
            assert producer.partitions == after
        snapshots = moved.deployment.partition(partition_of("S1", after)).snapshots("S1")
        assert await execute(run.client, "EXISTS", snapshots)


async def test_what_is_not_stopped_or_not_consumed_is_refused(run: Run) -> None:
    into = f"{run.prefix}-new"
    with pytest.raises(NotRepartitioned, match="there is no deployment"):
        await repartition(run.client, run.prefix, into, 2)
    async with run.service(run.settings(INSTRUMENTS)):
        with pytest.raises(
            NotRepartitioned, match=r"partition 0 of .* is led by .*: end all ingestors first"
        ):
            await repartition(run.client, run.prefix, into, 2)
    for _ in range(3):
        await run.send(("S1", '[["update", "bid", 1, 5]]'))
    with pytest.raises(NotRepartitioned, match=r"3 input entries of partition 0 .* are not consumed"):
        await repartition(run.client, run.prefix, into, 2)
    async with run.service(run.settings(INSTRUMENTS)):
        await run.published()
    await repartition(run.client, run.prefix, into, 2)
    with pytest.raises(
        NotRepartitioned, match=r"there is a deployment with the prefix .* already: choose another"
    ):
        await repartition(run.client, run.prefix, into, 2)


@pytest.mark.slow
async def test_it_may_be_killed_at_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any number of commands: nobody can use the new deployment, and a second attempt completes it."""
    books = await stopped(run, 2)
    into, real = f"{run.prefix}-new", execute
    left = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise RedisUnavailable("killed here")
        return await real(*arguments)

    monkeypatch.setattr(module, "execute", counted)
    steps = 0
    while True:
        steps, left = steps + 1, steps
        try:
            await repartition(run.client, run.prefix, into, 3)
        except RedisUnavailable:
            if steps > 1:
                settings = run.settings(INSTRUMENTS, prefix=into)
                with pytest.raises(CopyError, match="being moved to 3 partitions"):
                    await IngestorService(settings).run(asyncio.Event())
        else:
            break
    assert steps > 12
    moved = Run(run.client, into, run.url, run.folder)
    async with moved.service(moved.settings(INSTRUMENTS)):
        assert await books_of(run.url, into) == books
    assert DeploymentKeys(into).meta != run.deployment.meta


@pytest.mark.slow
async def test_of_two_runs_at_the_same_time_one_completes_it_and_the_other_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one stands still before each of its commands in turn, while the second begins and ends."""
    books = await stopped(run, 2)
    real, waits, left = execute, asyncio.Event(), 0
    first: asyncio.Task[Any]

    async def standing_still(*arguments: Any) -> Any:
        nonlocal left
        if asyncio.current_task() is first:
            left -= 1
            if left == 0:
                waits.set()
                await goes_on.wait()
        return await real(*arguments)

    monkeypatch.setattr(module, "execute", standing_still)
    outcomes = set()
    for step in count(3):
        into, left, goes_on = f"{run.prefix}-{step}", step, asyncio.Event()
        waits.clear()
        first = asyncio.create_task(repartition(run.client, run.prefix, into, 3))
        stands = asyncio.create_task(waits.wait())
        await asyncio.wait([first, stands], return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            stands.cancel()
            break  # it has no so many commands
        await repartition(run.client, run.prefix, into, 3)
        goes_on.set()
        outcomes.add(type((await asyncio.gather(first, return_exceptions=True))[0]))
        moved = Run(run.client, into, run.url, run.folder)
        async with moved.service(moved.settings(INSTRUMENTS)):
            assert await books_of(run.url, into) == books, step
    assert step > 12
    assert outcomes == {NotRepartitioned}


async def test_of_two_runs_the_one_that_was_taken_over_from_never_says_that_it_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one has cleared what the first one was about to call done."""
    await stopped(run, 2)
    into, real = f"{run.prefix}-new", module._ends
    calls = 0

    async def taken_over(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        found = await real(*arguments)
        if calls == 3:  # everything has been read back
            mark = f"{run.prefix}, which is being moved to 3 partitions"
            second = module._Target(run.client, DeploymentKeys(into), mark)
            await second.take(3)
            await second.clear(3)
        return found

    monkeypatch.setattr(module, "_ends", taken_over)
    with pytest.raises(NotRepartitioned, match=r"another run of this command writes .*: let one run alone"):
        await repartition(run.client, run.prefix, into, 3)
    assert await execute(run.client, "HEXISTS", DeploymentKeys(into).meta, "copy_of")
    monkeypatch.undo()
    assert len((await repartition(run.client, run.prefix, into, 3)).books) == len(SYMBOLS)


async def test_a_book_that_came_out_empty_differs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks as one of an instrument that was added since the end, but the old deployment has levels."""
    await stopped(run, 1)
    real = module._book

    def emptied(engine: Any, symbol: str) -> Any:
        found = real(engine, symbol)
        if symbol != "S2" or engine._partitions == 1:
            return found
        return found._replace(bids=(), asks=(), times=(None, 0))

    monkeypatch.setattr(module, "_book", emptied)
    with pytest.raises(NotRepartitioned, match=r"what was written differs: 1 books \(S2\)"):
        await repartition(run.client, run.prefix, f"{run.prefix}-new", 2)


async def test_what_differs_is_not_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    await stopped(run, 1)
    into, real = f"{run.prefix}-new", module._restore

    def forgets(engine: Any, before: Any, symbol: str) -> None:
        if symbol != "S2":
            real(engine, before, symbol)

    monkeypatch.setattr(module, "_restore", forgets)
    with pytest.raises(NotRepartitioned, match=r"what was written differs: 1 books \(S2\)"):
        await repartition(run.client, run.prefix, into, 2)
    assert await execute(run.client, "HEXISTS", DeploymentKeys(into).meta, "copy_of")
