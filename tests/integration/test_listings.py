"""Listings on a real server: what a client sees is never the book of one with the sizes of another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest

from depthcast import Consumer, State
from depthcast.ingestor.runtime.service import IngestorService
from depthcast.shared.codec import encode_delta, encode_info, encode_snapshot
from depthcast.shared.digest import digest_of_flat
from depthcast.shared.position import Position
from depthcast.shared.runtime.catalog import POLL_S
from depthcast.shared.runtime.redis import execute, read_hash
from depthcast.shared.types import Delta, EntryInfo, Snapshot
from tests.ingestor_runs import FEEDS, Run, check_history
from tests.integration.gateway_harness import Client, client_of, now_us, running_gateway
from tests.waiting import TIMEOUT_S, eventually

COARSE, FINE = "0.1", "0.01"
PRICES = {COARSE: range(100, 200), FINE: range(1000, 2000)}
"""Prices in ticks that the tests use with each tick size."""

TWO = f'[A]\ntick_size = "{COARSE}"\n[OTHER]\n'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ingestor.runtime.service", "gateway.runtime.market_reader"):
        monkeypatch.setattr(f"depthcast.{module}.POLL_S", 0.05)


def instrument(tick_size: str, **more: Any) -> str:
    return orjson.dumps({"tick_size": tick_size, **more}).decode()


async def register(run: Run, tick_size: str, **more: Any) -> None:
    await execute(run.client, "HSET", run.deployment.instruments, "A", instrument(tick_size, **more))


async def withdraw(run: Run) -> None:
    await execute(run.client, "HDEL", run.deployment.instruments, "A")


async def put(run: Run, price: int, quantity: int = 1) -> None:
    await run.send(("A", f'[["update","bid",{price},{quantity}]]'), ("OTHER", '[["add","bid",7,1]]'))
    await run.published()


async def listing(run: Run) -> dict[str, Any]:
    """The record of A."""
    record: dict[str, Any] = orjson.loads((await read_hash(run.client, run.keys.listings))[b"A"])
    return record


def check_sizes(messages: list[dict[str, Any]]) -> Iterator[tuple[str, dict[int, int]]]:
    """The sizes and bids of A after each message; checks that prices are of the sizes that were told."""
    sizes, waiting, bids = "", True, dict[int, int]()
    for message in messages:
        if message.get("symbol") != "A":
            continue
        if message["type"] == "subscribed":
            sizes, waiting = message["tick_size"], True
        elif message["type"] in ("snapshot", "delta"):
            if message["type"] == "snapshot":
                waiting, bids = False, {}
            assert not waiting, "a delta between the sizes and the snapshot"
            changes = dict(message["bids"])
            assert all(price in PRICES[sizes] for price in changes), (sizes, changes)
            bids |= changes
            bids = {price: quantity for price, quantity in bids.items() if quantity}
            yield sizes, bids


@asynccontextmanager
async def watching(run: Run) -> AsyncIterator[Client]:
    """A client that is subscribed to everything, later symbols too."""
    with running_gateway(run.url, run.prefix) as gateway:
        await eventually(lambda: gateway.process.core.market.was_live, message="the gateway is live")
        async with client_of(gateway) as client:
            await client.send(op="subscribe", symbols=["*"], depth=5)
            await client.until("snapshot", symbol="A")
            yield client


async def shown(client: Client, price: int) -> None:
    """Receive until A has a bid at that price, and check all that came until then."""
    while price not in (client.books["A"].bids if "A" in client.books else ()):
        await client.receive()
    list(check_sizes(client.messages))


async def test_a_change_waits_while_the_book_holds_levels(run: Run) -> None:
    async with run.service(run.settings(TWO)) as service:
        await put(run, 100)
        async with watching(run) as client:
            await register(run, FINE)
            stats = service.stats.of(0)
            await eventually(lambda: stats.changes_refused, message="the change is refused")
            await put(run, 101)
            await shown(client, 101)
            assert {sizes for sizes, _ in check_sizes(client.messages)} == {COARSE}
            await put(run, 100, 0)
            await put(run, 101, 0)
            subscribed = await client.until("subscribed", symbol="A")
            assert (subscribed["tick_size"], "id" in subscribed) == (FINE, False)
            assert (await client.until("snapshot", symbol="A"))["bids"] == []
            await put(run, 1000)
            await shown(client, 1000)
            await eventually(lambda: not stats.changes_refused, message="nothing is refused any more")
    assert await listing(run) == {
        "listing": 2, "tick_size": FINE, "lot_size": "1", "feed": "levels", "on_cross": "reject",
    }  # fmt: skip
    check_history(await run.history())


async def test_another_file_changes_no_book_that_holds_levels(run: Run) -> None:
    async with run.service(run.settings(TWO)):
        await put(run, 100)
    other = TWO.replace(COARSE, FINE) + '[A2]\nfeed = "orders"\n'
    async with run.service(run.settings(other)) as service:
        await eventually(lambda: service.stats.of(0).changes_refused == 1, message="the change is refused")
        await put(run, 101)
        async with watching(run) as client:
            assert list(check_sizes(client.messages)) == [(COARSE, {100: 1, 101: 1})]
    assert (await listing(run))["listing"] == 1


@pytest.mark.parametrize("seen", [True, False], ids=["withdrawal seen", "number given"])
async def test_withdrawn_and_back_unchanged_it_begins_empty(run: Run, seen: bool) -> None:
    """A number says that the symbol was away, even if nobody has looked meanwhile."""
    async with run.service(run.settings(TWO)), watching(run) as client:
        await put(run, 100)
        await shown(client, 100)
        if seen:
            await withdraw(run)
            await client.until("unsubscribed", symbol="A", reason="removed")

            async def ended() -> bool:
                return "withdrawn" in await listing(run)

            await eventually(ended, message="the leader has noticed")
            await register(run, COARSE)
        else:
            await register(run, COARSE, listing=2)
        assert (await client.until("snapshot", symbol="A"))["bids"] == []
        await put(run, 101)
        await shown(client, 101)
        assert list(check_sizes(client.messages))[-1] == (COARSE, {101: 1})
    assert (await listing(run))["listing"] == 2
    history = check_history(await run.history())
    assert history.replicas["A"].book.bids.levels == {101: 1}
    assert len(history.replicas["OTHER"].book.bids) == 1


@pytest.mark.parametrize("leader_sees_it", [True, False])
async def test_with_another_feed_it_takes_only_its_own_events_and_leaves_the_partition_alone(
    run: Run, leader_sees_it: bool
) -> None:
    async with run.service(run.settings(TWO)):
        await put(run, 100)
        await withdraw(run)
        if leader_sees_it:

            async def ended() -> bool:
                return "withdrawn" in await listing(run)

            await eventually(ended)
        await register(run, FINE, feed="orders", listing=2)

        async def back() -> bool:
            await run.send(("A", '[["add","bid",1000,1,"x"]]'))
            await run.published()
            return check_history(await run.history()).replicas["A"].book.bids.levels == {1000: 1}

        await eventually(back)
    for _ in range(2):
        async with run.service(run.settings(None)) as service:
            assert not service.leaders[0].problem
            await run.send(("A", '[["reduce",null,null,1,"gone"]]'), ("OTHER", '[["add","bid",7,1]]'))
            await run.published()
            async with watching(run) as client:
                assert list(check_sizes(client.messages)) == [(FINE, {1000: 1})]


async def test_gone_while_nobody_leads_and_back_under_another_leader(run: Run) -> None:
    async with run.service(run.settings(TWO)):
        await put(run, 100)
    await withdraw(run)
    async with run.service(run.settings(None)):
        assert (await listing(run))["withdrawn"]
    async with run.service(run.settings(TWO)), watching(run) as client:
        assert list(check_sizes(client.messages)) == [(COARSE, {})]
    assert (await listing(run))["listing"] == 2


async def test_gone_while_nobody_leads_and_back_by_the_file_it_begins_empty(run: Run) -> None:
    """No leader has seen that it was away."""
    async with run.service(run.settings(TWO)):
        await put(run, 100)
    await withdraw(run)
    async with run.service(run.settings(TWO)), watching(run) as client:
        assert list(check_sizes(client.messages)) == [(COARSE, {})]
    assert (await listing(run))["listing"] == 2


async def test_instruments_that_redis_has_lost_were_not_withdrawn(run: Run) -> None:
    async with run.service(run.settings(TWO)):
        await put(run, 100)
    await execute(run.client, "DEL", *(run.deployment.meta, run.deployment.instruments))
    async with run.service(run.settings(TWO)), watching(run) as client:
        assert list(check_sizes(client.messages)) == [(COARSE, {100: 1})]
    assert (await listing(run))["listing"] == 1


async def test_a_relisting_overtakes_a_reading_of_the_instruments(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer with the sizes of before comes after the entry that begins the new ones."""
    async with run.service(run.settings(TWO)) as service:
        catalog, held, go_on = service.catalog, asyncio.Event(), asyncio.Event()
        assert catalog is not None
        read = catalog._read

        async def slowly(now: float, *, sure: bool) -> Any:
            found = await read(now, sure=sure)
            held.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(catalog, "_read", slowly)
        await held.wait()
        await register(run, FINE, listing=0)
        await run.send(("_", orjson.dumps({"relist": {"A": {"listing": 2, "tick_size": FINE}}})))
        await run.published()
        go_on.set()
        await eventually(lambda: catalog.instruments["A"].tick_size == FINE, message="it is read again")
        await put(run, 1000)
        assert (await listing(run))["tick_size"] == FINE
        assert (await listing(run))["listing"] == 2, "the sizes of before began none in between"
    assert check_history(await run.history()).replicas["A"].book.bids.levels == {1000: 1}


