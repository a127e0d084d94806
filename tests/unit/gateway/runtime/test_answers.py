"""Bodies of HTTP answers: made once for each state, as new as asked for, large ones in slices."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from depthcast.gateway.runtime import answers as module
from depthcast.gateway.runtime import slices
from depthcast.gateway.runtime.answers import Answers
from depthcast.shared.digest import digest_of
from tests.unit.gateway.model_client import connected
from tests.unit.gateway.small_market import OrdersMarket, SmallMarket, lively_market


async def book(
    answers: Answers,
    market: SmallMarket,
    depth: int = 25,
    symbol: str = "AAA",
    group: int = 1,
    *,
    orders: bool = False,
) -> dict[str, Any]:
    body = await answers.book(market.core.market.listings[symbol], depth, group, orders=orders)
    assert body is not None
    found: dict[str, Any] = orjson.loads(body)
    return found


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 25])
@pytest.mark.parametrize("slice_levels", [1, 1000])
def test_a_book_is_encoded_once_for_each_state(
    *, subscribed: bool, depth: int, slice_levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", slice_levels)

    async def check() -> None:
        market = lively_market("AAA", stale_ms=1000)
        if subscribed:
            connected(market).subscribe("AAA", depth=depth)
        answers = Answers(market.core.market)
        first = await book(answers, market, depth)
        assert first["bids"] == [[-1, 5], [-2, 6], [-3, 7]][: depth or None]
        assert first["asks"] == [[1, 8], [2, 9]][: depth or None]
        assert (first["state"], first["seq"]) == ("live", market.books["AAA"].seq)
        assert await book(answers, market, depth) == first
        assert answers.begun == 1
        market.publish("AAA", {-1: 4})
        second = await book(answers, market, depth)
        assert second["bids"][0] == [-1, 4]
        market.now += 2
        market.tick()
        assert (await book(answers, market, depth))["state"] == "stale"
        assert answers.begun == 2, "its state is added to what was encoded"

    run(check())


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize("slice_levels", [1, 1000])
def test_a_grouped_book_is_that_of_the_subscription(
    *, subscribed: bool, slice_levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is grouped for the answer alone where nobody has subscribed to it, and is then not kept."""
    monkeypatch.setattr(slices, "SLICE_LEVELS", slice_levels)

    async def check() -> None:
        market = lively_market("AAA")
        if subscribed:
            connected(market).subscribe("AAA", depth=1, group=2)
        answers = Answers(market.core.market)
        for depth in (25, 1, 0):
            found = await book(answers, market, depth, group=2)
            assert (found["group"], found["seq"]) == (2, market.books["AAA"].seq)
            assert found["bids"] == [[-2, 11], [-4, 7]][: depth or None]
            assert found["asks"] == [[2, 17]]
        assert "group" not in await book(answers, market)
        assert answers.begun == 4
        await book(answers, market, group=2)
        assert answers.begun == 4
        market.publish("AAA", {-1: 4})
        assert (await book(answers, market, group=2))["bids"] == [[-2, 10], [-4, 7]]
        assert market.core.market.groupings.count == subscribed

    run(check())


