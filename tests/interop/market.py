"""A market that moves, and the books that every client must end with."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.integration.gateway_harness import FakeIngestor, Levels
from tests.waiting import eventually

SYMBOLS: Final = ("AAA", "BBB")
DEPTH: Final = 100
PAUSE_S: Final = 0.005
CHANGES: Final = 100
TIMEOUT_S: Final = 60.0
LARGE: Final = 60
"""Levels in every third change, whose delta is long enough to be compressed: together more than a window."""

Books = dict[str, dict[str, Any]]


@asynccontextmanager
async def moving(ingestor: FakeIngestor) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Both books change inside the block, and once more after it, at the best bid.

    What is returned waits for the next `CHANGES` changes.
    """
    stop = asyncio.Event()

    async def further() -> None:
        begun = ingestor.books["AAA"].seq
        await eventually(lambda: ingestor.books["AAA"].seq >= begun + CHANGES, TIMEOUT_S)

    async def move() -> None:
        rng, step = random.Random(7), 0
        while not stop.is_set():
            step += 1
            levels = LARGE if step % 3 == 0 else 2
            await ingestor.publish_many(
                {symbol: (_side(rng, 100, levels), _side(rng, 500, levels)) for symbol in SYMBOLS}
            )
            await asyncio.sleep(PAUSE_S)

    task = asyncio.create_task(move())
    try:
        yield further
    finally:
        stop.set()
        await task
        await ingestor.publish_many({symbol: ({450: 17}, {}) for symbol in SYMBOLS})


def _side(rng: random.Random, start: int, levels: int) -> Levels:
    """New quantities of random levels; every third level goes, if it is there."""
    return {start + rng.randrange(300): rng.choice((0, rng.randrange(1, 2**40), 5)) for _ in range(levels)}


def seqs(ingestor: FakeIngestor) -> dict[str, int]:
    """Where the books are."""
    return {symbol: ingestor.books[symbol].seq for symbol in SYMBOLS}


def books_of(ingestor: FakeIngestor) -> Books:
    """The views at `DEPTH`, each level by its price."""
    return {
        symbol: {
            "seq": replica.seq,
            "bids": dict(sorted(replica.book.bids.levels.items(), reverse=True)[:DEPTH]),
            "asks": dict(sorted(replica.book.asks.levels.items())[:DEPTH]),
        }
        for symbol, replica in ingestor.books.items()
    }


def said_books(said: Mapping[str, Any]) -> Books:
    """The books as a client printed them."""
    return {
        symbol: {"seq": book["seq"], "bids": dict(book["bids"]), "asks": dict(book["asks"])}
        for symbol, book in said.items()
    }
