"""Statistics of a market's levels, which compare a synthetic market with a recorded one.

They are computed from the net changes in windows of 100 ms. Venues send at different times and merge
differently, but the book at the end of a window does not depend on that. Distances are from the best price of
the same side at the beginning of the window, in basis points (bp) of the mid price.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from depthcast.feed.entry import Event
from depthcast.shared.book import Book
from depthcast.shared.types import Side

WINDOW_US: Final = 100_000
PER_SECOND: Final = 10
"""Windows per second."""

PROFILED: Final = 20
"""Windows from one measurement of the book's depth to the next."""

BANDS_BP: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Edges of the distance bands. The first includes the spread; nothing beyond the last is measured."""

LevelQuantities = Mapping[tuple[Side, int], int]
"""(side, price) → absolute quantity, 0 where the level is gone."""


class Band(NamedTuple):
    """A distance band: mean `levels` and `volume` (lots) per side, and `changes` per second on both sides."""

    low_bp: float
    high_bp: float
    levels: float
    volume: float
    changes: float


class Statistics(NamedTuple):
    """Statistics of a market over some time.

    - `counts`: changed levels in each window. `spreads`, `mids`: in ticks, at the end of each window.
    - `appeared`, `vanished`: shares of the changes that add or remove a level; the others change its
      quantity.
    - `bands`: by distance from the best price.
    """

    counts: list[int]
    spreads: list[int]
    mids: list[float]
    appeared: float
    vanished: float
    bands: list[Band]

    @property
    def seconds(self) -> float:
        """The time covered."""
        return len(self.counts) / PER_SECOND

    @property
    def changes(self) -> float:
        """Changed levels per second."""
        return sum(self.counts) / self.seconds

    @property
    def tight(self) -> float:
        """Share of the windows that end with a spread of one tick."""
        return sum(spread == 1 for spread in self.spreads) / len(self.spreads)

    @property
    def moved(self) -> float:
        """Share of the windows in which the mid price moved."""
        return sum(one != other for one, other in pairwise(self.mids)) / len(self.mids)

    def correlation(self, lag: int) -> float:
        """Return the correlation of the counts of windows that are `lag` windows apart."""
        mean = sum(self.counts) / len(self.counts)
        deviations = [count - mean for count in self.counts]
        spread = sum(deviation**2 for deviation in deviations)
        products = zip(deviations, deviations[lag:], strict=False)
        return sum(one * other for one, other in products) / spread if spread else 0.0

    def move_bp(self, seconds: int) -> float:
        """Return the root mean square of the mid price's change over `seconds`, in bp."""
        later = self.mids[seconds * PER_SECOND :]
        moves = [(other / one - 1) * 1e4 for one, other in zip(self.mids, later, strict=False)]
        return math.sqrt(sum(move**2 for move in moves) / len(moves)) if moves else 0.0


def windows(entries: Iterable[tuple[int, Iterable[Event]]]) -> Iterator[LevelQuantities]:
    """Group absolute updates `[op, side, price, quantity]`, with their times in µs, by window."""
    current: int | None = None
    pending: dict[tuple[Side, int], int] = {}
    for ts, events in entries:
        number = ts // WINDOW_US
        if current is None or number < current:
            current = number
        while current < number:
            yield pending
            pending = {}
            current += 1
        pending.update(((Side(side), price), quantity) for _, side, price, quantity in events)
    yield pending


def measure(opening: LevelQuantities, changes: Iterable[LevelQuantities]) -> Statistics:
    """Measure a book and its changes, window by window. Raises `ValueError` if a side is ever empty."""
    meter = _Meter(opening)
    for window in changes:
        meter.add(window)
    return meter.result()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a given share of the values lies."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


class _Meter:
    def __init__(self, opening: LevelQuantities) -> None:
        self.book = Book()
        self.kinds: Counter[str] = Counter()
        self.changed = [0] * (len(BANDS_BP) - 1)
        self.levels = [0] * len(self.changed)
        self.volume = [0] * len(self.changed)
        self.profiles = 0
        self.spreads: list[int] = []
        self.mids: list[float] = []
        self.counts: list[int] = []
        for (side, price), quantity in opening.items():
            self.book.sides[side].set_level(price, quantity)
        self._best()

    def add(self, window: LevelQuantities) -> None:
        """Measure a window: its changes by distance, then the book after it."""
        count = sum([self._change(side, price, quantity) for (side, price), quantity in window.items()])
        self.counts.append(count)
        self._best()
        self.spreads.append(self.best[1] - self.best[0])
        self.mids.append(self.mid)
        if len(self.counts) % PROFILED == 0:
            self._profile()

    def result(self) -> Statistics:
        """Return the statistics of all windows so far."""
        total = max(sum(self.counts), 1)
        return Statistics(
            self.counts,
            self.spreads,
            self.mids,
            self.kinds["appeared"] / total,
            self.kinds["vanished"] / total,
            [self._band(number) for number in range(len(self.changed))],
        )

    def _best(self) -> None:
        bid, ask = self.book.bids.best(), self.book.asks.best()
        if bid is None or ask is None:
            raise ValueError("a side of the book is empty")
        self.best, self.mid = (bid, ask), (bid + ask) / 2

    def _change(self, side: Side, price: int, quantity: int) -> bool:
        old = self.book.sides[side].set_level(price, quantity)
        if old == quantity:
            return False
        self.kinds["vanished" if not quantity else "changed" if old else "appeared"] += 1
        number = self._number(side, price)
        if number is not None:
            self.changed[number] += 1
        return True

    def _profile(self) -> None:
        self.profiles += 1
        for side in Side:
            levels = self.book.sides[side]
            farthest = self.best[side] * levels.sign + int(BANDS_BP[-1] * self.mid / 1e4)
            for price in levels.through(farthest * levels.sign):
                number = self._number(side, price)
                if number is not None:
                    self.levels[number] += 1
                    self.volume[number] += levels.levels[price]

    def _number(self, side: Side, price: int) -> int | None:
        """Return the number of the band that a price is in, None beyond the last."""
        away = (price - self.best[side]) * self.book.sides[side].sign / self.mid * 1e4
        number = bisect_right(BANDS_BP, away, 1) - 1
        return number if number < len(self.changed) else None

    def _band(self, number: int) -> Band:
        seconds = len(self.counts) / PER_SECOND
        sides = max(2 * self.profiles, 1)
        return Band(
            BANDS_BP[number],
            BANDS_BP[number + 1],
            self.levels[number] / sides,
            self.volume[number] / sides,
            self.changed[number] / seconds,
        )
