"""A headless Chromium of the system, driven by Playwright; tests that need it are skipped where either is missing."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """Its path: `DEPTHCAST_TEST_CHROMIUM`, else the first on the PATH; skips the test without one."""
    named = os.environ.get("DEPTHCAST_TEST_CHROMIUM")
    path = named or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(
            "no Chromium: none of "
            + ", ".join(NAMES)
            + " is on the PATH (on Debian: apt-get install chromium)"
        )
    return path


@asynccontextmanager
async def launched() -> AsyncIterator[Any]:
    """A browser with an empty profile of its own."""
    playwright = pytest.importorskip(
        "playwright.async_api", reason="no driver: the playwright package is not installed"
    )
    path = find_chromium()
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
