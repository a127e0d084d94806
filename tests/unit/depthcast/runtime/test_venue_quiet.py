"""Books of which nothing comes: when they are checked, and what follows from the answers."""

import asyncio
from collections.abc import Iterable

import pytest

from depthcast.feed.venue import Adapter, Alive, Doubt, DoubtReason, Output, Request, Skipped
from depthcast.feed.venues.binance import SPOT
from depthcast.runtime import venue_quiet
from depthcast.runtime.venue_quiet import QuietBooks
from tests.waiting import eventually

QUIET_S = 0.05
DOUBT = Doubt("A", DoubtReason.GAP, "")


class Asked:
    """A connection. `answers`: to the requests, None for one that fails; an empty list differs."""

    def __init__(self, answers: Iterable[list[Output] | None] = (), *, by_request: bool = True) -> None:
        self.adapter: Adapter = SPOT.adapter()
        self.closing = asyncio.Event()
        self.synced = {"A"}
        self.checks = 0
        self.asked: list[str] = []
        self.handled: list[Output] = []
        self._answers = list(answers)
        self._said: list[Output] = []
        self.adapter.check_request = lambda symbol: Request(f"/{symbol}") if by_request else None  # type: ignore[method-assign]
        self.adapter.take_check = lambda symbol, raw: self._said  # type: ignore[method-assign]

    def count_check(self) -> None:
        self.checks += 1

    async def fetched(self, symbol: str, request: Request) -> bytes | None:
        assert request.path == f"/{symbol}"
        self.asked.append(symbol)
        answer: list[Output] | None = self._answers.pop(0) if self._answers else [Alive(symbol)]
        self._said = answer or []
        return None if answer is None else b""

    async def handle(self, outputs: Iterable[Output]) -> None:
        said = list(outputs)
        self.handled += said
        if any(isinstance(output, Doubt) for output in said):
            self.synced.discard("A")


async def checked(connection: Asked, quiet_s: float = QUIET_S, *, until: int = 1) -> None:
    """Let books be checked until there were so many requests, and a little longer."""
    books = QuietBooks(quiet_s, connection)
    for symbol in connection.synced:
        books.note(symbol)
    task = asyncio.create_task(books.run())
    await eventually(lambda: len(connection.asked) >= until, 30)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_book_that_differs_is_asked_for_again_at_once_and_is_in_doubt() -> None:
    connection = Asked([[], [DOUBT]])
    await checked(connection, until=2)
    assert (connection.asked, connection.checks, connection.handled) == (["A", "A"], 1, [DOUBT])
    assert not connection.closing.is_set()


@pytest.mark.parametrize("answer", [[Alive("A")], [Skipped("malformed check")], None])
async def test_any_other_answer_waits_for_the_next_time(answer: list[Output] | None) -> None:
    connection = Asked([answer, answer])
    await checked(connection, until=2)
    assert connection.checks == 2


async def test_a_message_of_the_book_puts_the_check_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_quiet, "LOOKS", 50)
    connection, now = Asked(), asyncio.get_running_loop().time
    books = QuietBooks(0.3, connection)
    books.note("A")
    task = asyncio.create_task(books.run())
    noted_at = began = now()
    while now() - began < 1.0:
        await asyncio.sleep(0.02)
        if now() - noted_at >= 0.2:
            break  # the machine stood still
        books.note("A")
        noted_at = now()
        assert not connection.asked
    await eventually(lambda: len(connection.asked) == 1, 30)
    assert now() - noted_at >= 0.3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_where_nothing_can_be_asked_the_connection_is_replaced_once() -> None:
    connection = Asked(by_request=False)
    books = QuietBooks(QUIET_S, connection)
    books.note("A")
    await asyncio.wait_for(books.run(), 30)
    assert (connection.checks, connection.closing.is_set(), connection.asked) == (1, True, [])


async def test_a_book_in_doubt_is_not_checked_and_0_means_never() -> None:
    connection = Asked()
    await asyncio.wait_for(QuietBooks(0, connection).run(), 30)
    connection.synced.clear()
    books = QuietBooks(QUIET_S, connection)
    books.note("A")
    task = asyncio.create_task(books.run())
    await asyncio.sleep(5 * QUIET_S)
    assert (connection.asked, connection.checks) == ([], 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
