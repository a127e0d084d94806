"""The JavaScript client with a real gateway: every symbol, in both encodings, and a tab that nobody sees."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from tests.browser.chromium import launched
from tests.integration.gateway_harness import (
    FakeIngestor,
    RunningGateway,
    fake_ingestor,
    running_gateway,
    served,
)
from tests.npm import node
from tests.waiting import eventually

FOLDER = Path(__file__).parent
SYMBOLS = tuple(f"S{number}" for number in range(120))
TIMEOUT_S = 30.0
COMPLAINTS: Final = ("error", "warning")
BIDS, ASKS = {100: 5, 99: 6}, {101: 8}


@asynccontextmanager
async def program(name: str, *words: str) -> AsyncIterator[Process]:
    """A program of this folder under Node, on its own WebSocket."""
    options = ("--experimental-websocket", "--no-warnings")
    process = await asyncio.create_subprocess_exec(
        node(), *options, str(FOLDER / name), *words, stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def reach(process: Process, ingestor: FakeIngestor) -> dict[str, int]:
    """Wait until the program has every book; returns its counters."""
    assert process.stdin is not None
    assert process.stdout is not None
    digests = {symbol: replica.digest for symbol, replica in ingestor.books.items()}
    process.stdin.write(json.dumps(digests).encode() + b"\n")
    async with asyncio.timeout(TIMEOUT_S):
        line = await process.stdout.readline()
    counters: dict[str, int] = json.loads(line)
    return counters


@asynccontextmanager
async def relay(targets: list[str]) -> AsyncIterator[str]:
    """An address that leads to the last of `targets`, as a load balancer's does."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = targets[-1].rpartition("/")[2].partition(":")
        from_target, to_target = await asyncio.open_connection(host, int(port))
        with suppress(ConnectionError):
            await asyncio.gather(copy(reader, to_target), copy(from_target, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_every_symbol_is_followed_also_on_another_gateway(
    redis_url: str, prefix: str, encoding: str
) -> None:
    async with fake_ingestor(redis_url, prefix, *SYMBOLS) as ingestor:
        for symbol in SYMBOLS:
            await ingestor.birth(symbol, BIDS, ASKS)
        with running_gateway(redis_url, prefix) as gateway, running_gateway(redis_url, prefix) as other:
            targets = [gateway.url]
            async with (
                ingestor.beating(),
                relay(targets) as url,
                program("follow_all.mjs", url, encoding) as process,
            ):
                counters = await reach(process, ingestor)
                assert (counters["snapshots"], counters["ignored"]) == (len(SYMBOLS), 0)

                await ingestor.publish_many({symbol: ({100: 6}, {}) for symbol in SYMBOLS})
                await ingestor.register("LATER")
                await ingestor.birth("LATER", BIDS, ASKS)
                counters = await reach(process, ingestor)
                assert (counters["snapshots"], counters["reconnects"]) == (len(SYMBOLS) + 1, 0)
                assert counters["deltas"] >= len(SYMBOLS)

                targets.append(other.url)
                gateway.stop()
                await ingestor.publish_many({symbol: ({}, {101: 9}) for symbol in ingestor.books})
                counters = await reach(process, ingestor)
                assert counters["reconnects"] >= 1
                assert counters["resumed"] == len(ingestor.books)
                assert counters["gaps"] + counters["mismatches"] + counters["ignored"] == 0


# --- in a browser


@asynccontextmanager
async def opened(
    browser: Any, gateway: RunningGateway, html: str, scripts: Mapping[str, Path] = MappingProxyType({})
) -> AsyncIterator[Any]:
    """A page of the gateway's origin with that content; nothing in it may complain."""
    page = await browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.extend([said.text] * (said.type in COMPLAINTS)))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.route("**/test.html", lambda route: route.fulfill(body=html, content_type="text/html"))
    for name, path in scripts.items():
        text = path.read_text(encoding="utf-8")
        await page.route(
            f"**/{name}", lambda route, text=text: route.fulfill(body=text, content_type="text/javascript")
        )
    await page.goto(f"{gateway.url}/test.html")
    yield page
    assert complaints == []


HIDDEN: Final = """<!doctype html><link rel="icon" href="data:,"><script type="module">
import { Client, animationFrame } from "/web/depthcast.js";
window.client = new Client(location.origin, { pace: animationFrame, creditWindow: 4 });
client.subscribe("AAA", { depth: 10 });
</script>"""

READ: Final = """() => {
  const { state, book } = client.view("AAA");
  const { snapshots, deltas, merged } = client.counters;
  return { state, digest: book.digest, messages: snapshots + deltas, merged };
}"""


@asynccontextmanager
async def hidden(page: Any) -> AsyncIterator[None]:
    """Another tab is in front inside the block."""
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
    other = await page.context.new_page()
    await other.bring_to_front()
    await page.wait_for_function("document.visibilityState === 'hidden'", polling=20)
    try:
        yield
    finally:
        await page.bring_to_front()
        await other.close()


@pytest.mark.slow
async def test_a_hidden_tab_is_sent_next_to_nothing_and_catches_up(redis_url: str, prefix: str) -> None:
    async with (
        launched() as browser,
        served(redis_url, prefix) as (gateway, ingestor),
        ingestor.beating(),
        opened(browser, gateway, HIDDEN) as page,
    ):

        async def shown() -> dict[str, Any]:
            read: dict[str, Any] = await page.evaluate(READ)
            return read

        async def current() -> dict[str, Any] | None:
            read = await shown()
            right = (read["state"], read["digest"]) == ("live", ingestor.books["AAA"].digest)
            return read if right else None

        await eventually(current, TIMEOUT_S, "the book is there")
        for number in range(20):
            await ingestor.publish("AAA", {100: 10 + number})
            await eventually(current, TIMEOUT_S, "a tab in front is current")
        before = await shown()
        assert (before["messages"], before["merged"]) == (21, 0)

        async with hidden(page):
            for number in range(40):
                await ingestor.publish("AAA", {100: 100 + number})
            last = ingestor.books["AAA"].seq

            def gateway_has_it() -> bool:
                replica = gateway.process.core.market.listings["AAA"].replica
                return replica is not None and replica.seq >= last

            await eventually(gateway_has_it, TIMEOUT_S, "the gateway has all of it")
            asleep = await shown()
            assert asleep["messages"] - before["messages"] <= 4
            assert asleep["digest"] != ingestor.books["AAA"].digest
        after = await eventually(current, TIMEOUT_S, "a tab that is in front again is current")
        assert after is not None
        assert after["messages"] - before["messages"] <= 6
        assert after["merged"] >= 30


REACT: Final = """<!doctype html><link rel="icon" href="data:,"><div id="root"></div>
<script src="/react.development.js"></script><script src="/react-dom.development.js"></script>
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
  return React.createElement("p", { id: `bids${depth}`, className: book.state }, texts.join(", "));
}

window.show = (...depths) => root.render(React.createElement(
  React.StrictMode, null, depths.map((depth) => React.createElement(Bids, { key: depth, depth }))));
show(1, 5);
</script>"""


@pytest.mark.slow
async def test_components_of_react_show_a_book(redis_url: str, prefix: str, npm_folder: Path) -> None:
    modules = npm_folder / "node_modules"
    scripts = {
        f"{name}.development.js": modules / name / "umd" / f"{name}.development.js"
        for name in ("react", "react-dom")
    }
    async with (
        launched() as browser,
        served(redis_url, prefix) as (gateway, ingestor),
        ingestor.beating(),
        opened(browser, gateway, REACT, scripts) as page,
    ):

        async def shows(small: str, large: str) -> None:
            async def so() -> bool:
                texts = [await page.text_content(f"p.live#bids{depth}", timeout=10_000) for depth in (1, 5)]
                return texts == [small, large]

            await eventually(so, TIMEOUT_S, f"{small} and {large} are shown")

        await shows("1.00 x 0.005", "1.00 x 0.005, 0.99 x 0.006, 0.98 x 0.007")
        await ingestor.publish("AAA", {100: 0, 97: 1})
        await shows("0.99 x 0.006", "0.99 x 0.006, 0.98 x 0.007, 0.97 x 0.001")
        draws = await page.evaluate("draws")
        await ingestor.publish("AAA", {}, {102: 50})  # only on the other side
        last = ingestor.books["AAA"].digest
        await page.wait_for_function(f"client.view('AAA').book.digest === {last}", polling=20)
        assert (
            await page.evaluate("draws") <= draws + 4
        )  # of the component that shows it, twice in strict mode
        assert await page.evaluate("client.counters.snapshots") <= 2
        await page.evaluate("show()")
        await page.wait_for_function("client.views.size === 0", polling=20)


@pytest.mark.slow
async def test_the_page_in_the_documents_shows_a_book(redis_url: str, prefix: str) -> None:
    text = (FOLDER.parents[1] / "docs" / "javascript.md").read_text(encoding="utf-8")
    html = text.split("```html\n")[1].split("```")[0]
    assert "BTC-USD" in html
    html = f'<link rel="icon" href="data:,">{html.replace("BTC-USD", "AAA")}'
    async with (
        launched() as browser,
        served(redis_url, prefix) as (gateway, ingestor),
        ingestor.beating(),
        opened(browser, gateway, html) as page,
    ):
        await page.wait_for_function("document.body.textContent === '1.00'", polling=20)
