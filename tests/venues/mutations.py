"""A seeded conversation of an adapter with a model venue: messages are lost, doubled and spoilt. Pure.

Whatever the adapter says of a book must be what the venue's book was when it sent the message.
"""

import re
from collections.abc import Collection
from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple

from depthcast.feed.venue import Adapter, Doubt, Snapshot, Update
from tests.venues.applied import AppliedBooks
from tests.venues.market import ModelBook
from tests.venues.model import Kind, Message, ModelVenue

STEP_US: Final = 50_000


class Mutation(StrEnum):
    """What happens to a message, or between two."""

    DROP = "drop"
    DUPLICATE = "duplicate"
    SWAP = "swap"
    CUT = "cut"
    WRONG_TYPE = "wrong-type"
    """One value or key is replaced by what cannot be right at any place."""
    WRONG_VALUE = "wrong-value"
    """One value is replaced by a number: only a checksum notices it."""
    OTHER_KIND = "other-kind"
    """An update says that it is a snapshot, or the other way round."""
    OTHER_SYMBOL = "other-symbol"
    """An update names another symbol."""
    SPOIL = "spoil"
    RESET = "reset"
    RESUBSCRIBE = "resubscribe"
    RECONNECT = "reconnect"


ALL: Final = frozenset(Mutation)
_TOKEN: Final = re.compile(r'"[^"]*"|-?\d+(?:\.\d+)?')
_WRONG: Final = ("null", "true", '"x"', "[]", "{}", "-1", '"-1"', "NaN", '""', "[1]", "1e999")
_NUMBERS: Final = ("7", '"7"', "1.50", "0", '"0.0"', "4.8E-7", '"650.01"')

Levels = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Sent(NamedTuple):
    """A message, and what its book was when the venue sent it."""

    message: Message
    levels: Levels | None


