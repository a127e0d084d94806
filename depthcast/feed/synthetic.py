"""A synthetic market: seeded order flow that looks like a recorded one, for demos, tests and load.

Each symbol is a small simulated venue with resting orders. The model is a zero-intelligence one, in the line of Smith,
Farmer, Gillemot and Krishnamurthy (2003) and Cont, Stoikov and Talreja (2010), around a reference price as in the
queue-reactive model of Huang, Lehalle and Rosenbaum (2015):

- Limit orders arrive at a distance from the touch that follows a power law of exponent 1 beyond a knee (Zovko and
  Farmer 2002, Bouchaud, Mézard and Potters 2002), and a share of them joins the best price. Each lives for a time that
  grows with its distance; then it is cancelled, or amended and lives on. Both together give a flat book whose touch
  is busy and whose depth is slow.
- Market orders take the oldest orders of the best price, and walk on through the levels behind it.
- Activity is a steady part and bursts that beget bursts (`depthcast.feed.synthetic_activity`).
- A burst moves the reference price, the further the stronger it is: volatility goes with activity (Clark 1973). What
  rests on the wrong side of the new price is traded or pulled, level by level, and the touch is made anew. Over long
  times the price is drawn back to where it began, so that it stays in a range for ever.

One simulation feeds both kinds of instrument: order by order, or as the absolute volumes of the levels that a step
changed. By construction bids rest at or below the best bid of the reference price and asks at or above its best ask.

Pure: the caller hands in the random numbers, time is counted in steps. The parameters are in
`depthcast.feed.synthetic_profiles`, and how close it comes in `docs/synthetic.md`.
"""

import math
from random import Random
from typing import Final

from depthcast.feed.synthetic_activity import STEP_S, Activity
from depthcast.feed.synthetic_orders import Event, RestingOrders
from depthcast.feed.synthetic_profiles import DistanceLaw, Profile, quantity_of
from depthcast.shared.book import Book
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Side

ORDERS_LEAST: Final = 20
"""Market orders leave so many on a side."""

WALKED_MOST: Final = 8
"""A market order in quiet times goes through so many orders."""

MENDED: Final = 0.9
"""Chance, each step, that a touch without orders is made anew at its end."""

REPRICED: Final = 0.1
"""Share of the amendments that move the order to another price; the rest change its quantity."""

MOVING: Final = 1.0
"""Shocks stronger than this, in multiples of the mean one, move the price."""

SAVED: Final = 0.3
"""Share of the activity that goes on saving events after a jump took more than were due."""

RANGE_BP: Final = 500.0
"""Standard deviation, over long times, of the price around where it began."""


