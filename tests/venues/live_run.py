"""Runs the live feed against a fake venue with all its faults, and watches a client's books.

Whenever a book is live at a WebSocket client of a gateway, it equals a state that the model had, in order, by
the sizes that the client was told; and when the faults are over, it becomes what the model's book is.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf
from random import Random
from statistics import median
from typing import Any, Final, NamedTuple

from depthcast.client.client import Client, connect
from depthcast.feed.feeding import book_name
from depthcast.feed.venue import Venue
from depthcast.runtime.deployment import local_deployment
from depthcast.runtime.venue_start import LiveOptions, feed_live
from depthcast.shared.errors import ClientError
from depthcast.shared.settings import VenueFeedSettings
from depthcast.updates import BookUpdate
from tests.venues.fake import FakeVenue
from tests.venues.faults import ALWAYS, Fault, plan
from tests.venues.market import ModelBook, State
from tests.venues.model import ModelVenue
from tests.waiting import eventually

SHORT: Final[Mapping[str, Any]] = {
    "silence_s": 0.8,
    "quiet_s": 0.8,
    "snapshot_wait_s": 1.0,
    "retry_max_s": 1.0,
    "instruments_interval_s": 0.5,
}
"""Limits of the feed in a run: what takes minutes at a venue takes a second here."""
WHOLE_LOTS: Final = frozenset({"bitmex"})
"""Venues whose quantities are whole numbers, so that only their tick size is ever finer."""
OVERLAP: Final = 0.3
"""Share of the faults of a long run that do not wait until all books are live again after those before."""
CALM_UPDATES: Final = 10
"""Live books of each symbol that are compared after the last fault."""


class Place(NamedTuple):
    """A deployment."""

    redis_url: str
    gateway_url: str
    prefix: str


class Generous:
    """A venue that allows more requests, as its list is read far more often here than in earnest."""

    def __init__(self, venue: Venue) -> None:
        self.profile = replace(venue.profile, request_weight_per_min=60_000)
        self.adapter = venue.adapter
        self.instruments_requests = venue.instruments_requests
        self.read_instruments = venue.read_instruments


@dataclass
class Seen:
    """What a client saw of one symbol. `at`: number of the model's change whose state it saw last."""

    book: ModelBook
    at: int = -1
    live: bool = False
    updates: int = 0
    sizes: tuple[str, str] = ("", "")
    states: dict[State, list[int]] = field(default_factory=lambda: defaultdict(list))
    known: int = 0

    @property
    def is_at_the_end(self) -> bool:
        """Whether the client has the model's last state."""
        return self.live and self.book.states[self.at] == self.book.states[-1]

    @property
    def fits_the_venue(self) -> bool:
        """Whether the sizes that the client knows divide those of the venue."""
        sizes = zip((self.book.tick_size, self.book.lot_size), self.sizes, strict=True)
        return all((Fraction(venue) / Fraction(size)).denominator == 1 for venue, size in sizes)

    def see(self, update: BookUpdate, sizes: tuple[str, str]) -> str:
        """Compare a book in ticks and lots of `sizes` with the model's states; returns what is wrong."""
        self.live = update.state == "live"
        if not self.live or not update.book.bids.levels:
            return ""
        self.updates += 1
        self.sizes = sizes
        for number in range(self.known, len(self.book.states)):
            self.states[self.book.states[number]].append(number)
        self.known = len(self.book.states)
        state = state_of(update, self.book, sizes)
        numbers = self.states.get(state, [])
        later = [number for number in numbers if number >= self.at]
        if later:
            self.at = later[0]
            return ""
        what = f"a state of change {numbers[-1]} after one of {self.at}" if numbers else "no state it had"
        return f"{self.book.symbol} at seq {update.seq} with sizes {'/'.join(sizes)}: {what}"


