"""A synthetic market: seeded order flow that looks like a recorded one, for demos, tests and load.

Each symbol is a small simulated venue with resting orders. The model is a zero-intelligence one, after Smith,
Farmer, Gillemot and Krishnamurthy (2003) and Cont, Stoikov and Talreja (2010), around a reference price as in
the queue-reactive model of Huang, Lehalle and Rosenbaum (2015):

- Limit orders arrive at a distance from the touch that follows a power law of exponent 1 beyond a knee (Zovko
  and Farmer 2002, Bouchaud, Mézard and Potters 2002), and a share of them joins the best price. Each order
  lasts for a time that grows with its distance; then it is cancelled or amended. Together this gives a flat
  book that is busy at the touch and slow in depth.
- Market orders fill the oldest orders at the best price, then those of the levels behind it.
- Activity has a steady part, and bursts that cause further bursts (`depthcast.feed.synthetic_activity`).
- A burst moves the reference price, the further the stronger it is: volatility follows activity (Clark 1973).
  Orders on the wrong side of the new price are traded or cancelled, level by level, and the touch is filled
  again. Over long times the price returns to its start, so it stays in a range.

The events are orders or, for a levels feed, the new quantities of the levels that a step changed. Bids rest
at or below the best bid of the reference price, asks at or above its best ask.

The caller hands in the random numbers, and time is counted in steps. The parameters are in
`depthcast.feed.synthetic_profiles`; `docs/synthetic.md` compares the result with recordings.
"""

import math
from random import Random
from typing import Final

from depthcast.feed.entry import Event
from depthcast.feed.synthetic_activity import STEP_S, Activity
from depthcast.feed.synthetic_orders import RestingOrders
from depthcast.feed.synthetic_profiles import DistanceLaw, Profile, quantity_of
from depthcast.shared.book import Book
from depthcast.shared.instruments import Instrument
from depthcast.shared.types import Side

ORDERS_LEAST: Final = 20
"""Market orders leave at least this many orders per side."""

ORDERS_FILLED_MOST: Final = 8
"""Maximum number of orders that one market order fills."""

REFILLED: Final = 0.9
"""Chance that an empty touch gets an order at the end of a step."""

REPRICED: Final = 0.1
"""Share of the amendments that change the price; the others change the quantity alone."""

PRICE_MOVING_MARK: Final = 1.0
"""A shock moves the price if it is stronger than this multiple of the mean shock."""

CAUGHT_UP: Final = 0.3
"""Share of the activity that is skipped after a price jump made more events than were due."""

RANGE_BP: Final = 500.0
"""Standard deviation of the price around its start, over long times."""


class Venue:
    """One simulated symbol.

    `mid`: price at the start in ticks. `rate`: mean events per second of the instrument's kind of feed; by
    default the profile's. The events depend only on these, the profile, the random numbers and the number of
    steps.
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
        self._start_price = self._reference_price = mid + 0.5
        self._touch = [mid, mid + 1]  # the intended best prices
        self._clock = 0.0
        self._events_due = self._events_ahead = 0.0
        # Volatility grows with the square root of activity: a slow market has fewer jumps, a fast one larger
        # ones.
        ratio = self.rate / profile.rate
        self._moving = min(ratio, 1.0)
        self._jump_bp = profile.volatility_bp * math.sqrt(
            max(ratio, 1.0) / self._activity.shocks_above(PRICE_MOVING_MARK)
        )
        self._pull = (self._jump_bp / RANGE_BP) ** 2 / 2

    @property
    def book(self) -> Book:
        """The current book; the caller must not change it."""
        return self._orders.book

    def open(self) -> list[Event]:
        """Return events that clear the book and fill it as after a long run."""
        self._orders.clear()
        for side in Side:
            for away, life in self._law.opening(self._random):
                self._orders.add(side, self._price(side, away), self._quantity(away), self._clock + life)
        return self._orders.take()

    def step(self) -> list[Event]:
        """Return the events of the next step, often none; in a levels feed they apply together."""
        level, shock = self._activity.step()
        due = self.rate * STEP_S * level
        self._allow_events(due)
        if shock > PRICE_MOVING_MARK and self._random.random() < self._moving:
            self._move(shock)
        extra = self._orders.pending()
        # At a very high rate the same levels change repeatedly, which adds no events: give up after a while.
        for _ in range(int(2 * (self.rate * STEP_S + due)) + 4):
            if self._orders.pending() - extra >= self._events_due:
                break
            self._act()
        self._refill_touch()
        events = self._orders.take()
        self._events_ahead += extra
        self._events_due -= len(events) - extra
        return events

    def _allow_events(self, due: float) -> None:
        """Raise the number of events due; subtract part of the surplus that a price jump made."""
        saved = min(self._events_ahead, due * CAUGHT_UP)
        self._events_ahead -= saved
        self._events_due = min(self._events_due + due - saved, max(self.rate, 10.0))

    def _refill_touch(self) -> None:
        """Place an order at an empty touch, with the chance `REFILLED`."""
        for side in Side:
            levels = self._orders.book.sides[side]
            best = levels.nth_key(0)
            missing = best is None or best > self._touch[side] * levels.sign
            if missing and self._random.random() < REFILLED:
                self._place(side, 0.0)

    def _act(self) -> None:
        """Make the next event: a market order, the end of an order, or an arrival."""
        if self._random.random() < self._profile.trades:
            self._trade(self._side())
            return
        arrival = self._clock + self._random.expovariate(1.0)  # memoryless: a new draw each time is correct
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
        """Cancel or amend an order whose time is over."""
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
        """Execute a market order against `side`."""
        wanted = self._quantity(0.0)
        for _ in range(ORDERS_FILLED_MOST):
            if not wanted or self._orders.count(side) <= ORDERS_LEAST:
                return
            order_id = self._orders.first(side)
            filled = min(wanted, self._orders.at(order_id)[2])
            wanted -= filled
            self._orders.reduce(order_id, filled)

    def _move(self, shock: float) -> None:
        """Move the reference price, and clear the orders on its wrong side."""
        drawn = self._random.gauss(0.0, self._jump_bp) * math.sqrt(shock)
        drawn -= self._pull * math.log(self._reference_price / self._start_price) * 1e4
        self._reference_price *= math.exp(drawn / 1e4)
        bid = math.floor(self._reference_price)
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
