"""A synthetic market: seeded order flow for demos and tests.

Each symbol is a small simulated venue with resting orders: limit orders arrive near the touch, are cancelled, changed,
and traded against level by level; activity comes in quiet spells and bursts, and a hidden fair price drifts. The same
simulation feeds both kinds of instrument: order by order, or as the absolute volumes of the levels it touched.

Pure: the caller hands in the random numbers and says how much time has passed.
"""

import math
from collections import OrderedDict
from random import Random
from typing import Any, Final

from shared.book import Book
from shared.instruments import Feed, Instrument
from shared.types import Side

Event = list[Any]
"""`[op, side, price, quantity, order_id]`, as the input log takes it."""

REGIMES: Final = {"quiet": (0.15, 3.0), "steady": (1.0, 6.0), "burst": (6.0, 0.7)}
"""Activity relative to the mean rate, and mean duration in seconds."""

SEED_ORDERS: Final = 150
"""Orders a side at the opening; about as many rest there all the time."""


class Venue:
    """One simulated symbol. `mid` in ticks, `rate` in actions a second on the average."""

    def __init__(self, instrument: Instrument, random: Random, *, mid: int, rate: float) -> None:
        self.instrument = instrument
        self.rate = rate
        self._random = random
        self._fair = float(mid)
        self._book = Book()
        # Per side: order id → (price, quantity). Ids go up, so the order within a price is the order of arrival.
        self._orders: tuple[OrderedDict[int, tuple[int, int]], ...] = (OrderedDict(), OrderedDict())
        self._at: tuple[dict[int, OrderedDict[int, None]], ...] = ({}, {})
        self._next_id = 1
        self._regime = "steady"
        self._regime_left_s = 1.0
        self._owed = 0.0
        self._events: list[Event] = []
        self._touched: dict[tuple[Side, int], None] = {}

    def open(self) -> list[Event]:
        """Events that empty the book and fill it for the opening."""
        self._events = [["clear"]]
        for side in Side:
            for _ in range(SEED_ORDERS):
                self._arrive(side)
        return self._take()

    def advance(self, elapsed_s: float) -> list[Event]:
        """Events of the next `elapsed_s` seconds; often none."""
        self._regime_left_s -= elapsed_s
        if self._regime_left_s <= 0:
            self._regime = self._random.choice(list(REGIMES))
            self._regime_left_s = self._random.expovariate(1 / REGIMES[self._regime][1])
        self._fair += self._random.gauss(0, 1.5) * math.sqrt(elapsed_s * self.rate / 20)
        self._owed += elapsed_s * self.rate * REGIMES[self._regime][0]
        while self._owed >= 1:
            self._owed -= 1
            self._act()
        return self._take()

    def _act(self) -> None:
        side = self._random.choice((Side.BID, Side.ASK))
        resting = len(self._orders[side])
        draw = self._random.random()
        if draw < 0.07:
            self._trade()
        elif draw < 0.15:
            self._change(side)
        elif draw < 0.15 + 0.85 * resting / (resting + SEED_ORDERS):
            self._cancel(side)
        else:
            self._arrive(side)

    def _arrive(self, side: Side) -> None:
        """A limit order, most of them close to the touch, never crossing it."""
        away = min(int(self._random.paretovariate(1.1)) - 1, 400)
        opposite = self._book.sides[1 - side].best()
        sign = self._book.sides[side].sign
        price = round(self._fair) + sign * (away + 1)
        if opposite is not None and price * sign <= opposite * sign:
            price = opposite + sign
        self._rest(side, price, self._quantity())

    def _cancel(self, side: Side) -> None:
        """Anybody's order, more often a young one."""
        ids = self._orders[side]
        if not ids:
            return
        recent = self._next_id - int(self._random.expovariate(1 / 100)) - 1
        order_id = recent if recent in ids else next(iter(ids))
        self._store(side, order_id, None)
        self._events.append(["delete", None, None, None, order_id])

    def _change(self, side: Side) -> None:
        """A new quantity for one of the best orders."""
        best = self._book.sides[side].best()
        if best is None:
            return
        order_id = self._random.choice(list(self._at[side][best]))
        quantity = self._quantity()
        self._store(side, order_id, (best, quantity))
        self._events.append(["update", int(side), best, quantity, order_id])

    def _trade(self) -> None:
        """A market order that walks through levels, more often towards the fair price."""
        bid, ask = self._book.bids.best(), self._book.asks.best()
        if bid is None or ask is None:
            return
        pull = self._fair - (bid + ask) / 2
        buys = self._random.random() < 1 / (1 + math.exp(-pull / 2))
        side = Side.ASK if buys else Side.BID
        wanted = self._quantity() * self._random.choice((1, 1, 2, 5))
        while wanted and len(self._orders[side]) > 10:
            best = self._book.sides[side].best()
            assert best is not None
            order_id = next(iter(self._at[side][best]))
            held = self._orders[side][order_id][1]
            filled = min(held, wanted)
            wanted -= filled
            self._store(side, order_id, (best, held - filled) if held > filled else None)
            self._events.append(["reduce", None, None, filled, order_id])

    def _rest(self, side: Side, price: int, quantity: int) -> None:
        order_id = self._next_id
        self._next_id += 1
        self._store(side, order_id, (price, quantity))
        self._events.append(["add", int(side), price, quantity, order_id])

    def _store(self, side: Side, order_id: int, new: tuple[int, int] | None) -> None:
        levels = self._book.sides[side]
        old = self._orders[side].pop(order_id, None)
        if old is not None:
            levels.set_level(old[0], levels.levels[old[0]] - old[1])
            self._touched[side, old[0]] = None
            ids = self._at[side][old[0]]
            del ids[order_id]
            if not ids:
                del self._at[side][old[0]]
        if new is not None:
            self._orders[side][order_id] = new
            levels.set_level(new[0], levels.levels.get(new[0], 0) + new[1])
            self._touched[side, new[0]] = None
            self._at[side].setdefault(new[0], OrderedDict())[order_id] = None

    def _quantity(self) -> int:
        return max(1, round(self._random.lognormvariate(5, 1)))

    def _take(self) -> list[Event]:
        """What happened since the last call, in the instrument's own kind of feed."""
        events, self._events = self._events, []
        touched, self._touched = self._touched, {}
        if self.instrument.feed is Feed.ORDERS:
            return events
        opening = [event for event in events if event == ["clear"]]
        return opening + [
            ["update", int(side), price, self._book.sides[side].levels.get(price, 0)]
            for side, price in touched
        ]
