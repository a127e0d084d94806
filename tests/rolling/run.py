"""One rolling restart under load, and what it showed."""

import asyncio
import signal
import time
from typing import Final

from depthcast import Consumer
from depthcast.client.client import Client
from depthcast.shared.book import BookSide
from tests.rolling.clients import SYMBOLS, Crowd, Seen
from tests.rolling.deployment import PREFIX, Say, running
from tests.rolling.result import Result
from tests.unit.gateway.small_market import grouped
from tests.waiting import eventually

SETTLED_S: Final = 20.0
"""After the market has ended, all clients have its last books by then."""


async def roll(clients: int, rate: float, spread_s: float, say: Say) -> Result:
    """Restart all ingestors and all gateways under load."""
    async with running(rate, spread_s) as (deployment, feed):
        assert deployment.proxy is not None
        crowd = Crowd(deployment.proxy.url, clients)
        await crowd.start()
        say(f"{clients} clients have their books")
        began = time.monotonic()
        await deployment.roll_ingestors(say)
        await deployment.roll_gateways(say)
        seconds = time.monotonic() - began
        feed.send(signal.SIGTERM)
        await asyncio.to_thread(feed.wait, 30)
        async with Consumer(deployment.redis_url, SYMBOLS, prefix=PREFIX) as consumer:
            for symbol in SYMBOLS:
                await consumer.wait_for(symbol)
            following = asyncio.create_task(consumer.follow())
            try:
                await eventually(lambda: not _differing(crowd, consumer), SETTLED_S)
            except AssertionError:
                for number in _differing(crowd, consumer):
                    crowd.seen[number].wrong += 1
            following.cancel()
        await crowd.end()
        return Result(crowd.seen, seconds)


def _differing(crowd: Crowd, consumer: Consumer) -> list[int]:
    """Which clients hold another book than the stream has."""
    return [
        seen.number
        for seen, client in zip(crowd.seen, crowd.clients, strict=True)
        if client is not None and not seen.failed and not _equal(seen, client, consumer)
    ]


def _equal(seen: Seen, client: Client, consumer: Consumer) -> bool:
    for symbol in SYMBOLS:
        for held, right in zip(client.book(symbol).sides, consumer.book(symbol).sides, strict=True):
            if held.top() != _view(right, seen.depth, seen.group):
                return False
    return True


def _view(side: BookSide, depth: int, group: int) -> list[tuple[int, int]]:
    levels = grouped(dict(side.top()), side.side, group)
    return sorted(levels.items(), key=lambda level: level[0] * side.sign)[: depth or None]