class Conversation:
    """An adapter, a venue, and what is between them."""

    def __init__(
        self, adapter: Adapter, venue: ModelVenue, random: Random, mutations: Collection[Mutation]
    ) -> None:
        self.adapter = adapter
        self.venue = venue
        self.random = random
        self.mutations = sorted(mutations)
        self.books = AppliedBooks()
        self.symbols = sorted(venue.market.books)
        self.now = 1_780_000_000_000_000
        self.taken = 0
        self.doubts: list[Doubt] = []
        self._due: list[Mutation] = []
        self._connect()

    def run(self, steps: int, *, mean: float) -> None:
        """Let the venue speak; every `mean` messages one is changed. At the end all books must be right."""
        for _ in range(steps):
            self._step(1 / mean)
        self._heal()

    def _step(self, chance: float) -> None:
        self.venue.market.step(self.random.randint(1, 3))
        self.now += STEP_US
        self._deliver(self._mutated(self._sent(self.connection.due(self.now)), chance))
        for mutation in self._take_due():
            if mutation is Mutation.RESUBSCRIBE:
                self._resubscribe([self.random.choice(self.symbols)], chance)
            else:
                self.books.take(self.adapter.lost())
                self._connect()
        if self.random.random() < 0.5:
            self._resubscribe([s for s in self.symbols if not self.books[s].proven], chance)

    def _take_due(self) -> list[Mutation]:
        due, self._due = self._due, []
        return due

    def _heal(self) -> None:
        self._resubscribe([s for s in self.symbols if not self.books[s].proven], 0.0)
        for _ in range(5):
            self.venue.market.step(1)
            self.now += STEP_US
            self._deliver(self._sent(self.connection.due(self.now)))
        for symbol in self.symbols:
            if not self.books[symbol].proven:  # what was changed last was noticed only now
                self._resubscribe([symbol], 0.0)
            assert self.books[symbol].proven, symbol
            assert self._is(symbol) == levels_of(self.venue.market[symbol]), symbol

    def _connect(self) -> None:
        self.connection = self.venue.connect("/", self.now)
        self._say(self.adapter.subscribe(self.symbols), 0.0)

    def _resubscribe(self, symbols: list[str], chance: float) -> None:
        if symbols:
            for symbol in symbols:
                self.books[symbol].proven = False
            self._say(self.adapter.unsubscribe(symbols), chance)
            self._say(self.adapter.subscribe(symbols), chance)

    def _say(self, messages: list[str | bytes], chance: float) -> None:
        for message in messages:
            self._deliver(self._mutated(self._sent(self.connection.receive(message, self.now)), chance))

    def _sent(self, messages: list[Message]) -> list[Sent]:
        market = self.venue.market
        return [
            Sent(message, levels_of(market[message.symbol]) if message.symbol else None)
            for message in messages
        ]

    def _deliver(self, messages: list[Sent]) -> None:
        for message, levels in messages:
            raw = message.raw
            if isinstance(raw, str) and self.random.random() < 0.2:
                raw = raw.encode()
            for output in self.books.take(self.adapter.take(raw, self.now)):
                if isinstance(output, Snapshot | Update):
                    self.taken += 1
                    assert self._is(output.symbol) == levels, f"{output} after {raw!r}"
                elif isinstance(output, Doubt):
                    self.doubts.append(output)

    def _is(self, symbol: str) -> Levels:
        book = self.books[symbol]
        return book.bids, book.asks

    def _mutated(self, messages: list[Sent], chance: float) -> list[Sent]:
        result: list[Sent] = []
        for sent in messages:
            result += self._change(sent) if self.random.random() < chance else [sent]
        if Mutation.SWAP in self.mutations and len(result) > 1 and self.random.random() < chance:
            place = self.random.randrange(len(result) - 1)
            result[place : place + 2] = result[place + 1], result[place]
        return result

    def _change(self, sent: Sent) -> list[Sent]:
        match mutation := self.random.choice(self.mutations):
            case Mutation.DROP:
                return []
            case Mutation.DUPLICATE:
                return [sent, sent]
            case Mutation.SWAP:  # with the next one
                self.venue.market.step(1)
                return [*self._sent(self.connection.due(self.now)), sent]
            case Mutation.RESET:
                self.venue.reset(self.random.choice(self.symbols), self.now)
            case Mutation.RESUBSCRIBE | Mutation.RECONNECT:
                self._due.append(mutation)
            case _:
                return [sent._replace(message=self._spoilt(mutation, sent.message))]
        return [sent]

    def _spoilt(self, mutation: Mutation, message: Message) -> Message:
        assert isinstance(message.raw, str)
        raw, random = message.raw, self.random
        if mutation is Mutation.SPOIL:
            spoilt = self.venue.spoil(message, random) if message.kind is Kind.BOOK else None
            return spoilt or message
        if mutation is Mutation.CUT:
            raw = raw[: random.randrange(len(raw))]
        elif mutation is Mutation.OTHER_KIND:
            names = {"snapshot": "update", "update": "snapshot"}
            raw = re.sub(r'"(snapshot|update)"', lambda found: f'"{names[found[1]]}"', raw)
        elif mutation is Mutation.OTHER_SYMBOL and message.kind is Kind.BOOK:
            raw = raw.replace(message.symbol, random.choice(self.symbols))
        elif mutation in (Mutation.WRONG_TYPE, Mutation.WRONG_VALUE):
            tokens = list(_TOKEN.finditer(raw))
            pool = _WRONG if mutation is Mutation.WRONG_TYPE else _NUMBERS
            if tokens:
                found = random.choice(tokens)
                raw = raw[: found.start()] + random.choice(pool) + raw[found.end() :]
        return message._replace(raw=raw)


def levels_of(book: ModelBook) -> Levels:
    """Return what a subscriber is meant to see of a model's book, by exact values."""
    bids, asks = (
        {Decimal(price): Decimal(quantity) for price, quantity in book.texts(sorted(side))}
        for side in book.state()
    )
    return bids, asks
