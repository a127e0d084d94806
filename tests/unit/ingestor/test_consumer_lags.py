"""The lag of consumers as an ingestor reads it: what counts, and what Redis may do meanwhile."""

import asyncio
import logging
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Away

from depthcast.ingestor.runtime.consumer_lags import ConsumerLags
from depthcast.shared.consumer_entry import CONSUMERS_MAX, LATE_US, ConsumerEntry, encode_entry
from depthcast.shared.freshness import ServerClock

US = 1_000_000


class Server:
    """A client whose hash the test sets."""

    def __init__(self) -> None:
        self.table: dict[bytes, bytes] = {}
        self.away = False

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        assert key == "p:consumers"
        if self.away:
            raise Away("away")
        return self.table


def said(at_us: int, **lag_ms: int) -> bytes:
    return encode_entry(ConsumerEntry(at_us, "1", {int(n[1:]): ms for n, ms in lag_ms.items()})).encode()


async def reading(server: Server, server_us: int | None) -> ConsumerLags:
    """What is read at `server_us` by the server's clock; None: nobody has asked it yet."""
    client: Any = server
    clock = ServerClock()
    if server_us is not None:
        now = asyncio.get_running_loop().time()
        clock.observe(now, now, server_us)
    lags = ConsumerLags(client, "p:consumers", clock)
    await lags.read()
    return lags


async def test_the_lag_of_each_consumer_and_partition() -> None:
    server = Server()
    server.table = {
        b"risk": said(10 * US, p0=100, p1=200),
        b"ui": said(8 * US, p0=0),
        b"bad": b"{",
        b"": said(0, p0=1),
    }
    lags = await reading(server, 10 * US)
    assert lags.seconds == {
        ("risk", 0): pytest.approx(0.1, abs=0.5),
        ("risk", 1): pytest.approx(0.2, abs=0.5),
        ("ui", 0): pytest.approx(2.0, abs=0.5),
    }


async def test_how_far_the_replicas_are_behind_that_consumers_read_from() -> None:
    server = Server()
    behind = ConsumerEntry(10 * US, "1", {0: 5, 1: 5, 2: 5}, {0: 250, 1: None})
    server.table = {
        b"risk": encode_entry(behind).encode(),
        b"gone": encode_entry(behind._replace(at=-LATE_US)).encode(),
        b"ui": said(10 * US, p0=0),
    }
    assert (await reading(server, 10 * US)).replica_seconds == {("risk", 0): 0.25}


async def test_not_more_than_so_many_are_exported() -> None:
    server = Server()
    server.table = {b"n%04d" % number: said(US, p0=0) for number in range(CONSUMERS_MAX + 5)}
    lags = await reading(server, US)
    assert len(lags.seconds) == CONSUMERS_MAX
    assert ("n0000", 0) in lags.seconds


async def test_nothing_is_said_before_the_server_has_told_its_time() -> None:
    server = Server()
    server.table = {b"risk": said(10 * US, p0=100)}
    assert (await reading(server, None)).seconds == {}


async def test_what_was_read_stays_while_redis_is_away_which_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.table = {b"risk": said(US, p0=0)}
    lags = await reading(server, US)
    server.away = True
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await lags.read()
        assert list(lags.seconds) == [("risk", 0)]
        server.away, server.table = False, {}
        await lags.read()
    assert lags.seconds == {}
    assert [record.message for record in caplog.records] == [
        "the lag of consumers is not read",
        "Redis is available again",
    ]
