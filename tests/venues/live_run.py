"""Runs the live feed against a fake venue with all its faults, and watches a client's books.

Whenever a book is live at a WebSocket client of a gateway, it equals a state that the model had, in order;
and when the faults are over, it becomes what the model's book is.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

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

SILENCE_S: Final = 0.8
SNAPSHOT_WAIT_S: Final = 1.5
CALM_UPDATES: Final = 10
"""Live books of each symbol that are compared after the last fault."""


@dataclass
class Seen:
    """What a client saw of one symbol. `at`: number of the model's change whose state it saw last."""

    book: ModelBook
    at: int = -1
    live: bool = False
    updates: int = 0
    states: dict[State, list[int]] = field(default_factory=lambda: defaultdict(list))
    known: int = 0

    @property
    def is_at_the_end(self) -> bool:
        """Whether the client has the model's last state."""
        return self.live and self.book.states[self.at] == self.book.states[-1]

    def see(self, update: BookUpdate) -> str:
        """Compare a book with the model's states; returns what is wrong, or nothing."""
        self.live = update.state == "live"
        if not self.live or not update.book.bids.levels:
            return ""
        self.updates += 1
        for number in range(self.known, len(self.book.states)):
            self.states[self.book.states[number]].append(number)
        self.known = len(self.book.states)
        state = state_of(update)
        numbers = self.states.get(state, [])
        later = [number for number in numbers if number >= self.at]
        if later:
            self.at = later[0]
            return ""
        what = f"a state of change {numbers[-1]} after one of {self.at}" if numbers else "no state it had"
        return f"{self.book.symbol} at seq {update.seq}: {what}"


@dataclass
class Report:
    """The outcome of a run."""

    name: str
    seed: int
    seconds: float
    wrong: list[str] = field(default_factory=list)
    committed: dict[Fault, int] = field(default_factory=dict)
    recoveries_s: dict[Fault, list[float]] = field(default_factory=lambda: defaultdict(list))
    updates: int = 0
    connections: int = 0
    final_s: float = 0.0

    def lines(self) -> list[str]:
        """The report as text."""
        times = [
            f"{fault}: {len(each)}, longest {max(each):.2f} s"
            for fault, each in sorted(self.recoveries_s.items())
            if each
        ]
        head = (
            f"{self.name}, seed {self.seed}: {self.updates} live books in {self.seconds:.0f} s, "
            f"{len(self.wrong)} wrong; {sum(self.committed.values())} faults, "
            f"{self.connections} connections; equal {self.final_s:.2f} s after the last fault"
        )
        return [
            head,
            *(f"  {line}" for line in times),
            *(f"  WRONG {line}" for line in self.wrong[:10]),
        ]


async def run_faults(
    name: str,
    venue: Venue,
    make_model: Callable[[Random], ModelVenue],
    *,
    seed: int,
    seconds: float,
    mean_s: float = 1.0,
    symbols_most: int = 3,
) -> Report:
    """Run one venue with its faults for `seconds`, in a deployment of its own."""
    random = Random(f"{name} {seed}")
    model = make_model(random)
    report = Report(name, seed, seconds)
    symbols = sorted(model.market.books)[:symbols_most]
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeVenue(model, random))
        deployment = await stack.enter_async_context(
            local_deployment("", prefix="venues", partitions=2, ingestor={"interval_ms": 5})
        )
        settings = VenueFeedSettings(
            redis_url=deployment.redis_url,
            prefix="venues",
            ws_url=fake.ws_url,
            rest_url=fake.rest_url,
            silence_s=SILENCE_S,
            snapshot_wait_s=SNAPSHOT_WAIT_S,
        )
        stop = asyncio.Event()
        feeding = asyncio.create_task(feed_live(stop, LiveOptions(settings, venue, symbols, {})))
        seen = {book_name(symbol): Seen(model.market[symbol]) for symbol in symbols}
        try:
            client = await stack.enter_async_context(connect(deployment.gateway_url))
            await eventually(lambda: _subscribed(client, list(seen), feeding), 30)
            watching = asyncio.create_task(_watch(client, seen, report))
            await eventually(lambda: all(each.at >= 0 for each in seen.values()), 30, "every book comes")
            await _commit_all(fake, model, random, seen, report, seconds, mean_s)
            await _compare_ends(fake, seen, report)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        finally:
            stop.set()
            await feeding
    report.committed, report.connections = dict(fake.committed), fake.connections
    report.updates = sum(each.updates for each in seen.values())
    return report


async def _subscribed(client: Client, symbols: Sequence[str], feeding: "asyncio.Task[None]") -> bool:
    if feeding.done():
        feeding.result()
    try:
        await client.subscribe(symbols, depth=0)
    except ClientError:
        await asyncio.sleep(0.1)
        return False
    return True


async def _watch(client: Client, seen: dict[str, Seen], report: Report) -> None:
    async for update in client:
        if problem := seen[update.symbol].see(update):
            report.wrong.append(problem)


async def _commit_all(
    fake: FakeVenue,
    model: ModelVenue,
    random: Random,
    seen: dict[str, Seen],
    report: Report,
    seconds: float,
    mean_s: float,
) -> None:
    began = time.monotonic()
    recovering: set[asyncio.Task[None]] = set()
    for at_s, fault in plan(random, model.faults | ALWAYS, seconds=seconds, mean_s=mean_s):
        await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
        fake.commit(fault)
        task = asyncio.create_task(_recovery(fault, seen, report))
        recovering.add(task)
        task.add_done_callback(recovering.discard)
    fake.heal()
    with suppress(TimeoutError):
        async with asyncio.timeout(20):
            await asyncio.gather(*recovering)


async def _recovery(fault: Fault, seen: dict[str, Seen], report: Report) -> None:
    """Measure the time from a fault until every book is live with a state from after it."""
    began = time.monotonic()
    numbers = {symbol: each.book.number for symbol, each in seen.items()}
    await eventually(
        lambda: all(each.live and each.at > numbers[symbol] for symbol, each in seen.items()), 60
    )
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


def state_of(update: BookUpdate) -> State:
    """Return the book of an update as the model has its states."""
    book = update.book
    return frozenset(book.bids.levels.items()), frozenset(book.asks.levels.items())
