"""The page in a real browser, from a real gateway: it shows that gateway's book, or says that it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from depthcast.runtime.deployment import Deployment, Service
from depthcast.shared.instruments import Instrument
from tests.browser.chromium import opened
from tests.browser.market import INSTRUMENTS, Market, open_market
from tests.browser.visit import BOOK, COMPARED, Visit, expected_groups, expected_rows
from tests.order_flow import view
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

FIRST, SECOND = INSTRUMENTS
SAME = (0, 0)
TIMEOUT_S = 30.0
STALE_MS = 2000

LINE_ENDS = """() => {
  const [line, now] = [".direct", ".grid line"].map((part) => document.querySelector(`#mid-chart ${part}`));
  const right = (part) => part.getBoundingClientRect().right;
  return now && line.getBBox().width ? right(now) - right(line) : 0;
}"""
"""Pixels between the end of the direct connection's line and the present."""


class Scene(NamedTuple):
    """Everything that one test uses."""

    deployment: Deployment
    market: Market
    visit: Visit

    async def rest(self, symbol: str, depth: int) -> dict[str, Any]:
        """The snapshot that the gateway serves over HTTP."""
        url = f"{self.deployment.gateway_url}/v1/books/{symbol}?depth={depth}"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert answer.status == 200
            book: dict[str, Any] = await answer.json()
            return book

    async def broadcasts(self, count: int, name: str = BOOK) -> None:
        """Wait until the direct connection was sent `count` more messages."""
        begun = await self.visit.count(name, "messages")

        async def there() -> bool:
            return await self.visit.count(name, "messages") >= begun + count

        await eventually(there, TIMEOUT_S, f"{count} more messages on the direct connection")

    async def final(self, instrument: Instrument, depth: int) -> dict[str, Any]:
        """Wait until the gateway serves the book after the last order."""
        flow = self.market.flows[instrument.symbol]
        final = [
            list(map(list, view(levels, side, depth).items())) for side, levels in enumerate(flow.levels())
        ]

        async def served() -> dict[str, Any] | None:
            book = await self.rest(instrument.symbol, depth)
            return book if [book["bids"], book["asks"]] == final else None

        book: dict[str, Any] | None = await eventually(served, TIMEOUT_S, "the gateway has the last order")
        assert book is not None
        return book

    async def settled(
        self, instrument: Instrument, depth: int, names: tuple[str, ...] = (BOOK,), workers: int = 1
    ) -> None:
        """Wait until everything shows exactly the final book, as HTTP serves it.

        At the same seq, too, unless another worker may have answered, which may number the same view
        differently.
        """
        book = await self.final(instrument, depth)
        rows = {
            side: expected_rows(book[side], instrument.tick_size, instrument.lot_size)[::step]
            for side, step in (("bids", 1), ("asks", -1))
        }
        for name in names:

            async def shows(name: str = name) -> bool:
                shown = await self.visit.shown(name)
                said = (shown["symbol"], shown["digest"], shown["word"], shown["bids"], shown["asks"])
                digest = f"✓ {book['digest']:08x}"
                return said == (instrument.symbol, digest, "live", rows["bids"], rows["asks"])

            await eventually(shows, TIMEOUT_S, f"{name} shows the last book of {instrument.symbol}")
            assert workers > 1 or (await self.visit.shown(name))["seq"] == str(book["seq"])

    async def same(self) -> None:
        """Wait until no difference is shown."""

        async def is_same() -> bool:
            return await self.visit.difference() == SAME

        await eventually(is_same, TIMEOUT_S, "no difference is shown")


@asynccontextmanager
async def scene(
    browser: Any, redis_url: str, prefix: str, fragment: str = "", **gateway: object
) -> AsyncIterator[Scene]:
    """A page open on a filled market."""
    async with open_market(redis_url, prefix, gateway) as (deployment, market), opened(browser) as page:
        visit = Visit(page)
        await page.goto(f"{deployment.gateway_url}/{fragment}")
        yield Scene(deployment, market, visit)


async def test_what_is_shown_is_the_book_that_http_serves(browser: Any, redis_url: str, prefix: str) -> None:
    async with scene(browser, redis_url, prefix) as at:
        async with at.market.running():
            await at.broadcasts(20)
        await at.settled(FIRST, 50)

        await at.visit.choose("levels", "100")
        await at.settled(FIRST, 100)
        async with at.market.running():
            await at.visit.search(SECOND.symbol)
            await at.broadcasts(20)
        await at.settled(SECOND, 100)
        assert await at.visit.count(BOOK, "resyncs") == 0

        await at.visit.choose("group", "20")
        whole = await at.final(SECOND, 1000)

        async def is_grouped() -> bool:
            shown = await at.visit.shown()
            for side in ("bids", "asks"):
                groups = expected_groups(whole[side], 20, side)
                rows = expected_rows(groups, SECOND.tick_size, SECOND.lot_size)
                if shown[side] != (rows if side == "bids" else rows[::-1]):
                    return False
            return True

        await eventually(is_grouped, TIMEOUT_S, "rows of 20 ticks sum up the whole book exactly")
        spread = whole["asks"][0][0] - whole["bids"][0][0]
        ((text, *_),) = expected_rows([[spread, 1]], SECOND.tick_size, SECOND.lot_size)
        assert (await at.visit.shown())["middle"] == f"spread {text}", "the spread is that of the book"
        assert at.visit.problems == []


