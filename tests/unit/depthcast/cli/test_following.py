"""Which books are shown as live, how old they are, and what was not done."""

import asyncio
from contextlib import aclosing

import pytest

from depthcast.cli.following import Following, unless_stopped
from depthcast.shared.errors import ClientError
from depthcast.updates import BookUpdate, State
from tests.unit.depthcast.cli.gateway_line import ADDRESS, following
from tests.waiting import eventually

REMOVED = {"type": "unsubscribed", "symbol": "X", "reason": "removed"}


async def test_a_book_is_waited_for_and_then_live() -> None:
    async with following("X") as (books, line):
        assert books.symbols == ["X"]
        async with books.reading():
            await eventually(lambda: books.shown("X", 10).age_s == 0.0)
            book = books.shown("X", 10)
            assert (book.state, book.reason, book.seq) == (State.LIVE, None, 101)
            assert (book.bids, book.asks, book.lag_ms) == ([(10, 5)], [], None)
            line.now += 1.5
            line.change(1, 11, 7)
            await eventually(lambda: books.shown("X", 10).asks == [(11, 7)])
            book = books.shown("X", 10)
            assert book.age_s == 0.0
            assert book.lag_ms is not None, "of a delta; a snapshot may be old without any lag"
            line.now += 2.5
            assert books.shown("X", 10).age_s == 2.5
            assert books.undone() == []


async def test_up_to_so_many_levels_are_shown() -> None:
    async with following("X") as (books, line):
        line.gateway.change(0, 9, 5)
        line.bring()
        async with books.reading():
            await eventually(lambda: len(books.shown("X", 10).bids) == 2)
            assert books.shown("X", 1).bids == [(10, 5)]


async def test_a_silent_gateway_makes_books_stale() -> None:
    async with following("X") as (books, line), books.reading():
        await eventually(lambda: books.shown("X", 1).state is State.LIVE)
        line.now += 3.0  # one and a half heartbeats
        assert books.shown("X", 1).state is State.LIVE
        line.now += 0.1
        book = books.shown("X", 1)
        assert (book.state, book.reason) == (State.STALE, "the gateway is silent")
        assert books.silent
        line.bring({"type": "heartbeat"})
        await eventually(lambda: books.shown("X", 1).state is State.LIVE)


async def test_a_lost_connection_makes_books_stale_and_is_a_failure_at_the_end() -> None:
    async with following("X") as (books, line), books.reading():
        await eventually(lambda: books.shown("X", 1).state is State.LIVE)
        line.cut()
        await eventually(lambda: books.shown("X", 1).state is State.STALE)
        assert books.shown("X", 1).reason == "no connection to the gateway"
        assert books.shown("X", 1).lag_ms is None
        assert books.undone() == [f"no connection to {ADDRESS}"]
        line.up = True
        await eventually(lambda: books.shown("X", 1).state is State.LIVE)
        assert books.undone() == []


async def test_a_refused_symbol_leaves_the_others() -> None:
    async with following("NO", "X", "NO") as (books, _):
        assert books.symbols == ["NO", "X"]
        assert not books.over
        assert books.shown("NO", 1)[:3] == ("NO", State.REMOVED, "unknown_symbol: no (NO)")
        seen = [(update.symbol, update.state) for update in await _some(books, 2)]
        assert seen == [("NO", State.REMOVED), ("X", State.LIVE)]
        assert books.undone() == ["unknown_symbol: no (NO)"]


async def _some(books: Following, count: int) -> list[BookUpdate]:
    seen: list[BookUpdate] = []
    async with aclosing(books.updates()) as updates:
        async for update in updates:
            seen.append(update)
            if len(seen) == count:
                break
    return seen


async def test_all_refused_is_the_end() -> None:
    async with following("NO") as (books, _):
        assert books.over
        assert [update.symbol async for update in books.updates()] == ["NO"]


async def test_a_gateway_that_does_not_know_groups_is_named() -> None:
    """It would send the book as it is."""
    async with following("X", group=10) as (books, _):
        assert books.over
        (why,) = books.undone()
        assert "does not group levels by 10 ticks; its version is too old" in why


async def test_an_ended_subscription_is_said_and_is_the_end() -> None:
    async with following("X") as (books, line):
        line.bring(REMOVED)
        states = [update.state async for update in books.updates()]
        assert states[-1] is State.REMOVED
        assert books.shown("X", 1).bids == ()
        assert books.undone() == ["the gateway ended the subscription (X)"]


async def test_a_star_stands_for_what_comes_and_goes() -> None:
    async with following("*") as (books, line), books.reading() as reading:
        await eventually(lambda: books.symbols == ["X"])
        await eventually(lambda: books.shown("X", 1).state is State.LIVE)
        line.bring(REMOVED)
        await eventually(lambda: books.symbols == [])
        assert not reading.done()
        line.bring({"type": "subscribed", "symbol": "X", "resumed": False}, line.gateway.snapshot())
        await eventually(lambda: books.symbols == ["X"] and books.shown("X", 1).state is State.LIVE)
        assert books.undone() == []


async def test_a_book_that_never_came_is_a_failure() -> None:
    async with following("X") as (books, _):
        books.client.session.books["X"].replica.seq = 0  # as before its snapshot
        assert books.shown("X", 1).state is None
        assert books.undone() == ["no book of X came"]


async def test_a_symbol_that_is_refused_later_is_ended_and_others_go_on() -> None:
    async with following("X") as (books, line):
        await _some(books, 1)
        error = {"type": "error", "code": "unknown_symbol", "message": "gone", "symbol": "X", "id": 99}
        books.client.session.books.pop("X")
        line.bring(error)
        assert [update.state async for update in books.updates()] == [State.REMOVED]
        assert books.undone() == ["unknown_symbol: gone (X)"]


async def test_other_errors_end_it() -> None:
    async with following("X") as (books, line):
        line.bring({"type": "error", "code": "bad_request", "message": "no"})
        with pytest.raises(ClientError, match="bad_request"):
            async with books.reading() as reading:
                await asyncio.wait([reading])


async def test_work_is_done_unless_it_is_stopped() -> None:
    stop = asyncio.Event()

    async def work() -> int:
        return 5

    assert await unless_stopped(stop, work()) == 5
    stop.set()
    ended = asyncio.Event()

    async def endless() -> int:
        try:
            await asyncio.Event().wait()
            return 5
        finally:
            ended.set()

    assert await unless_stopped(stop, endless()) is None
    assert ended.is_set()
