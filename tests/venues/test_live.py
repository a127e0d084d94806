"""Every fake venue with its faults, for some seconds: no live book at a client is ever wrong."""

import re
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from depthcast.feed.feeding import book_name
from tests.venues import model_binance
from tests.venues.fake import FakeVenue
from tests.venues.faults import Fault
from tests.venues.live_run import Place, Report, Seen, live_feed, open_place, run_faults, watched
from tests.venues.models import models
from tests.venues.pairs import venues
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def place() -> AsyncIterator[Place]:
    async with open_place() as opened:
        yield opened


ALIKE = re.compile(r"binance-usdm|bybit-linear|bitget-.*-futures|kraken-1000|coinbase-exchange")
"""Venues whose code others run too; `make venues` and the deep tests have all."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.deep] * bool(ALIKE.match(name))) for name in sorted(models())],
)
async def test_a_live_book_is_never_wrong(place: Place, name: str) -> None:
    report = await run_faults(
        place, name, venues()[name], models()[name], seed=1, seconds=2, mean_s=0.15, short=True
    )
    assert report.wrong == []
    assert len(report.committed) > 5


async def test_a_subscription_that_brings_nothing_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue accepts it while it does not list the symbol, too briefly for its list to tell."""
    name, random = "binance-coinm", Random(3)
    model = models()[name](random)
    void = list[str]()
    subscribe = model_binance._Connection._subscribe

    def some(connection: Any, streams: Sequence[str]) -> None:
        left = [stream for stream in streams if stream not in void]
        void[:] = [stream for stream in void if stream not in streams]
        subscribe(connection, left)

    monkeypatch.setattr(model_binance._Connection, "_subscribe", some)
    names = {symbol: f"{random.randbytes(4).hex()}.{book_name(symbol)}"[:32] for symbol in model.market.books}
    seen = {names[symbol]: Seen(book) for symbol, book in model.market.books.items()}
    report = Report(name, 3, 0.0)
    # Longer than between two requests, as it is by default.
    patient: dict[str, Any] = {"silence_s": 15.0, "instruments_interval_s": 0.0, "snapshot_wait_s": 2.0}
    async with (
        FakeVenue(model, random) as fake,
        live_feed(place, fake, venues()[name], sorted(names), names, **patient) as feeding,
        watched(place, seen, report, feeding),
    ):
        void += [f"{symbol.lower()}@depth@100ms" for symbol in sorted(names)[:1]]
        fake.commit(Fault.CUT)
        await eventually(lambda: not void, message="it was accepted, and brings nothing")
        await eventually(lambda: not all(each.live for each in seen.values()), message="in doubt")
        before = {book: each.updates for book, each in seen.items()}
        await eventually(
            lambda: all(each.updates >= before[book] + 10 for book, each in seen.items()), 30, "live again"
        )
    assert report.wrong == []
