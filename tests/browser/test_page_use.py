"""Using the page in a real browser: layout, search, keys, address, programs to copy, and what axe finds."""

import asyncio
import os
import re
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from depthcast.shared.instruments import Instrument, to_json
from depthcast.shared.types import Symbol
from tests.browser.chromium import launched
from tests.browser.visit import Visit, visit_of
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, fake_ingestor, running_gateway
from tests.npm import node
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

FOLDER: Final = Path(__file__).parent
WEB: Final = FOLDER.parents[1] / "web"
TIMEOUT_S: Final = 30.0
MANY: Final = [f"S{number:04}" for number in range(1000)]
BIDS: Final = {6_500_000 - 3 * away: 1 + away * away for away in range(150)}
ASKS: Final = {6_500_010 + 4 * away: 2 + 7 * away for away in range(150)}

AXE: Final = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) =>
    `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(" | ")}`);
}"""


class Site(NamedTuple):
    """A gateway with a deep book, an empty one, and a thousand symbols without any."""

    gateway: RunningGateway
    ingestor: FakeIngestor
    browser: Any

    def visit(self, fragment: str = "#DEEP") -> Any:
        """Open the page."""
        return visit_of(self.browser, f"{self.gateway.url}/{fragment}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(redis_server: str) -> AsyncIterator[Site]:
    """What all tests here share; its books stay live."""
    prefix = f"test-{uuid.uuid4().hex}"
    async with launched() as browser, fake_ingestor(redis_server, prefix, "DEEP", "EMPTY") as ingestor:
        more: dict[Any, Any] = {symbol: to_json(Instrument(Symbol(symbol), "0.5", "1")) for symbol in MANY}
        await ingestor.redis.hset(ingestor.keys.instruments, mapping=more)
        await ingestor.birth("DEEP", BIDS, ASKS)
        await ingestor.birth("EMPTY")
        with running_gateway(redis_server, prefix) as gateway:
            async with ingestor.beating():
                await eventually(lambda: is_live(gateway), TIMEOUT_S, "the book is live")
                yield Site(gateway, ingestor, browser)


async def is_live(gateway: RunningGateway) -> bool:
    """Whether the gateway calls the deep book live."""
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/v1/books/DEEP") as answer:
        return answer.status == 200 and (await answer.json())["state"] == "live"


async def shows(visit: Visit, symbol: str, word: str = "live", middle: str = "") -> None:
    """Wait until the book of `symbol` is drawn, in that state, and the text in its middle begins so."""

    async def so() -> bool:
        shown = await visit.shown()
        return (shown.get("symbol"), shown["word"]) == (symbol, word) and shown["middle"].startswith(middle)

    await eventually(so, TIMEOUT_S, f"{symbol} is {word}")


# --- layout


@pytest.mark.parametrize("width", [360, 1280, 1920])
async def test_it_fits_with_the_spread_in_the_middle(site: Site, width: int) -> None:
    async with site.visit() as visit:
        await visit.resize(width)
        await shows(visit, "DEEP")
        for key in ("b", "v"):
            await visit.page.keyboard.press(key)
            across, down = await visit.overflow()
            assert across == 0
            assert down == 0 or width < 1280, "a wide screen shows all of it"
        await visit.page.keyboard.press("b")
        assert await visit.away_from_middle() < 12
        ladder = await visit.page.locator("#book .ladder").bounding_box()
        assert ladder["y"] < 250, "on a small screen the book comes first"
        assert ladder["height"] > 400
        rows = await visit.page.locator("#book .bids tr").count()
        assert rows >= 50

        await visit.page.locator("#book .ladder").evaluate("(ladder) => { ladder.scrollTop = 0; }")
        assert await visit.away_from_middle() > 100
        await visit.page.keyboard.press("c")
        assert await visit.away_from_middle() < 12


async def test_a_tall_screen_is_filled_with_rows(site: Site) -> None:
    async with site.visit("#DEEP?levels=10") as visit:
        await visit.resize(1920, 2000)
        await shows(visit, "DEEP")

        async def filled() -> bool:
            height: float = await visit.page.locator("#book table").evaluate("(table) => table.offsetHeight")
            return height > 1700 and await visit.away_from_middle() < 12

        await eventually(filled, TIMEOUT_S, "rows fill the height")


# --- what axe finds


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(site: Site, npm_folder: Path, scheme: str) -> None:
    source = (npm_folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")

    async def check(visit: Visit, what: str) -> None:
        found = await visit.page.evaluate(AXE)
        assert found == [], what

    async with site.visit() as visit:
        await visit.page.emulate_media(color_scheme=scheme)
        await shows(visit, "DEEP")
        await visit.page.evaluate(source)
        await check(visit, "the book")
        await visit.page.keyboard.press("/")
        await visit.page.locator("#symbols [data-symbol='DEEP']").wait_for()
        await check(visit, "the search")
        await visit.page.keyboard.press("Escape")
        await visit.page.keyboard.press("?")
        await check(visit, "the keys")
        await visit.page.keyboard.press("?")
        await visit.page.keyboard.press("v")
        await eventually(visit.difference, TIMEOUT_S, "two books are compared")
        await check(visit, "the comparison")
        await visit.resize(360)
        await visit.page.keyboard.press("b")
        await visit.search("S0001")
        await shows(visit, "S0001", "stale")
        await check(visit, "a book that is not live, on a telephone")


# --- symbols


async def test_a_symbol_of_a_thousand_is_found_by_keyboard(site: Site) -> None:
    async with site.visit() as visit:
        page = visit.page
        await shows(visit, "DEEP")
        await page.keyboard.press("/")
        options = page.locator("#symbols [role=option]")
        await page.locator("#symbols .more").wait_for()
        assert await options.count() == 50
        assert "952 more" in await page.locator("#symbols .more").inner_text()
        assert await options.first.inner_text() == "DEEP\ntick 0.01 · lot 0.001\nlive"

        await page.keyboard.type("s09")
        await page.locator("#symbols [data-symbol=S0900]").wait_for()
        assert "stale" in await options.first.inner_text()
        await page.keyboard.press("ArrowDown")
        chosen = page.locator("#symbols [aria-selected=true]")
        assert await chosen.get_attribute("data-symbol") == "S0901"
        active = await page.locator("#symbol").get_attribute("aria-activedescendant")
        assert active == await chosen.get_attribute("id")
        await page.keyboard.press("Enter")
        await shows(visit, "S0901", "stale")
        assert "no book of S0901" in await visit.text("alarm")
        assert page.url.endswith("/#S0901")

        await page.keyboard.press("]")
        await shows(visit, "S0902", "stale")
        await page.keyboard.press("/")
        await page.keyboard.type("zzz")
        await page.keyboard.press("Escape")
        assert await page.locator("#symbol").input_value() == "S0902"
        await page.go_back()
        await shows(visit, "S0901", "stale")


async def test_an_empty_book_says_so(site: Site) -> None:
    async with site.visit("#EMPTY") as visit:
        await shows(visit, "EMPTY", "live", "This book is empty: no bids, no asks")
        assert await visit.text("mid") == "–"
        assert not await visit.sees("alarm")
        await site.ingestor.publish("EMPTY", {100: 5})
        await shows(visit, "EMPTY", "live", "no asks")
        assert (await visit.shown())["bids"] == [["1.00", "0.005", "0.005"]]
        await site.ingestor.publish("EMPTY", {100: 0})
        await shows(visit, "EMPTY", "live", "This book is empty")
        assert (await visit.shown())["bids"] == []


@pytest.mark.parametrize(
    ("fragment", "alarm"), [("#100%", "“100%” cannot be a symbol"), ("#NOPE", "NOPE"), ("#*", "“*” cannot")]
)
async def test_a_wrong_address_says_what_is_wrong(site: Site, fragment: str, alarm: str) -> None:
    async with site.visit(fragment) as visit:

        async def said() -> bool:
            return alarm in await visit.text("alarm")

        await eventually(said, TIMEOUT_S, f"{fragment} is explained")
        await visit.search("DEEP")
        await shows(visit, "DEEP")
        assert not await visit.sees("alarm")


# --- address, keys, programs


async def test_all_that_is_chosen_is_in_the_address(site: Site) -> None:
    async with site.visit("#DEEP?levels=10&group=5&code=curl") as visit:
        page = visit.page
        await shows(visit, "DEEP")
        assert await page.locator("#levels").input_value() == "10"
        assert await page.locator("#group").input_value() == "5"
        assert (await visit.text("copy")).count("curl '") == 1
        for key in "+.v":
            await page.keyboard.press(key)
        assert page.url.endswith("/#DEEP?view=compare&levels=25&group=10&code=curl")
        await page.locator("#rate").select_option("8000")
        await visit.delay(50)
        await page.reload()
        await eventually(visit.difference, TIMEOUT_S, "the comparison is shown again")
        assert await page.locator("#rate").input_value() == "8000"
        assert await page.locator("#delay").input_value() == "50"
        for key in "-,b":
            await page.keyboard.press(key)
        assert page.url.endswith("/#DEEP?levels=10&group=5&delay=50&rate=8000&code=curl")


async def test_the_keys_are_explained_and_typing_is_no_key(site: Site) -> None:
    async with site.visit() as visit:
        page = visit.page
        await shows(visit, "DEEP")
        await page.keyboard.press("?")
        assert "bring the spread to the middle" in await visit.text("help")
        await page.keyboard.press("Escape")
        assert not await visit.sees("help")
        await page.locator("#symbol").focus()
        await page.keyboard.type("v?")
        assert await visit.sees("book-view")
        assert not await visit.sees("help")


async def test_the_volume_up_to_the_pointer_is_read_out(site: Site) -> None:
    async with site.visit() as visit:
        await shows(visit, "DEEP")
        box = await visit.page.locator("#depth-chart").bounding_box()
        for share, text in ((0.1, "bid at or above"), (0.8, "offered at or below")):
            await visit.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)

            async def read(text: str = text) -> bool:
                return text in await visit.text("depth-reading")

            await eventually(read, TIMEOUT_S, text)
        await visit.page.mouse.move(0, 0)
        reading = visit.page.locator("#depth-reading")
        await eventually(lambda: is_empty(reading), TIMEOUT_S, "away from it nothing is")


async def is_empty(element: Any) -> bool:
    text: str = await element.inner_text()
    return text == ""


def program(language: str, text: str, folder: Path) -> list[str]:
    """Write a program; returns the command that runs it."""
    if language == "python":
        words = [sys.executable, str(folder / "book.py")]
    else:
        words = [node(), "--experimental-websocket", "--no-warnings", str(folder / "book.mjs")]
        (folder / "node_modules").mkdir()
        (folder / "node_modules" / "depthcast").symlink_to(WEB)
    Path(words[-1]).write_text(text, encoding="utf-8")
    return words


@pytest.mark.parametrize("language", ["python", "js", "curl"])
async def test_a_copied_program_shows_the_book(site: Site, tmp_path: Path, language: str) -> None:
    async with site.visit(f"#DEEP?levels=10&code={language}") as visit:
        await shows(visit, "DEEP")
        await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await visit.page.keyboard.press("y")
        text: str = await visit.page.evaluate("navigator.clipboard.readText()")
    if language == "curl":
        (url,) = re.findall(r"^curl '(\S+)'\n$", text)
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            assert [6_500_000, 1] in (await answer.json())["bids"]
        return
    words = program(language, text, tmp_path)
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(*words, stdout=PIPE, env=environment)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            said = await process.stdout.readuntil(b"6500000")
    finally:
        process.kill()
        await process.wait()
    assert b"DEEP" in said