class Venue:
    """One simulated symbol.

    `mid`: where the price begins, in ticks. `rate`: mean events a second, as the instrument's feed counts them; by
    default the profile's own. Everything follows from these, the profile, the random numbers and the number of steps.
    """

    def __init__(
        self,
        instrument: Instrument,
        random: Random,
        *,
        mid: int,
        profile: Profile,
        rate: float | None = None,
    ) -> None:
        self.instrument = instrument
        self.rate = profile.rate if rate is None else rate
        self._profile = profile
        self._random = random
        self._activity = Activity(random)
        self._law = DistanceLaw(profile)
        self._orders = RestingOrders(instrument.feed, 2 * self._law.orders_expected())
        self._lots = quantity_of(instrument, mid)
        self._bp = mid / 1e4
        self._home = self._fair = mid + 0.5
        self._touch = [mid, mid + 1]  # where the best prices should be
        self._clock = 0.0
        self._owed = self._debt = 0.0
        # Volatility goes with the square root of activity. A slow market has fewer jumps, a fast one larger ones.
        ratio = self.rate / profile.rate
        self._moving = min(ratio, 1.0)
        self._jump_bp = profile.volatility_bp * math.sqrt(
            max(ratio, 1.0) / self._activity.shocks_above(MOVING)
        )
        self._pull = (self._jump_bp / RANGE_BP) ** 2 / 2

    @property
    def book(self) -> Book:
        """The book as it is now; not to be changed."""
        return self._orders.book

    def open(self) -> list[Event]:
        """Events that empty the book and fill it as if it had long been running."""
        self._orders.clear()
        for side in Side:
            for away, life in self._law.opening(self._random):
                self._orders.add(side, self._price(side, away), self._quantity(away), self._clock + life)
        return self._orders.take()

    def step(self) -> list[Event]:
        """Events of the next `STEP_S` seconds, often none; those of a levels feed are one unit."""
        level, shock = self._activity.step()
        due = self.rate * STEP_S * level
        self._earn(due)
        if shock > MOVING and self._random.random() < self._moving:
            self._move(shock)
        extra = self._orders.pending()
        # At a very high rate the same levels change again and again, which is no further event: no use in going on.
        for _ in range(int(2 * (self.rate * STEP_S + due)) + 4):
            if self._orders.pending() - extra >= self._owed:
                break
            self._act()
        self._mend()
        events = self._orders.take()
        self._debt += extra
        self._owed -= len(events) - extra
        return events

    def _earn(self, due: float) -> None:
        """So many events more may happen. Those of a jump come at once and are saved bit by bit, not by a silence."""
        saved = min(self._debt, due * SAVED)
        self._debt -= saved
        self._owed = min(self._owed + due - saved, max(self.rate, 10.0))

    def _mend(self) -> None:
        """Where nobody is left at the touch, somebody soon is."""
        for side in Side:
            levels = self._orders.book.sides[side]
            best = levels.nth_key(0)
            missing = best is None or best > self._touch[side] * levels.sign
            if missing and self._random.random() < MENDED:
                self._place(side, 0.0)

    def _act(self) -> None:
        """Whatever comes next: a market order, the end of an order's life, an arrival."""
        if self._random.random() < self._profile.trades:
            self._trade(self._side())
            return
        arrival = self._clock + self._random.expovariate(1.0)  # memoryless: may be drawn anew each time
        order_id = self._orders.due(arrival)
        if order_id is None:
            self._clock = arrival
            self._place(self._side(), self._law.away(self._random))
        else:
            self._clock = max(self._clock, self._orders.due_at)
            self._end(order_id)

    def _place(self, side: Side, away: float) -> None:
        life = self._law.life(self._random, away)
        self._orders.make_room()
        self._orders.add(side, self._price(side, away), self._quantity(away), self._clock + life)

    def _end(self, order_id: int) -> None:
        """An order's life is over, or another begins."""
        if self._random.random() >= self._profile.amended:
            self._orders.remove(order_id)
            return
        side, price, _ = self._orders.at(order_id)
        away = abs(price - self._touch[side]) / self._bp
        if self._random.random() < REPRICED:
            away = self._law.away(self._random)
            price = self._price(side, away)
        life = self._law.life(self._random, away)
        self._orders.amend(order_id, price, self._quantity(away), self._clock + life)

    def _trade(self, side: Side) -> None:
        """A market order that takes from `side`."""
        wanted = self._quantity(0.0)
        for _ in range(WALKED_MOST):
            if not wanted or self._orders.count(side) <= ORDERS_LEAST:
                return
            order_id = self._orders.first(side)
            filled = min(wanted, self._orders.at(order_id)[2])
            wanted -= filled
            self._orders.reduce(order_id, filled)

    def _move(self, shock: float) -> None:
        """The reference price jumps; what is now on the wrong side of it is taken or pulled."""
        drawn = self._random.gauss(0.0, self._jump_bp) * math.sqrt(shock)
        drawn -= self._pull * math.log(self._fair / self._home) * 1e4
        self._fair *= math.exp(drawn / 1e4)
        bid = math.floor(self._fair)
        self._touch = [bid, bid + 1 + int(self._random.expovariate(1.0) * self._profile.gap_ticks)]
        for side in Side:
            self._clear_through(side, self._touch[1 - side])

    def _clear_through(self, side: Side, limit: int) -> None:
        levels = self._orders.book.sides[side]
        while (best := levels.nth_key(0)) is not None and best <= limit * levels.sign:
            order_id = self._orders.first(side)
            if self._random.random() < 0.5:
                self._orders.reduce(order_id, self._orders.at(order_id)[2])
            else:
                self._orders.remove(order_id)

    def _side(self) -> Side:
        return Side.ASK if self._random.random() < 0.5 else Side.BID

    def _price(self, side: Side, away_bp: float) -> int:
        away = int(away_bp * self._bp)
        return self._touch[side] + (away if side else -away)

    def _quantity(self, away_bp: float) -> int:
        return max(1, round(self._law.size(self._random, away_bp) * self._lots))
