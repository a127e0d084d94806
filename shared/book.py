"""The Level 2 book: one type for the authoritative books and for every replica.

Per side a dict price → quantity answers and changes a level in O(1); a sorted price index beside it is touched only
when a level appears or goes, in O(log n) at any depth. Nothing here knows of sequence numbers, digests or validation.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedList

from shared.types import Side


class BookSide:
    """One side of a book.

    `levels`: price → quantity, quantity ≥ 1. `index`: the prices as *keys*, ascending from best to worst: a key is the
    price itself for asks and its negative for bids, so that one piece of code serves both sides and the best price is
    always at index 0, the cheap end.

    Callers on a hot path may read `levels`, `index` and `sign` directly, and give a level that stays another quantity in
    place; only `set_level`, `clear` and `load` make levels appear or go.
    """

    __slots__ = ("index", "levels", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = -1 if side == Side.BID else 1
        self.levels: dict[int, int] = {}
        self.index: SortedList[int] = SortedList()

    def __len__(self) -> int:
        return len(self.levels)

    def set_level(self, price: int, quantity: int) -> int:
        """Make the level at `price` hold `quantity` (0 removes it); returns the quantity it held before, 0 if none."""
        levels = self.levels
        if quantity:
            old = levels.get(price, 0)
            levels[price] = quantity
            if not old:
                self.index.add(price * self.sign)
            return old
        old = levels.pop(price, 0)
        if old:
            self.index.remove(price * self.sign)
        return old

    def clear(self) -> None:
        """Remove every level."""
        self.levels.clear()
        self.index.clear()

    def best(self) -> int | None:
        """Best price in ticks, or None when the side is empty."""
        return self.index[0] * self.sign if self.levels else None

    def nth_key(self, n: int) -> int | None:
        """Key of the n-th best level, counted from 0, or None when there are fewer."""
        return self.index[n] if n < len(self.levels) else None

    def top(self, depth: int = 0) -> list[tuple[int, int]]:
        """The best `depth` levels (0 = all) as (price, quantity), best first."""
        levels, sign = self.levels, self.sign
        keys = islice(self.index, depth) if depth else iter(self.index)
        return [(price := key * sign, levels[price]) for key in keys]

    def through(self, price: int) -> list[int]:
        """Prices at or better than `price`, best first: what an opposite order at `price` would meet."""
        sign = self.sign
        return [key * sign for key in self.index.irange(maximum=price * sign)]

    def between(self, after_key: int, last_key: int | None) -> Iterator[tuple[int, int]]:
        """Levels with a key above `after_key` and up to `last_key` (None = to the end), as (price, quantity)."""
        levels, sign = self.levels, self.sign
        for key in self.index.irange(after_key, last_key, inclusive=(False, True)):
            price = key * sign
            yield price, levels[price]

    def load(self, flat: Sequence[int]) -> None:
        """Replace all levels by flat `[price, quantity, …]`, in any order; every quantity must be ≥ 1."""
        self.levels = dict(zip(flat[::2], flat[1::2], strict=True))
        self.index = SortedList(price * self.sign for price in self.levels)

    def flat(self, depth: int = 0) -> list[int]:
        """The best `depth` levels (0 = all) as flat `[price, quantity, …]`, best first."""
        return [number for level in self.top(depth) for number in level]


class Book:
    """Both sides of one symbol. Readers and writers must not run at the same time; the owner sees to that."""

    __slots__ = ("asks", "bids", "sides")

    def __init__(self) -> None:
        self.bids = BookSide(Side.BID)
        self.asks = BookSide(Side.ASK)
        self.sides = (self.bids, self.asks)

    def crossed(self) -> bool:
        """Whether best bid ≥ best ask (locked counts as crossed); never true of a published book."""
        bid, ask = self.bids.best(), self.asks.best()
        return bid is not None and ask is not None and bid >= ask

    def clear(self) -> None:
        """Remove every level of both sides."""
        self.bids.clear()
        self.asks.clear()
