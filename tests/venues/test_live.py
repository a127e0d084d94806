"""Every fake venue with its faults, for some seconds: no live book at a client is ever wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from depthcast.feed.feeding import book_name
from depthcast.feed.source import read_source
from depthcast.shared.runtime.redis import execute
from tests.redis_client import patient
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


class Scene(NamedTuple):
    """A fake venue with all its books, and what a client sees of them."""

    fake: FakeVenue
    seen: dict[str, Seen]
    report: Report

    @property
    def books(self) -> list[Seen]:
        return list(self.seen.values())


@asynccontextmanager
async def fed(place: Place, name: str, **changes: Any) -> AsyncIterator[Scene]:
    """Feed all books of a venue, and watch them."""
    random = Random(f"{name} 5")
    model = models()[name](random)
    own = Random()
    names = {symbol: f"{own.randbytes(4).hex()}.{book_name(symbol)}"[:32] for symbol in model.market.books}
    seen = {names[symbol]: Seen(book) for symbol, book in model.market.books.items()}
    report = Report(name, 5, 0.0)
    # The wait for a snapshot is longer than that between two requests, as it is by default.
    patient: dict[str, Any] = {"silence_s": 15.0, "snapshot_wait_s": 2.0, **changes}
    async with (
        FakeVenue(model, random) as fake,
        live_feed(place, fake, venues()[name], sorted(names), names, **patient) as feeding,
        watched(place, seen, report, feeding),
    ):
        yield Scene(fake, seen, report)
    assert report.wrong == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.deep] * bool(ALIKE.match(name))) for name in sorted(models())],
)
async def test_a_subscription_that_ends_without_a_word_is_noticed(place: Place, name: str) -> None:
    """Other books go on, and so do heartbeats and pings: nothing but the book itself tells."""
    async with fed(place, name, quiet_s=1.0) as scene:
        scene.fake.commit(Fault.UNSUBSCRIBED)
        at = {book: each.book.number for book, each in scene.seen.items()}
        await eventually(
            lambda: all(each.live and each.at > at[book] + 100 for book, each in scene.seen.items()),
            30,
            "every book is the venue's, some time later",
        )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.deep] * bool(ALIKE.match(name))) for name in sorted(models())],
)
async def test_a_quiet_book_is_checked_without_a_doubt(place: Place, name: str) -> None:
    """One book is still, and the others move on while a new connection takes over, more than once."""
    by_rest = venues()[name].profile.snapshot_by_rest
    sources = f"{place.prefix}:sources"
    async with (
        fed(place, name, quiet_s=0.8, instruments_interval_s=0.0) as scene,
        patient(place.redis_url) as redis,
    ):
        fake = scene.fake
        fake.model.market.still.add(min(fake.model.market.books))
        requests, connections = fake.requests, fake.connections

        def is_checked() -> bool:
            if by_rest:
                return fake.requests >= requests + 3
            return fake.connections >= connections + 2

        if name.startswith("okx"):  # it says that a book has not changed
            await asyncio.sleep(3.0)
            assert not is_checked()
        else:
            await eventually(is_checked, 30)
        await eventually(lambda: all(each.live for each in scene.books))
        found = [read_source(await execute(redis, "HGET", sources, book)) for book in scene.seen]
    assert [(source["state"], source["doubts"]) for source in found] == [("live", {})] * len(found)


async def test_a_subscription_that_brings_nothing_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The venue accepts it while it does not list the symbol, too briefly for its list to tell."""
    void = list[str]()
    subscribe = model_binance._Connection._subscribe

    def some(connection: Any, streams: Sequence[str]) -> None:
        left = [stream for stream in streams if stream not in void]
        void[:] = [stream for stream in void if stream not in streams]
        subscribe(connection, left)

    monkeypatch.setattr(model_binance._Connection, "_subscribe", some)
    async with fed(place, "binance-coinm", instruments_interval_s=0.0, quiet_s=15.0) as scene:
        void += [f"{symbol.lower()}@depth@100ms" for symbol in sorted(scene.fake.model.market.books)[:1]]
        scene.fake.commit(Fault.CUT)
        await eventually(lambda: not void, message="it was accepted, and brings nothing")
        await eventually(lambda: not all(each.live for each in scene.books), message="in doubt")
        before = {book: each.updates for book, each in scene.seen.items()}
        await eventually(
            lambda: all(each.updates >= before[book] + 10 for book, each in scene.seen.items()),
            30,
            "live again",
        )
