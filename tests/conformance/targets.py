"""One interface to a real server and the simulated store: a command in, its plain reply or its error out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import redis
from redis._parsers.base import BaseParser

from tests.simulation.replies import ReplyError
from tests.simulation.store import Store

NODE_ENTRIES = 3
"""Entries in a node of a stream: few, so that approximate trimming shows."""


@dataclass(frozen=True)
class Error:
    """An error reply, as the library understands it."""

    kind: str
    text: str


class Target(Protocol):
    """Runs commands. `fill` makes memory full, or frees it again."""

    def __call__(self, *command: str | bytes | int) -> Any: ...

    def fill(self, *, full: bool) -> None: ...


class RealServer:
    """A real server at `url`, used only by this test."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, protocol=2)
        self.client.response_callbacks.clear()
        self("CONFIG", "SET", "stream-node-max-entries", NODE_ENTRIES)
        self("FLUSHALL")
        self("SCRIPT", "FLUSH")

    def __call__(self, *command: str | bytes | int) -> Any:
        try:
            return cast("Any", self.client).execute_command(*command)
        except redis.ResponseError as error:
            return understood(error)

    def fill(self, *, full: bool) -> None:
        self("CONFIG", "SET", "maxmemory", 1 if full else 0)

    def close(self) -> None:
        self.fill(full=False)
        self.client.close()


class SimulatedServer:
    """The in-memory store, at the time of `clock_us`."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self.store = Store(clock_us, node_entries=NODE_ENTRIES)

    def __call__(self, *command: str | bytes | int) -> Any:
        try:
            return plain(self.store.execute(*(_bytes(part) for part in command)))
        except ReplyError as error:
            return understood(cast("Any", BaseParser).parse_error(str(error)))

    def fill(self, *, full: bool) -> None:
        self.store.memory_full = full

    def close(self) -> None:
        """Nothing to close."""


def understood(error: Exception) -> Error:
    """The library's exception, without what a server adds about the script."""
    return Error(type(error).__name__, str(error).partition(" script:")[0].rstrip(". "))


def plain(reply: Any) -> Any:
    """A reply without the simulated store's types."""
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return bytes(reply) if isinstance(reply, bytes) else reply


def _bytes(part: str | bytes | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()
