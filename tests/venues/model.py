"""What a fake venue's protocol is made of: a model owns books, and speaks about them on connections. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import NamedTuple, Protocol

from tests.venues.faults import Fault
from tests.venues.market import Market


class Kind(StrEnum):
    """What a message is, so that faults can be aimed."""

    BOOK = "book"
    """Changes of a book: the loss of one must be noticed."""
    SNAPSHOT = "snapshot"
    """A whole book that begins a subscription."""
    CONTROL = "control"
    """An answer to a request, a heartbeat or a pong."""


class Message(NamedTuple):
    """One WebSocket message to the client; text unless `raw` is bytes. `symbol` is empty for CONTROL."""

    raw: str | bytes
    kind: Kind
    symbol: str = ""


class RestAnswer(NamedTuple):
    """The answer to an HTTP GET."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class ModelConnection(Protocol):
    """One client's connection. Times are µs since 1970."""

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        """Take what the client sent (subscribe, unsubscribe, ping) and return the answers in order."""
        ...

    def due(self, now: int) -> list[Message]:
        """Return what the venue sends by itself since the last call: changes of books, heartbeats."""
        ...

    def end(self, symbol: str) -> None:
        """End the subscription of a symbol without a word (`Fault.UNSUBSCRIBED`)."""
        ...


class ModelVenue(Protocol):
    """A venue. `faults`: those that its rule of continuity can notice, or that are harmless by it.

    Every venue withstands the faults of `depthcast`'s side of a connection: see `faults.ALWAYS`.
    """

    name: str
    market: Market
    faults: frozenset[Fault]

    def connect(self, path: str, now: int) -> ModelConnection:
        """Accept a client on this path and query, such as "/ws?compress=false"."""
        ...

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        """Answer a GET by the books as they are now; 404 for an unknown path."""
        ...

    def reset(self, symbol: str, now: int) -> None:
        """Begin the symbol's numbers anew, as the venue does after its maintenance (`Fault.RESET`)."""
        ...

    def spoil(self, message: Message, random: Random) -> Message | None:
        """Return a BOOK message whose checksum does not agree (`Fault.CHECKSUM`); None if it has none."""
        ...
