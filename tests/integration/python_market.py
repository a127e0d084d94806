"""A small live market for examples and documented programs: an ingestor and a gateway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

from depthcast import Producer
from tests.ingestor_runs import Run
from tests.integration.gateway_harness import RunningGateway, running_gateway
from tests.waiting import eventually

SYMBOLS = ("BTC-USD", "ETH-USD")
INSTRUMENTS = "".join(f'["{symbol}"]\ntick_size = "0.01"\nlot_size = "0.001"\n' for symbol in SYMBOLS)
BID, ASK = 6500010, 6500020
MOVE_S = 0.02


class PythonMarket(NamedTuple):
    """Addresses, and the producer of the books: bids at 65000.10 and below, asks at 65000.20 and above."""

    gateway: RunningGateway
    redis_url: str
    prefix: str
    producer: Producer


@asynccontextmanager
async def python_market(run: Run, *, moving: bool = True) -> AsyncIterator[PythonMarket]:
    """Run it; while it is `moving`, a bid of each symbol changes all the time."""
    async with (
        run.service(run.settings(INSTRUMENTS)),
        Producer(run.url, prefix=run.prefix) as producer,
    ):
        for symbol in SYMBOLS:
            bids = [("update", "bid", BID - 10 * n, 5 + n) for n in range(5)]
            asks = [("update", "ask", ASK + 10 * n, 7 + n) for n in range(5)]
            await producer.send(symbol, [*bids, *asks], atomic=True)
        await producer.consumed()
        with running_gateway(run.url, run.prefix) as gateway:
            await eventually(lambda: gateway.process.core.market.was_live, message="the books are live")
            task = asyncio.create_task(_move(producer)) if moving else None
            try:
                yield PythonMarket(gateway, run.url, run.prefix, producer)
            finally:
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])


async def _move(producer: Producer) -> None:
    for number in count():
        for symbol in SYMBOLS:
            await producer.send(symbol, [("update", "bid", BID - 40, 10 + number % 50)])
        await asyncio.sleep(MOVE_S)
