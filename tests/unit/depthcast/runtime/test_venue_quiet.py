"""Books of which nothing comes: when they are checked, and what follows from the answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from depthcast.feed.venue import Adapter, Alive, Doubt, DoubtReason, Output, Request, Skipped
from depthcast.feed.venues.binance import SPOT
from depthcast.runtime import venue_quiet
from depthcast.runtime.venue_quiet import QuietBooks, Result
from tests.waiting import eventually

QUIET_S = 0.05
DIFFERENT: list[Output] = []
EQUAL: list[Output] = [Alive("A")]


def doubted(symbol: str) -> list[Output]:
    return [Doubt(symbol, DoubtReason.GAP, "")]


class Asked:
    """A connection. `answers`: what the adapter says of each symbol's checks in turn; None: no answer."""

    def __init__(self, *, by_request: bool = True, **answers: list[list[Output] | None]) -> None:
        self.adapter: Adapter = SPOT.adapter()
        self.closing = asyncio.Event()
        self.synced = set(answers) or {"A"}
        self.results: list[str] = []
        self.asked: list[str] = []
        self.doubts: list[str] = []
        self.resyncs: list[str] = []
        self._answers = answers
        self._by_request = by_request
        self.adapter.check_request = self._request  # type: ignore[method-assign]
        self.adapter.take_check = lambda symbol, raw: json.loads(raw) and self._said  # type: ignore[method-assign]
        self._said: list[Output] = []

    def _request(self, symbol: str) -> Request | None:
        assert symbol in self.synced, "a book in doubt is not checked"
        assert not self.closing.is_set()
        return Request(f"/{symbol}") if self._by_request else None

    def count_check(self, result: str) -> None:
        self.results.append(result)

    async def fetched(self, symbol: str, request: Request) -> bytes | None:
        assert request.path == f"/{symbol}"
        self.asked.append(symbol)
        left = self._answers.get(symbol)
        equal: list[Output] = [Alive(symbol)]
        answer = left.pop(0) if left else equal
        self._said = [] if answer is None else answer
        return None if answer is None else b"[1]"

    async def handle(self, outputs: Iterable[Output]) -> None:
        doubts = [output.symbol for output in outputs if isinstance(output, Doubt)]
        self.doubts += doubts
        self.synced -= set(doubts)

    def resync(self, symbol: str) -> None:
        self.resyncs.append(symbol)


@asynccontextmanager
async def checking(connection: Asked, quiet_s: float = QUIET_S) -> AsyncIterator[QuietBooks]:
    """Check the books of a connection in the background."""
    books = QuietBooks(quiet_s, connection)
    for symbol in connection.synced:
        books.note(symbol)
    task = asyncio.create_task(books.run())
    try:
        yield books
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


async def test_books_that_differ_are_asked_for_again_together_and_subscribed_again() -> None:
    connection = Asked(A=[DIFFERENT, doubted("A")], B=[[Alive("B")]], C=[DIFFERENT, doubted("C")])
    async with checking(connection):
        await eventually(lambda: len(connection.resyncs) == 2, 30)
        assert connection.asked[:5] == ["A", "B", "C", "A", "C"]
        assert connection.doubts == connection.resyncs == ["A", "C"]
        assert connection.results[:3] == [Result.EQUAL, Result.DIFFERENT, Result.DIFFERENT]
        await eventually(lambda: connection.asked[5:7] == ["B", "B"], 30, "books in doubt are left alone")
    assert not connection.closing.is_set()


@pytest.mark.parametrize(
    ("answer", "result"),
    [(EQUAL, Result.EQUAL), ([Skipped("malformed check")], Result.UNKNOWN), (None, Result.UNKNOWN)],
)
async def test_any_other_answer_waits_for_the_next_time(answer: list[Output] | None, result: Result) -> None:
    connection = Asked(A=[answer, answer, DIFFERENT, EQUAL])
    async with checking(connection):
        await eventually(lambda: len(connection.results) >= 3, 30)
    assert connection.results[:3] == [result, result, Result.EQUAL]
    assert connection.doubts == []


async def test_a_book_that_goes_into_doubt_amid_the_checks_is_left_alone() -> None:
    connection = Asked(A=[EQUAL], B=[])
    fetched = connection.fetched

    async def lost_meanwhile(symbol: str, request: Request) -> bytes | None:
        connection.synced.discard("B")
        return await fetched(symbol, request)

    connection.fetched = lost_meanwhile  # type: ignore[method-assign]
    async with checking(connection):
        await eventually(lambda: len(connection.asked) >= 2, 30)
    assert set(connection.asked) == {"A"}


async def test_a_message_of_the_book_puts_the_check_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_quiet, "LOOKS", 50)
    connection, now = Asked(), asyncio.get_running_loop().time
    async with checking(connection, 0.3) as books:
        noted_at = began = now()
        while now() - began < 1.0:
            await asyncio.sleep(0.02)
            if now() - noted_at >= 0.2:
                break  # the machine stood still
            books.note("A")
            noted_at = now()
            assert not connection.asked
        await eventually(lambda: len(connection.asked) == 1, 30)
        assert now() - noted_at >= 0.3 * (1 - venue_quiet.SPREAD)


async def test_where_nothing_can_be_asked_the_connection_is_replaced_once() -> None:
    connection = Asked(by_request=False, A=[], B=[])
    books = QuietBooks(QUIET_S, connection)
    books.note("A")
    books.note("B")
    await asyncio.wait_for(books.run(), 30)
    assert (connection.results, connection.closing.is_set()) == ([Result.REPLACED], True)
    assert connection.asked == []


async def test_0_means_never() -> None:
    await asyncio.wait_for(QuietBooks(0, Asked()).run(), 30)
