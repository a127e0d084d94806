"""Using the page in a real browser: layout, search, keys, address, programs to copy, and what axe finds."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from tests.browser.chromium import opened
from tests.browser.site import FEW, MANY, TIMEOUT_S, Site, has_bids, open_site, shows
from tests.browser.visit import Visit
from tests.npm import node
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

FOLDER: Final = Path(__file__).parent
WEB: Final = FOLDER.parents[1] / "web"

AXE: Final = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) =>
    `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(" | ")}`);
}"""

HIDE: Final = """() => {
  const show = window.requestAnimationFrame;
  const waiting = [];
  window.requestAnimationFrame = (call) => waiting.push(call);
  Object.defineProperty(document, "hidden", { configurable: true, value: true });
  window.showAgain = () => {
    window.requestAnimationFrame = show;
    delete document.hidden;
    document.dispatchEvent(new Event("visibilitychange"));
    for (const call of waiting) show(call);
  };
}"""
"""As a browser hides a tab: nothing is drawn until `showAgain()`."""

HEAT_LABELS: Final = "[...document.querySelectorAll('#heat-chart text')].map((text) => text.textContent)"

WHAT_IT_IS: Final = "Depthcast broadcasts live, exact order book depth"

DRAWN: Final = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(redis_server: str) -> AsyncIterator[Site]:
    """What all tests here share."""
    async with open_site(redis_server) as opened_site:
        yield opened_site


# --- layout


@pytest.mark.parametrize("width", [360, 1280, pytest.param(1920, marks=pytest.mark.deep)])
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
        line = visit.page.get_by_text(WHAT_IT_IS).first
        below = (await line.bounding_box())["y"]
        assert await line.is_visible()
        assert below < 900 or width < 1280, "who opens the page on a wide screen reads what it is"
        ladder = await visit.page.locator("#book .ladder").bounding_box()
        assert ladder["y"] < 250, "on a small screen the book comes first"
        assert ladder["height"] > 400
        rows = await visit.page.locator("#book .bids tr").count()
        assert rows >= 50

        await visit.page.locator("#book .ladder").evaluate("(ladder) => { ladder.scrollTop = 0; }")
        assert await visit.away_from_middle() > 100
        await visit.resize(width, 780)
        await visit.page.evaluate(DRAWN)
        assert await visit.away_from_middle() > 100, "who has scrolled stays there"
        await visit.page.keyboard.press("c")
        assert await visit.away_from_middle() < 12
        await visit.resize(width, 900)
        await visit.page.evaluate(DRAWN)
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
        assert f"{len(FEW) + len(MANY) - 50} more" in await page.locator("#symbols .more").inner_text()
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


async def test_a_pointer_chooses_with_a_click_only(site: Site) -> None:
    """A finger that scrolls the list touches options too."""
    async with site.visit() as visit:
        await shows(visit, "DEEP")
        await visit.page.locator("#symbol").click()
        option = visit.page.locator("#symbols [data-symbol=EMPTY]")
        await option.dispatch_event("pointerdown")
        assert await visit.sees("symbols")
        await option.click()
        await shows(visit, "EMPTY")
        assert not await visit.sees("symbols")


async def test_a_symbol_that_is_listed_later_is_shown_without_reloading(site: Site) -> None:
    async with site.visit("#LATER") as visit:
        await shows(visit, "LATER", "no book")
        await site.ingestor.register("LATER")
        await shows(visit, "LATER", "stale")
        assert "no book of LATER" in await visit.text("alarm")
        await site.ingestor.birth("LATER", {100: 5}, {101: 6})
        await shows(visit, "LATER", "live", "spread 0.01")
        await site.ingestor.unregister("LATER")
        await shows(visit, "LATER", "removed")
        assert "withdrawn" in await visit.text("alarm")
        await has_bids(visit, ["1.00", "0.005", "0.005"])


async def test_an_empty_book_says_so(site: Site) -> None:
    async with site.visit("#EMPTY") as visit:
        await shows(visit, "EMPTY", "live", "This book is empty: no bids, no asks")
        assert await visit.text("mid") == "–"
        assert not await visit.sees("alarm")
        await site.ingestor.publish("EMPTY", {100: 5})
        await shows(visit, "EMPTY", "live", "no asks")
        await has_bids(visit, ["1.00", "0.005", "0.005"])
        await site.ingestor.publish("EMPTY", {100: 0})
        await shows(visit, "EMPTY", "live", "This book is empty")
        await has_bids(visit)


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


# --- what is old


