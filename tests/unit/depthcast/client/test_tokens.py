"""Tokens of the Python client: fresh ones in time, another one after a refusal, and none in a log."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from depthcast.client import client as module
from depthcast.client.client import Client
from depthcast.client.session import ClientSession
from depthcast.client.token import Token, current
from depthcast.client.transport import ConnectionLost
from depthcast.shared.backoff import Backoff
from depthcast.shared.errors import ClientError

WELCOME = {"type": "welcome", "heartbeat_ms": 5000, "auth": "token", "expires": 1}
EXPIRING = {"type": "expiring", "expires": 1}
SECRET = "S3cr3tValue"


class Line:
    """A connection that brings messages, and then a close code once something was sent, or at once."""

    def __init__(self, code: int, *messages: Mapping[str, Any], after_sending: bool = False) -> None:
        self.code = code
        self.left = list(messages)
        self.sent: list[Mapping[str, Any]] = []
        self._go_on = asyncio.Event()
        if not after_sending:
            self._go_on.set()

    async def receive(self) -> Mapping[str, Any]:
        if self.left:
            return self.left.pop(0)
        await self._go_on.wait()
        raise ConnectionLost(self.code)

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)
        self._go_on.set()

    async def close(self) -> None:
        pass


class Answering(Line):
    """A connection that brings one of its `answers` for each message, and then its close code."""

    def __init__(self, code: int, *messages: Mapping[str, Any], answers: list[Mapping[str, Any]]) -> None:
        super().__init__(code, *messages)
        self.answers = answers
        self._brought: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def send(self, message: Mapping[str, Any]) -> None:
        await super().send(message)
        self._brought.put_nowait(self.answers.pop(0))

    async def receive(self) -> Mapping[str, Any]:
        if not self.left and (self.answers or not self._brought.empty()):
            self.left.append(await self._brought.get())
        return await super().receive()


async def ended_by(token: Token, *lines: Line) -> ClientError:
    """Follow one connection after the other; the error that ended the client."""
    left = list(lines)

    async def dial() -> Line:
        return left.pop(0)

    client = Client(dial, ClientSession(), Backoff(0.001, 0.002, lambda: 0.0), token)
    try:
        async with client:
            while True:
                await anext(client)
    except ClientError as error:
        assert left == []
        return error
    raise AssertionError


async def test_a_fresh_token_is_presented_before_the_old_one_expires() -> None:
    asked = []

    async def fresh() -> str:
        asked.append(1)
        return f"token {len(asked)}"

    line = Line(1000, WELCOME, EXPIRING, EXPIRING, after_sending=True)
    await ended_by(fresh, line)
    assert line.sent[0] == {"op": "auth", "id": "token", "token": "token 1"}


@pytest.mark.parametrize("code", ["unauthorized", "unavailable", "rate_limited"])
async def test_another_token_is_presented_after_one_that_was_not_taken(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """The one before still holds, so the connection goes on, whether there is another at once or later."""
    monkeypatch.setattr(module, "REFRESH_AGAIN_S", 0.01)
    tokens: list[str | None] = ["wrong", None, "", "right"]

    async def fresh() -> str:
        token = tokens.pop(0)
        if token is None:
            raise RuntimeError(SECRET)
        return token

    refused = {"type": "error", "id": "token", "code": code, "message": "no"}
    taken = {"type": "authenticated", "id": "token", "expires": 2}
    line = Answering(4408, WELCOME, EXPIRING, answers=[refused, taken])
    await ended_by(fresh, line)
    assert [message["token"] for message in line.sent] == ["wrong", "right"]
    assert tokens == []


async def test_a_token_that_cannot_change_is_not_presented_again() -> None:
    line = Line(1000, WELCOME, EXPIRING)
    await ended_by("t", line)
    assert line.sent == []


@pytest.mark.parametrize(("token", "connections"), [(lambda: "t", 2), ("t", 1), (None, 1)])
async def test_who_can_have_another_token_comes_again_with_it(token: Token, connections: int) -> None:
    refused = Line(4401, WELCOME)
    lines = [refused, Line(4408)][:connections]
    error = await ended_by(token, *lines)
    assert ("4401" in str(error)) == (connections == 1)


async def test_an_error_about_the_token_does_not_end_who_can_have_another() -> None:
    error = {"type": "error", "code": "unauthorized", "message": "the token has expired"}
    assert (await ended_by(lambda: "t", Line(4401, WELCOME, error), Line(4408))).code == "closed"
    assert (await ended_by("t", Line(4401, WELCOME, error))).code == "unauthorized"


async def test_what_goes_wrong_with_a_token_is_no_end_and_shows_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> str:
        raise RuntimeError(SECRET)

    with caplog.at_level(logging.DEBUG):
        await ended_by(broken, Line(1006, WELCOME, EXPIRING, {"type": "heartbeat"}), Line(4408))
    assert SECRET not in caplog.text


async def test_what_a_token_may_be() -> None:
    async def awaited() -> str:
        return "b"

    assert [await current(token) for token in (None, "a", lambda: "a", awaited)] == [None, "a", "a", "b"]