@pytest.mark.parametrize("subscribed", [False, True])
@pytest.mark.parametrize("slice_levels", [1, 1000])
def test_a_book_with_the_number_of_orders_is_another_body(
    *, subscribed: bool, slice_levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", slice_levels)

    async def check() -> None:
        market = OrdersMarket("AAA")
        answers, model = Answers(market.core.market), market.books["AAA"]
        if subscribed:
            connected(market).subscribe("AAA", depth=0, orders=True)
        for changes in ({-1: 5, -2: 6, -3: 7}, {-1: 4, -4: 1}):
            market.publish("AAA", changes, {1: 8, 2: 9})
            for depth in (25, 1, 0):
                counted, plain = [
                    await book(answers, market, depth, orders=wanted) for wanted in (True, False)
                ]
                bids, asks = model.count_view(model.seq, depth)
                assert counted["bids"] == [[*level, bids[level[0]]] for level in plain["bids"]]
                assert counted["asks"] == [[*level, asks[level[0]]] for level in plain["asks"]]
                assert counted["orders_digest"] == digest_of(bids.items(), asks.items())
                assert (counted["digest"], counted["seq"]) == (plain["digest"], plain["seq"])
                assert "orders_digest" not in plain

    run(check())


def test_there_is_none_with_a_number_of_orders_that_nobody_says() -> None:
    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        assert await answers.book(market.core.market.listings["AAA"], 25, orders=True) is None

    run(check())


@pytest.mark.parametrize("group", [1, 2])
def test_a_large_book_has_the_sizes_that_its_levels_were_listed_by(
    group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", 1)

    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        asking = asyncio.create_task(book(answers, market, 0, group=group))
        await asyncio.sleep(0)
        market.relist("AAA", 1, "0.5")
        before, after = await asking, await book(answers, market, 0, group=group)
        assert (before["tick_size"], len(before["asks"]), "listing" in before) == ("0.01", 3 - group, False)
        assert (after["tick_size"], len(after["asks"]), after["listing"]) == ("0.5", 0, 1)

    run(check())


def test_a_wrong_book_is_not_called_live_because_it_was_replaced_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", 1)

    async def check() -> None:
        market = lively_market("AAA")
        market.doubt("AAA", "gap")
        answers = Answers(market.core.market)
        asking = asyncio.create_task(book(answers, market, 0))
        await asyncio.sleep(0)
        market.doubt("AAA", None, {-1: 9})
        before, after = await asking, await book(answers, market, 0)
        assert (before["bids"][0], before["state"], before["reason"]) == ([-1, 5], "stale", "gap")
        assert (after["bids"][0], after["state"], "reason" in after) == ([-1, 9], "live", False)

    run(check())


def test_a_doubt_is_told_before_the_tick_that_tells_clients() -> None:
    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        doubted = market.entry({"AAA": market.books["AAA"].move({}, {})}, marks={"AAA": {"stale": "gap"}})
        market.apply(doubted)
        found = await book(answers, market)
        assert (found["state"], found["reason"]) == ("stale", "gap")

    run(check())


def test_a_large_book_is_that_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes while its levels are listed, and is listed once for all who asked before."""
    monkeypatch.setattr(slices, "SLICE_LEVELS", 1)

    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        asking = [asyncio.create_task(book(answers, market, 0)) for _ in range(3)]
        await asyncio.sleep(0)
        market.publish("AAA", {-1: 0, -2: 1}, {1: 0})
        late = asyncio.create_task(book(answers, market, 0))
        first, second, third = [await one for one in asking]
        assert first["bids"] == [[-1, 5], [-2, 6], [-3, 7]]
        assert first["digest"] != (await late)["digest"] == market.books["AAA"].digest()
        assert second == third
        assert second["bids"] == [[-2, 1], [-3, 7]], (
            "asked for before the first was begun, so as new as that or newer"
        )
        assert answers.begun <= 3

    run(check())


def test_those_who_wait_share_what_was_begun_after_they_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", 1)

    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        asking = [asyncio.create_task(book(answers, market, 0)) for _ in range(20)]
        for quantity in range(30, 60):
            await asyncio.sleep(0)
            market.publish("AAA", {-1: quantity})
        for one in asking:
            await one
        assert answers.begun == 2, "one for the first, one for all who waited meanwhile"

    run(check())


def test_symbols_are_listed_again_only_when_they_or_their_states_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SLICE_LEVELS", 1)

    async def check() -> None:
        market = lively_market("BBB", "AAA", stale_ms=1000)
        answers = Answers(market.core.market)
        first = orjson.loads(await answers.symbols())
        assert [(each["symbol"], each["state"]) for each in first] == [("AAA", "live"), ("BBB", "live")]
        market.publish("AAA", {-1: 3})
        market.list_instruments()
        await answers.symbols()
        assert answers.begun == 1
        market.now += 2
        market.tick()
        assert {each["state"] for each in orjson.loads(await answers.symbols())} == {"stale"}
        del market.books["AAA"]
        market.list_instruments()
        assert [each["symbol"] for each in orjson.loads(await answers.symbols())] == ["BBB"]
        market.books.clear()
        market.list_instruments()
        assert await answers.symbols() == b"[]"
        assert answers.begun == 4

    run(check())


def test_the_age_of_the_last_input_is_told_once_it_is_known_and_grows() -> None:
    async def check() -> None:
        market = lively_market("AAA", "BBB", stale_ms=60_000)
        market.core.market.clock.observe(market.now, market.now, 50_000_000)
        answers = Answers(market.core.market)
        replica = market.core.market.listings["AAA"].replica
        assert replica is not None
        replica.input_ts = 49_000_000
        found = []
        for _ in range(2):
            market.tick()
            first, second = orjson.loads(await answers.symbols())
            assert "input_age_ms" not in second
            found.append((first["input_age_ms"], (await book(answers, market))["input_age_ms"]))
            market.now += 3
        assert found == [(1000, 1000), (4000, 4000)]
        assert "input_age_ms" not in await book(answers, market, symbol="BBB")

    run(check())


def test_a_book_has_its_source_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        market = lively_market("AAA")
        answers = Answers(market.core.market)
        assert "event_ts" not in await book(answers, market)
        market.publish("AAA", {-1: 4}, event_ts=7)
        assert (await book(answers, market))["event_ts"] == 7
        monkeypatch.setattr(slices, "SLICE_LEVELS", 1)
        assert (await book(answers, market, 5))["event_ts"] == 7

    run(check())


def test_the_bytes_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        market = lively_market("AAA", "BBB", "CCC")
        answers = Answers(market.core.market)
        one = await answers.book(market.core.market.listings["AAA"], 5)
        assert one is not None
        kept = one.index(b',"state"') + 1  # what is added to an answer is not kept
        monkeypatch.setattr(module, "BODIES_BYTES_MAX", 2 * kept + 50)
        for symbol in ("BBB", "AAA", "CCC"):
            await book(answers, market, 5, symbol)
        assert answers.begun == 3
        assert answers.bytes_kept <= 2 * kept + 50
        await book(answers, market, 5, "AAA")
        assert answers.begun == 3, "the one that was asked for last is kept"
        await book(answers, market, 5, "BBB")
        assert answers.begun == 4
        monkeypatch.setattr(module, "BODIES_MAX", 1)
        market.publish("AAA", {-1: 3})
        body = await answers.book(market.core.market.listings["AAA"], 5)
        assert body is not None
        assert answers.bytes_kept == body.index(b',"state"') + 1

    run(check())


def test_no_book_yet() -> None:
    async def check() -> None:
        market = SmallMarket()
        market.books["AAA"] = type(lively_market("AAA").books["AAA"])(5)
        market.list_instruments()
        answers = Answers(market.core.market)
        assert await answers.book(market.core.market.listings["AAA"], 0) is None

    run(check())
