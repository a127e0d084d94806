"""Tasks of a connection: how they end, and that none is left that never began."""

import asyncio
import gc
import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest

from depthcast.runtime.venue_connection import ConnectionEnded, Limits, VenueConnection


def connection() -> VenueConnection:
    """One that has no adapter and talks to nobody."""
    nothing = cast("Any", SimpleNamespace(sends_per_s=1.0))
    made = VenueConnection(
        1, [], profile=nothing, adapter=nothing, session=nothing, ws_url="", rest=nothing,
        limits=Limits(1.0, 0.0, 1.0, 0.0, 1.0), receiver=nothing, counts=nothing,
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
