"""What the models have in common whose venues send the snapshot after a subscription. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

from tests.venues.faults import ALWAYS, Fault
from tests.venues.market import Market, ModelBook
from tests.venues.model import Kind, Message, ModelConnection, RestAnswer

HEARTBEAT_US: Final = 200_000

Texts = list[tuple[str, str]]
"""Levels as decimal text."""


class StreamVenue(ABC):
    """The model of such a venue."""

    name: str
    faults: frozenset[Fault] = ALWAYS | {Fault.DUPLICATE}

    def __init__(
        self, random: Random, symbols: Sequence[str], *, depth: int | None = None, levels_max: int = 40
    ) -> None:
        self.market = Market(
            [ModelBook(symbol, random, depth=depth, levels_max=levels_max) for symbol in symbols]
        )

    def connect(self, path: str, now: int) -> ModelConnection:
        return self.connection(now)

    def reset(self, symbol: str, now: int) -> None:
        return None  # a venue without numbers has none to begin

    def spoil(self, message: Message, random: Random) -> Message | None:
        return None

    def rest(self, path: str, query: Mapping[str, str], now: int) -> RestAnswer:
        body = self.instruments(path, query)
        return RestAnswer(404, b"{}") if body is None else RestAnswer(200, body)

    @abstractmethod
    def connection(self, now: int) -> "StreamConnection":
        """Make a client's connection."""

    @abstractmethod
    def instruments(self, path: str, query: Mapping[str, str]) -> bytes | None:
        """Return the list of instruments, if that is what is asked for."""


class StreamConnection(ABC):
    """One client's connection: which books it has, and up to which change it knows them."""

    def __init__(self, market: Market, now: int) -> None:
        self.market = market
        self.sent: dict[str, int] = {}
        self.beat_at = now + HEARTBEAT_US
        self.now = now

    def begin(self, symbol: str) -> Message:
        """Begin a subscription; returns its snapshot."""
        book = self.market[symbol]
        self.sent[symbol] = book.number
        return Message(self.snapshot(book), Kind.SNAPSHOT, symbol)

    def receive(self, raw: str | bytes, now: int) -> list[Message]:
        self.now = now
        return self.answers(raw)

    def due(self, now: int) -> list[Message]:
        self.now = now
        messages = []
        for symbol, number in self.sent.items():
            book = self.market[symbol]
            changed = visible_changes(book, number)
            if changed[0] or changed[1]:
                self.sent[symbol] = book.number
                messages.append(Message(self.update(book, *changed), Kind.BOOK, symbol))
        if now >= self.beat_at:
            self.beat_at = now + HEARTBEAT_US
            messages += [Message(raw, Kind.CONTROL) for raw in self.beats()]
        return messages

    def end(self, symbol: str) -> None:
        self.sent.pop(symbol, None)

    @abstractmethod
    def answers(self, raw: str | bytes) -> list[Message]:
        """Take what the client sent, and return the answers."""

    @abstractmethod
    def snapshot(self, book: ModelBook) -> str:
        """Return the snapshot of a book as it is now."""

    @abstractmethod
    def update(self, book: ModelBook, bids: Texts, asks: Texts) -> str:
        """Return the message of these changes, which lead to the book as it is now."""

    def beats(self) -> list[str]:
        """Return what says that the venue is alive."""
        return []


def visible_changes(book: ModelBook, number: int) -> tuple[Texts, Texts]:
    """Return what a subscriber is told of the changes since `number`.

    A level that fell out of the depth, but is still there, is not told.
    """
    sides: list[Texts] = []
    for side in range(2):
        before, after = dict(book.states[number][side]), dict(book.state()[side])
        levels = [(price, quantity) for price, quantity in after.items() if before.get(price) != quantity]
        levels += [(price, 0) for price in before if price not in book.sides[side]]
        sides.append(book.texts(sorted(levels)))
    return sides[0], sides[1]


def whole(book: ModelBook) -> tuple[Texts, Texts]:
    """Return the levels that a subscriber is meant to see, best first: bids, asks."""
    return book.texts(book.top(0, book.depth)), book.texts(book.top(1, book.depth))


def control(raw: str) -> Message:
    """Return an answer or a heartbeat."""
    return Message(raw, Kind.CONTROL)
