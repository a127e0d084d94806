"""An ingestor takes over what an earlier version has consumed, which read some of the input otherwise."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager

import msgpack
import pytest

from depthcast import Consumer, State
from depthcast.ingestor import checkpoint, events, explanations
from depthcast.ingestor.engine import Engine
from depthcast.ingestor.listed_books import ListedBooks
from depthcast.ingestor.runtime import state_keeper
from depthcast.ingestor.runtime.environment import REAL_ENVIRONMENT
from depthcast.ingestor.runtime.recover import OTHER_RULES
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.codec import Marks
from depthcast.shared.runtime.redis import execute
from depthcast.shared.types import Snapshot
from tests.ingestor_runs import Run, check_history
from tests.waiting import TIMEOUT_S, eventually

ONE_ORDERS_FEED = '[ORD]\nfeed = "orders"\n'


@contextmanager
def earlier_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ingestors take a float for malformed, even if it is integral."""
    with monkeypatch.context() as patched:
        for module in (events, explanations):
            patched.setattr(module, "as_integer", lambda value: value)
        yield


async def held(run: Run) -> bytes:
    raw = await execute(run.client, "GET", run.keys.checkpoint("ORD"))
    assert raw is not None
    return bytes(raw)


async def hold(run: Run, raw: bytes) -> None:
    """Put back a checkpoint, as a version that does not write its rules has written it."""
    items = msgpack.unpackb(raw)
    await execute(run.client, "SET", run.keys.checkpoint("ORD"), msgpack.packb(items[:8]))
    assert checkpoint.decode(await held(run)).rules == 0


async def refused(run: Run) -> str:
    """Start an ingestor that does not lead; returns why."""
    service, stop = IngestorService(run.settings(ONE_ORDERS_FEED), REAL_ENVIRONMENT), asyncio.Event()
    running = asyncio.create_task(service.run(stop))

    def why() -> str:
        return " ".join(map(str, service._ready()[1].get("problems", {}).values()))

    try:
        return str(await eventually(why, message="it says why it does not lead"))
    finally:
        stop.set()
        await running


async def test_input_that_versions_read_otherwise_is_never_read_again_by_other_rules(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = run.settings(ONE_ORDERS_FEED, snapshot_interval_ms=60_000)
    with earlier_version(monkeypatch):
        async with run.service(settings):
            old = await held(run)
            await run.send(("ORD", '[["add", "bid", 10, 1, 1]]'))
            await run.send(("ORD", '[["add", "bid", 11.0, 1, 2]]'))
            info = await run.published()
            assert (info.applied, info.rejected) == (1, 1)
    await hold(run, old)  # as if it had been killed
    assert OTHER_RULES in await refused(run)

    # The remedy: the earlier version leads again, and ends cleanly.
    with earlier_version(monkeypatch):
        async with run.service(settings):
            pass
    await hold(run, await held(run))
    async with run.service(settings):
        await run.send(("ORD", '[["add", "bid", 12.0, 1, 3]]'))
        info = await run.published()
        assert (info.applied, info.rejected) == (2, 1), "each entry counts once, by the rules of its reader"
        book = check_history(await run.history()).replicas["ORD"].book
    assert book.bids.levels == {10: 1, 12: 1}
    assert checkpoint.decode(await held(run)).rules == checkpoint.RULES


async def test_a_checkpoint_of_other_rules_is_taken_where_they_make_no_difference(run: Run) -> None:
    settings = run.settings(ONE_ORDERS_FEED, snapshot_interval_ms=60_000)
    async with run.service(settings):
        old = await held(run)
        await run.published(await run.send(("ORD", '[["add", "bid", 10, 1, 1]]')))
    await hold(run, old)
    async with run.service(settings):
        assert check_history(await run.history()).replicas["ORD"].book.bids.levels == {10: 1}


@contextmanager
def without_counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ingestors do not publish how many orders there are."""

    def completed(snapshot: Snapshot, ts: int, marks: Marks) -> Snapshot:
        return snapshot._replace(ts=ts, marks=marks)

    with monkeypatch.context() as patched:
        patched.setattr(ListedBooks, "take_counts", lambda _books, _deltas: {})
        patched.setattr(Engine, "orders_unchanged", lambda _engine, _symbols: {})
        patched.setattr(state_keeper, "_completed", completed)
        yield


async def test_readers_know_the_number_of_orders_while_a_leader_says_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = run.settings(ONE_ORDERS_FEED, snapshot_interval_ms=60_000)

    async def known(wanted: dict[int, int] | None) -> None:
        """Wait until the consumer's book has six lots, and these numbers of orders."""
        await run.published()
        async with asyncio.timeout(TIMEOUT_S):
            bids = consumer.book("ORD").bids
            while (bids.levels, bids.orders) != ({10: 6}, wanted):
                await anext(consumer)
                bids = consumer.book("ORD").bids
        assert consumer.state("ORD") is State.LIVE

    async with AsyncExitStack() as stack:
        with without_counts(monkeypatch):
            async with run.service(settings):
                await run.send(("ORD", '[["add", "bid", 10, 1, 1], ["add", "bid", 10, 5, 2]]'))
                await run.published()
                consumer = await stack.enter_async_context(
                    Consumer(run.url, "ORD", prefix=run.prefix, orders=True)
                )
                await consumer.wait_for("ORD")
                await known(None)
        async with run.service(settings):
            await known({10: 2})
            await run.send(("ORD", '[["delete", null, null, null, 1], ["update", "bid", 10, 6, 2]]'))
            await known({10: 1})
        with without_counts(monkeypatch):
            async with run.service(settings):
                await known(None)
        async with run.service(settings):
            await known({10: 1})
