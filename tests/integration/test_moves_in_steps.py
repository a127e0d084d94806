"""A leader moves its books in several steps; it may die before or after each, and readers may join within."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final

import pytest

from depthcast import Consumer
from depthcast.broadcaster.runtime.publisher import Publisher
from depthcast.ingestor.runtime import leadership
from depthcast.shared.codec import decode_delta, decode_info
from depthcast.shared.position import Position
from depthcast.shared.replica import Replica
from tests.ingestor_runs import FEEDS, Input, Run
from tests.integration.members import Member, Start, members
from tests.waiting import TIMEOUT_S, eventually

STEPS: Final = len(FEEDS)
"""Each step moves one book."""

Levels = tuple[dict[int, int], dict[int, int]]


@pytest.fixture(autouse=True)
def _one_book_in_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "MOVED_MAX", 1)


class Deaths:
    """Stops a leader at a write between its seal and the entry that says that all books are moved.

    Writes are counted from 0: `STEPS` moves, and then the record. `at`: the write to stop at; None for none.
    `written`: whether the server executes it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.written = False
        self.reached = asyncio.Event()
        for name in ("move", "store"):
            monkeypatch.setattr(Publisher, name, self._stopping(getattr(Publisher, name)))

    def plan(self, at: int, *, written: bool) -> None:
        self.at, self.written = at, written
        self.reached.clear()

    def _stopping(self, write: Callable[..., Any]) -> Callable[..., Any]:
        async def stop(publisher: Publisher, *arguments: Any) -> None:
            if self.at is None or publisher.position.n:
                await write(publisher, *arguments)
            elif self.at:
                self.at -= 1
                await write(publisher, *arguments)
            else:
                self.at = None
                if self.written:
                    await write(publisher, *arguments)
                self.reached.set()
                await asyncio.Event().wait()

        return stop


class Reader:
    """A consumer, and all it has shown: symbol, seq and levels."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.shown: list[tuple[str, int, Levels]] = []

    async def follow(self) -> None:
        async for update in self.consumer:
            bids, asks = (dict(side.top()) for side in update.book.sides)
            self.shown.append((update.symbol, update.seq, (bids, asks)))

    def holds(self, sent: Input) -> bool:
        """Whether each of its books is as the model, and up to date."""
        return all(
            symbol in {name for name, _, _ in self.shown}
            and self.consumer.state(symbol).value in ("live", "stale")
            and {
                name: dict(side.top())
                for name, side in zip(("bid", "ask"), self.consumer.book(symbol).sides, strict=True)
            }
            == model.levels()
            for symbol, model in sent.models.items()
        )

    def check(self, states: dict[tuple[str, int], Levels]) -> None:
        """All it has shown was published under that seq, and it never went back."""
        newest = dict.fromkeys(FEEDS, 0)
        for symbol, seq, levels in self.shown:
            assert seq >= newest[symbol]
            newest[symbol] = seq
            assert levels == states[symbol, seq]


@asynccontextmanager
async def reading(run: Run) -> AsyncIterator[Reader]:
    async with Consumer(run.url, list(FEEDS), prefix=run.prefix) as consumer:
        reader = Reader(consumer)
        following = asyncio.create_task(reader.follow())
        try:
            yield reader
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def published_states(run: Run) -> dict[tuple[str, int], Levels]:
    """The levels of each book at each seq that a stream, which was never trimmed, ever named."""
    states: dict[tuple[str, int], Levels] = {}
    replicas: dict[str, Replica] = {}
    for _, fields in await run.history():
        for name, raw in fields:
            if not name.startswith(b"_"):
                symbol, delta = name.decode(), decode_delta(raw)
                replica = replicas.setdefault(symbol, Replica()) if delta.prev_seq else Replica()
                replicas[symbol] = replica
                replica.apply(delta)
                assert (symbol, replica.seq) not in states, "a seq is used once"
                states[symbol, replica.seq] = tuple(dict(side.levels) for side in replica.book.sides)  # type: ignore[assignment]
    return states


async def begun(run: Run, sent: Input, start: Start) -> Member:
    """A leader that has published all that was sent."""
    member = start(run.settings(snapshot_interval_ms=200))
    await eventually(member.leads)
    await sent.send(30)
    await run.published()
    return member


def follows(member: Member) -> bool:
    return bool(member.service.stats.of(0).following)


async def test_the_books_of_a_new_leader_come_in_steps(run: Run) -> None:
    sent = Input(run, Random(1))
    async with members() as start:
        first = await begun(run, sent, start)
        before = await run.info()
        await first.crash()
        last = (await run.history())[-1][0]
        second = start(run.settings())
        await eventually(second.leads)
        steps = await run.steps()
        assert [(position.n, moved) for position, moved in steps] == [(0, 1)] * STEPS
        epochs = [position.epoch for position, _ in steps]
        assert epochs == list(range(epochs[0], epochs[0] + STEPS))
        history = [(position, dict(fields)) for position, fields in await run.history()]
        seal, *chain = [(position, fields) for position, fields in history if position > last][: STEPS + 2]
        assert (seal[0], [name for name in seal[1] if not name.startswith(b"_")]) == (
            Position(epochs[0] - 1, 0),
            [],
        )
        assert chain[-1][0] == Position(epochs[-1], 1), "which says that all are moved"
        about = [decode_info(fields[b"_"]) for _, fields in chain[:-1]]
        assert before is not None
        for info, prev in zip(about, [seal[0], *(position for position, _ in steps)], strict=False):
            counts = (info.src, info.applied, info.rejected, info.ignored, info.prev)
            assert counts == (before.src, before.applied, before.rejected, before.ignored, str(prev))
        await sent.send(20)
        await sent.check()


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("written", [False, True])
async def test_a_leader_that_dies_at_any_of_the_steps(
    run: Run, monkeypatch: pytest.MonkeyPatch, hot: bool, written: bool
) -> None:
    """Another one takes over: exact books, each event once, and readers that joined at that step agree."""
    sent = Input(run, Random(2 + hot), doubting=False)
    deaths = Deaths(monkeypatch)
    async with members() as start, AsyncExitStack() as stack:
        leader = await begun(run, sent, start)
        readers = [await stack.enter_async_context(reading(run))]
        for at in range(STEPS + 1):
            await eventually(lambda: all(reader.holds(sent) for reader in readers), message="all is read")
            deaths.plan(at, written=written)
            await leader.crash()
            dying = start(run.settings(snapshot_interval_ms=200))
            async with asyncio.timeout(TIMEOUT_S):
                await deaths.reached.wait()
            assert len(await run.steps()) == min(at + written, STEPS)
            await sent.send(5)
            readers.append(await stack.enter_async_context(reading(run)))
            if hot:
                leader = start(run.settings(snapshot_interval_ms=200))
                await eventually(partial(follows, leader))
            await dying.crash()
            if not hot:
                leader = start(run.settings(snapshot_interval_ms=200))
            await eventually(leader.leads, message="another one leads")
            assert leader.service.stats.of(0).warm_takeovers or not hot
            await sent.send(5)
            await run.published()
        await sent.check()
        await eventually(lambda: all(reader.holds(sent) for reader in readers), message="all is read")
        states = await published_states(run)
        for reader in readers:
            reader.check(states)
        assert len(readers) == STEPS + 2
