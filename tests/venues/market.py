"""The books of a fake venue: a seeded random walk that remembers every state it had. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

State = tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]
"""Bids and asks as (price, quantity) in units: the best `depth` levels of each side."""

REACH: Final = 25
"""New levels are at most so many ticks from the best price of the other side."""


class Change(NamedTuple):
    """One elementary change of the whole book; `quantity` 0: the level is gone. `side`: 0 bid, 1 ask."""

    side: int
    price: int
    quantity: int


class ModelBook:
    """One symbol's book. `number` counts its changes; `states[n]` is what it was after change n.

    Prices and quantities are counted in units, which never change: `tick` and `lot` of them are the venue's
    sizes now.

    - `depth`: levels of each side that a subscriber is meant to see; None = all.
    - `levels_max`: levels of each side that the book grows to.
    - `kept`: prices whose level is never removed by chance.
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
        self.price_unit = tick_size
        self.quantity_unit = lot_size
        self.tick = self.lot = 1
        self.depth = depth
        self.levels_max = levels_max
        self.kept: set[int] = set()
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for offset in range(1, 11):
            self.sides[0][mid - offset] = random.randint(1, 5_000)
            self.sides[1][mid + offset] = random.randint(1, 5_000)
        self.number = 0
        self.changes: list[Change] = []
        self.states: list[State] = [self.state()]

    @property
    def tick_size(self) -> str:
        """The tick size that the venue's list names now."""
        return _plain(self.tick, self.price_unit)

    @property
    def lot_size(self) -> str:
        """The lot size that the venue's list names now."""
        return _plain(self.lot, self.quantity_unit)

    def refine(self, tick: int, lot: int) -> None:
        """Count in units of which those of before have so many; the sizes stay as they are."""
        self.price_unit = _plain(Decimal(1) / tick, self.price_unit)
        self.quantity_unit = _plain(Decimal(1) / lot, self.quantity_unit)
        self.tick, self.lot = self.tick * tick, self.lot * lot
        for side in self.sides:
            levels = [(price * tick, quantity * lot) for price, quantity in side.items()]
            side.clear()
            side.update(levels)
        self.changes = [Change(side, price * tick, quantity * lot) for side, price, quantity in self.changes]
        self.states = [
            (
                frozenset((price * tick, quantity * lot) for price, quantity in bids),
                frozenset((price * tick, quantity * lot) for price, quantity in asks),
            )
            for bids, asks in self.states
        ]

    def resize(self, tick: int, lot: int, *, cancel: bool = True) -> None:
        """Change the sizes. `cancel`: levels that do not fit them go; else they stay as they are."""
        self.tick, self.lot = tick, lot
        for side in (0, 1) if cancel else ():
            if not any(self._fits(level) for level in self.sides[side].items()):
                self._make(self._added(side))
            for level in [level for level in self.sides[side].items() if not self._fits(level)]:
                self._make(Change(side, level[0], 0))

    def step(self) -> Change:
        """Change one level and remember the state; never crosses, never empties a side."""
        return self._make(self._next())

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
        """Return a price in units as decimal text."""
        return _text(price, self.price_unit)

    def quantity_text(self, quantity: int) -> str:
        """Return a quantity in units as decimal text."""
        return _text(quantity, self.quantity_unit)

    def texts(self, levels: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        """Return levels as decimal text."""
        return [(self.price_text(price), self.quantity_text(quantity)) for price, quantity in levels]

    def _next(self) -> Change:
        random, side = self.random, self.random.randrange(2)
        levels = self.sides[side]
        if len(levels) >= self.levels_max:
            return Change(side, next(price for price, _ in self.top(side)[::-1] if price not in self.kept), 0)
        if len(levels) > 4 and random.random() < 0.4:
            best_goes = random.random() < 0.3
            price = self.best(side) if best_goes else random.choice(sorted(levels))
            if price not in self.kept:
                return Change(side, price, 0)
        return self._added(side)

    def _added(self, side: int) -> Change:
        """Return a new or changed level, by the sizes of now."""
        away, tick = self.random.randint(1, REACH) * self.tick, self.tick
        beyond = self.best(1) - away if side == 0 else self.best(0) + away
        price = beyond // tick * tick if side == 0 else -(-beyond // tick) * tick
        return Change(side, price, self.random.randint(1, 9_000) * self.lot)

    def _fits(self, level: tuple[int, int]) -> bool:
        return not level[0] % self.tick and not level[1] % self.lot

    def _make(self, change: Change) -> Change:
        self._set(change)
        self.number += 1
        self.changes.append(change)
        self.states.append(self.state())
        return change

    def _set(self, change: Change) -> None:
        if change.quantity:
            self.sides[change.side][change.price] = change.quantity
        else:
            del self.sides[change.side][change.price]


class Market:
    """The books of a fake venue, by the venue's names of their symbols.

    `delisted`: it has them no more. `still`: they do not change.
    """

    def __init__(self, books: Sequence[ModelBook]) -> None:
        self.books = {book.symbol: book for book in books}
        self.delisted: set[str] = set()
        self.still: set[str] = set()

    @property
    def listed(self) -> dict[str, ModelBook]:
        """The books that the venue lists."""
        return {symbol: book for symbol, book in self.books.items() if symbol in self}

    def __getitem__(self, symbol: str) -> ModelBook:
        return self.books[symbol]

    def __contains__(self, symbol: object) -> bool:
        return symbol in self.books and symbol not in self.delisted

    def step(self, changes: int) -> None:
        """Make so many changes in every book that is listed and not still."""
        for book in [book for symbol, book in self.listed.items() if symbol not in self.still]:
            for _ in range(changes):
                book.step()


def _text(number: int, unit: str) -> str:
    return f"{Decimal(number) * Decimal(unit):f}"


def _plain(number: Decimal | int, unit: str) -> str:
    return f"{(Decimal(number) * Decimal(unit)).normalize():f}"
