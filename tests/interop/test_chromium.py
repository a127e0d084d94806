"""A real browser's WebSocket follows a moving market, with and without compression."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.chromium import launched, opened
from tests.integration.gateway_harness import RunningGateway
from tests.interop.market import SYMBOLS, books_of, moving, said_books, seqs
from tests.interop.peers import FOLDER
from tests.interop.test_interop import ENDS, gateways

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

OPEN = """async ([url, symbols]) => {
  const { Follower } = await import("/tests/interop/follow.mjs");
  window.follower = new Follower(new WebSocket(url, ["depthcast.v1.json"]));
  await follower.welcomed();
  follower.send({ op: "subscribe", id: 1, symbols, depth: 100 });
  const negotiated = await follower.subscribed(symbols);
  await follower.ping();
  return negotiated;
}"""
REACH = "async (targets) => JSON.parse(JSON.stringify(await follower.reach(targets)))"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Any]:
    """A browser for all tests here; each page has its own profile."""
    async with launched() as running:
        yield running


@pytest.mark.parametrize(("compressed", "ending"), [(True, "close"), (True, "misuse"), (False, "wait")])
async def test_a_browser_ends_with_the_gateways_books(
    browser: Any, redis_url: str, prefix: str, compressed: bool, ending: str
) -> None:
    async with gateways(redis_url, prefix) as open_gateways, opened(browser) as page:
        gateway: RunningGateway = open_gateways.compressing if compressed else open_gateways.plain
        module = (FOLDER / "follow.mjs").read_text(encoding="utf-8")
        await page.route(
            "**/tests/interop/follow.mjs",
            lambda route: route.fulfill(body=module, content_type="text/javascript"),
        )
        await page.goto(f"{gateway.url}/web/digest.js")
        async with moving(open_gateways.ingestor) as further:
            negotiated = await page.evaluate(OPEN, [gateway.ws_url, SYMBOLS])
            assert negotiated["protocol"] == "depthcast.v1.json"
            assert ("permessage-deflate" in negotiated["extensions"]) == compressed
            await further()
        said = await page.evaluate(REACH, seqs(open_gateways.ingestor))
        assert said_books(said["books"]) == books_of(open_gateways.ingestor)
        assert said["counts"]["delta"] > 10
        assert (gateway.process.core.counters.deflated > 5) == compressed
        if ending == "wait":
            gateway.stop()
        closed = await page.evaluate("(ending) => follower.end(ending)", ending)
        code, reason = ENDS[ending]
        assert closed["code"] == code
        assert reason is None or closed["reason"] == reason
