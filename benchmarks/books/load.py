"""Seeded loads for books: an opening of so many levels a side, then changes that keep the book at that size.

Every side has twice as many price slots as levels; half of them are taken at any time. Bids and asks never
meet, so the crossing check is made but never refuses. Prices are ticks, quantities lots.
"""

from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from depthcast.feed.synthetic_profiles import MARKET
from depthcast.runtime.synthetic import open_venue
from depthcast.shared.codec import pack
from depthcast.shared.types import Symbol

EVENTS_PER_BATCH: Final = 100
"""Events in one field of an input entry."""

ORDERS_PER_LEVEL: Final = 10

_SEED: Final = 7
_MID: Final = 10_000_000
_ADD, _UPDATE, _DELETE, _REDUCE, _CLEAR = 0, 1, 2, 3, 4

Event = list[Any]
"""An event of the contract: `[op, side, price, quantity]`, with the order id behind it in an orders feed."""


class Load(NamedTuple):
    """`opening` builds the book; then come batches of changes, of 100 events or somewhat more."""

    opening: list[Event]
    batches: list[list[Event]]


def write(path: Path, load: Load, rounds: int) -> None:
    """The load of the programs that keep books: an opening and equal rounds, in batches as from Redis."""
    size = len(load.batches) // rounds
    packed = [pack(batch) for batch in load.batches]
    path.write_bytes(
        pack(
            [
                [pack(batch) for batch in _batches(load.opening)],
                [packed[start : start + size] for start in range(0, rounds * size, size)],
            ]
        )
    )


def write_numbers(path: Path, load: Load, rounds: int) -> None:
    """The same for a program without msgpack: 64-bit numbers in the machine's order.

    Sizes of the opening and of a round, number of rounds, then four numbers for each event.
    """
    size = len(load.batches) // rounds
    numbers = array("q", [len(load.opening), size * EVENTS_PER_BATCH, rounds])
    for event in chain(load.opening, *load.batches[: rounds * size]):
        numbers.extend(event)
    path.write_bytes(numbers.tobytes())


def market_load(name: str, count: int) -> Load:
    """About `count` events of a built-in symbol of the synthetic market.

    Its steps are put together until there are 100 events; of a levels feed, steps are units, and so are these
    batches.
    """
    venue = open_venue(MARKET[Symbol(name)], _SEED)
    opening = [list(event) for event in venue.open() if event[0] != _CLEAR]
    batches: list[list[Event]] = []
    waiting: list[Event] = []
    while count > 0:
        waiting += [list(event) for event in venue.step()]
        if len(waiting) >= EVENTS_PER_BATCH:
            batches.append(waiting)
            count -= len(waiting)
            waiting = []
    return Load(opening, batches)


def levels_load(levels: int, count: int) -> Load:
    """Make `count` changes: 70 % give a level another volume, 15 % add a level, 15 % remove one."""
    rng = Random(_SEED)
    sides = [_Slots(rng, side, levels) for side in (0, 1)]
    opening: list[Event] = [
        [_UPDATE, side, price, rng.randint(1, 1000)] for side in (0, 1) for price in sides[side].taken
    ]
    return Load(opening, _batches([_levels_event(rng, sides) for _ in range(count)]))


def _levels_event(rng: Random, sides: "list[_Slots]") -> Event:
    side = rng.randrange(2)
    slots, dice = sides[side], rng.random()
    if dice < 0.7:
        return [_UPDATE, side, rng.choice(slots.taken), rng.randint(1, 1000)]
    if len(slots.taken) > slots.levels or (dice < 0.85 and len(slots.taken) == slots.levels):
        return [_DELETE, side, slots.give_back(), 0]
    return [_UPDATE, side, slots.take(), rng.randint(1, 1000)]


def orders_load(levels: int, count: int) -> Load:
    """`count` changes of a book of `levels` a side with 10 orders in each.

    40 % new orders, 35 % cancelled, 15 % filled in part or reduced, 10 % changed in price or quantity.
    """
    rng = Random(_SEED)
    market = _Orders(rng, levels)
    opening = [market.add() for _ in range(2 * levels * ORDERS_PER_LEVEL)]
    return Load(opening, _batches([market.event() for _ in range(count)]))


def _batches(events: list[Event]) -> list[list[Event]]:
    return [events[start : start + EVENTS_PER_BATCH] for start in range(0, len(events), EVENTS_PER_BATCH)]


class _Slots:
    """Price slots of one side: those with a level, and those without."""

    def __init__(self, rng: Random, side: int, levels: int) -> None:
        step = 1 if side else -1
        prices = [_MID + step * (place + 1) for place in range(2 * levels)]
        rng.shuffle(prices)
        self.levels = levels
        self.taken, self._free = prices[:levels], prices[levels:]
        self._rng = rng

    def take(self) -> int:
        self.taken.append(_pick_out(self._rng, self._free))
        return self.taken[-1]

    def give_back(self) -> int:
        self._free.append(_pick_out(self._rng, self.taken))
        return self._free[-1]


class _Orders:
    """Resting orders: `[order id, side, price, quantity]`."""

    def __init__(self, rng: Random, levels: int) -> None:
        self._rng = rng
        self._levels = levels
        self._resting: list[list[int]] = []
        self._ids: Iterator[int] = iter(range(1, 1 << 62))
        self._full = 2 * levels * ORDERS_PER_LEVEL

    def add(self) -> Event:
        rng = self._rng
        side = rng.randrange(2)
        order = [next(self._ids), side, self._price(side), rng.randint(1, 1000)]
        self._resting.append(order)
        return [_ADD, side, order[2], order[3], order[0]]

    def event(self) -> Event:
        dice = self._rng.random()
        if dice < 0.75:
            return self._remove() if len(self._resting) > self._full else self.add()
        order = self._rng.choice(self._resting)
        if dice < 0.9 and order[3] > 1:
            taken = self._rng.randint(1, order[3] - 1)
            order[3] -= taken
            return [_REDUCE, None, None, taken, order[0]]
        order[2:] = self._price(order[1]), self._rng.randint(1, 1000)
        return [_UPDATE, order[1], order[2], order[3], order[0]]

    def _remove(self) -> Event:
        order_id, *_ = _pick_out(self._rng, self._resting)
        return [_DELETE, None, None, None, order_id]

    def _price(self, side: int) -> int:
        place = self._rng.randint(1, self._levels)
        return _MID + (place if side else -place)


def _pick_out(rng: Random, items: list[Any]) -> Any:
    """Remove an item at random, in O(1)."""
    place = rng.randrange(len(items))
    items[place], items[-1] = items[-1], items[place]
    return items.pop()
