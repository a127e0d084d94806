"""A headless Chromium driven by Playwright; if either is missing, tests that need it are skipped."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

AS_PLAYWRIGHT: Final = (
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding",
    "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
    "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch",
)  # fmt: skip
"""What Playwright disables: a second list takes the place of the first."""

OWN_WINDOW: Final = (
    "SpareRendererForSitePerProcess", "PreloadTopChromeWebUI", "PreloadTopChromeWebUILessNavigations",
    "InitialWebUI", "WebUIReloadButton", "WebUIToolbar", "WebUILocationBar", "WebUIOmniboxPopup",
    "WebUIOmniboxFullPopup", "WebUIOmniboxAimPopup",
)  # fmt: skip
"""What a window that nobody sees need not draw. A profile is a window, and this was half of what it cost."""

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join((*AS_PLAYWRIGHT, *OWN_WINDOW))}",
)


def find_chromium() -> str:
    """The path of the first working Chromium on PATH; skips the test if there is none."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip(f"no Chromium that runs as one of {', '.join(NAMES)}; on Debian: apt-get install chromium")


@asynccontextmanager
async def launched() -> AsyncIterator[Any]:
    """A running browser."""
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


@asynccontextmanager
async def opened(browser: Any) -> AsyncIterator[Any]:
    """An empty page with an empty, separate profile."""
    context = await browser.new_context()
    try:
        yield await context.new_page()
    finally:
        await context.close()
