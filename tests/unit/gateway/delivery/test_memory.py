"""What a view costs a worker in memory, measured by the allocations themselves."""

import gc
import tracemalloc
from collections.abc import Iterator
from typing import Final

import orjson
import pytest

from depthcast.gateway.delivery.request_handler import answer
from depthcast.gateway.delivery.session import Session
from depthcast.gateway.market.listing import NONE, Listing
from depthcast.gateway.protocol.messages import Encoding
from depthcast.shared.freshness import Freshness, ServerClock
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Symbol
from tests.unit.gateway.fake_writer import FakeWriter
from tests.unit.gateway.small_market import SmallMarket, lively_market

SYMBOLS = [f"S{number}" for number in range(400)]
DEPTHS = (1, 5, 10, 25)
VIEWS = len(SYMBOLS) * len(DEPTHS)
BYTES_EACH_MAX: Final = 1_700
"""A view that stands still, with its subscription. Of 20,000, an attacker's most, it is 34 MB."""
LISTING_BYTES_MAX: Final = 200
"""A symbol without a book, beside its instrument. Of 100,000 it is 20 MB."""


@pytest.fixture
def market() -> Iterator[SmallMarket]:
    made = lively_market(*SYMBOLS, channel_linger_s=0)
    gc.collect()
    tracemalloc.start()
    yield made
    tracemalloc.stop()


def subscribed(market: SmallMarket, depth: int) -> tuple[Session, FakeWriter]:
    """A session with a view of each symbol, whose client has read all that came."""
    writer = FakeWriter(market.core.settings.write_buffer_bytes, reads=True)
    session = market.core.open(writer, Encoding.JSON, "name", market.now)
    for _ in answer(session, orjson.dumps({"op": "subscribe", "symbols": SYMBOLS, "depth": depth})):
        pass
    return session, writer


def held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_what_a_view_that_stands_still_costs_and_leaves_behind(market: SmallMarket) -> None:
    before = held()
    opened = [subscribed(market, depth) for depth in DEPTHS]
    market.grid()
    for _, writer in opened:
        writer.taken.clear()
    core = market.core
    assert core.market.channel_count == VIEWS
    assert held() - before < BYTES_EACH_MAX * VIEWS
    for session, _ in opened:
        core.close(session)
    del session, writer, opened[:]
    for second in range(VIEWS):
        market.grid()
        core.sweep(market.now + second)
    assert core.market.channel_count == 0
    assert all(listing.channels is NONE for listing in core.market.listings.values())


def test_a_symbol_that_nobody_asks_for_costs_little() -> None:
    instrument, freshness = Instrument(Symbol("AAA")), Freshness(ServerClock(), 5, 5_000)
    tracemalloc.start()
    before = held()
    listings = [Listing(instrument, freshness) for _ in range(1_000)]
    each = (held() - before) / len(listings)
    tracemalloc.stop()
    assert each < LISTING_BYTES_MAX
