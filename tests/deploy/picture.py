"""Writes pictures of what Prometheus shows of a deployment: `python -m tests.deploy.picture`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.browser.chromium import launched
from tests.deploy.conftest import make_secrets
from tests.deploy.observed import ROOT, Observed, observed

PICTURE: Final = ROOT / "docs" / "prometheus.png"
LOOKED_AT_S: Final = 60
PAGES: Final = ("classic/targets", "graph")


async def draw(file: Path) -> None:
    """Run everything for a minute and take a picture of each page."""
    with tempfile.TemporaryDirectory(prefix="depthcast-picture-") as name:
        folder = Path(name)
        secrets = folder / "secrets"
        secrets.mkdir()
        make_secrets(secrets)
        async with observed(folder, secrets) as running, launched() as browser:
            await asyncio.sleep(LOOKED_AT_S)
            for page in PAGES:
                await shoot(browser, running, page, file.with_stem(f"{file.stem}-{Path(page).name}"))


async def shoot(browser: Any, running: Observed, name: str, file: Path) -> None:
    query = {"g0.expr": "stage:depthcast_stage_seconds:p99_5m", "g0.tab": 0, "g0.range_input": "1m"}
    context = await browser.new_context(viewport={"width": 1200, "height": 900})
    page = await context.new_page()
    await page.goto(f"{running.url}/{name}" + (f"?{urlencode(query)}" if name == "graph" else ""))
    await page.wait_for_timeout(3000)
    await page.screenshot(path=str(file), full_page=True)
    await context.close()


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
