"""The JavaScript client in Chromium: a page that is not drawn, React, a page to paste, and its digest."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from depthcast.shared.digest import digest_of
from depthcast.shared.types import MAX_INTEGER
from tests.browser.chromium import opened as new_page
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, served
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 30.0
COMPLAINTS: Final = ("error", "warning")


@asynccontextmanager
async def market(redis_url: str, prefix: str) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    """A gateway with the books of AAA and BBB."""
    async with served(redis_url, prefix) as (gateway, ingestor), ingestor.beating():
        yield gateway, ingestor


async def _send(path: Path, route: Any) -> None:
    await route.fulfill(path=path)


@asynccontextmanager
async def opened(
    browser: Any, gateway: RunningGateway, html: str, scripts: Mapping[str, Path] | None = None
) -> AsyncIterator[Any]:
    """A page of the gateway's origin with that content and `scripts` by name; nothing in it may complain."""
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.extend([said.text] * (said.type in COMPLAINTS)))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name, path in (scripts or {}).items():
        await page.route(f"**/{name}", partial(_send, path))
    await page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    # What Chromium did not get from this machine may open no connection to it.
    await page.goto(f"{gateway.url}/healthz")
    await page.set_content(html)
    try:
        yield page
    finally:
        await context.close()
    assert complaints == []


# --- a page that is not drawn

PACED: Final = """<!doctype html><link rel="icon" href="data:,"><script type="module">
import { Client, animationFrame } from "/web/depthcast.js";
window.client = new Client(location.origin, { pace: animationFrame, creditWindow: 4 });
client.subscribe("AAA", { depth: 10 });
</script>"""

READ: Final = """() => {
  const view = window.client?.view("AAA");
  if (!view) return null;
  const { snapshots, deltas, merged } = client.counters;
  return { state: view.state, digest: view.book.digest, messages: snapshots + deltas, merged };
}"""


@asynccontextmanager
async def not_drawn(page: Any) -> AsyncIterator[None]:
    """The browser draws nothing inside the block, as for a tab that nobody sees."""
    await page.evaluate("""async () => {
      await new Promise(requestAnimationFrame); // with it, credit was given back for all that came before
      window.drawing = requestAnimationFrame;
      window.undrawn = [];
      window.requestAnimationFrame = (draw) => undrawn.push(draw);
    }""")
    yield
    await page.evaluate("window.requestAnimationFrame = drawing; undrawn.forEach(requestAnimationFrame)")


async def current(page: Any, ingestor: FakeIngestor) -> dict[str, Any]:
    """Wait until the page has the book as it is; returns what it read."""

    async def read() -> dict[str, Any] | None:
        shown: dict[str, Any] | None = await page.evaluate(READ)
        right = shown and (shown["state"], shown["digest"]) == ("live", ingestor.books["AAA"].digest)
        return shown if right else None

    found: dict[str, Any] | None = await eventually(read, TIMEOUT_S, "the page is current")
    assert found is not None
    return found


async def test_a_page_that_is_not_drawn_is_sent_next_to_nothing(
    browser: Any, redis_url: str, prefix: str
) -> None:
    async with (
        market(redis_url, prefix) as (gateway, ingestor),
        opened(browser, gateway, PACED) as page,
    ):
        before = await current(page, ingestor)
        for number in range(20):
            await ingestor.publish("AAA", {100: 10 + number})
            before = await current(page, ingestor)
        assert (before["messages"], before["merged"]) == (21, 0)

        async with not_drawn(page):
            for number in range(40):
                await ingestor.publish("AAA", {100: 100 + number})
            last = ingestor.books["AAA"].seq

            def gateway_has_it() -> bool:
                replica = gateway.process.core.market.listings["AAA"].replica
                return replica is not None and replica.seq >= last

            await eventually(gateway_has_it, TIMEOUT_S, "the gateway has all of it")
            asleep = await page.evaluate(READ)
            assert asleep["messages"] - before["messages"] <= 4
        after = await current(page, ingestor)
        assert after["messages"] - before["messages"] <= 6
        assert after["merged"] >= 30


# --- React, by script tags

