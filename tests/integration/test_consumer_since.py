"""A consumer that starts where an earlier one was: nothing comes twice, nothing is missed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from depthcast import BookUpdate, ClientError, Consumer, Kind, PositionError, Positions, SettingsError
from depthcast.shared.position import Position
from depthcast.shared.runtime.redis import execute
from tests.integration.gateway_harness import fake_ingestor
from tests.integration.publisher import SYMBOL, Publisher
from tests.redis_client import patient
from tests.waiting import TIMEOUT_S

OTHER = "ETH-USD"
LISTED = {
    "listing": 1, "tick_size": "0.01", "lot_size": "0.001", "feed": "levels", "on_cross": "reject"
}  # fmt: skip


class EnoughError(Exception):
    """The test has seen enough."""


class Scene:
    """Two symbols in a stream, and consumers of them, one after the other."""

    def __init__(self, publisher: Publisher, url: str, prefix: str) -> None:
        self.publisher = publisher
        self._url = url
        self._prefix = prefix

    def consumer(self, since: Positions | str | None = None) -> Consumer:
        return Consumer(self._url, [SYMBOL, OTHER], prefix=self._prefix, since=since)

    async def stored(self) -> str:
        """The position of a consumer that has delivered everything, at the last entry of the stream."""
        async with self.consumer() as consumer:
            while consumer.position.get(0) != self.publisher.positions[0]:
                await taken(consumer, 1)
            return str(consumer.position)

    async def execute(self, *command: str | int) -> None:
        await execute(self.publisher.client, *command)

    @property
    def snapshots(self) -> str:
        return self.publisher.keys.partition(0).snapshots(SYMBOL)

    @property
    def deltas(self) -> str:
        return self.publisher.keys.partition(0).deltas


async def taken(consumer: Consumer, count: int) -> list[BookUpdate]:
    """The next updates, each with a book of its own."""
    found: list[BookUpdate] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(found) < count:
            update = await anext(consumer)
            found.append(update._replace(book=update.book.copy()))
    return found


@pytest.fixture
async def scene(redis_url: str, prefix: str) -> AsyncIterator[Scene]:
    client = patient(redis_url)
    publisher = Publisher(client, prefix)
    await publisher.create([SYMBOL, OTHER])
    for quantity in (1, 2):
        await publisher.change(SYMBOL, {10: quantity})
    await publisher.snapshot(SYMBOL)
    await publisher.change(SYMBOL, {11: 3})
    yield Scene(publisher, redis_url, prefix)
    await client.aclose()


@pytest.mark.parametrize("newer_snapshot", [False, True])
async def test_each_change_after_the_position_comes_once(scene: Scene, newer_snapshot: bool) -> None:
    since = await scene.stored()
    for quantity in (4, 5):
        await scene.publisher.change(SYMBOL, {11: quantity})
    if newer_snapshot:
        await scene.publisher.snapshot(SYMBOL)
    async with scene.consumer(since) as consumer:
        assert str(consumer.position) == since
        first, second = await taken(consumer, 2)
        assert [(each.symbol, each.kind, each.seq) for each in (first, second)] == [
            (SYMBOL, Kind.DELTA, 1004),
            (SYMBOL, Kind.DELTA, 1005),
        ]
        assert (first.bids, first.book.bids.top()) == ([(11, 4)], [(11, 4), (10, 2)])
        assert (second.bids, second.book.bids.top()) == ([(11, 5)], [(11, 5), (10, 2)])
        assert consumer.position[0] == scene.publisher.positions[0]
        assert consumer.book(OTHER).bids.top() == []
        assert await consumer.wait_for(OTHER, 1000) is consumer.book(OTHER)


async def test_where_nothing_has_changed_nothing_comes(scene: Scene) -> None:
    since = await scene.stored()
    async with scene.consumer(Positions.parse(since)) as consumer:
        async with asyncio.timeout(TIMEOUT_S):
            await consumer.wait_for(SYMBOL, 1000)
        await scene.publisher.change(OTHER, {7: 7})
        (update,) = await taken(consumer, 1)
        assert (update.symbol, update.kind, update.seq) == (OTHER, Kind.DELTA, 1001)
        assert consumer.seq(SYMBOL) == 1003


async def test_a_book_of_before_that_is_gone_comes_as_a_snapshot(scene: Scene) -> None:
    since = await scene.stored()
    for quantity in (4, 5):
        await scene.publisher.change(SYMBOL, {11: quantity})
    await scene.publisher.snapshot(SYMBOL)
    await scene.execute("XTRIM", scene.snapshots, "MAXLEN", 1)
    await scene.publisher.change(SYMBOL, {11: 6})
    async with scene.consumer(since) as consumer:
        first, second = await taken(consumer, 2)
        assert (first.kind, first.seq, first.book.bids.top()) == (Kind.SNAPSHOT, 1005, [(11, 5), (10, 2)])
        assert (second.kind, second.seq, second.bids) == (Kind.DELTA, 1006, [(11, 6)])


@pytest.mark.parametrize("what", ["trimmed", "lost"])
async def test_a_stream_that_does_not_go_on_from_there_is_a_gap(
    scene: Scene, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    since = await scene.stored()
    for quantity in (4, 5):
        await scene.publisher.change(SYMBOL, {11: quantity})
    for symbol in (SYMBOL, OTHER):
        await scene.publisher.snapshot(symbol)
    if what == "trimmed":
        await scene.execute("XTRIM", scene.deltas, "MINID", str(scene.publisher.positions[0]))
    else:
        since = str(Positions({0: scene.publisher.positions[0].next()}))
    async with scene.consumer(since) as consumer:
        found = await taken(consumer, 2)
        assert {(each.symbol, each.kind, each.seq) for each in found} == {
            (SYMBOL, Kind.SNAPSHOT, 1005),
            (OTHER, Kind.SNAPSHOT, 1000),
        }
    assert "a gap: the stream does not go on from there any more" in caplog.text


async def test_the_position_stays_before_an_entry_until_its_last_update(redis_url: str, prefix: str) -> None:
    async with fake_ingestor(redis_url, prefix, "AAA", "BBB") as ingestor:
        for symbol in ("AAA", "BBB"):
            await ingestor.birth(symbol, {100: 1}, {})
        async with Consumer(redis_url, prefix=prefix) as consumer, asyncio.timeout(TIMEOUT_S):
            updates = aiter(consumer)
            for _ in range(2):
                await anext(updates)
            before = ingestor.positions[0]
            assert consumer.position == {0: before}
            await ingestor.publish_many({"AAA": ({100: 2}, {}), "BBB": ({100: 2}, {})})
            assert (await anext(updates)).symbol == "AAA"
            assert consumer.position == {0: before}
            assert (await anext(updates)).symbol == "BBB"
            assert consumer.position == {0: before.next()}


async def test_the_position_passes_no_change_that_still_has_to_come(scene: Scene) -> None:
    publisher = scene.publisher
    async with scene.consumer() as consumer:
        await taken(consumer, 2)
        await publisher.change(OTHER, {7: 7}, spoil=1)
        spoiled = publisher.positions[0]
        await publisher.change(SYMBOL, {11: 4})
        while (update := (await taken(consumer, 1))[0]).symbol != SYMBOL or update.seq < 1004:
            pass
        assert consumer.position[0] < spoiled
        await publisher.snapshot(OTHER)
        while (update := (await taken(consumer, 1))[0]).symbol != OTHER or update.seq < 1001:
            pass
        assert update.kind is Kind.SNAPSHOT
        assert update.book.bids.top() == [(7, 7)]
        await publisher.change(SYMBOL, {11: 5})
        while (await taken(consumer, 1))[0].seq < 1005:
            pass
        assert consumer.position[0] == publisher.positions[0]


async def test_a_position_of_something_else_is_refused(scene: Scene) -> None:
    with pytest.raises(PositionError, match="'yesterday' is not"):
        scene.consumer("yesterday")
    consumer = scene.consumer(Positions({4: Position(5, 1)}))
    with pytest.raises(
        SettingsError, match="since: '4:5-1' names partition 4, and the deployment has only 1"
    ):
        await consumer.__aenter__()


async def test_sizes_are_those_of_the_listing(scene: Scene, redis_url: str, prefix: str) -> None:
    async with scene.consumer() as consumer:
        await consumer.wait_for(SYMBOL)
        with pytest.raises(ClientError, match="no_sizes"):
            consumer.sizes(SYMBOL)
        with pytest.raises(ClientError, match="no_book"):
            consumer.sizes("NOPE")
        await scene.publisher.change(SYMBOL, {6500010: 5}, marks=LISTED)
        book = await consumer.wait_for(SYMBOL, 1004)
        assert consumer.sizes(SYMBOL) == ("0.01", "0.001")
        assert [str(number) for number in book.prices(1).bids[0]] == ["65000.10", "0.005"]
        assert list(consumer.frame(SYMBOL, 1, floats=True).price) == [65000.1]
    async with Consumer(redis_url, prefix=prefix) as everything:
        await everything.wait_for(OTHER)
        assert everything.sizes(OTHER) == ("1", "1"), "as registered, where the stream does not say it"


async def test_a_bare_name_is_one_symbol(scene: Scene, redis_url: str, prefix: str) -> None:
    async with Consumer(redis_url, SYMBOL, prefix=prefix) as consumer, asyncio.timeout(TIMEOUT_S):
        assert consumer.symbols == frozenset([SYMBOL])
        seen: list[int] = []

        async def note(update: BookUpdate) -> None:
            seen.append(update.seq)
            if update.seq == 1004:
                raise EnoughError

        await scene.publisher.change(SYMBOL, {12: 1})
        with pytest.raises(EnoughError):
            await consumer.run(note)
        assert seen[-1] == 1004


async def test_what_is_left_of_an_entry_comes_to_whoever_iterates_next(redis_url: str, prefix: str) -> None:
    async with fake_ingestor(redis_url, prefix, "AAA", "BBB") as ingestor:
        for symbol in ("AAA", "BBB"):
            await ingestor.birth(symbol, {100: 1}, {})
        async with Consumer(redis_url, prefix=prefix) as consumer, asyncio.timeout(TIMEOUT_S):
            seen: list[str] = []
            for _ in range(2):
                async for update in consumer:
                    seen.append(update.symbol)
                    break
            assert sorted(seen) == ["AAA", "BBB"]
