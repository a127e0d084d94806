"""The Level 2 book: one type for the authoritative books and for every replica.

Per side, a mapping price → quantity reads and changes a level in O(1): a dict, or if compiled a
`LevelTable`, which keeps numbers instead of objects. A sorted index of prices changes only
when a level is added or removed, in O(log n) at any depth. Sequence numbers, digests and validation are
elsewhere.
"""

from bisect import bisect_left, insort_left
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from itertools import islice
from typing import Final

from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.deep_ranks import DeepRanks
from depthcast.shared.errors import CodecError
from depthcast.shared.level_table import new_levels
from depthcast.shared.rank_blocks import RankBlocks
from depthcast.shared.sizes import FloatPrices, Prices, Sizes, checked, exact, nearest
from depthcast.shared.types import Side

FLAT_MAX: Final = 4_000
"""As Python, the index is a plain list up to this many levels: faster until moving its tail costs too much.

One that had more becomes a plain list again with half as many: not at each level around the limit.
"""

COMPILED: Final = is_compiled_at(__file__)


class BookSide:
    """One side of a book.

    `levels`: price → quantity, quantity ≥ 1. Prices are ordered by *keys*, which ascend from best to worst: a
    key is the price itself for asks and its negative for bids, so that one piece of code serves both sides.
    `ranks` is the sorted index of negated keys, so that the best price is at the end of the list, where
    changes are cheap.

    `orders`: price → number of orders at the level, for exactly the prices in `levels`; None if it is not
    known. Code that changes levels keeps it up to date.

    Hot paths may read `levels`, `ranks` and `sign` directly, and change the quantity of an existing level in
    place. After adding or removing a level in `levels` they must call `add_key` or `remove_key`. `levels` is
    always the same mapping, and can do what a dict can, in no particular order; `dict(levels)` makes one.
    `ranks` may be replaced, and is a plain list only as Python while the side is small. All kinds can be
    iterated in either direction, and indexed from the end.
    """

    __slots__ = ("levels", "orders", "ranks", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = -1 if side == Side.BID else 1
        self.levels: MutableMapping[int, int] = new_levels()
        self.orders: dict[int, int] | None = None
        self.ranks: list[int] | DeepRanks | RankBlocks = _ranks_of([])

    def __len__(self) -> int:
        return len(self.levels)

    def set_level(self, price: int, quantity: int) -> int:
        """Set the level at `price` to `quantity` (0 removes it); returns the old quantity, 0 if none."""
        levels = self.levels
        old = levels.get(price, 0)
        if quantity:
            levels[price] = quantity
            if not old:
                self.add_key(price * self.sign)
        elif old:
            del levels[price]
            self.remove_key(price * self.sign)
        return old

    def add_key(self, key: int) -> None:
        """Add the key of a new level to the index."""
        ranks = self.ranks
        if COMPILED or not isinstance(ranks, list):
            ranks.add(-key)  # type: ignore[union-attr]  # compiled, there is no list
            return
        insort_left(ranks, -key)
        if len(ranks) > FLAT_MAX:
            self.ranks = DeepRanks(ranks)

    def remove_key(self, key: int) -> None:
        """Remove the key of a removed level from the index."""
        ranks = self.ranks
        if COMPILED:
            ranks.remove(-key)
        elif isinstance(ranks, list):
            del ranks[bisect_left(ranks, -key)]
        else:
            ranks.remove(-key)
            if len(ranks) <= FLAT_MAX // 2:
                self.ranks = ranks.tolist()

    def clear(self) -> None:
        """Remove every level."""
        self.levels.clear()
        if self.orders is not None:
            self.orders.clear()
        self.ranks = _ranks_of([])

    @property
    def index(self) -> list[int]:
        """All keys, ascending from best to worst; a new list each time."""
        return [-rank for rank in reversed(self.ranks)]

    def ascending(self) -> list[int]:
        """All ranks, ascending from worst to best; a new list each time."""
        ranks = self.ranks
        return ranks.copy() if isinstance(ranks, list) else ranks.tolist()

    def best(self) -> int | None:
        """Best price in ticks, or None when the side is empty."""
        return self.ranks[-1] * -self.sign if self.levels else None

    def nth_key(self, n: int) -> int | None:
        """Key of the n-th best level, counted from 0, or None when there are fewer."""
        if n >= len(self.levels):
            return None
        if COMPILED:
            return -self.ranks.from_end(n)  # type: ignore[union-attr]
        return -self.ranks[-1 - n]

    def top(self, depth: int = 0) -> list[tuple[int, int]]:
        """The best `depth` levels (0 = all) as (price, quantity), best first."""
        levels, sign = self.levels, -self.sign
        ranks: Iterable[int]
        if COMPILED:
            ranks = self.ranks.descending(None, None, depth or -1)  # type: ignore[union-attr, call-arg]
        else:
            ranks = islice(reversed(self.ranks), depth) if depth else reversed(self.ranks)
        return [(price := rank * sign, levels[price]) for rank in ranks]

    def top_orders(self, depth: int = 0) -> list[tuple[int, int, int]]:
        """The best `depth` levels (0 = all) as (price, quantity, number of orders), best first.

        Raises `CodecError` if the numbers are not known.
        """
        orders = self.orders
        if orders is None:
            raise CodecError("book", "has no number of orders: subscribe with it, to an orders feed")
        return [(price, quantity, orders[price]) for price, quantity in self.top(depth)]

    def through(self, price: int) -> list[int]:
        """Prices at or better than `price`, best first: what an opposite order at `price` would match."""
        sign = -self.sign
        return [rank * sign for rank in self._descending(None, price * sign)]

    def between(self, after_key: int, last_key: int | None) -> Iterator[tuple[int, int]]:
        """Levels with a key above `after_key` and up to `last_key`, as (price, quantity).

        `last_key` None: down to the worst price.
        """
        levels, sign = self.levels, -self.sign
        for rank in self._descending(-after_key, None if last_key is None else -last_key):
            price = rank * sign
            yield price, levels[price]

    def _descending(self, below: int | None, least: int | None) -> Iterable[int]:
        """Ranks below `below` down to `least`, in descending order; None = no bound."""
        ranks = self.ranks
        if not isinstance(ranks, list):
            return ranks.descending(below, least)
        start = 0 if least is None else bisect_left(ranks, least)
        return reversed(ranks[start : None if below is None else bisect_left(ranks, below)])

    def load(self, flat: Sequence[int], orders: Sequence[int] | None = None) -> None:
        """Replace all levels by flat `[price, quantity, …]`, in any order; every quantity must be ≥ 1.

        `orders`: the number of orders at each of these levels, None if it is not known.
        """
        if COMPILED:
            self.levels.fill(flat)  # type: ignore[attr-defined]  # a table
        else:
            self.levels.clear()
            self.levels.update(zip(flat[::2], flat[1::2], strict=True))
        self.orders = None if orders is None else dict(zip(flat[::2], orders, strict=True))
        prices = flat[::2] if len(self.levels) * 2 == len(flat) else self.levels
        self.ranks = _ranks_of(sorted([price * -self.sign for price in prices]))

    def flat(self, depth: int = 0) -> list[int]:
        """The best `depth` levels (0 = all) as flat `[price, quantity, …]`, best first."""
        return [number for level in self.top(depth) for number in level]


def _ranks_of(ranks: list[int]) -> list[int] | DeepRanks | RankBlocks:
    """The index with these ranks, which ascend; it may be the list itself."""
    if COMPILED:
        return RankBlocks(ranks)
    return ranks if len(ranks) <= FLAT_MAX else DeepRanks(ranks)


class Book:
    """Both sides of one symbol. Not thread-safe: the owner must keep readers and writers apart.

    `sizes`: what its ticks and lots are worth; None if nobody has said it, as in an ingestor.
    """

    __slots__ = ("asks", "bids", "sides", "sizes")

    def __init__(self) -> None:
        self.bids = BookSide(Side.BID)
        self.asks = BookSide(Side.ASK)
        self.sides = (self.bids, self.asks)
        self.sizes: Sizes | None = None

    def crossed(self) -> bool:
        """Whether best bid ≥ best ask (locked counts as crossed); never true for a published book."""
        bid, ask = self.bids.best(), self.asks.best()
        return bid is not None and ask is not None and bid >= ask

    def clear(self) -> None:
        """Remove every level of both sides."""
        self.bids.clear()
        self.asks.clear()

    def prices(self, depth: int = 0) -> Prices:
        """The best `depth` levels a side (0 = all) in exact decimals; raises `CodecError` without `sizes`."""
        sizes = checked(self.sizes)
        return Prices(exact(self.bids.top(depth), sizes), exact(self.asks.top(depth), sizes))

    def float_prices(self, depth: int = 0) -> FloatPrices:
        """The same in floats, each the nearest to its decimal: fast to compute with, and not exact."""
        sizes = checked(self.sizes)
        return FloatPrices(nearest(self.bids.top(depth), sizes), nearest(self.asks.top(depth), sizes))

    def copy(self) -> "Book":
        """Return a book with the same levels and sizes, which does not change with this one."""
        other = Book()
        for side, copied in zip(self.sides, other.sides, strict=True):
            copied.load(side.flat())
            if side.orders is not None:
                copied.orders = dict(side.orders)
        other.sizes = self.sizes
        return other
