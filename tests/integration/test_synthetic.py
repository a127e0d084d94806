"""`depthcast feed synthetic` as a user runs it, against a real ingestor."""

import asyncio
import re
import signal
import sys

import pytest

from depthcast import Consumer
from depthcast.feed.synthetic_profiles import MARKET
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.partition import partition_of
from depthcast.shared.types import Symbol
from tests.environment import without_settings
from tests.ingestor_runs import Run
from tests.redis_client import patient
from tests.waiting import eventually

SYMBOLS = ("BTC-USD", "ETH-USD")
PARTITIONS = 4


async def start(redis_url: str, prefix: str, *words: str) -> asyncio.subprocess.Process:
    place = {"DEPTHCAST_REDIS_URL": redis_url, "DEPTHCAST_PREFIX": prefix}  # the address may have credentials
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "depthcast", "feed", "synthetic", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_settings() | place,
    )


async def test_feeding_a_deployment(run: Run, redis_url: str, prefix: str) -> None:
    async with run.service(run.settings(None, partitions=PARTITIONS)) as service:
        words = ("--register", "--symbols", ",".join(SYMBOLS), "--rate", "1000", "--seconds", "3")
        process = await start(redis_url, prefix, *words)
        seen = dict.fromkeys(SYMBOLS, 0)
        await eventually_registered(redis_url, prefix)
        async with Consumer(redis_url, list(SYMBOLS), prefix=prefix) as consumer:
            async for update in consumer:
                seen[update.symbol] += 1
                assert not update.book.crossed()
                if min(seen.values()) > 10:
                    break
        output, errors = await process.communicate()
        assert process.returncode == 0, errors
        last = output.decode().splitlines()[-1]
        figures = re.fullmatch(
            r"synthetic: (\d+) messages, (\d+) events, \d+ events/s, [\d.]+ s behind; ended", last
        )
        assert figures is not None, last
        assert run.leads(service)
    for symbol in SYMBOLS:
        assert await rejected(redis_url, prefix, symbol) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(redis_url: str, prefix: str, number: int) -> None:
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    await prepare(redis_url, prefix)
    process = await start(redis_url, prefix, "--symbols", "BTC-USD", "--register")
    events = keys.partition(0).events
    await eventually(lambda: client.xlen(events))
    process.send_signal(number)
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().endswith("; ended\n")
    await client.aclose()


async def test_a_signal_ends_the_waiting_too(redis_url: str, prefix: str) -> None:
    process = await start(redis_url, prefix)
    assert process.stderr is not None
    assert b"waiting for an ingestor" in await process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_other_sizes_are_refused(redis_url: str, prefix: str) -> None:
    await prepare(redis_url, prefix, '{"tick_size":"5","lot_size":"1"}')
    process = await start(redis_url, prefix, "--symbols", "BTC-USD", "--register")
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"is registered with tick_size 5, the synthetic market has 0.01" in errors


async def test_it_keeps_up_at_full_speed(redis_url: str, prefix: str) -> None:
    await prepare(redis_url, prefix)
    words = ("--symbols", "BTC-USD", "--register", "--rate", "5000", "--speed", "max", "--seconds", "2")
    process = await start(redis_url, prefix, *words)
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    figures = re.search(r"(\d+) messages, (\d+) events", output.decode())
    assert figures is not None
    assert int(figures[1]) <= 201
    assert int(figures[2]) > 3_000


async def prepare(redis_url: str, prefix: str, instrument: str | None = None) -> None:
    """A deployment of one partition without an ingestor, whose BTC-USD seems to have a book."""
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    await client.hset(keys.meta, mapping={"protocol": 1, "partitions": 1})
    if instrument is not None:
        await client.hset(keys.instruments, "BTC-USD", instrument)
    await client.xadd(keys.partition(0).snapshots(Symbol("BTC-USD")), {"s": b""})
    await client.aclose()


async def eventually_registered(redis_url: str, prefix: str) -> None:
    client, keys = patient(redis_url), DeploymentKeys(prefix)

    async def both() -> bool:
        return len(await client.hkeys(keys.instruments)) == len(SYMBOLS)

    await eventually(both)
    assert set(SYMBOLS) < set(MARKET)
    await client.aclose()


async def rejected(redis_url: str, prefix: str, symbol: str) -> int:
    client, keys = patient(redis_url), DeploymentKeys(prefix)
    count: int = await client.xlen(keys.partition(partition_of(symbol, PARTITIONS)).rejects)
    await client.aclose()
    return count
