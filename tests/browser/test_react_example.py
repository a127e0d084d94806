"""The example for React, developed and built, and the steps of the how-to show live books from a gateway."""

import asyncio
import os
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from depthcast.runtime.ports import free_port
from tests.browser.chromium import opened
from tests.integration.gateway_harness import served
from tests.npm import install, node, npm
from tests.sharing import Once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "examples" / "react"
TIMEOUT_S: Final = 60.0
COMPLAINTS: Final = ("error", "warning")
NODE_LEAST: Final = (20, 19)  # of Vite
COMMANDS: Final[dict[str, list[str]]] = {"dev": [], "preview": ["preview"]}

HOW_TO: Final = ROOT / "docs" / "how-to" / "react.md"
SAVED: Final = re.compile(r"Save this as `([\w./]+)`.*?^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEMPLATE: Final = {
    "package.json": '{"private": true, "type": "module"}',
    "index.html": '<!doctype html><html lang="en"><link rel="icon" href="data:,"><div id="root"></div>'
    '<script type="module" src="/src/main.jsx"></script></html>',
    "src/main.jsx": """\
import { createRoot } from "react-dom/client";
import App from "./App.jsx";
createRoot(document.getElementById("root")).render(<App />);
""",
}
"""What Vite's template for React has that matters here."""


def built(checkout: Path) -> Path:
    """A user's copy of the example, with its packages, type-checked and built."""
    folder = checkout / "examples" / "react"
    shutil.copytree(ROOT / "web", checkout / "web", dirs_exist_ok=True)
    unwanted = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(EXAMPLE, folder, ignore=unwanted, dirs_exist_ok=True)
    install(EXAMPLE, folder)
    done = subprocess.run(
        [npm(), "run", "build"], cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@asynccontextmanager
async def site(
    folder: Path, gateway_url: str, command: str, project: Path | None = None
) -> AsyncIterator[str]:
    """The address at which Vite serves the example, or a project that uses its packages."""
    words = [*COMMANDS[command], "--host", "127.0.0.1", "--port", str(free_port())]  # or the next free one
    process = await asyncio.create_subprocess_exec(
        node(NODE_LEAST),
        str(folder / "node_modules" / "vite" / "bin" / "vite.js"),
        *words,
        cwd=project or folder,
        env=os.environ | {"GATEWAY_URL": gateway_url, "NO_COLOR": "1"},
        stdin=PIPE,  # Vite ends with it
        stdout=PIPE,
    )
    assert process.stdout is not None
    try:
        found: re.Match[str] | None = None
        async with asyncio.timeout(TIMEOUT_S):
            async for line in process.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line.decode()):
                    break
        assert found is not None
        yield found[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Page:
    """What the example shows."""

    def __init__(self, page: Any) -> None:
        self.page = page

    async def shows(self, selector: str, text: str) -> None:
        """Wait until an element has that text."""
        expression = "([selector, text]) => document.querySelector(selector)?.innerText === text"
        await self.page.wait_for_function(expression, arg=[selector, text], timeout=TIMEOUT_S * 1000)

    async def shows_levels(self, asks: str, bids: str) -> None:
        """Wait until the ladder has these levels: `price quantity, …`, from the highest price down."""
        expression = """sides => Object.entries(sides).every(([side, levels]) => levels === [
          ...document.querySelectorAll(`.${side} tr`)
        ].map(({ cells }) => [...cells].map(({ innerText }) => innerText).join(" ")).join(", "))"""
        sides = {"asks": asks, "bids": bids}
        await self.page.wait_for_function(expression, arg=sides, timeout=TIMEOUT_S * 1000)


@pytest.mark.parametrize("command", COMMANDS)
async def test_the_example_for_react_shows_live_books(
    browser: Any, redis_url: str, prefix: str, once: Once, command: str
) -> None:
    node(NODE_LEAST)
    folder = once("react-example", built)
    async with (
        served(redis_url, prefix) as (gateway, ingestor),
        ingestor.beating(),
        site(folder, gateway.url, command) as url,
        opened(browser) as tab,
    ):
        complaints: list[str] = []
        tab.on("console", lambda said: complaints.extend([said.text] * (said.type in COMPLAINTS)))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        page = Page(tab)
        await tab.goto(url)
        await page.shows("[role=status]", "connection: open")
        await page.shows("caption", "AAA: live")
        await page.shows_levels("1.02 0.009, 1.01 0.008", "1.00 0.005, 0.99 0.006, 0.98 0.007")
        await ingestor.publish("AAA", {100: 0, 99: 1}, {101: 2})
        await page.shows_levels("1.02 0.009, 1.01 0.002", "0.99 0.001, 0.98 0.007")
        await tab.select_option("select", "BBB")
        await page.shows("caption", "BBB: live")
        await page.shows_levels("1.02 0.009, 1.01 0.008", "1.00 0.005, 0.99 0.006, 0.98 0.007")
        await ingestor.publish("BBB", {100: 0, 99: 0, 98: 0}, {101: 0, 102: 0})
        await page.shows("caption", "BBB: live, the book is empty")
        await tab.select_option("select", "AAA")
        await page.shows("caption", "AAA: live")
        assert complaints == []
        gateway.stop()
        await page.shows("caption", "AAA: may be old")
        await page.shows("[role=status]", "connection: waiting")
        await page.shows_levels("1.02 0.009, 1.01 0.002", "0.99 0.001, 0.98 0.007")


def followed(folder: Path, gateway_url: str) -> Path:
    """A project made by the steps of the how-to, inside the example, whose packages it uses."""
    saved = dict(SAVED.findall(HOW_TO.read_text(encoding="utf-8")))
    assert saved.keys() == {"vite.config.js", "src/App.jsx"}
    for name, text in (TEMPLATE | saved).items():
        path = folder / "how-to" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = text.replace("http://127.0.0.1:8080", gateway_url).replace("BTC-USD", "AAA")
        path.write_text(mine, encoding="utf-8")
    return folder / "how-to"


async def test_the_steps_of_the_how_to_show_a_live_book(
    browser: Any, redis_url: str, prefix: str, once: Once
) -> None:
    node(NODE_LEAST)
    folder = once("react-example", built)
    async with (
        served(redis_url, prefix) as (gateway, ingestor),
        ingestor.beating(),
        site(folder, gateway.url, "dev", followed(folder, gateway.url)) as url,
        opened(browser) as tab,
    ):
        page = Page(tab)
        await page.page.goto(url)
        await page.shows("caption", "AAA live")
        await page.shows_levels("1.02 0.009, 1.01 0.008", "1.00 0.005, 0.99 0.006, 0.98 0.007")
        gateway.stop()
        await page.shows("caption", "AAA may be old")
        await page.shows_levels("1.02 0.009, 1.01 0.008", "1.00 0.005, 0.99 0.006, 0.98 0.007")