async def test_a_standby_follows_listings(run: Run) -> None:
    """It takes over warm, with the book of the last listing and its kind of feed."""
    text = '[A]\nfeed = "orders"\n[OTHER]\n'
    async with run.service(run.settings(text)) as first:
        await run.send(("A", '[["add","bid",100,1,"x"]]'))
        standby, stop = IngestorService(run.settings(None)), asyncio.Event()
        task = asyncio.create_task(standby.run(stop))
        try:
            await eventually(lambda: standby.leaders and standby.leaders[0].standby.hot, message="it is hot")
            await register(run, "1", feed="orders", listing=2)

            async def again() -> bool:
                await run.send(("A", '[["add","bid",101,2,"y"]]'))
                await run.published()
                return check_history(await run.history()).listings["A"].number == 2

            await eventually(again)
            await run.send(("A", '[["add","bid",102,2,"z"]]'))
            await run.published()
            await eventually(lambda: standby.leaders[0].standby.hot, message="it is hot again")
            first.leaders[0].end()
            await eventually(lambda: run.leads(standby) or run.leads(first))
            await run.send(("A", '[["delete",null,null,null,"z"]]'), ("A", '[["delete",null,null,null,"x"]]'))
            await run.published()
            assert (await run.rejects())[-1]["reason"] == b"unknown_order"
            assert 102 not in check_history(await run.history()).replicas["A"].book.bids.levels
        finally:
            stop.set()
            await task


