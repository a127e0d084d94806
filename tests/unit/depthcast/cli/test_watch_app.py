"""The terminal interface of `depthcast watch`, drawn without a terminal."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from textual.pilot import Pilot

from depthcast.cli.following import Following
from depthcast.cli.shown import Shown
from depthcast.cli.watch_app import WatchApp
from depthcast.client.session import ClientCounters
from depthcast.updates import State
from tests.waiting import eventually

BOOK = Shown(
    "", State.LIVE, None, 7, [(6500010, 5)], [(6500020, 7)], tick_size="0.01", lot_size="0.001", age_s=0.0
)


class Books:
    """Stands for a `Following`: what is shown is up to the test."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = list(symbols)
        self.address = "http://h:1"
        self.group = 1
        self.silent = False
        self.silence_s = 0.0
        self.client = SimpleNamespace(connected=True, counters=ClientCounters(deltas=3))
        self.changes: dict[str, Any] = {}

    def shown(self, symbol: str, _depth: int) -> Shown:
        return BOOK._replace(symbol=symbol, **self.changes)


class Drawn:
    """A running `WatchApp` of 80 columns and 12 rows."""

    def __init__(self, app: WatchApp, pilot: Pilot[None], stop: asyncio.Event, end: asyncio.Event) -> None:
        self.app = app
        self.pilot = pilot
        self.stop = stop
        self.end = end

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]

    async def shows(self, *texts: str) -> None:
        """Wait until all of them are on the screen."""
        await eventually(lambda: all(text in "\n".join(self.lines) for text in texts), message=str(texts))

    async def press(self, key: str) -> None:
        await self.pilot.press(key)


@asynccontextmanager
async def drawn(books: Books, size: tuple[int, int] = (80, 12)) -> AsyncIterator[Drawn]:
    stop, end = asyncio.Event(), asyncio.Event()
    reading = asyncio.create_task(cast("Any", end.wait()))
    app = WatchApp(cast("Following", books), stop, reading, 25)
    async with app.run_test(size=size) as pilot:
        yield Drawn(app, pilot, stop, end)
    reading.cancel()


async def test_80_columns_and_12_rows_are_enough_for_three_books() -> None:
    async with drawn(Books("A", "B", "C")) as screen:
        await screen.shows("q quit", "65000.10")
        lines = screen.lines
        assert len(lines) == 12
        assert lines[0] == " http://h:1  messages 3  merged 0"
        assert [lines[1].index(f" {name} live") for name in "ABC"] == [0, 27, 54]
        assert sum(line.count("spread 0.10") for line in lines) == 3
        assert lines[11].startswith(" q quit   ? help   ← → other books")


async def test_books_that_do_not_fit_are_moved_to() -> None:
    async with drawn(Books("A", "B", "C", "D")) as screen:
        await screen.shows(" A live", " C live", "1–3 of 4")
        await screen.press("left")
        await screen.shows(" A live", "1–3 of 4")
        await screen.press("right")
        await screen.shows(" B live", " D live", "2–4 of 4")
        await screen.press("right")
        await screen.press("enter")
        await screen.shows(" B live", "2–2 of 4")
        assert " C live" not in "\n".join(screen.lines)
        await screen.press("enter")
        await screen.shows(" D live", "2–4 of 4")


async def test_what_is_old_is_said_on_the_book_and_for_all() -> None:
    books = Books("A")
    books.group = 100
    async with drawn(books) as screen:
        await screen.shows("A live", "http://h:1  groups of 100 ticks  messages 3  merged 0")
        books.changes = {"state": State.STALE, "reason": "gap", "age_s": 12.0}
        await screen.shows("A STALE 12 s old: gap", "last update 12 s ago")
        books.client.connected, books.silence_s = False, 12.0
        await screen.shows("NO CONNECTION to http://h:1 for 12 s")


async def test_help_comes_and_goes() -> None:
    async with drawn(Books("A")) as screen:
        await screen.press("question_mark")
        await screen.shows("Enter  one book alone", "by the clock of this machine.")
        assert len(screen.lines) == 12
        await screen.press("q")
        await screen.shows("q quit")
        assert screen.app.return_code is None, "it closed the help only"


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_a_key_ends_it(key: str) -> None:
    async with drawn(Books("A")) as screen:
        await screen.press(key)
        await eventually(lambda: screen.app.return_code == 0)


@pytest.mark.parametrize("why", ["stop", "end"])
async def test_it_ends_when_it_is_stopped_or_nothing_more_can_come(why: str) -> None:
    async with drawn(Books("A")) as screen:
        getattr(screen, why).set()
        await eventually(lambda: screen.app.return_code == 0)


async def test_without_a_symbol_it_waits() -> None:
    books = Books()
    async with drawn(books) as screen:
        await screen.shows("waiting for books")
        books.symbols = ["A"]
        await screen.shows("A live")


async def test_a_larger_terminal_is_filled() -> None:
    async with drawn(Books("A"), size=(120, 40)) as screen:
        await screen.shows("spread 0.10")
        assert [number for number, line in enumerate(screen.lines) if "spread" in line] == [20]
        await screen.pilot.resize_terminal(40, 9)
        await screen.shows("spread 0.10", "q quit")
        assert len(screen.lines) == 9
