"""`depthcast demo` as a new user runs it: everything starts, and nothing is left at the end."""

import asyncio
import re
import signal
import sys

import aiohttp
import pytest

from tests.environment import without_settings
from tests.waiting import eventually

TIMEOUT_S = 60.0


async def start(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", "demo", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings(),
    )


async def address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(TIMEOUT_S):
        line = (await process.stdout.readline()).decode()
    found = re.match(r"open (http://\S+) to watch", line)
    assert found, line
    return found[1]


async def is_gone(url: str) -> bool:
    async with aiohttp.ClientSession() as http:
        try:
            async with http.get(f"{url}/healthz"):
                return False
        except aiohttp.ClientConnectionError:
            return True


@pytest.mark.slow
async def test_it_ends_by_itself_with_a_summary() -> None:
    process = await start("--seconds", "3")
    url = await address(process)
    out, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    lines = out.decode().splitlines()
    assert (process.returncode, errors) == (0, b"")
    assert re.fullmatch(
        r"events \d+  broadcasts \d+  deliveries \d+  merged \d+  fast and slow books agree yes", lines[-1]
    )
    # A line each second, or later on a busy machine.
    prices = [line for line in lines if line.startswith("BTC-USD ")]
    assert prices
    assert all(symbol in line for line in prices for symbol in ("BTC-USD", "ETH-USD", "SOL-USD"))
    assert await is_gone(url)


@pytest.mark.slow
async def test_a_signal_ends_all_of_it() -> None:
    process = await start("--workers", "1")
    url = await address(process)
    async with aiohttp.ClientSession() as http, http.get(f"{url}/") as page:
        assert page.status == 200
        assert "html" in page.headers["Content-Type"]
    process.send_signal(signal.SIGINT)
    out, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert (process.returncode, errors) == (0, b"")
    assert b"fast and slow books agree yes" in out
    await eventually(lambda: is_gone(url))