async def test_a_new_listing_begins_new_pictures(site: Site) -> None:
    """Ticks of another size are other prices."""
    async with site.visit("#MOVES") as visit:
        await shows(visit, "MOVES")

        async def is_drawn(low: int, high: int) -> bool:
            texts = await visit.page.evaluate(HEAT_LABELS)
            prices = [float(text) for text in texts if re.fullmatch(r"[\d.]+", text)]
            return bool(prices) and all(low < price < high for price in prices)

        await eventually(lambda: is_drawn(64_000, 66_000), TIMEOUT_S, "depth is drawn around 65000")
        await site.ingestor.relist("MOVES", 2, "1", {650: 1}, {652: 2})
        await shows(visit, "MOVES", "live", "spread 2")
        await eventually(lambda: is_drawn(600, 700), TIMEOUT_S, "nothing of the old prices is drawn")


async def test_a_hidden_tab_says_that_its_book_is_not_live(site: Site) -> None:
    async with site.visit("#HIDDEN") as visit:
        await shows(visit, "HIDDEN")
        await visit.page.evaluate(HIDE)
        await site.ingestor.doubt("HIDDEN", "gap")

        async def is_titled() -> bool:
            title: str = await visit.page.title()
            return title == "stale: HIDDEN"

        await eventually(is_titled, TIMEOUT_S, "the title says so")
        for quantity in range(1, 100):  # more than the credit of a page that draws nothing
            await site.ingestor.publish("HIDDEN", {6_400_000: quantity})
        await site.ingestor.doubt("HIDDEN", None)
        await visit.page.evaluate("showAgain()")
        await shows(visit, "HIDDEN")

        async def is_current() -> bool:
            bids = (await visit.shown())["bids"]
            last = [row[:2] for row in bids[1:2]] == [["64000.00", "0.099"]]
            return last and await visit.page.title() == "HIDDEN"

        await eventually(is_current, TIMEOUT_S, "it has the last book, and its title says nothing else")


# --- two connections


async def test_it_says_what_held_merged_broadcasts_back(site: Site) -> None:
    async with site.visit("#HIDDEN?view=compare&delay=0") as visit:
        await eventually(visit.difference, TIMEOUT_S, "both connections have the book")
        await visit.press_pause()
        for quantity in (7, 8, 9):  # one is on its way to the slow connection, two wait for credit

            async def has_come(size: str = f"0.00{quantity}") -> bool:
                bids = (await visit.shown("direct"))["bids"]
                return ["65000.00", size] in [level[:2] for level in bids]

            await site.ingestor.publish("HIDDEN", {6_500_000: quantity})
            await eventually(has_come, TIMEOUT_S, "the direct connection has it")
        await visit.press_pause()

        async def is_explained() -> bool:
            merged: str = (await visit.shown("slow"))["merged"]
            return merged == "1 (credit)"

        await eventually(is_explained, TIMEOUT_S, "the gateway merged them for want of credit")


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
        await visit.press_pause()
        for key in "bv":
            await page.keyboard.press(key)

        async def is_followed() -> bool:
            word: str = (await visit.shown("slow"))["word"]
            return word == "live"

        await eventually(is_followed, TIMEOUT_S, "nothing stays paused that is not looked at")
        for key in "-,b":
            await page.keyboard.press(key)
        assert page.url.endswith("/#DEEP?levels=10&group=5&delay=50&rate=8000&code=curl")


async def test_the_keys_are_explained_and_typing_is_no_key(site: Site) -> None:
    async with site.visit() as visit:
        page = visit.page
        await shows(visit, "DEEP")
        await page.keyboard.press("?")
        assert "bring the spread to the middle" in await visit.text("help")
        assert WHAT_IT_IS in await visit.text("help")
        await page.keyboard.press("v")
        assert await visit.sees("book-view"), "keys do nothing behind the help"
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
        book, stream = re.findall(r"^curl (?:-N )?'(\S+)'$", text, re.MULTILINE)
        async with aiohttp.ClientSession() as http, asyncio.timeout(TIMEOUT_S):
            async with http.get(book) as answer:
                assert [6_500_000, 1] in (await answer.json())["bids"]
            async with http.get(stream) as answer:
                assert await answer.content.readuntil(b"[6500000,1]")
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


# --- in a frame


@pytest.mark.parametrize(("host", "is_framed"), [("127.0.0.1", True), ("localhost", False)])
async def test_only_sites_that_are_named_show_it_in_a_frame(site: Site, host: str, is_framed: bool) -> None:
    async with opened(site.browser) as page:
        framed = quote(f"{site.gateway.url}/#DEEP", safe="")
        await page.goto(f"http://{host}:{site.other_port}/?of={framed}")
        frame = page.frames[1]
        if is_framed:
            await frame.locator("body[data-state=live]").wait_for()
        else:
            await eventually(lambda: frame.url.startswith("chrome-error:"), TIMEOUT_S, "the frame is empty")
