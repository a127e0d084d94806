"""The live feed by the toy venue: what it notices, what it takes for no fault, and when it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner
from redis.asyncio import Redis

from depthcast.cli.instruments import instruments
from depthcast.client.client import Client, connect
from depthcast.feed.feeding import FeedRefused, relist_command
from depthcast.feed.source import read_source
from depthcast.runtime import venue_feed
from depthcast.runtime.venue_start import LiveOptions, feed_live
from depthcast.shared.errors import InstrumentsError
from depthcast.shared.instruments import Instrument, from_json, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.redis import connect as connect_redis
from depthcast.shared.runtime.redis import execute
from depthcast.shared.settings import VenueFeedSettings
from depthcast.shared.types import Symbol
from depthcast.updates import State
from tests.proxy import Cut, FaultProxy
from tests.venues.fake import FakeVenue
from tests.venues.faults import Fault
from tests.venues.live_run import Place, Report, Seen, live_feed, open_place, subscribed, watch, watched
from tests.venues.market import ModelBook
from tests.venues.model_toy import ToyVenue
from tests.venues.toy_adapter import Toy
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    async with open_place() as opened:
        yield opened


class Scene:
    """One run: a fake toy with one symbol, its feed and a client that watches."""

    def __init__(self, place: Place, fake: FakeVenue, redis: Redis, book: str, seen: Seen) -> None:
        self.place = place
        self.fake = fake
        self.redis = redis
        self.book = book
        self.seen = seen
        self.keys = DeploymentKeys(place.prefix)
        self.report = Report("toy", 0, 0.0)

    async def source(self) -> dict[str, Any]:
        return read_source(await execute(self.redis, "HGET", self.keys.sources, self.book))

    async def is_listed(self, number: int, book: ModelBook | None = None) -> bool:
        """Whether the listing has this number, and the sizes that the venue has now."""
        partition = partition_of(Symbol(self.book), 2)
        raw = await execute(self.redis, "HGET", self.keys.partition(partition).listings, self.book)
        table = json.loads(raw)
        sizes = (table["tick_size"], table["lot_size"])
        return table["listing"] == number and (book is None or sizes == (book.tick_size, book.lot_size))

    async def is_source(self, **wanted: Any) -> bool:
        source = await self.source()
        return all(source.get(name) == value for name, value in wanted.items())

    async def goes_on(self, updates: int = 10) -> None:
        """Wait for further live books, none of which may be wrong."""
        before = self.seen.updates
        await eventually(lambda: self.seen.updates >= before + updates, 30, "live books go on")
        assert self.report.wrong == []


@pytest_asyncio.fixture(loop_scope="module")
async def scene(place: Place) -> AsyncIterator[Scene]:
    random = Random()
    model = ToyVenue(random, ["AAA/USD"])
    redis = connect_redis(place.redis_url)
    async with FakeVenue(model, random) as fake:
        yield Scene(place, fake, redis, f"T{random.randbytes(6).hex()}", Seen(model.market["AAA/USD"]))
    await redis.aclose()


@asynccontextmanager
async def running(
    scene: Scene, venue: Toy | None = None, place: Place | None = None, **changes: Any
) -> AsyncIterator["asyncio.Task[None]"]:
    """Feed and watch, from the first book until the end of the block."""
    names = {"AAA/USD": scene.book}
    # On a busy machine a second may pass in silence.
    patient = {"silence_s": 15.0, "quiet_s": 15.0, **changes}
    async with (
        live_feed(place or scene.place, scene.fake, venue or Toy(), list(names), names, **patient) as feeding,
        watched(scene.place, {scene.book: scene.seen}, scene.report, feeding),
    ):
        yield feeding


def run_instruments(words: list[str]) -> None:
    """Run `depthcast instruments` with these words."""
    result = CliRunner().invoke(instruments, words)
    assert result.exit_code == 0, result.output


async def read(client: Client) -> None:
    async for _ in client:
        pass


def options(scene: Scene, symbol: str = "AAA/USD", *, take_over: bool = False) -> LiveOptions:
    settings = VenueFeedSettings(
        redis_url=scene.place.redis_url,
        prefix=scene.place.prefix,
        ws_url=scene.fake.ws_url,
        rest_url=scene.fake.rest_url,
    )
    return LiveOptions(settings, Toy(), [symbol], {"": scene.book}, take_over=take_over)


async def test_a_quiet_market_is_neither_dead_nor_in_doubt(scene: Scene) -> None:
    async with running(scene, silence_s=2.0):
        scene.fake.quiet_s = 5.0
        scene.fake.commit(Fault.QUIET)
        await asyncio.sleep(5.0)
        await scene.goes_on()
        assert scene.fake.connections == 1
        assert await scene.is_source(doubts={}, state="live")


@pytest.mark.parametrize("by_rest", [False, True])
async def test_a_quiet_book_is_checked_by_a_new_connection_without_a_doubt(
    scene: Scene, *, by_rest: bool
) -> None:
    assert isinstance(scene.fake.model, ToyVenue)
    scene.fake.model.by_rest = by_rest
    async with running(scene, Toy(by_rest=by_rest), quiet_s=0.5):
        await scene.goes_on()
        scene.fake.moving = False
        before = scene.fake.connections
        await eventually(lambda: scene.fake.connections >= before + 2, 30)
        scene.fake.moving = True
        await scene.goes_on()
        assert await scene.is_source(doubts={}, state="live")


async def test_a_refusal_of_the_connection_that_is_to_replace_another_one_ends_no_book(scene: Scene) -> None:
    """As of a venue that refuses whoever comes for a while, or to subscribe to a book twice."""
    model = scene.fake.model
    assert isinstance(model, ToyVenue)
    async with running(scene, connection_lifetime_s=1.0):
        model.refusals = 1_000_000
        await eventually(lambda: scene.fake.connections >= 3, 30)
        await scene.goes_on()
        assert await scene.is_source(doubts={}, state="live")
        model.refusals, before = 0, scene.fake.connections
        await eventually(lambda: scene.fake.connections >= before + 2, 30, "it is replaced, and again")
        await scene.goes_on()
        assert await scene.is_source(doubts={}, state="live")


async def test_a_quiet_book_that_no_new_connection_can_check_is_in_doubt(scene: Scene) -> None:
    """Its subscription has ended, and the venue refuses it on the new connection, then on the old one."""
    model = scene.fake.model
    assert isinstance(model, ToyVenue)
    async with running(scene, quiet_s=0.8, instruments_interval_s=0.2):
        model.refusals = 2
        scene.fake.commit(Fault.UNSUBSCRIBED)

        async def is_said() -> bool:
            return "disconnected" in (await scene.source())["doubts"]

        await eventually(is_said, 30)
        await scene.goes_on()
        assert model.refusals == 0


async def test_no_book_is_checked_if_the_quiet_time_is_0(scene: Scene) -> None:
    async with running(scene, quiet_s=0):
        scene.fake.commit(Fault.UNSUBSCRIBED)
        await asyncio.sleep(3.0)
        assert scene.fake.connections == 1
        assert not scene.seen.is_at_the_end


async def test_a_connection_without_a_word_is_replaced(scene: Scene) -> None:
    async with running(scene, silence_s=1.0):
        scene.fake.commit(Fault.SILENCE)
        await eventually(lambda: scene.fake.connections >= 2)
        await scene.goes_on()

        async def is_said() -> bool:
            return "disconnected" in (await scene.source())["doubts"]

        await eventually(is_said)


async def test_a_connection_is_replaced_in_time_without_a_doubt(scene: Scene) -> None:
    async with running(scene, connection_lifetime_s=0.8):
        await eventually(lambda: scene.fake.connections >= 4)
        await scene.goes_on()
        await eventually(lambda: scene.is_source(doubts={}, state="live"))


async def test_messages_keep_to_the_pace_of_the_venue(scene: Scene) -> None:
    async with running(scene, Toy(sends_per_s=10.0)):
        for _ in range(4):
            scene.fake.commit(Fault.GAP)
            await scene.goes_on(5)
    times = [at for connection in scene.fake.received_at for at in connection]
    assert len(times) > 5
    for at in times:
        assert sum(at <= other < at + 0.9 for other in times) <= 10


async def test_what_redis_does_to_entries_makes_no_wrong_book(scene: Scene) -> None:
    async with (
        FaultProxy(scene.place.redis_url) as proxy,
        running(scene, place=scene.place._replace(redis_url=proxy.url)),
    ):
        for cut in (Cut.BEFORE, Cut.AFTER, Cut.LATE) * 3:
            proxy.faults.append(cut)
            await eventually(lambda: not proxy.faults)
            await scene.goes_on(3)
            while proxy.held:
                await proxy.release()
            proxy.cut()
            await scene.goes_on(3)
        await eventually(lambda: scene.is_source(doubts={}, state="live"))


async def test_a_long_outage_of_redis_ends_with_the_book_of_now(scene: Scene) -> None:
    async with FaultProxy(scene.place.redis_url) as proxy:
        place = scene.place._replace(redis_url=proxy.url)
        async with running(scene, place=place, pending_events_max=20):
            proxy.freeze()
            number = scene.seen.book.number
            await eventually(lambda: scene.seen.book.number > number + 100)
            proxy.thaw()
            await scene.goes_on()
            assert scene.seen.at > number + 100
            source = await scene.source()
            assert "backlog" in source["doubts"]


async def test_a_reject_is_noticed_and_the_book_written_again(scene: Scene) -> None:
    async with running(scene):
        keys = scene.keys.partition(partition_of(Symbol(scene.book), 2))
        await execute(scene.redis, "XADD", keys.events, "*", scene.book, '[["reduce", "bid", 1, 1]]')
        await eventually(lambda: scene.is_source(doubts={"rejected": 1}, state="live"))
        await scene.goes_on()


async def test_what_another_producer_did_to_the_book_ends_with_it(scene: Scene) -> None:
    async with running(scene):
        await execute(scene.redis, "DEL", scene.keys.partition(partition_of(Symbol(scene.book), 2)).feeders)
        await eventually(lambda: scene.is_source(doubts={"input-lost": 1}, state="live"))
        await scene.goes_on()


async def test_a_feed_that_was_taken_for_gone_writes_its_book_again(scene: Scene) -> None:
    """The market is quiet, so no update says that the book is live."""
    async with running(scene):
        await scene.goes_on()
        scene.fake.moving = False
        await eventually(lambda: scene.seen.is_at_the_end)
        events = scene.keys.partition(partition_of(Symbol(scene.book), 2)).events
        await execute(scene.redis, "XADD", events, "*", "_", '{"stale": "unfed"}', scene.book, "[]")
        gone = json.dumps(await scene.source() | {"state": "gone"})
        await execute(scene.redis, "HSET", scene.keys.sources, scene.book, gone)

        async def written_again() -> bool:
            ((_, newest),) = await execute(scene.redis, "XREVRANGE", events, "+", "-", "COUNT", 1)
            return b"unfed" not in b"".join(newest)

        await eventually(written_again)
        await eventually(lambda: scene.seen.is_at_the_end, message="it is live again")
        assert await scene.is_source(state="live")


async def test_a_withdrawn_symbol_ends_the_feed(scene: Scene) -> None:
    task = asyncio.create_task(feed_live(asyncio.Event(), options(scene)))
    await eventually(lambda: scene.is_source(state="live"), 30)
    await execute(scene.redis, "HDEL", scene.keys.instruments, scene.book)
    with pytest.raises(FeedRefused, match=f"{scene.book} was withdrawn"):
        await asyncio.wait_for(task, 30)
    assert await scene.is_source(state="refused", reason=f"{scene.book} was withdrawn")


async def test_the_sizes_are_those_of_the_venue_and_others_are_refused(scene: Scene) -> None:
    async with running(scene):
        raw = await execute(scene.redis, "HGET", scene.keys.instruments, scene.book)
        assert from_json(scene.book, raw) == Instrument(Symbol(scene.book), "0.01", "0.001")
    assert isinstance(scene.fake.model, ToyVenue)
    scene.fake.model.sizes["AAA/USD"] = ("0.005", "0.001")
    await execute(scene.redis, "HDEL", scene.keys.sources, scene.book)  # nobody knows whose sizes they are
    with pytest.raises(InstrumentsError, match=r"tick_size 0\.01, the venue has 0\.005.* --relist"):
        await feed_live(asyncio.Event(), options(scene))


async def test_other_sizes_at_the_venue_begin_a_listing_with_the_book_of_then(scene: Scene) -> None:
    book = scene.seen.book
    book.refine(10, 10)
    async with running(scene, instruments_interval_s=0.2) as feeding:
        await scene.goes_on()
        for number, sizes in ((2, (1, 1)), (3, (10, 10)), (4, (2, 1)), (5, (4, 10))):
            book.resize(*sizes)
            await eventually(lambda number=number: scene.is_listed(number, book), 30)  # type: ignore[misc]
            await scene.goes_on()
        assert set((await scene.source())["doubts"]) <= {"resized", "unfit"}
        assert not feeding.done()
    assert scene.seen.sizes == (book.tick_size, book.lot_size)


async def test_a_number_that_does_not_fit_asks_for_the_sizes_at_once(scene: Scene) -> None:
    book = scene.seen.book
    book.refine(10, 10)
    async with running(scene, instruments_interval_s=0):
        await scene.goes_on()
        book.resize(1, 1)
        await eventually(lambda: scene.is_listed(2, book), 30)
        await scene.goes_on()
        assert set((await scene.source())["doubts"]) <= {"resized", "unfit"}


async def test_coarser_sizes_wait_until_the_whole_book_fits_them(scene: Scene) -> None:
    book = scene.seen.book
    book.refine(10, 10)
    book.resize(1, 1)
    async with running(scene, instruments_interval_s=0.2):
        await scene.goes_on()
        book.resize(10, 10, cancel=False)
        await scene.goes_on(60)
        assert await scene.is_source(doubts={}, state="live")
        book.resize(10, 10)
        await eventually(lambda: scene.is_listed(2, book), 30)
        await scene.goes_on()


async def test_sizes_that_divide_neither_become_those_that_divide_both(scene: Scene) -> None:
    book = scene.seen.book
    book.refine(10, 10)
    book.resize(2, 10)
    async with running(scene, instruments_interval_s=0.2):
        await scene.goes_on()
        await eventually(lambda: any(price % 5 for price in book.sides[0]))
        book.kept.add(next(price for price in book.sides[0] if price % 5))  # a level of before, which stays
        book.resize(5, 10, cancel=False)
        await eventually(lambda: scene.seen.sizes == ("0.001", "0.001"), 30)
        await scene.goes_on()


async def test_a_feed_that_may_not_relist_names_the_command_and_goes_on_after_it(scene: Scene) -> None:
    book = scene.seen.book
    book.refine(10, 10)
    async with running(scene, instruments_interval_s=0.2, relist=False):
        await scene.goes_on()
        book.resize(1, 1)
        command = relist_command(Instrument(Symbol(scene.book), "0.001", "0.0001"), scene.place.prefix)
        await eventually(lambda: scene.is_source(remedy=command, state="doubt", reason="unfit"), 30)
        assert await scene.is_listed(1)
        words = command.split()[2:]
        await asyncio.to_thread(run_instruments, [*words, "--redis-url", scene.place.redis_url])
        await eventually(lambda: scene.is_listed(2, book), 30)
        await scene.goes_on()
        await eventually(lambda: scene.is_source(remedy="", state="live"), 30)


@pytest.mark.parametrize("seed", range(3))
async def test_a_restart_amid_a_change_of_sizes_begins_one_listing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(venue_feed, "LAST_WORDS_S", 0.0)  # as if it was killed
    random, book = Random(seed), scene.seen.book
    book.refine(10, 10)
    names = {"AAA/USD": scene.book}
    fast: dict[str, Any] = {"silence_s": 15.0, "instruments_interval_s": 0.1}
    async with running(scene, **fast):
        await scene.goes_on()
        book.resize(1, 1)
        await asyncio.sleep(random.uniform(0.0, 0.5))
    fast["take_over"] = True
    async with connect(scene.place.gateway_url) as client:
        await client.subscribe([scene.book], depth=0)
        watching = asyncio.create_task(watch(client, {scene.book: scene.seen}, scene.report))
        async with live_feed(scene.place, scene.fake, Toy(), list(names), names, **fast):
            await asyncio.sleep(random.uniform(0.1, 0.7))
        async with live_feed(scene.place, scene.fake, Toy(), list(names), names, **fast):
            await eventually(lambda: scene.is_listed(2, book), 30)
            await scene.goes_on()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert await scene.is_listed(2, book)


async def test_a_delisted_symbol_is_in_doubt_and_comes_back_while_others_go_on(place: Place) -> None:
    random = Random()
    model = ToyVenue(random)
    names = {symbol: f"D{random.randbytes(6).hex()}" for symbol in model.market.books}
    seen = {name: Seen(model.market[symbol]) for symbol, name in names.items()}
    gone, other = names.values()
    report, redis = Report("toy", 0, 0.0), connect_redis(place.redis_url)
    keys = DeploymentKeys(place.prefix)

    async def state(name: str) -> tuple[str, str]:
        source = read_source(await execute(redis, "HGET", keys.sources, name))
        return source["state"], source["reason"]

    async def is_delisted() -> bool:
        return await state(gone) == ("doubt", "delisted")

    fast: dict[str, Any] = {"silence_s": 15.0, "instruments_interval_s": 0.1}
    async with (
        FakeVenue(model, random) as fake,
        live_feed(place, fake, Toy(), list(names), names, **fast) as feeding,
        watched(place, seen, report, feeding) as client,
    ):
        model.market.delisted.add("AAA/USD")
        await eventually(is_delisted, 30)
        await eventually(lambda: client.state(gone) is State.STALE)
        fake.commit(Fault.CUT)  # it is not asked for on the next connection either
        await eventually(lambda: fake.connections == 2, 30)
        before = seen[other].updates
        await eventually(lambda: seen[other].updates > before + 10, 30)
        assert await is_delisted()
        model.market.delisted.clear()
        before = seen[gone].updates
        await eventually(lambda: seen[gone].updates > before + 10, 30)
        assert client.state(gone) is State.LIVE
        assert (fake.connections, report.wrong, feeding.done()) == (2, [], False)
    await redis.aclose()


async def test_a_feed_of_delisted_symbols_only_waits_without_a_connection(scene: Scene) -> None:
    async with running(scene, instruments_interval_s=0.1):
        scene.fake.model.market.delisted.add("AAA/USD")
        await eventually(lambda: scene.is_source(reason="delisted"), 30)
        scene.fake.commit(Fault.CUT)
        await asyncio.sleep(0.5)
        assert scene.fake.connections == 1
        scene.fake.model.market.delisted.clear()
        await scene.goes_on()
        assert scene.fake.connections == 2


async def test_finer_registered_sizes_are_used(scene: Scene) -> None:
    instrument = Instrument(Symbol(scene.book), "0.0005", "0.0005")
    await execute(scene.redis, "HSET", scene.keys.instruments, scene.book, to_json(instrument))
    scene.fake.moving = False
    bids, asks = scene.seen.book.states[-1]
    finer = [{(price * 20, lots * 2) for price, lots in side} for side in (bids, asks)]
    names = {"AAA/USD": scene.book}
    async with live_feed(scene.place, scene.fake, Toy(), list(names), names, silence_s=15.0) as feeding:
        await eventually(lambda: scene.is_source(state="live"), 30)
        async with connect(scene.place.gateway_url) as client:
            await eventually(lambda: subscribed(client, [scene.book], feeding), 30)
            reading = asyncio.create_task(read(client))

            def levels() -> list[set[tuple[int, int]]]:
                book = client.book(scene.book)
                return [set(side.levels.items()) for side in (book.bids, book.asks)]

            await eventually(lambda: levels() == finer, 30)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_an_unknown_symbol_is_refused_with_similar_ones(scene: Scene) -> None:
    with pytest.raises(FeedRefused, match=r"Toy lists no AAA/EUR; similar: AAA/USD"):
        await feed_live(asyncio.Event(), options(scene, "AAA/EUR"))


async def test_a_symbol_that_the_venue_refuses_ends_the_feed(scene: Scene) -> None:
    assert isinstance(scene.fake.model, ToyVenue)
    scene.fake.model.sizes["ZZZ/USD"] = ("0.01", "0.001")  # listed, but without a book
    with pytest.raises(FeedRefused, match="the venue refuses ZZZ/USD: no such symbol"):
        await asyncio.wait_for(feed_live(asyncio.Event(), options(scene, "ZZZ/USD")), 30)


async def test_a_listed_symbol_that_is_refused_for_a_while_is_asked_for_again(scene: Scene) -> None:
    model = scene.fake.model
    assert isinstance(model, ToyVenue)
    async with running(scene):
        model.refusals = venue_feed.RETRIES
        scene.fake.commit(Fault.CUT)
        await eventually(lambda: model.refusals == 0, 30, "it is asked for again")
        await scene.goes_on()


async def test_a_second_feed_is_refused_and_takes_over_if_it_is_told_to(scene: Scene) -> None:
    first = asyncio.create_task(feed_live(asyncio.Event(), options(scene)))
    await eventually(lambda: scene.is_source(state="live"), 30)
    feeder = (await scene.source())["feeder"]
    with pytest.raises(FeedRefused, match=f"{scene.book} is fed by {feeder} from toy"):
        await feed_live(asyncio.Event(), options(scene))
    stop = asyncio.Event()
    second = asyncio.create_task(feed_live(stop, options(scene, take_over=True)))
    with pytest.raises(FeedRefused, match=f"has taken over {scene.book}"):
        await asyncio.wait_for(first, 30)

    async def is_replaced() -> bool:
        source = await scene.source()
        return bool(source["feeder"] != feeder and source["state"] == "live")

    await eventually(is_replaced, 30)
    stop.set()
    await second
    assert await scene.is_source(state="ended")
    again = asyncio.create_task(feed_live(stop := asyncio.Event(), options(scene)))
    await eventually(lambda: scene.is_source(state="live"), 30)
    stop.set()
    await again


async def test_a_book_that_nobody_feeds_is_stale_at_clients_until_a_feed_has_it_again(scene: Scene) -> None:
    async with running(scene):
        await scene.goes_on()
    async with connect(scene.place.gateway_url) as client:
        await client.subscribe([scene.book], depth=0)
        reading = asyncio.create_task(read(client))
        await eventually(lambda: client.state(scene.book) is State.STALE)
        names = {"AAA/USD": scene.book}
        async with live_feed(scene.place, scene.fake, Toy(), list(names), names, silence_s=15.0):
            await eventually(lambda: client.state(scene.book) is State.LIVE, 30)
        await eventually(lambda: client.state(scene.book) is State.STALE)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_book_in_doubt_is_stale_at_clients(scene: Scene) -> None:
    assert isinstance(scene.fake.model, ToyVenue)
    scene.fake.model.by_rest = True
    async with running(scene, Toy(by_rest=True)):
        await scene.goes_on()
        scene.fake.outage_s = 3.0
        scene.fake.commit(Fault.REST_500)
        await eventually(lambda: not scene.seen.live)
        await scene.goes_on()


async def test_another_listing_is_fed_with_its_sizes(scene: Scene) -> None:
    async with running(scene):
        await scene.goes_on()
        wanted = Instrument(Symbol(scene.book), "0.0005", "0.0005", listing=2)
        await execute(scene.redis, "HSET", scene.keys.instruments, scene.book, to_json(wanted))
        await eventually(lambda: scene.is_source(state="live", doubts={"relisted": 1}), 30)
        scene.fake.moving = False
        async with connect(scene.place.gateway_url) as client:
            await client.subscribe([scene.book], depth=0)
            reading = asyncio.create_task(read(client))

            def levels() -> list[set[tuple[int, int]]]:
                book = client.book(scene.book)
                return [set(side.levels.items()) for side in (book.bids, book.asks)]

            def finer() -> list[set[tuple[int, int]]]:
                state = scene.seen.book.states[-1]
                return [{(price * 20, lots * 2) for price, lots in side} for side in state]

            await eventually(lambda: levels() == finer() and client.state(scene.book) is State.LIVE, 30)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
