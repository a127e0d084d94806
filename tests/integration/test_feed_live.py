"""The command `depthcast feed live` as a process, against a fake venue."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest

from depthcast.feed.source import read_source
from depthcast.shared.runtime.redis import execute
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.venues.fake import FakeVenue
from tests.venues.models import models
from tests.waiting import eventually

VENUE = "binance"


@pytest.fixture
async def fake() -> AsyncIterator[FakeVenue]:
    async with FakeVenue(models()[VENUE](Random(1)), Random(2)) as venue:
        yield venue


@asynccontextmanager
async def command(run: Run, fake: FakeVenue, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    options = {
        "redis-url": run.url,
        "prefix": run.prefix,
        "ws-url": fake.ws_url,
        "rest-url": fake.rest_url,
        "admin-port": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "depthcast", "feed", "live", VENUE),
        *words,
        *(f"--{name}={value}" for name, value in options.items()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def source(run: Run, symbol: str) -> dict[str, Any]:
    return read_source(await execute(run.client, "HGET", run.deployment.sources, symbol))


async def test_it_feeds_until_sigterm(run: Run, fake: FakeVenue) -> None:
    symbols = sorted(fake.model.market.books)
    async with run.service(run.settings("")), command(run, fake, *symbols) as process:

        async def all_live() -> bool:
            states = [(await source(run, symbol)).get("state") for symbol in symbols]
            return all(state == "live" for state in states)

        await eventually(all_live, 60)
        entry = await source(run, symbols[0])
        assert (entry["venue"], entry["venue_symbol"]) == (VENUE, symbols[0])
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        address = re.search(r"http://\S+", first)
        assert address is not None
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address[0]}/metrics") as answer:
                metrics = await answer.text()
            async with session.get(f"{address[0]}/readyz") as answer:
                assert json.loads(await answer.text())["ready"] is True
        for symbol in symbols:
            assert f'depthcast_feed_state{{state="live",symbol="{symbol}"}} 1.0' in metrics
        assert "depthcast_build_info{compiled=" in metrics
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, b"Traceback" in errors) == (0, False)
        assert (await source(run, symbols[0]))["state"] == "ended"


async def test_an_unknown_symbol_is_refused(run: Run, fake: FakeVenue) -> None:
    async with run.service(run.settings("")), command(run, fake, "NOSUCHUSDT") as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        assert b"lists no NOSUCHUSDT" in errors


async def test_sizes_that_do_not_fit_are_refused(run: Run, fake: FakeVenue) -> None:
    (symbol, *_) = sorted(fake.model.market.books)
    text = f'[{symbol}]\ntick_size = "1000"\nlot_size = "0.00000001"\n'
    async with run.service(run.settings(text)), command(run, fake, symbol) as process:
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 2
        assert b"is registered with tick_size 1000, the venue has" in errors


async def test_an_unknown_venue_is_a_wrong_use(run: Run, fake: FakeVenue) -> None:
    async with command(run, fake) as process:
        await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 2
