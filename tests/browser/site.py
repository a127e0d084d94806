"""A gateway for tests of the page: a deep book, an empty one, two to change, and a thousand symbols."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
from aiohttp import web

from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.types import Symbol
from tests.browser.chromium import launched
from tests.browser.visit import Visit, visit_of
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, fake_ingestor, running_gateway
from tests.waiting import eventually

TIMEOUT_S: Final = 30.0
FEW: Final = ("DEEP", "EMPTY", "HIDDEN", "MOVES")
MANY: Final = [f"S{number:04}" for number in range(1000)]
BIDS: Final = {6_500_000 - 3 * away: 1 + away * away for away in range(150)}
ASKS: Final = {6_500_010 + 4 * away: 2 + 7 * away for away in range(150)}


class Site(NamedTuple):
    """What the tests share. `other_port`: of another site, which shows in a frame what its query names."""

    gateway: RunningGateway
    ingestor: FakeIngestor
    browser: Any
    other_port: int

    def visit(self, fragment: str = "#DEEP") -> Any:
        """Open the page."""
        return visit_of(self.browser, f"{self.gateway.url}/{fragment}")


@asynccontextmanager
async def open_site(redis_server: str) -> AsyncIterator[Site]:
    """A site whose books stay live, and which notices quickly what is listed."""
    async with launched() as browser, other_site() as port, filled(redis_server) as ingestor:
        framed_by = f"http://127.0.0.1:{port}"
        with (
            pytest.MonkeyPatch.context() as patch,
            running_gateway(redis_server, ingestor.keys.prefix, frame_origins=framed_by) as gateway,
        ):
            patch.setattr("depthcast.gateway.runtime.market_reader.POLL_S", 0.2)
            await eventually(lambda: is_live(gateway), TIMEOUT_S, "the book is live")
            yield Site(gateway, ingestor, browser, port)


@asynccontextmanager
async def filled(redis_server: str) -> AsyncIterator[FakeIngestor]:
    """The ingestor, with its books."""
    async with fake_ingestor(redis_server, f"test-{uuid.uuid4().hex}", *FEW) as ingestor:
        more: dict[Any, Any] = {symbol: to_json(Instrument(Symbol(symbol), "0.5", "1")) for symbol in MANY}
        await ingestor.redis.hset(ingestor.keys.instruments, mapping=more)
        await ingestor.birth("DEEP", BIDS, ASKS)
        await ingestor.birth("EMPTY")
        for symbol in ("HIDDEN", "MOVES"):
            await ingestor.birth(symbol, {6_500_000: 5}, {6_500_010: 7})
        async with ingestor.beating():
            yield ingestor


async def is_live(gateway: RunningGateway) -> bool:
    """Whether the gateway calls the deep book live."""
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/v1/books/DEEP") as answer:
        return answer.status == 200 and (await answer.json())["state"] == "live"


@asynccontextmanager
async def other_site() -> AsyncIterator[int]:
    """A site that is no gateway; its port."""
    app = web.Application()
    app.router.add_get("/", framing)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        yield port
    finally:
        await runner.cleanup()


async def framing(request: web.Request) -> web.Response:
    """A page that shows another one."""
    text = f'<!doctype html><iframe src="{request.query["of"]}"></iframe>'
    return web.Response(text=text, content_type="text/html")


async def shows(visit: Visit, symbol: str, word: str = "live", middle: str = "") -> None:
    """Wait until the book of `symbol` is drawn, in that state, and the text in its middle begins so."""

    async def so() -> bool:
        shown = await visit.shown()
        return (shown.get("symbol"), shown["word"]) == (symbol, word) and shown["middle"].startswith(middle)

    await eventually(so, TIMEOUT_S, f"{symbol} is {word}")


async def has_bids(visit: Visit, *rows: list[str]) -> None:
    """Wait until exactly these rows of bids are drawn."""

    async def so() -> bool:
        bids: list[list[str]] = (await visit.shown())["bids"]
        return bids == list(rows)

    await eventually(so, TIMEOUT_S, f"bids are {rows}")
