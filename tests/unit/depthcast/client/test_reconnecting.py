"""Whether, and how soon, a client connects again after each kind of close code."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from depthcast.client.client import Client
from depthcast.client.session import ClientSession
from depthcast.client.transport import ConnectionLost, Transport
from depthcast.shared.backoff import Backoff
from depthcast.shared.errors import ClientError

FIRST_S = 0.5


class Closing:
    """A connection that brings some messages and is then closed with a code."""

    def __init__(self, code: int, *messages: Mapping[str, Any]) -> None:
        self.code = code
        self.left = list(messages)

    async def receive(self) -> Mapping[str, Any]:
        if self.left:
            return self.left.pop(0)
        raise ConnectionLost(self.code)

    async def send(self, message: Mapping[str, Any]) -> None:
        pass

    async def close(self) -> None:
        pass


WELCOME = {"type": "welcome", "heartbeat_ms": 5000}
HEARTBEAT = {"type": "heartbeat"}


async def waits(monkeypatch: pytest.MonkeyPatch, fraction: float, *connections: Transport) -> list[float]:
    """Seconds waited before each connection after the first, until the last one ends for good."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    left = list(connections)

    async def dial() -> Transport:
        return left.pop(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    client = Client(dial, ClientSession(), Backoff(FIRST_S, 4.0, lambda: fraction))
    with pytest.raises(ClientError) as ended:
        async with client:
            await anext(client)
    assert ended.value.code == "closed"
    assert left == []
    return slept


@pytest.mark.parametrize(
    ("code", "least_s"),
    [(1006, 0.0), (1012, 0.0), (1001, FIRST_S), (1013, FIRST_S), (4410, FIRST_S), (4999, FIRST_S)],
)
async def test_the_code_decides_how_soon(monkeypatch: pytest.MonkeyPatch, code: int, least_s: float) -> None:
    made = [Closing(code, WELCOME, HEARTBEAT), Closing(4408)]
    assert await waits(monkeypatch, 0.0, *made) == [least_s]


async def test_iterating_continues_after_an_error_that_concerns_one_message() -> None:
    left: list[Transport] = [Closing(4408, WELCOME, {"type": "subscribed"}, HEARTBEAT)]

    async def dial() -> Transport:
        return left.pop()

    async with Client(dial, ClientSession(), Backoff(FIRST_S, 4.0, lambda: 0.0)) as client:
        codes = []
        for _ in range(3):
            with pytest.raises(ClientError) as ended:
                await anext(client)
            codes.append(ended.value.code)
        assert codes == ["bad_message", "closed", "closed"]
        with pytest.raises(ClientError, match="4408"):
            await client.ping()


async def test_waits_grow_until_a_connection_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = [Closing(1013, WELCOME) for _ in range(3)]
    serving = Closing(1012, WELCOME, HEARTBEAT)
    slept = await waits(monkeypatch, 1.0, *refusing, serving, Closing(4408))
    assert slept == [FIRST_S + 0.5, FIRST_S + 1.0, FIRST_S + 2.0, 0.5]


async def test_a_wait_that_is_cancelled_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a user whose timeouts are short would never be connected again."""
    slept: list[float] = []
    sleeping = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        sleeping.set()
        await asyncio.Event().wait()

    async def dial() -> Transport:
        return Closing(1012, WELCOME, HEARTBEAT)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with Client(dial, ClientSession(), Backoff(FIRST_S, 4.0, lambda: 1.0)) as client:
        for _ in range(3):
            sleeping.clear()
            reading = asyncio.create_task(anext(client))
            await sleeping.wait()
            reading.cancel()
            await asyncio.wait({reading})
    first, *later = slept
    assert first == FIRST_S
    assert all(0 <= seconds <= FIRST_S for seconds in later)
    assert later == sorted(later, reverse=True)


async def test_an_end_for_good_is_one_even_if_closing_is_cancelled() -> None:
    closing = asyncio.Event()

    class SlowToClose(Closing):
        async def close(self) -> None:
            if not closing.is_set():
                closing.set()
                await asyncio.Event().wait()

    left: list[Transport] = [SlowToClose(4408, WELCOME)]

    async def dial() -> Transport:
        return left.pop()

    async with Client(dial, ClientSession(), Backoff(FIRST_S, 4.0, lambda: 0.0)) as client:
        reading = asyncio.create_task(anext(client))
        await closing.wait()
        reading.cancel()
        await asyncio.wait({reading})
        with pytest.raises(ClientError, match="4408"):
            await anext(client)
