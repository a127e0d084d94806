"""What a live feed writes stands in the input log once, in order, or not at all; losses are noticed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from depthcast.feed.scale import Scale
from depthcast.feed.symbol_feed import LiveEntry, SymbolFeed
from depthcast.feed.venue import Snapshot, Update
from depthcast.runtime.venue_writer import Owner, PartitionWriter
from depthcast.shared.codec import unpack
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.runtime.redis import connect, execute, parse_entries
from depthcast.shared.types import Symbol
from tests.logins import with_login
from tests.proxy import Cut, FaultProxy
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S, eventually

A = Symbol("A")


class Writing:
    """A writer of one symbol that runs, and what stands in its log."""

    def __init__(
        self,
        client: Redis,
        prefix: str,
        feeder: str = "me",
        pending_max: int = 1_000,
        listing: int | None = None,
    ) -> None:
        self.taken: list[str] = []
        self.keys = DeploymentKeys(prefix).partition(0)
        now = asyncio.get_running_loop().time
        self.writer = PartitionWriter(
            client, self.keys, feeder, pending_max, now, lambda feed, other: self.taken.append(other)
        )
        self.feed = SymbolFeed(A, Scale("1"), Scale("1"), 0.0, listing=listing)
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> "Writing":
        await self.writer.claim(self.feed)
        self.running = asyncio.create_task(self.writer.run())
        return self

    async def stop(self) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def take(self, output: Snapshot | Update) -> None:
        self.writer.put(self.feed.take(1, output, 0.0).entries)

    async def send(self, number: int) -> None:
        self.take(Update("a", [(str(number), "1")], [], None, number))
        await asyncio.wait_for(self.writer.written(), TIMEOUT_S)


async def log(client: Redis, prefix: str) -> list[tuple[dict[str, Any], Any]]:
    """Options and events of each entry."""
    keys = DeploymentKeys(prefix).partition(0)
    entries = parse_entries(await execute(client, "XRANGE", keys.events, "-", "+"))
    return [(unpack(pairs[0][1], "_"), unpack(pairs[1][1], "events")) for _, pairs in entries]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    made = patient(redis_url)
    yield made
    await made.aclose()


Make = Callable[..., Any]


@pytest.fixture
async def make(client: Redis, prefix: str) -> AsyncIterator[Make]:
    made: list[Writing] = []

    async def writing(over: Redis = client, **options: Any) -> Writing:
        made.append(await Writing(over, prefix, **options).start())
        return made[-1]

    yield writing
    for each in made:
        await each.stop()


def begin(writing: Writing) -> None:
    writing.take(Snapshot("a", [("1", "5")], [("1000", "5")], None, 1))


async def test_entries_are_atomic_in_order_and_marked(client: Redis, prefix: str, make: Make) -> None:
    writing = await make()
    writing.writer.rewrite(writing.feed)
    await writing.writer.written()
    begin(writing)
    writing.take(Update("a", [("2", "1")], [], 77, 2))
    await writing.writer.written()
    assert await log(client, prefix) == [
        ({"atomic": True, "stale": "starting"}, []),
        ({"atomic": True, "live": True}, [[4], [1, 0, 1, 5], [1, 1, 1000, 5]]),
        ({"atomic": True, "ts": 77, "live": True}, [[1, 0, 2, 1]]),
    ]
    assert await execute(client, "HGET", writing.keys.feeders, A) == b"me:3"


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER, Cut.LATE])
async def test_an_entry_whose_outcome_is_unknown_is_there_once(
    client: Redis, redis_url: str, prefix: str, make: Make, cut: Cut
) -> None:
    async with FaultProxy(redis_url) as proxy:
        over = connect(proxy.url)
        writing = await make(over)
        begin(writing)
        await writing.writer.written()
        proxy.faults.append(cut)
        await writing.send(2)
        assert (proxy.cuts, writing.writer.counts.resends) == (1, 1)
        await writing.send(3)
        if cut is Cut.LATE:
            await proxy.release()  # the first copy arrives after a later entry
        await writing.send(4)
        events = [events for _, events in await log(client, prefix)]
        assert events[1:] == [[[1, 0, 2, 1]], [[1, 0, 3, 1]], [[1, 0, 4, 1]]]
        assert (writing.writer.counts.lost, writing.feed.doubts) == (0, {})
        await writing.stop()
        await over.aclose()


async def test_lost_entries_are_noticed_and_the_book_is_written_whole(
    client: Redis, prefix: str, make: Make
) -> None:
    writing = await make()
    begin(writing)
    await writing.send(2)
    await execute(client, "HSET", writing.keys.feeders, A, b"me:1")  # as after a failover that lost an entry
    await writing.send(3)
    about, events = (await log(client, prefix))[-1]
    assert about == {"atomic": True, "live": True}
    assert events == [[4], [1, 0, 3, 1], [1, 0, 2, 1], [1, 0, 1, 5], [1, 1, 1000, 5]]
    assert (writing.writer.counts.lost, writing.feed.doubts) == (1, {"input-lost": 1})
    await execute(client, "DEL", writing.keys.feeders, writing.keys.events)
    await writing.send(4)
    assert [len(events) for _, events in await log(client, prefix)] == [6]


async def test_what_may_not_be_counted_is_not_written(client: Redis, redis_url: str, prefix: str) -> None:
    """Otherwise it would be written again with each attempt."""
    user = f"feeder-{prefix}"
    await execute(client, "ACL", "SETUSER", user, "on", ">pass", "~*", "+@all")
    async with connect(with_login(redis_url, user, "pass")) as own:
        writing = await Writing(own, prefix).start()
        begin(writing)
        await asyncio.wait_for(writing.writer.written(), TIMEOUT_S)
        before = len(await log(client, prefix))
        await execute(client, "ACL", "SETUSER", user, "-hset")
        sending = asyncio.create_task(writing.send(5))
        await eventually(lambda: not writing.writer.available)
        assert len(await log(client, prefix)) == before
        await execute(client, "ACL", "SETUSER", user, "+hset")
        await sending
        assert len(await log(client, prefix)) == before + 1
        await writing.stop()
    await execute(client, "ACL", "DELUSER", user)


async def test_a_feeder_that_was_replaced_writes_nothing_more(client: Redis, prefix: str, make: Make) -> None:
    old = await make()
    begin(old)
    await old.writer.written()
    new = await make(feeder="new")
    begin(new)
    await new.writer.written()
    await old.send(2)
    assert old.taken == ["new"]
    assert len(await log(client, prefix)) == 2
    await old.send(3)
    await new.send(2)
    assert (old.taken, new.taken) == (["new"], [])
    assert len(await log(client, prefix)) == 3


async def test_a_replaced_feeder_notices_it_without_writing(make: Make) -> None:
    old = await make()
    begin(old)
    await old.writer.written()
    new = await make(feeder="new")
    await new.writer.check_owners()
    await old.writer.check_owners()
    assert (old.taken, new.taken) == (["new"], [])


async def test_of_two_that_begin_at_once_one_writes(client: Redis, prefix: str, make: Make) -> None:
    first, second = await make(), await make(feeder="second")
    begin(first)
    begin(second)
    await first.writer.written()
    await second.writer.written()
    assert (first.taken, second.taken) == (["second"], [])
    assert len(await log(client, prefix)) == 1


async def test_more_than_may_wait_becomes_one_whole_book(
    client: Redis, redis_url: str, prefix: str, make: Make
) -> None:
    async with FaultProxy(redis_url) as proxy:
        over = connect(proxy.url, timeout_s=0.3)
        writing = await make(over, pending_max=20)
        begin(writing)
        await writing.writer.written()
        proxy.freeze()
        for number in range(2, 202):
            writing.take(Update("a", [(str(number), "1")], [], None, number))
            await asyncio.sleep(0)
        assert writing.writer.counts.backlogs > 0
        assert writing.feed.doubts["backlog"] > 0
        proxy.thaw()
        await asyncio.wait_for(writing.writer.written(), TIMEOUT_S)
        entries = await log(client, prefix)
        about, events = entries[-1]
        assert about == {"atomic": True, "live": True}
        assert len(events) == 1 + 202
        assert len(entries) < 10
        await writing.stop()
        await over.aclose()


async def test_entries_name_the_listing_of_their_sizes(client: Redis, prefix: str, make: Make) -> None:
    writing = await make(listing=3)
    begin(writing)
    await writing.send(2)
    assert [about["listing"] for about, _ in await log(client, prefix)] == [3, 3]


async def test_a_mark_is_written_for_a_symbol_that_has_no_book(
    client: Redis, prefix: str, make: Make
) -> None:
    writing = await make()
    writing.writer.put([LiveEntry(A, (), stale="gap")])
    await writing.writer.written()
    assert await log(client, prefix) == [({"atomic": True, "stale": "gap"}, [])]


@pytest.mark.parametrize("raw", [b"", b"x", b":3", b"a:", b"a:-1", b"\xff", b"a:b"])
def test_what_no_feeder_wrote_is_nobodys(raw: bytes) -> None:
    assert Owner.parse(raw) is None


def test_an_owner_is_read_as_it_is_written() -> None:
    assert Owner.parse(bytes(Owner("host-1:x", 12))) == Owner("host-1:x", 12)
