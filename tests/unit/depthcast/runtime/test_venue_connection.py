"""Tasks of a connection: how they end, and that none is left that never began."""

import asyncio
import gc
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from depthcast.runtime.venue_connection import (
    CALM_S,
    FAILURES_MOST,
    ConnectionCounts,
    ConnectionEnded,
    Limits,
    SendSchedule,
    VenueConnection,
)
from depthcast.shared.backoff import Backoff, no_jitter


def connection() -> VenueConnection:
    """One that has no adapter and talks to nobody."""
    nothing = cast("Any", SimpleNamespace(sends_per_s=1.0, snapshot_by_rest=False))
    made = VenueConnection(
        1, [], profile=nothing, adapter=nothing, session=nothing, ws_url="", rest=nothing,
        limits=Limits(1.0, 0.0, 1.0, 0.0, 1.0), receiver=nothing, counts=ConnectionCounts(),
    )  # fmt: skip
    made._failure = asyncio.get_running_loop().create_future()
    return made


async def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "reason"), [(ConnectionEnded("cut", "gone"), "cut"), (ValueError("odd"), "error")]
)
async def test_a_connection_ends_with_what_its_task_failed_by(error: Exception, reason: str) -> None:
    made = connection()
    assert made._failure is not None
    await asyncio.wait([made._start(fail(error)), made._failure])
    with pytest.raises(ConnectionEnded) as ended:
        made._failure.result()
    assert ended.value.reason == reason
    assert not made._tasks


async def test_a_book_that_comes_while_its_recovery_waits_is_not_subscribed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To subscribe again would forget it, while everybody takes it for live."""
    made = connection()
    waits = []

    async def nothing_came(*_: object) -> bool:
        waits.append("A")
        asyncio.get_running_loop().call_soon(made.synced.add, "A")
        return False

    async def send(_: object) -> None:
        raise AssertionError("it was subscribed again")

    monkeypatch.setattr(made, "_snapshot_came", nothing_came)
    monkeypatch.setattr(made, "_send", send)
    await asyncio.wait_for(made._recovery("A", subscribed=True), 30)
    assert waits == ["A"]


class Recorded:
    """Stands for the adapter and the socket: what was asked of the first, and sent by the second."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        self.done.append("subscribe")
        return [f"+{symbol}" for symbol in symbols]

    def unsubscribe(self, symbols: Sequence[str]) -> list[str]:
        self.done.append("unsubscribe")
        return [f"-{symbol}" for symbol in symbols]

    def ping(self, _: int) -> str:
        return "ping"

    def snapshot_request(self, _: str) -> None:
        return None

    async def send_str(self, payload: str) -> None:
        self.done.append(payload)


def busy() -> tuple[VenueConnection, Recorded]:
    """A connection that may send nothing for a second."""
    made, recorded = connection(), Recorded()
    made.adapter = made._socket = cast("Any", recorded)
    made._schedule._next_at = asyncio.get_running_loop().time() + 1.0
    return made, recorded


async def test_a_subscription_begins_when_it_is_sent() -> None:
    """What comes before that belongs to none: the book it makes would be followed by nothing."""
    made, recorded = busy()
    made._schedule._apart_s = 0.0
    made.symbols = ["A", "B", "C"]
    tasks = [asyncio.create_task(made._subscribe(symbols)) for symbols in (["A", "B", "C"], ["C"])]
    await asyncio.sleep(0)
    assert recorded.done == []
    made.symbols.remove("C")
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert recorded.done == ["subscribe", "+A", "+B"]


async def test_a_ping_does_not_wait_for_what_else_is_to_be_sent() -> None:
    made, recorded = busy()
    await made._ping()
    assert recorded.done == ["ping"]


async def test_an_answer_to_an_earlier_subscription_is_not_waited_for() -> None:
    made, recorded = busy()
    made.symbols = ["A"]
    never = made._refreshing["A"] = made._start(asyncio.sleep(3600))
    made.leave("A")
    with pytest.raises(asyncio.CancelledError):
        await never
    again = made._refreshing["A"] = made._start(asyncio.sleep(3600))
    made._schedule = SendSchedule(0)
    recovery = made._start(made._recovery("A", subscribed=False))
    with pytest.raises(asyncio.CancelledError):
        await again
    recovery.cancel()
    for task in tuple(made._tasks):
        task.cancel()
    await asyncio.gather(*made._tasks, return_exceptions=True)
    assert recorded.done[0] == "unsubscribe"


async def test_waits_begin_with_the_shortest_only_after_a_calm_time() -> None:
    made = connection()
    backoff = made._backoffs["A"] = Backoff(1.0, 8.0, no_jitter)
    made._forget("A")
    made._synced_at["A"] = asyncio.get_running_loop().time()
    made._forget("A")
    assert made._backoffs["A"] is backoff, "it had no book here, or for a moment only"
    made._synced_at["A"] = asyncio.get_running_loop().time() - CALM_S - 1
    made._forget("A")
    assert "A" not in made._backoffs


async def test_a_book_that_fails_again_and_again_wants_a_new_connection() -> None:
    made = connection()
    for _ in range(FAILURES_MOST):
        made._note_failure("A")
    assert not made.closing.is_set(), "if no book comes right, the connection is given up anyway"
    made.synced.add("B")
    made._synced_at["A"] = asyncio.get_running_loop().time() - CALM_S - 1
    made._forget("A")
    for _ in range(FAILURES_MOST - 1):
        made._note_failure("A")
    assert not made.closing.is_set(), "it was right for a while"
    made._note_failure("A")
    assert made.closing.is_set()


async def test_a_task_that_is_cancelled_before_it_begins_leaves_nothing() -> None:
    made = connection()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        task = made._start(fail(ValueError()))
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
    assert not [str(warning.message) for warning in found]
    assert made._failure is not None
    assert not made._failure.done()
    assert not made._tasks