async def test_a_consumer_knows_what_its_books_stand_for(run: Run) -> None:
    async with run.service(run.settings(TWO)), Consumer(run.url, prefix=run.prefix) as consumer:
        await put(run, 100)

        async def until(number: int, *, withdrawn: bool = False) -> None:
            async with asyncio.timeout(TIMEOUT_S):
                async for entry in consumer.entries():
                    found = consumer.listing("A") if any(u.symbol == "A" for u in entry.updates) else None
                    if found is not None and (found.number, found.withdrawn) == (number, withdrawn):
                        return

        await until(1)
        assert consumer.listing("A").instrument.tick_size == COARSE  # type: ignore[union-attr]
        await withdraw(run)
        await until(1, withdrawn=True)
        assert not len(consumer.book("A").bids)
        assert consumer.state("A") is State.STALE
        await register(run, FINE)
        await until(2)
        assert consumer.listing("A").instrument.tick_size == FINE  # type: ignore[union-attr]
        assert not len(consumer.book("A").bids)


async def test_what_an_older_version_left_is_the_first_listing(run: Run) -> None:
    """Its streams name no listings, and it keeps no record of them."""
    position = Position(1767225700000, 2)
    info = encode_info(EntryInfo(now_us(), "0-0", 0, 0, 0, None, "0-0"))
    book = Delta(0, 204800000000, [100, 1], [], digest_of_flat([100, 1], []), 0)
    await execute(run.client, "HSET", run.deployment.meta, "protocol", 1, "partitions", 1)
    await register(run, COARSE)
    for n in range(3):
        entry = encode_info(EntryInfo(now_us(), "0-0", 0, 0, 0)) if n else info
        fields = [b"A", encode_delta(book)] if n == 1 else []
        await execute(run.client, "XADD", run.keys.deltas, f"{position.epoch}-{n}", "_", entry, *fields)
    snapshot = encode_snapshot(Snapshot(*book[1:5], now_us()))
    await execute(run.client, "XADD", run.keys.snapshots("A"), str(position), "s", snapshot)
    async with run.service(run.settings(None)), watching(run) as client:
        assert list(check_sizes(client.messages)) == [(COARSE, {100: 1})]
        assert (await listing(run))["listing"] == 1


