"""State of an orders feed: every order by its id, and the levels they add up to."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ingestor.book_state import BookState, flat_of
from ingestor.events import ADD, CLEAR, DELETE, UPDATE, OrderId, orders_event
from ingestor.rejects import Outcome, Reason, RefusedError
from shared.types import MAX_INTEGER

Order = tuple[int, int]
"""(price, remaining quantity ≥ 1)"""

_Journal = tuple[dict[OrderId, Order | None], dict[OrderId, Order | None]]


class OrdersCopy(NamedTuple):
    """All orders of a symbol at a moment: per side the ids and, at the same places, (price, quantity).

    Made for `shared.codec.pack`, whole or in slices; the pairs may come back as lists. Nobody changes it.
    """

    bid_ids: Sequence[OrderId]
    bids: Sequence[Sequence[int]]
    ask_ids: Sequence[OrderId]
    asks: Sequence[Sequence[int]]


class OrdersState(BookState):
    """A book fed by order. Orders are kept per side, so that clearing one side does not search the other."""

    __slots__ = ("_at", "_journal", "_orders")

    def __init__(self, *, evicts: bool) -> None:
        super().__init__(evicts=evicts)
        self._orders: tuple[dict[OrderId, Order], dict[OrderId, Order]] = ({}, {})
        # Price → ids, only where eviction must find a level's orders without searching them all.
        self._at: tuple[dict[int, set[OrderId]], dict[int, set[OrderId]]] | None = (
            ({}, {}) if evicts else None
        )
        # First old value of each order that the atomic array at hand touched; None outside one.
        self._journal: _Journal | None = None

    def __len__(self) -> int:
        return len(self._orders[0]) + len(self._orders[1])

    def copy(self) -> OrdersCopy:
        """All orders, copied as fast as lists are; the orders themselves are immutable and shared."""
        bids, asks = self._orders
        return OrdersCopy(list(bids), list(bids.values()), list(asks), list(asks.values()))

    def load_orders(self, seq: int, orders: OrdersCopy) -> None:
        """Take the orders and make levels and digest from them, standing as published under `seq`.

        Raises `ValueError` where an id stands twice, a number is out of range or a level overflows.
        """
        bids = _orders_of(orders.bid_ids, orders.bids)
        asks = _orders_of(orders.ask_ids, orders.asks)
        if not bids.keys().isdisjoint(asks):
            raise ValueError("an order stands on both sides")
        self._orders = (bids, asks)
        if self._at is not None:
            self._at = (_ids_by_price(bids), _ids_by_price(asks))
        levels = [_levels_of(side.values()) for side in self._orders]
        self.load(seq, flat_of(levels[0]), flat_of(levels[1]), 0)
        for side, held in enumerate(levels):
            self.merger.pending[side].update(dict.fromkeys(held, 0))
        self.merger.absorb()

    def _run(self, events: Sequence[Any]) -> Outcome:
        applied = 0
        refused: list[tuple[int, Reason]] = []
        for index, event in enumerate(events):
            try:
                op, side, price, quantity, order_id = orders_event(event)
                if op == ADD:
                    self._add(side, price, quantity, order_id)
                elif op == UPDATE:
                    self._update(side, price, quantity, order_id)
                elif op == CLEAR:
                    self._clear(side)
                else:
                    self._lessen(order_id, quantity, delete=op == DELETE)
                applied += 1
            except RefusedError as refusal:
                refused.append((index, self._reason(event, refusal.reason)))
                if self._unit:
                    break
        return Outcome(applied, 0, refused, self._evicted)

    def _apply_unit(self, events: Sequence[Any]) -> Outcome:
        journal: _Journal = ({}, {})
        self._journal = journal
        outcome = super()._apply_unit(events)
        self._journal = None
        if outcome.refused:
            for side, first in enumerate(journal):
                for order_id, order in first.items():
                    self._store(side, order_id, self._orders[side].get(order_id), order)
        return outcome

    def _reason(self, event: Any, reason: Reason) -> Reason:
        """`reason`, unless an update of sound shape names the other side than its order's: that comes before."""
        if reason is Reason.MALFORMED or event[0] not in ("update", UPDATE) or len(event) < 5:
            return reason
        other = self._orders[0 if event[1] in ("ask", 1) else 1]
        return Reason.MALFORMED if event[4] in other else reason

    def _add(self, side: int, price: int, quantity: int, order_id: OrderId) -> None:
        if order_id in self._orders[0] or order_id in self._orders[1]:
            raise RefusedError(Reason.DUPLICATE_ORDER)
        old = self._room(side, price, quantity)
        self._change(side, price, old, old + quantity)
        self._store(side, order_id, None, (price, quantity))

    def _room(self, side: int, price: int, quantity: int) -> int:
        """Volume of the level that `quantity` more is about to join; refuses what does not fit there."""
        old = self.book.sides[side].levels.get(price, 0)
        if old + quantity > MAX_INTEGER:
            raise RefusedError(Reason.OVERFLOW)
        if not old:
            self._admit(side, price)
        return old

    def _update(self, side: int, price: int, quantity: int, order_id: OrderId) -> None:
        order = self._orders[side].get(order_id)
        if order is None:
            raise RefusedError(Reason.UNKNOWN_ORDER)
        levels = self.book.sides[side].levels
        held_price, held = order
        if quantity and price != held_price:
            old = self._room(side, price, quantity)
            self._change(side, held_price, levels[held_price], levels[held_price] - held)
            self._change(side, price, old, old + quantity)
        else:
            old = levels[held_price]
            new = old - held + quantity
            if new > MAX_INTEGER:
                raise RefusedError(Reason.OVERFLOW)
            self._change(side, held_price, old, new)
        self._store(side, order_id, order, (price, quantity) if quantity else None)

    def _lessen(self, order_id: OrderId, quantity: int, *, delete: bool) -> None:
        """Take `quantity`, or everything, off an order of whatever side."""
        side = 0 if order_id in self._orders[0] else 1
        order = self._orders[side].get(order_id)
        if order is None:
            raise RefusedError(Reason.UNKNOWN_ORDER)
        price, held = order
        if delete:
            quantity = held
        elif quantity > held:
            raise RefusedError(Reason.BAD_QUANTITY)
        old = self.book.sides[side].levels[price]
        self._change(side, price, old, old - quantity)
        self._store(side, order_id, order, (price, held - quantity) if held > quantity else None)

    def _store(self, side: int, order_id: OrderId, old: Order | None, new: Order | None) -> None:
        """Make the order `new` (None: gone), noting it wherever somebody wants to know."""
        if self._journal is not None:
            self._journal[side].setdefault(order_id, old)
        if self._at is not None:
            _move_id(self._at[side], order_id, old, new)
        if new is not None:
            self._orders[side][order_id] = new
        elif old is not None:
            del self._orders[side][order_id]

    def _evict(self, side: int, price: int) -> None:
        super()._evict(side, price)
        assert self._at is not None
        for order_id in list(self._at[side][price]):
            self._store(side, order_id, self._orders[side][order_id], None)

    def _clear_side(self, side: int) -> None:
        super()._clear_side(side)
        if self._journal is not None:
            for order_id, order in self._orders[side].items():
                self._journal[side].setdefault(order_id, order)
        if self._at is not None:
            self._at[side].clear()
        self._orders[side].clear()


