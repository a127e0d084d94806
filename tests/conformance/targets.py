"""A real server and the simulated store behind one face: a command in, its plain reply or its error out."""

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
    """A reply of error, as the library understands it."""

    kind: str
    text: str


class Target(Protocol):
    """What runs commands. `fill` makes memory full or gives it back."""

    def __call__(self, *command: str | bytes | int) -> Any: ...

    def fill(self, *, full: bool) -> None: ...


class RealServer:
    """A server of the test's own, at `url`."""

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
    """The in-memory store, at the time that `clock_us` tells."""

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
        """Nothing is open."""


def understood(error: Exception) -> Error:
    """The library's exception; what a server adds about the script it came from is left out."""
    return Error(type(error).__name__, str(error).partition(" script:")[0].rstrip(". "))


def plain(reply: Any) -> Any:
    """A reply without the simulated store's own types."""
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    return bytes(reply) if isinstance(reply, bytes) else reply


def _bytes(part: str | bytes | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()