async def test_a_record_that_somebody_spoiled_hinders_no_partition(run: Run) -> None:
    async with run.service(run.settings(TWO)):
        await put(run, 100)
    await register(run, COARSE, listing=2)
    async with run.service(run.settings(None)):
        await put(run, 101)
    for value in ("{", "[]", '{"listing": 0}', '{"listing": 9, "feed": 5}'):
        await execute(run.client, "HSET", run.keys.listings, "A", value)
        async with run.service(run.settings(None)) as service:
            assert not service.leaders[0].problem
            assert (await listing(run))["listing"] == 2
    assert check_history(await run.history()).replicas["A"].book.bids.levels == {101: 1}


async def test_symbols_come_and_go_at_a_gateway_within_a_second(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway looks each second; the least of some waits, because the machine may be busy."""
    for module in ("ingestor.runtime.service", "gateway.runtime.market_reader"):
        monkeypatch.setattr(f"depthcast.{module}.POLL_S", POLL_S)
    loop = asyncio.get_running_loop()
    came: list[float] = []
    went: list[float] = []
    with running_gateway(run.url, run.prefix, follow="all") as gateway:
        async with run.service(run.settings()):
            listings = gateway.process.core.market.listings
            await eventually(lambda: len(listings) == len(FEEDS))
            for number in range(4):
                symbol = f"NEW{number}"
                begun = loop.time()
                await execute(run.client, "HSET", run.deployment.instruments, symbol, "{}")
                await eventually(partial(listings.__contains__, symbol))
                came.append(loop.time() - begun)
                listing = listings[symbol]
                await eventually(lambda: not listing.stale, message="its book is live")  # noqa: B023  # awaited here
                begun = loop.time()
                await execute(run.client, "HDEL", run.deployment.instruments, symbol)
                await eventually(lambda: symbol not in listings)  # noqa: B023  # likewise
                went.append(loop.time() - begun)
    assert min(came) < POLL_S + 0.1
    assert min(went) < POLL_S + 0.1