def _move_id(at: dict[int, set[OrderId]], order_id: OrderId, old: Order | None, new: Order | None) -> None:
    if old is not None:
        ids = at[old[0]]
        ids.discard(order_id)
        if not ids:
            del at[old[0]]
    if new is not None:
        at.setdefault(new[0], set()).add(order_id)


def _orders_of(ids: Sequence[OrderId], pairs: Sequence[Sequence[int]]) -> dict[OrderId, Order]:
    orders = {order_id: (price, quantity) for order_id, (price, quantity) in zip(ids, pairs, strict=True)}
    if len(orders) != len(ids):
        raise ValueError("an order stands there twice")
    return orders


def _ids_by_price(orders: dict[OrderId, Order]) -> dict[int, set[OrderId]]:
    at: dict[int, set[OrderId]] = {}
    for order_id, order in orders.items():
        _move_id(at, order_id, None, order)
    return at


def _levels_of(orders: Iterable[Order]) -> dict[int, int]:
    levels: dict[int, int] = {}
    for price, quantity in orders:
        if not (-MAX_INTEGER <= price <= MAX_INTEGER and quantity >= 1):
            raise ValueError(f"an order of {quantity} at {price} is out of range")
        levels[price] = levels.get(price, 0) + quantity
    if max(levels.values(), default=0) > MAX_INTEGER:
        raise ValueError("a level is out of range")
    return levels