async def test_a_slow_link_falls_behind_by_conflation_and_converges(
    browser: Any, redis_url: str, prefix: str
) -> None:
    fragment = f"#{FIRST.symbol}?view=compare&levels=25"
    async with scene(browser, redis_url, prefix, fragment, workers=2) as at:
        visit = at.visit
        await eventually(visit.difference, TIMEOUT_S, "both connections have a book")
        async with at.market.running():
            await visit.press_pause()
            held = await eventually(visit.seq_held, TIMEOUT_S, "the pause is shown")
            await at.broadcasts(40, "direct")
            shown = await visit.shown("slow")
            assert (shown["seq"], shown["word"]) == (held, "paused")
            levels, distance = await visit.difference() or SAME
            assert levels > 0
            assert distance > 0

            await visit.press_pause()
            await visit.choose("rate", "8000")
            await at.broadcasts(40, "direct")
            # Fewer messages and no queue but the one credit: what is missing was merged, into deltas or into
            # snapshots.
            assert await visit.count("slow", "messages") < await visit.count("direct", "messages") / 2
        await at.settled(FIRST, 25, COMPARED, workers=2)
        await at.same()

        async with at.market.running():  # and again, with a link that is not slow
            await visit.choose("rate", "0")
            await visit.delay(0)
            await at.broadcasts(20, "direct")
        await at.settled(FIRST, 25, COMPARED, workers=2)
        for pane in COMPARED:
            assert await visit.count(pane, "resyncs") == 0
            assert await visit.count(pane, "reconnects") == 0
        assert visit.problems == []


async def test_nothing_old_looks_like_the_market_of_this_moment(
    browser: Any, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Without its ingestor, then without its gateway, and with both again."""
    common = {"redis_url": redis_url, "prefix": prefix, "admin_port": 0}
    async with scene(browser, redis_url, prefix, f"#{FIRST.symbol}", stale_ms=STALE_MS) as at:
        visit = at.visit
        await at.settled(FIRST, 50)
        assert not await visit.sees("alarm")
        colours = await colours_of(visit)

        async def warned(of: str, word: str) -> bool:
            text = await visit.text("alarm")
            return of in text and "Last update" in text and (await visit.shown())["word"] == word

        books, gateway = at.deployment.services
        await books.stop()
        await eventually(lambda: warned("out of date", "stale"), TIMEOUT_S, "the page says that it is stale")
        assert (await visit.page.title()).startswith("stale")
        assert (await visit.shown())["lag"] == "–"
        assert (await visit.shown())["bids"], "the last book can still be read"
        assert await colours_of(visit) & colours == set()
        await visit.page.keyboard.press("v")
        await eventually(lambda: visit.text("verdict"), TIMEOUT_S, "the comparison is shown")

        async def nothing_is_compared() -> bool:
            return "not known" in await visit.text("verdict") and await visit.difference() is None

        await eventually(nothing_is_compared, TIMEOUT_S, "nothing is said of books that are stale")
        await visit.page.keyboard.press("b")

        books = Service("ingestor", tmp_path, {**common, "interval_ms": 20})
        try:
            async with at.market.running():
                await at.broadcasts(5)
            await at.settled(FIRST, 50)
            assert not await visit.sees("alarm")
            assert await colours_of(visit) == colours

            await visit.page.keyboard.press("v")
            async with at.market.running():
                await at.broadcasts(20, "direct")
            await at.settled(FIRST, 50, COMPARED)
            await at.same()
            await gateway.stop()
            await eventually(lambda: warned("No connection", "connection lost"), TIMEOUT_S, "it is lost")
            await eventually(nothing_is_compared, TIMEOUT_S, "nothing is said without a gateway")

            async def line_ended() -> bool:
                return bool(await visit.page.evaluate(LINE_ENDS) > 15)

            await eventually(line_ended, TIMEOUT_S, "lines end where the data ended")
            port = at.deployment.gateway_url.rpartition(":")[2]
            gateway = Service("gateway", tmp_path, {**common, "port": port})
            try:
                async with at.market.running():
                    await at.broadcasts(10, "direct")
                await at.settled(FIRST, 50, COMPARED)
                assert not await visit.sees("alarm")
            finally:
                await gateway.stop()
        finally:
            await books.stop()
        for pane in COMPARED:
            assert await visit.count(pane, "reconnects") > 0
            assert await visit.count(pane, "resyncs") == 0
        # Chromium reports every failed attempt to connect, even if the page handles it.
        assert [problem for problem in visit.problems if "WebSocket connection to" not in problem] == []


async def colours_of(visit: Visit) -> set[str]:
    """The colours in which best bid and best ask are written."""
    colours: list[str] = await visit.page.evaluate(
        "['bid', 'ask'].map((id) => getComputedStyle(document.getElementById(id)).color)"
    )
    return set(colours)
