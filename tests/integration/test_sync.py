"""Client and consumer without asyncio, against a real gateway.

The tests are coroutines because their publisher is one. So each call is made while an event loop is running
in its thread, as in a notebook.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from types import FrameType

import pytest

from depthcast import BookUpdate, ClientError, Kind, State
from depthcast.runtime.ports import free_port
from depthcast.sync import Client, Consumer, connect
from depthcast.sync.loop import LoopThread
from tests.integration.gateway_harness import FakeIngestor, RunningGateway, served
from tests.waiting import TIMEOUT_S, eventually, eventually_sync


class EnoughError(Exception):
    """The test has seen enough."""


@pytest.fixture
async def market(redis_url: str, prefix: str) -> AsyncIterator[tuple[RunningGateway, FakeIngestor]]:
    async with served(redis_url, prefix) as (gateway, ingestor):
        yield gateway, ingestor


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "depthcast"]


async def test_books_are_current_whenever_they_are_asked_for(
    market: tuple[RunningGateway, FakeIngestor],
) -> None:
    gateway, ingestor = market
    with connect(gateway.url) as client:
        client.subscribe("AAA", depth=5)
        before = client.wait_for("AAA", timeout_s=TIMEOUT_S)
        seq = await ingestor.publish("AAA", {100: 9})
        eventually_sync(lambda: client.seq("AAA") == seq)
        assert before.bids.levels[100] == 5, "a copy"
        assert client.book("AAA").prices(1).bids == [(Decimal("1.00"), Decimal("0.009"))]
        assert client.frame("AAA", 1, floats=True)["price"].tolist() == [1.0, 1.01]
        assert client.sizes("AAA") == ("0.01", "0.001")
        assert (client.state("AAA"), client.stale_reason("AAA")) == (State.LIVE, None)
        assert (client.event_ts("AAA"), client.input_age_ms("AAA")) == (None, None)
        assert client.digest("AAA") == ingestor.books["AAA"].digest
        update = client.next()
        assert update is not None
        assert (update.symbol, update.kind, update.seq) == ("AAA", Kind.SNAPSHOT, seq), "conflated"
        assert update.book.bids.levels[100] == 9
        assert client.ping() > 0
        assert client.counters.gaps == 0
        client.unsubscribe("AAA")
        with pytest.raises(ClientError, match="not_subscribed"):
            client.book("AAA")
    assert threads() == []


async def test_iterating_and_callbacks(market: tuple[RunningGateway, FakeIngestor]) -> None:
    gateway, ingestor = market
    with connect(gateway.url) as client:
        client.subscribe(["AAA", "BBB"])
        seen = set()
        for update in client:
            seen.add(update.symbol)
            if seen == {"AAA", "BBB"}:
                break
        seq = await ingestor.publish("BBB", {100: 9})

        def on_update(update: BookUpdate) -> None:
            if update.seq == seq:
                assert update.bids == [(100, 9)]
                raise EnoughError

        with pytest.raises(EnoughError):
            client.run(on_update)


async def test_a_wait_ends_in_time(market: tuple[RunningGateway, FakeIngestor]) -> None:
    gateway, ingestor = market
    with connect(gateway.url) as client:
        client.subscribe("AAA")
        client.wait_for("AAA")
        assert client.next(TIMEOUT_S) is not None
        seq = client.seq("AAA")
        assert client.next(0.02) is None
        with pytest.raises(TimeoutError):
            client.wait_for("AAA", seq + 1, timeout_s=0.02)
        assert await ingestor.publish("AAA", {100: 9}) > seq
        update = client.next(TIMEOUT_S)
        assert update is not None
        assert update.bids == [(100, 9)], "no update is lost by a wait that ended"


async def test_errors_reach_the_caller(market: tuple[RunningGateway, FakeIngestor]) -> None:
    gateway, _ = market
    client = connect(gateway.url)
    with pytest.raises(ClientError, match="use it with `with`"):
        client.book("AAA")
    with client:
        with pytest.raises(ClientError, match="unknown_symbol"):
            client.subscribe("NOPE")
        client.subscribe("AAA")
        client.wait_for("AAA")
    client.close()
    with pytest.raises(ClientError, match="use it with `with`"):
        client.next()
    with pytest.raises(ClientError, match="unreachable"), connect(f"http://127.0.0.1:{free_port()}"):
        raise AssertionError
    assert threads() == []


async def test_a_client_that_ended_says_so(market: tuple[RunningGateway, FakeIngestor]) -> None:
    gateway, _ = market
    with connect(gateway.url) as client:
        client.subscribe("AAA")
        client.wait_for("AAA")
        assert client.ended is None
        end(client)
        await eventually(lambda: client.ended is not None)
        with pytest.raises(ClientError, match="closed"):
            client.run(lambda _: None)


def end(client: Client) -> None:
    """End the asynchronous client under it."""
    assert client._thread is not None
    client._thread.call(client._reader.__aexit__(None, None, None))


async def test_a_consumer(market: tuple[RunningGateway, FakeIngestor], redis_url: str, prefix: str) -> None:
    _, ingestor = market
    with Consumer(redis_url, ["AAA"], prefix=prefix) as consumer:
        first = consumer.next(TIMEOUT_S)
        assert first is not None
        assert (first.symbol, first.kind) == ("AAA", Kind.SNAPSHOT)
        assert consumer.position == ingestor.positions
        since = str(consumer.position)
        seq = await ingestor.publish("AAA", {100: 9})
        second = next(consumer)
        assert (second.kind, second.seq, second.bids) == (Kind.DELTA, seq, [(100, 9)])
        assert first.book.bids.levels[100] == 5, "a copy"
        assert consumer.book("AAA").bids.levels[100] == 9
        assert consumer.seq("AAA") == seq
        assert consumer.digest("AAA") == ingestor.books["AAA"].digest
        eventually_sync(lambda: consumer.state("AAA") is State.LIVE)  # once the clock of the server is known
        assert consumer.stale_reason("AAA") is None
        assert (consumer.age_s("AAA") or 0.0) < TIMEOUT_S
        assert (consumer.event_ts("AAA"), consumer.input_age_s("AAA")) == (None, None)
        assert (consumer.listing("AAA"), consumer.resyncs) == (None, 0)
        assert consumer.next(0.02) is None
        with pytest.raises(TimeoutError):
            consumer.wait_for("AAA", seq + 1, timeout_s=0.02)
        assert await ingestor.publish("AAA", {100: 8}) > seq
        third = consumer.next(TIMEOUT_S)
        assert third is not None
        assert third.bids == [(100, 8)], "no update is lost by a wait that ended"
    with Consumer(redis_url, "AAA", prefix=prefix, since=since) as consumer:
        assert [update.seq for _, update in zip(range(2), consumer, strict=False)] == [seq, seq + 1]
    assert threads() == []


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_cancels_what_is_waited_for() -> None:
    assert threading.current_thread() is threading.main_thread()
    main = threading.get_ident()
    cancelled = threading.Event()

    def waits() -> bool:
        """Whether the main thread waits for a result."""
        frame: FrameType | None = sys._current_frames()[main]
        while frame is not None and frame.f_code.co_name != "result":
            frame = frame.f_back
        return frame is not None

    async def for_ever() -> None:
        await eventually(waits)
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    thread = LoopThread()
    with pytest.raises(KeyboardInterrupt):
        thread.call(for_ever())
    assert cancelled.wait(TIMEOUT_S)
    thread.close()
