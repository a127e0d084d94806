"""The books of a fake venue: a seeded random walk that remembers every state it had. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

State = tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]
"""Bids and asks as (price in ticks, quantity in lots): the best `depth` levels of each side."""

REACH: Final = 25
"""New levels are at most so many ticks from the best price of the other side."""


class Change(NamedTuple):
    """One elementary change of the whole book; `quantity` 0: the level is gone. `side`: 0 bid, 1 ask."""

    side: int
    price: int
    quantity: int


class ModelBook:
    """One symbol's book. `number` counts its changes; `states[n - first]` is what it was after change n.

    - `depth`: levels of each side that a subscriber is meant to see; None = all.
    - `levels_max`: levels of each side that the book grows to.
    """

    def __init__(
        self,
        symbol: str,
        random: Random,
        *,
        tick_size: str = "0.01",
        lot_size: str = "0.001",
        mid: int = 650_000,
        depth: int | None = None,
        levels_max: int = 40,
    ) -> None:
        self.symbol = symbol
        self.random = random
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.depth = depth
        self.levels_max = levels_max
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for offset in range(1, 11):
            self.sides[0][mid - offset] = random.randint(1, 5_000)
            self.sides[1][mid + offset] = random.randint(1, 5_000)
        self.number = 0
        self.changes: list[Change] = []
        self.states: list[State] = [self.state()]

    def step(self) -> Change:
        """Change one level and remember the state; never crosses, never empties a side."""
        change = self._next()
        self._set(change)
        self.number += 1
        self.changes.append(change)
        self.states.append(self.state())
        return change

    def best(self, side: int) -> int:
        """Return the best price of a side."""
        return max(self.sides[0]) if side == 0 else min(self.sides[1])

    def top(self, side: int, count: int | None = None) -> list[tuple[int, int]]:
        """Return the best levels of a side, best first."""
        return sorted(self.sides[side].items(), reverse=side == 0)[:count]

    def state(self) -> State:
        """Return what a subscriber is meant to see now."""
        return frozenset(self.top(0, self.depth)), frozenset(self.top(1, self.depth))

    def since(self, number: int) -> list[Change]:
        """Return the changes after change `number`, in order."""
        return self.changes[number:]

    def price_text(self, price: int) -> str:
        """Return a price in ticks as decimal text."""
        return _text(price, self.tick_size)

    def quantity_text(self, quantity: int) -> str:
        """Return a quantity in lots as decimal text."""
        return _text(quantity, self.lot_size)

    def texts(self, levels: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        """Return levels as decimal text."""
        return [(self.price_text(price), self.quantity_text(quantity)) for price, quantity in levels]

    def _next(self) -> Change:
        random, side = self.random, self.random.randrange(2)
        levels = self.sides[side]
        if len(levels) >= self.levels_max:
            return Change(side, self.top(side)[-1][0], 0)
        if len(levels) > 4 and random.random() < 0.4:
            best_goes = random.random() < 0.3
            return Change(side, self.best(side) if best_goes else random.choice(sorted(levels)), 0)
        away = random.randint(1, REACH)
        price = self.best(1) - away if side == 0 else self.best(0) + away
        return Change(side, price, random.randint(1, 9_000))

    def _set(self, change: Change) -> None:
        if change.quantity:
            self.sides[change.side][change.price] = change.quantity
        else:
            del self.sides[change.side][change.price]


class Market:
    """The books of a fake venue, by the venue's names of their symbols."""

    def __init__(self, books: Sequence[ModelBook]) -> None:
        self.books = {book.symbol: book for book in books}

    def __getitem__(self, symbol: str) -> ModelBook:
        return self.books[symbol]

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.books

    def step(self, changes: int) -> None:
        """Make so many changes in every book."""
        for book in self.books.values():
            for _ in range(changes):
                book.step()


def _text(number: int, size: str) -> str:
    return f"{Decimal(number) * Decimal(size):f}"