REACT: Final = """<!doctype html><link rel="icon" href="data:,"><div id="root"></div>
<script src="/umd/react.js"></script><script src="/umd/react-dom.js"></script>
<script type="module">
import { Client } from "/web/depthcast.js";
import { bookHook } from "/web/react.js";

const useBook = bookHook(React.useSyncExternalStore);
const root = ReactDOM.createRoot(document.getElementById("root"));
window.client = new Client(location.origin);
window.draws = 0;

function Bids({ depth }) {
  const book = useBook(client, "AAA", { depth });
  window.draws += 1;
  const texts = book.bids.map(([price, quantity]) => `${book.price(price)} x ${book.quantity(quantity)}`);
  return React.createElement("p", { className: book.state }, texts.join(", "));
}

window.show = (...depths) => root.render(React.createElement(
  React.StrictMode, null, depths.map((depth) => React.createElement(Bids, { key: depth, depth }))));
show(1, 5);
</script>"""

LIVE: Final = """texts =>
  texts.join() === [...document.querySelectorAll("p.live")].map(({ innerText }) => innerText).join()"""


async def test_components_of_react_show_a_book(
    browser: Any, redis_url: str, prefix: str, npm_folder: Path
) -> None:
    modules = npm_folder / "node_modules"
    scripts = {
        f"umd/{name}.js": modules / name / "umd" / f"{name}.development.js" for name in ("react", "react-dom")
    }
    async with (
        market(redis_url, prefix) as (gateway, ingestor),
        opened(browser, gateway, REACT, scripts) as page,
    ):

        async def shows(small: str, large: str) -> None:
            await page.wait_for_function(LIVE, arg=[small, large], polling=20, timeout=TIMEOUT_S * 1000)

        await shows("1.00 x 0.005", "1.00 x 0.005, 0.99 x 0.006, 0.98 x 0.007")
        await ingestor.publish("AAA", {100: 0, 97: 1})
        await shows("0.99 x 0.006", "0.99 x 0.006, 0.98 x 0.007, 0.97 x 0.001")
        draws = await page.evaluate("draws")
        await ingestor.publish("AAA", {}, {102: 50})  # one component shows it, and strict mode draws twice
        last = ingestor.books["AAA"].digest
        await page.wait_for_function(f"client.view('AAA').book.digest === {last}", polling=20)
        assert await page.evaluate("draws") <= draws + 2
        assert await page.evaluate("client.counters.snapshots") <= 2
        await page.evaluate("show()")
        await page.wait_for_function("client.views.size === 0", polling=20)


# --- the page in the documents


async def test_the_page_in_the_documents_shows_a_book(browser: Any, redis_url: str, prefix: str) -> None:
    text = (ROOT / "docs" / "javascript.md").read_text(encoding="utf-8")
    html = text.split("```html\n")[1].split("```")[0]
    assert "BTC-USD" in html
    html = f'<link rel="icon" href="data:,">{html.replace("BTC-USD", "AAA")}'
    async with (
        market(redis_url, prefix) as (gateway, _),
        opened(browser, gateway, html) as page,
    ):
        await page.wait_for_function("document.body.textContent === '1.00'", polling=20)


# --- its digest

DIGESTS: Final = """async ([module, books]) => {
  const { digestOf } = await import(module);
  return books.map(([bids, asks]) => digestOf(bids, asks));
}"""


def random_books(seed: int, count: int) -> list[list[list[list[int]]]]:
    """Books with prices and quantities over the whole range."""
    random = Random(seed)

    def level() -> list[int]:
        reach = 10 ** random.randint(1, 15)
        return [random.randint(-reach, reach), random.randint(1, MAX_INTEGER >> random.randint(0, 50))]

    def side() -> list[list[int]]:
        levels = [level() for _ in range(random.randint(0, 20))]
        return list({level[0]: level for level in levels}.values())

    return [[side(), side()] for _ in range(count)]


async def test_its_digest_is_ours(browser: Any) -> None:
    books = random_books(seed=1, count=300)
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "web").glob("*.js")}

    async def serve(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        kind = "text/javascript" if name in files else "text/html"
        await route.fulfill(body=files.get(name, ""), content_type=kind)

    async with new_page(browser) as page:
        await page.route("**/*", serve)
        await page.goto("http://client.test/")
        digests = await page.evaluate(DIGESTS, ["http://client.test/depthcast.js", books])
    assert digests == [
        digest_of([(p, q) for p, q in bids], [(p, q) for p, q in asks]) for bids, asks in books
    ]