@dataclass
class Report:
    """The outcome of a run."""

    name: str
    seed: int
    seconds: float
    wrong: list[str] = field(default_factory=list)
    committed: dict[Fault, int] = field(default_factory=dict)
    recoveries_s: dict[Fault, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: int = 0
    updates: int = 0
    connections: int = 0
    final_s: float = 0.0

    def lines(self) -> list[str]:
        """The report as text."""
        head = (
            f"{self.name}, seed {self.seed}: {self.updates} live books in {self.seconds:.0f} s, "
            f"{len(self.wrong)} wrong; {sum(self.committed.values())} faults, "
            f"{self.connections} connections; equal {self.final_s:.2f} s after the last fault"
        )
        return [head, *(f"  WRONG {line}" for line in self.wrong[:10])]


def recovery_table(reports: Sequence[Report]) -> list[str]:
    """Return a table of faults that came alone: how often, and the times until every book was live again."""
    times: dict[Fault, list[float]] = defaultdict(list)
    for report in reports:
        for fault, each in report.recoveries_s.items():
            times[fault] += each
    rows = [
        f"| {fault} | {len(each)} | {median(each):.2f} s | {max(each):.2f} s |"
        for fault, each in sorted(times.items())
        if each
    ]
    return ["| fault | times | median recovery | greatest |", "| --- | --- | --- | --- |", *rows]


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    """Yield a deployment for any number of runs."""
    ingestor = {"interval_ms": 5}
    async with local_deployment("", prefix="venues", partitions=2, ingestor=ingestor) as deployment:
        yield Place(deployment.redis_url, deployment.gateway_url, "venues")


async def run_faults(
    place: Place,
    name: str,
    venue: Venue,
    make_model: Callable[[Random], ModelVenue],
    *,
    seed: int,
    seconds: float,
    mean_s: float = 1.0,
    symbols_most: int = 3,
    short: bool = False,
) -> Report:
    """Run one venue with its faults for `seconds`.

    `short`: what lasts is over sooner, and every fault that is planned is committed, however late.
    """
    random = Random(f"{name} {seed}")
    model = make_model(random)
    for book in model.market.books.values():
        book.refine(10, 1 if name in WHOLE_LOTS else 10)
    report = Report(name, seed, seconds)
    symbols = sorted(model.market.books)[:symbols_most]
    # Another run may have fed books of these names, with other sizes.
    names = {symbol: f"{random.randbytes(4).hex()}.{book_name(symbol)}"[:32] for symbol in symbols}
    seen = {names[symbol]: Seen(model.market[symbol]) for symbol in symbols}
    lasting: dict[str, Any] = {"outage_s": 0.25, "quiet_s": 0.4, "delisted_s": 1.0} if short else {}
    async with (
        FakeVenue(model, random, **lasting) as fake,
        live_feed(place, fake, venue, symbols, names) as feeding,
        watched(place, seen, report, feeding),
    ):
        most_s = inf if short else seconds
        await _commit_all(
            fake, model, random, seen, report, seconds, mean_s, 1.0 if short else OVERLAP, most_s
        )
        await _compare_ends(fake, seen, report)
    report.committed, report.connections = dict(fake.committed), fake.connections
    report.updates = sum(each.updates for each in seen.values())
    return report


@asynccontextmanager
async def live_feed(
    place: Place,
    fake: FakeVenue,
    venue: Venue,
    symbols: Sequence[str],
    renames: Mapping[str, str],
    *,
    take_over: bool = False,
    **changes: Any,
) -> AsyncIterator["asyncio.Task[None]"]:
    """Feed from a fake venue until the end of the block; yields the task."""
    settings = VenueFeedSettings(
        redis_url=place.redis_url,
        prefix=place.prefix,
        ws_url=fake.ws_url,
        rest_url=fake.rest_url,
        **{**SHORT, **changes},
    )
    stop = asyncio.Event()
    options = LiveOptions(settings, Generous(venue), symbols, renames, take_over=take_over)
    feeding = asyncio.create_task(feed_live(stop, options))
    try:
        yield feeding
    finally:
        stop.set()
        await feeding


@asynccontextmanager
async def watched(
    place: Place, seen: dict[str, Seen], report: Report, feeding: "asyncio.Task[None]"
) -> AsyncIterator[Client]:
    """Compare what a client sees with the models' states, from the first books until the end of the block."""
    async with connect(place.gateway_url) as client:
        await eventually(lambda: subscribed(client, list(seen), feeding), 30)
        watching = asyncio.create_task(watch(client, seen, report))
        try:
            await eventually(lambda: all(each.at >= 0 for each in seen.values()), 30, "every book comes")
            yield client
        finally:
            ended = watching.done()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if ended:
                watching.result()  # it goes on for ever: whatever ended it says more than what came of that


async def subscribed(client: Client, symbols: Sequence[str], feeding: "asyncio.Task[None]") -> bool:
    """Whether the gateway knows these books by now; the client is subscribed then."""
    if feeding.done():
        feeding.result()
    try:
        await client.subscribe(symbols, depth=0)
    except ClientError:
        await asyncio.sleep(0.1)
        return False
    return True


async def watch(client: Client, seen: dict[str, Seen], report: Report) -> None:
    """Compare what a client reads, for ever."""
    async for update in client:
        if problem := seen[update.symbol].see(update, client.sizes(update.symbol)):
            report.wrong.append(problem)


async def _commit_all(
    fake: FakeVenue,
    model: ModelVenue,
    random: Random,
    seen: dict[str, Seen],
    report: Report,
    seconds: float,
    mean_s: float,
    overlap: float,
    most_s: float,
) -> None:
    """Commit what is planned for `seconds`; after `most_s`, nothing more."""
    began = time.monotonic()
    recovering: set[asyncio.Task[None]] = set()
    for at_s, fault in plan(random, model.faults | ALWAYS, seconds=seconds, mean_s=mean_s):
        await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
        if recovering and random.random() > overlap:
            await asyncio.wait(recovering, timeout=20)
        if time.monotonic() > began + most_s:
            break
        fake.commit(fault)
        report.faults += 1
        task = asyncio.create_task(_recovery(fault, seen, report, alone=not recovering))
        recovering.add(task)
        task.add_done_callback(recovering.discard)
    fake.heal()
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            await asyncio.gather(*recovering)


async def _recovery(fault: Fault, seen: dict[str, Seen], report: Report, *, alone: bool) -> None:
    """Measure the time from a fault until every book is live with a state, and sizes, from after it.

    `alone`: no other fault was under way. It is noted only if none came meanwhile either.
    """
    began, faults = time.monotonic(), report.faults
    numbers = {symbol: each.book.number for symbol, each in seen.items()}
    await eventually(
        lambda: all(
            each.live and each.at > numbers[symbol] and each.fits_the_venue for symbol, each in seen.items()
        ),
        60,
    )
    if alone and report.faults == faults:
        report.recoveries_s[fault].append(time.monotonic() - began)


async def _compare_ends(fake: FakeVenue, seen: dict[str, Seen], report: Report) -> None:
    """Let the feed go on without faults, stop the books, and wait until the client has their last states."""
    before = {symbol: each.updates for symbol, each in seen.items()}
    await eventually(
        lambda: all(each.updates >= before[symbol] + CALM_UPDATES for symbol, each in seen.items()), 60
    )
    fake.moving = False
    began = time.monotonic()
    await asyncio.sleep(fake.step_s * 3)
    await eventually(
        lambda: all(
            each.live and each.book.states[each.at] == each.book.states[-1] for each in seen.values()
        ),
        30,
        "the client ends with the model's books",
    )
    report.final_s = time.monotonic() - began


def state_of(update: BookUpdate, model: ModelBook, sizes: tuple[str, str]) -> State:
    """Return the book of an update, in ticks and lots of `sizes`, as the model has its states."""
    tick, lot = _times(sizes[0], model.price_unit), _times(sizes[1], model.quantity_unit)
    bids, asks = update.book.bids.levels, update.book.asks.levels
    if tick == lot == 1:
        return frozenset(bids.items()), frozenset(asks.items())
    return _in_units(bids, tick, lot), _in_units(asks, tick, lot)


def _in_units(
    levels: Mapping[int, int], tick: Fraction | int, lot: Fraction | int
) -> frozenset[tuple[int, int]]:
    return frozenset((_whole(price * tick), _whole(lots * lot)) for price, lots in levels.items())


def _times(size: str, unit: str) -> Fraction | int:
    """Return how many units a size is."""
    times = Fraction(size) / Fraction(unit)
    return times.numerator if times.denominator == 1 else times


def _whole(number: Fraction | int) -> int:
    """Return a number of units; -1, which no state has, for a part of one."""
    return number.numerator if number.denominator == 1 else -1
