"""The page in a real browser, from a real gateway: it shows the gateway's book, however slow its link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from depthcast.runtime.deployment import Deployment, Service
from depthcast.shared.instruments import Instrument
from tests.browser.chromium import launched, opened
from tests.browser.market import INSTRUMENTS, Market, open_market
from tests.browser.visit import Visit, expected_rows
from tests.order_flow import view
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

FIRST, SECOND = INSTRUMENTS
PANES = ("live", "slow")
SAME = (0, 0)
TIMEOUT_S = 30.0


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

    async def broadcasts(self, count: int) -> None:
        """Wait until the direct connection was sent `count` more messages."""
        begun = await self.visit.count("live", "messages")

        async def there() -> bool:
            return await self.visit.count("live", "messages") >= begun + count

        await eventually(there, TIMEOUT_S, f"{count} more messages on the direct connection")

    async def settled(self, instrument: Instrument, depth: int, workers: int = 1) -> None:
        """Wait until both panes show exactly the final book, as HTTP serves it.

        At the same seq, too, unless another worker may have answered, which may number the same view
        differently.
        """
        flow = self.market.flows[instrument.symbol]
        final = [
            list(map(list, view(levels, side, depth).items())) for side, levels in enumerate(flow.levels())
        ]

        async def served() -> dict[str, Any] | None:
            book = await self.rest(instrument.symbol, depth)
            return book if [book["bids"], book["asks"]] == final else None

        book = await eventually(served, TIMEOUT_S, "the gateway has the last order")
        assert book is not None
        for pane in PANES:

            async def shows(pane: str = pane) -> bool:
                shown = await self.visit.pane(pane)
                return (shown["symbol"], shown["digest"]) == (instrument.symbol, f"✓ {book['digest']:08x}")

            await eventually(shows, TIMEOUT_S, f"{pane} shows the last book of {instrument.symbol}")
            shown = await self.visit.pane(pane)
            assert shown["state"] == "live"
            assert workers > 1 or shown["seq"] == str(book["seq"])
            for side in ("bids", "asks"):
                rows = expected_rows(book[side], instrument.tick_size, instrument.lot_size)
                assert shown[side] == (rows if side == "bids" else rows[::-1]), (pane, side)
        await eventually(self._is_same, TIMEOUT_S, "no difference is shown")

    async def _is_same(self) -> bool:
        return await self.visit.difference() == SAME


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    """A browser for all tests here; each page has its own profile."""
    async with launched() as running:
        yield running


@asynccontextmanager
async def scene(browser: Any, redis_url: str, prefix: str, **gateway: object) -> AsyncIterator[Scene]:
    """A page open on a filled market."""
    async with open_market(redis_url, prefix, gateway) as (deployment, market), opened(browser) as page:
        visit = Visit(page)
        answer = await page.goto(deployment.gateway_url)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        await eventually(visit.difference, TIMEOUT_S, "both connections have a book")
        yield Scene(deployment, market, visit)


async def test_what_is_shown_is_the_book_that_http_serves(browser: Any, redis_url: str, prefix: str) -> None:
    async with scene(browser, redis_url, prefix) as at:
        async with at.market.running():
            await at.broadcasts(20)
        await at.settled(FIRST, 25)

        await at.visit.choose("depth", "10")
        await at.settled(FIRST, 10)
        async with at.market.running():
            await at.visit.choose("symbol", SECOND.symbol)
            await at.broadcasts(20)
        await at.settled(SECOND, 10)
        for pane in PANES:
            assert await at.visit.count(pane, "resyncs") == 0
        assert await at.visit.fits(360)
        assert at.visit.problems == []


async def test_a_slow_link_falls_behind_by_conflation_and_converges(
    browser: Any, redis_url: str, prefix: str
) -> None:
    async with scene(browser, redis_url, prefix, workers=2) as at:
        visit = at.visit
        async with at.market.running():
            await visit.press_pause()
            held = await eventually(visit.seq_held, TIMEOUT_S, "the pause is shown")
            await at.broadcasts(40)
            shown = await visit.pane("slow")
            assert (shown["seq"], shown["state"]) == (held, "paused")
            levels, distance = await visit.difference() or SAME
            assert levels > 0
            assert distance > 0

            await visit.press_pause()
            await visit.choose("rate", "8000")
            await at.broadcasts(40)
            # Fewer messages and no queue but the one credit: what is missing was merged, into deltas or into
            # snapshots.
            assert await visit.count("slow", "messages") < await visit.count("live", "messages") / 2
        await at.settled(FIRST, 25, workers=2)

        async with at.market.running():  # and again, with a link that is not slow
            await visit.choose("rate", "")
            await visit.delay(0)
            await at.broadcasts(20)
        await at.settled(FIRST, 25, workers=2)
        for pane in PANES:
            assert await visit.count(pane, "resyncs") == 0
            assert await visit.count(pane, "reconnects") == 0
        assert visit.problems == []


async def test_a_gateway_that_restarts_is_found_again(
    browser: Any, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    async with scene(browser, redis_url, prefix) as at:
        await at.settled(FIRST, 25)
        port = at.deployment.gateway_url.rpartition(":")[2]
        await at.deployment.services[-1].stop()

        async def waits() -> bool:
            return all([(await at.visit.pane(pane))["state"] == "reconnecting" for pane in PANES])

        await eventually(waits, TIMEOUT_S, "both connections try again")
        assert (await at.visit.pane("live"))["bids"]
        options = {"redis_url": redis_url, "prefix": prefix, "port": port, "admin_port": 0}
        gateway = Service("gateway", tmp_path, options)
        try:
            async with at.market.running():
                await at.broadcasts(10)
            await at.settled(FIRST, 25)
        finally:
            await gateway.stop()
        for pane in PANES:
            assert await at.visit.count(pane, "reconnects") > 0
            assert await at.visit.count(pane, "resyncs") == 0
        # Chromium reports every failed attempt to connect, even if the page handles it.
        assert [problem for problem in at.visit.problems if "WebSocket connection to" not in problem] == []
