"""Orders feeds: every order by its id, and the levels that the orders add up to."""

from array import array
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, Final, NamedTuple

from depthcast.broadcaster.merger import Pending
from depthcast.broadcaster.orders_merger import OrdersMerger
from depthcast.broadcaster.pending import new_pending
from depthcast.ingestor.book_state import BookState, flat_of
from depthcast.ingestor.events import (
    ADD,
    CLEAR,
    DELETE,
    REDUCE,
    UPDATE,
    is_order_id,
    op_named,
    orders_event,
    side_named,
)
from depthcast.ingestor.limits import DEFAULT, Limits
from depthcast.ingestor.order_table import Order, OrderId, columns_of, new_orders, orders_from
from depthcast.ingestor.packed_events import NO_NUMBER, ORDER_ITEMS, PackedOrders, order_event
from depthcast.ingestor.rejects import ArrayResult, Reason, RefusedError
from depthcast.ingestor.undo_log import UndoLog
from depthcast.shared.compiled import is_compiled_at
from depthcast.shared.level_table import new_levels
from depthcast.shared.types import INTEGER_BITS, MAX_INTEGER

COMPILED: Final = is_compiled_at(__file__)

_MOST: Final = MAX_INTEGER

_Orders = tuple[MutableMapping[OrderId, Order], MutableMapping[OrderId, Order]]

_UndoOrders = tuple[dict[OrderId, Order | None], dict[OrderId, Order | None]]


class OrdersCopy(NamedTuple):
    """All orders of a symbol at one moment: per side the ids and, in the same order, (price, quantity).

    Laid out for `depthcast.shared.codec.pack`, in slices; decoded pairs may be lists. Never changed.
    """

    bid_ids: Sequence[OrderId]
    bids: Sequence[Sequence[int]]
    ask_ids: Sequence[OrderId]
    asks: Sequence[Sequence[int]]


class OrdersState(BookState):
    """A book fed by order, which counts the orders at each level.

    Each side has its own orders, so clearing a side does not search the other.
    """

    __slots__ = (
        "_counts",
        "_ids_at_price",
        "_orders",
        "_orders_max",
        "_pending_orders",
        "_tracks_orders",
        "_undo_counts",
        "_undo_orders",
    )

    def __init__(self, *, evicts: bool) -> None:
        super().__init__(evicts=evicts)
        self.merger: OrdersMerger = OrdersMerger(self.book)
        self._pending_levels: Pending = self.merger.pending
        self._pending_orders: Pending = self.merger.pending_orders
        self._use_counts({}, {})
        self._orders: _Orders = (new_orders(), new_orders())
        self._orders_max = DEFAULT.orders_max
        # Price → ids of its orders, kept only for eviction.
        self._ids_at_price: tuple[dict[int, set[OrderId]], dict[int, set[OrderId]]] | None = (
            ({}, {}) if evicts else None
        )
        # Each order before the current atomic array changed it; None outside an array.
        self._undo_orders: _UndoOrders | None = None
        # Per side price → number of orders before the current atomic array changed it.
        self._undo_counts: Pending = ({}, {})
        # Whether one of these is in use, so that changes of orders must be recorded.
        self._tracks_orders = evicts

    def __len__(self) -> int:
        return len(self._orders[0]) + len(self._orders[1])

    def set_limits(self, limits: Limits) -> None:
        super().set_limits(limits)
        self._orders_max = limits.orders_max

    def _use_counts(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Let the book have these numbers of orders by price."""
        counts = []
        for side, numbers in zip(self.book.sides, (bids, asks), strict=True):
            held = new_levels()
            held.update(numbers)
            side.orders = held  # type: ignore[assignment]  # can do what a dict can
            counts.append(held)
        self._counts: Pending = (counts[0], counts[1])

    def copy(self) -> OrdersCopy:
        """Copy all orders, as fast as copying lists; if compiled, objects are made when they are read."""
        bids, asks = self._orders
        return OrdersCopy(*columns_of(bids), *columns_of(asks))

    def load_orders(self, seq: int, orders: OrdersCopy) -> None:
        """Load the orders published at `seq`, and compute levels and digest from them.

        Raises `ValueError` if an id is repeated, a number is out of range or a level overflows.
        """
        bids = _orders_of(orders.bid_ids, orders.bids)
        asks = _orders_of(orders.ask_ids, orders.asks)
        few, many = sorted((bids, asks), key=len)
        if any(order_id in many for order_id in few):
            raise ValueError("an order is on both sides")
        if self._ids_at_price is not None:
            self._ids_at_price = (_ids_by_price(bids), _ids_by_price(asks))
        self._orders = (bids, asks)
        columns = [columns_of(side)[1] for side in (bids, asks)]
        # By price, for what is published: where a table has an order depends on the process.
        levels = [dict(sorted(_levels_of(pairs).items())) for pairs in columns]
        self.load_levels(seq, flat_of(levels[0]), flat_of(levels[1]), 0)
        self._use_counts(_counts_of(columns[0]), _counts_of(columns[1]))
        self.merger.orders_digest = 0
        for side, held in enumerate(levels):
            self.merger.pending[side].update(dict.fromkeys(held, 0))
            self._pending_orders[side].update(dict.fromkeys(held, 0))
        self.merger.absorb()

    def _run(self, events: Sequence[Any]) -> ArrayResult:  # noqa: C901, PLR0912  # calls would cost more
        """Apply the common case, a valid five-item event on an order; `_apply_one` handles the rest."""
        if COMPILED and type(events) is PackedOrders:
            return self._run_packed(events.numbers)
        applied = 0
        refused: list[tuple[int, Reason]] = []
        bids, asks = self._orders
        integer, bits, lowest, highest = int, INTEGER_BITS, -MAX_INTEGER, MAX_INTEGER
        for event in events:
            try:
                if type(event) is list and len(event) == 5:
                    op, side, price, quantity, order_id = event
                    if type(op) is not integer:
                        op = op_named(op)
                    if type(order_id) is not integer and type(order_id) is not str:
                        op = None
                    if op == DELETE or op == REDUCE:  # noqa: PLR1714, SIM109  # no tuple each time
                        side, order = 0, bids.get(order_id)
                        if order is None:
                            side, order = 1, asks.get(order_id)
                        if order is not None:
                            if op == DELETE:
                                self._remove(side, order_id, order)
                                applied += 1
                                continue
                            if type(quantity) is integer and 0 < quantity <= order[1]:
                                self._reduce(side, order_id, order, quantity)
                                applied += 1
                                continue
                    else:
                        if type(side) is not integer:
                            side = side_named(side)
                        # The shift gives 0 for exactly the quantities in range, in one operation.
                        if (
                            (side == 0 or side == 1)  # noqa: PLR1714  # whatever it is, it need not be hashable
                            and type(price) is integer is type(quantity)
                            and quantity
                            and not quantity >> bits
                            and lowest <= price <= highest
                        ):
                            if op == UPDATE:
                                order = (asks if side else bids).get(order_id)
                                if order is not None:
                                    self._update(side, order_id, order, price, quantity)
                                    applied += 1
                                    continue
                            elif (
                                op == ADD
                                and order_id not in bids
                                and order_id not in asks
                                and (
                                    (type(order_id) is integer and not order_id >> 63)
                                    or is_order_id(order_id)
                                )
                            ):
                                self._add(side, order_id, price, quantity)
                                applied += 1
                                continue
                self._apply_one(event)
                applied += 1
            except RefusedError as refusal:
                refused.append((applied + len(refused), self._reason(event, refusal.reason)))
                if self._atomic:
                    break
        return ArrayResult(applied, 0, refused, self._evicted)

    def _run_packed(self, numbers: "array[int]") -> ArrayResult:  # likewise
        """The same for events whose items are known to be in range, or nil. Used only if compiled."""
        applied = at = 0
        refused: list[tuple[int, Reason]] = []
        step, add, update, delete, reduce, none = (
            ORDER_ITEMS,
            ADD,
            UPDATE,
            DELETE,
            REDUCE,
            NO_NUMBER,
        )  # C numbers
        items = numbers.data.as_longlongs  # type: ignore[attr-defined] # as Cython sees an array
        end = len(numbers)
        bids: Any
        asks: Any
        bids, asks = self._orders
        while at < end:
            try:
                while at < end:
                    op, side, price = items[at], items[at + 1], items[at + 2]
                    lots, order_id = items[at + 3], items[at + 4]
                    at += step
                    own = 0
                    place = bids.place_of(order_id)
                    if place < 0:
                        own = 1
                        place = asks.place_of(order_id)
                    if place < 0:
                        if op == add and none not in (side, price) and lots > 0:
                            self._add_numbered(side, order_id, price, lots)
                        else:
                            self._apply_one(order_event(numbers[at - step : at].tolist()))
                    elif op == delete:
                        self._remove_at(own, place)
                    elif op == reduce and 0 < lots <= (asks if own else bids).quantity_at(place):
                        self._reduce_at(own, place, lots)
                    elif op == update and side == own and price != none and lots > 0:
                        self._update_at(own, place, price, lots)
                    else:
                        self._apply_one(order_event(numbers[at - step : at].tolist()))
                    applied += 1
            except RefusedError as refusal:
                event = order_event(numbers[at - step : at].tolist())
                refused.append((at // step - 1, self._reason(event, refusal.reason)))
                if self._atomic:
                    break
        return ArrayResult(applied, 0, refused, self._evicted)

    def _apply_one(self, event: Any) -> None:
        """Apply any event; raises `RefusedError`."""
        op, side, price, quantity, order_id = orders_event(event)
        if op == CLEAR:
            self._clear(side)
            return
        if op == ADD:
            if order_id in self._orders[0] or order_id in self._orders[1]:
                raise RefusedError(Reason.DUPLICATE_ORDER)
            self._add(side, order_id, price, quantity)
            return
        if op != UPDATE:
            side = 0 if order_id in self._orders[0] else 1
        order = self._orders[side].get(order_id)
        if order is None:
            raise RefusedError(Reason.UNKNOWN_ORDER)
        if op == REDUCE:
            if quantity > order[1]:
                raise RefusedError(Reason.BAD_QUANTITY)
            self._reduce(side, order_id, order, quantity)
        elif quantity:
            self._update(side, order_id, order, price, quantity)
        else:
            self._remove(side, order_id, order)

    def begin_array(self, *, atomic: bool) -> None:
        super().begin_array(atomic=atomic)
        if atomic:
            self._undo_orders, self._tracks_orders = ({}, {}), True
            self._undo_counts = (new_pending(), new_pending())

    def end_array(self, outcome: ArrayResult) -> ArrayResult:
        journal = self._undo_orders
        ended = super().end_array(outcome)
        if journal is not None:
            self._undo_orders, self._tracks_orders = None, self._ids_at_price is not None
            if ended.refused:
                for side, first in enumerate(journal):
                    for order_id, order in first.items():
                        self._restore_order(side, order_id, order)
        return ended

    def _restore_order(self, side: int, order_id: OrderId, order: Order | None) -> None:
        """Put the order back to `before`; None removes it."""
        orders = self._orders[side]
        self._record_order(side, order_id, orders.get(order_id), order)
        if order is None:
            orders.pop(order_id, None)
        else:
            orders[order_id] = order

    def _undo(self, log: list[int] | UndoLog) -> None:
        for counts, before in zip(self._counts, self._undo_counts, strict=True):
            for price, count in before.items():
                if count:
                    counts[price] = count
                else:
                    counts.pop(price, None)
        super()._undo(log)
        for at in range(0, len(log), 3):
            side, price = log[at], log[at + 1]
            if price not in self._pending_levels[side]:
                self._pending_orders[side].pop(price, None)

    def _is_back(self, side: int, price: int) -> bool:
        """Whether a pending level, and the number of its orders, is as it was at the last drain."""
        if not super()._is_back(side, price):
            return False
        return self._pending_orders[side][price] == self._counts[side].get(price, 0)

    def _reason(self, event: Any, reason: Reason) -> Reason:
        """The reason to record: `reason`, unless an earlier check fails too.

        A well-formed update that names the wrong side for its order is malformed.
        """
        if reason is Reason.MALFORMED or event[0] not in ("update", UPDATE) or len(event) < 5:
            return reason
        other = self._orders[0 if event[1] in ("ask", 1) else 1]
        return Reason.MALFORMED if event[4] in other else reason

    def _add(self, side: int, order_id: OrderId, price: int, quantity: int) -> None:
        """Add an order and its quantity to the level; raises `RefusedError` if the book is full."""
        self._enter(side, price, quantity)
        order = (price, quantity)
        if self._tracks_orders:
            self._record_order(side, order_id, None, order)
        self._orders[side][order_id] = order

    def _update(self, side: int, order_id: OrderId, old: Order, price: int, quantity: int) -> None:
        """Change the order's price and quantity."""
        self._move(side, old[0], old[1], price, quantity)
        new = (price, quantity)
        if self._tracks_orders:
            self._record_order(side, order_id, old, new)
        self._orders[side][order_id] = new

    def _reduce(self, side: int, order_id: OrderId, old: Order, quantity: int) -> None:
        """Reduce an order by `quantity`, which must not exceed its quantity."""
        price, held = old
        if quantity == held:
            self._remove(side, order_id, old)
            return
        self._take_from_level(side, price, quantity)
        new = (price, held - quantity)
        if self._tracks_orders:
            self._record_order(side, order_id, old, new)
        self._orders[side][order_id] = new

    def _remove(self, side: int, order_id: OrderId, old: Order) -> None:
        """Remove an order."""
        self._take_from_level(side, old[0], old[1])
        self._leave(side, old[0])
        if self._tracks_orders:
            self._record_order(side, order_id, old, None)
        del self._orders[side][order_id]

    # The same in numbers, for orders that have a place in a table. Used only if compiled.

    def _add_numbered(self, side: int, order_id: int, price: int, quantity: int) -> None:
        self._enter(side, price, quantity)
        if self._tracks_orders:
            self._record_order(side, order_id, None, (price, quantity))
        orders: Any = self._orders[side]
        orders.enter(order_id, price, quantity)

    def _update_at(self, side: int, place: int, price: int, quantity: int) -> None:
        orders: Any = self._orders[side]
        old_price, old_quantity = orders.price_at(place), orders.quantity_at(place)
        self._move(side, old_price, old_quantity, price, quantity)
        if self._tracks_orders:
            old = (old_price, old_quantity)
            self._record_order(side, orders.id_at(place), old, (price, quantity))
        orders.set_at(place, price, quantity)

    def _reduce_at(self, side: int, place: int, quantity: int) -> None:
        orders: Any = self._orders[side]
        price, held = orders.price_at(place), orders.quantity_at(place)
        if quantity == held:
            self._remove_at(side, place)
            return
        self._take_from_level(side, price, quantity)
        if self._tracks_orders:
            new = (price, held - quantity)
            self._record_order(side, orders.id_at(place), (price, held), new)
        orders.set_at(place, price, held - quantity)

    def _remove_at(self, side: int, place: int) -> None:
        orders: Any = self._orders[side]
        price, held = orders.price_at(place), orders.quantity_at(place)
        self._take_from_level(side, price, held)
        self._leave(side, price)
        if self._tracks_orders:
            self._record_order(side, orders.id_at(place), (price, held), None)
        orders.drop_at(place)

    # What orders do to levels.

    def _enter(self, side: int, price: int, quantity: int) -> None:
        """Add a new order to the level at `price`; raises `RefusedError` if the book is full."""
        bids, asks = self._orders
        if len(bids) + len(asks) >= self._orders_max:
            raise RefusedError(Reason.TOO_MANY_ORDERS)
        self._add_to_level(side, price, quantity)
        self._join(side, price)

    def _move(self, side: int, old_price: int, old_quantity: int, price: int, quantity: int) -> None:
        """Change price and quantity of an order; raises `RefusedError` with nothing changed."""
        if price != old_price:
            self._add_to_level(side, price, quantity)
            self._join(side, price)
            self._take_from_level(side, old_price, old_quantity)
            self._leave(side, old_price)
        elif quantity > old_quantity:
            self._add_to_level(side, price, quantity - old_quantity)
        elif quantity < old_quantity:
            self._take_from_level(side, price, old_quantity - quantity)

    def _join(self, side: int, price: int) -> None:
        """Count one more order at a level, after its quantity has changed."""
        counts: Any = self._counts[side]
        if not COMPILED:
            counts[price] = counts.get(price, 0) + 1
            return
        place = counts.place_of(price)
        if place < 0:
            counts.enter(price, 1)
        else:
            counts.set_at(place, counts.value_at(place) + 1)

    def _leave(self, side: int, price: int) -> None:
        """Count one order less at a level, after its quantity has changed."""
        counts: Any = self._counts[side]
        place = counts.place_of(price) if COMPILED else 0
        if place < 0:
            raise KeyError(price)
        left = (counts.value_at(place) if COMPILED else counts[price]) - 1
        if not left:
            del counts[price]
        elif COMPILED:
            counts.set_at(place, left)
        else:
            counts[price] = left

    def _add_to_level(self, side: int, price: int, quantity: int) -> None:
        """Add `quantity` to the level at `price`; raises `RefusedError` on overflow or crossing."""
        levels: Any = self._levels[side]
        place = levels.place_of(price) if COMPILED else 0
        if place < 0 or (not COMPILED and price not in levels):
            self._add_level(side, price, quantity)
            return
        old = levels.value_at(place) if COMPILED else levels[price]
        if old + quantity > _MOST:
            raise RefusedError(Reason.OVERFLOW)
        self._record_level(side, price, old)
        if COMPILED:
            levels.set_at(place, old + quantity)
        else:
            levels[price] = old + quantity

    def _take_from_level(self, side: int, price: int, quantity: int) -> None:
        """Take `quantity` from the level at `price`, which must have at least that much."""
        levels: Any = self._levels[side]
        place = levels.place_of(price) if COMPILED else 0
        if place < 0:
            raise KeyError(price)
        old = levels.value_at(place) if COMPILED else levels[price]
        if old == quantity:
            self._remove_level(side, price, old)
            return
        self._record_level(side, price, old)
        if COMPILED:
            levels.set_at(place, old - quantity)
        else:
            levels[price] = old - quantity

    def _record_level(self, side: int, price: int, old: int) -> None:
        """Record the quantity `old` of a level, and the number of its orders, before they change."""
        pending: Any = self._pending_levels[side]
        counts: Any = self._counts[side]
        if COMPILED:
            if pending.note(price, old):
                self._record_count(self._pending_orders[side], price, counts.held(price))
        elif price not in pending:
            pending[price] = old
            self._record_count(self._pending_orders[side], price, counts.get(price, 0))
        log: Any = self._undo_log
        if log is None:
            return
        if COMPILED:
            self._record_count(self._undo_counts[side], price, counts.held(price))
            log.push(side, price, old)
        else:
            self._record_count(self._undo_counts[side], price, counts.get(price, 0))
            log.extend((side, price, old))

    def _record_count(self, before: Any, price: int, count: int) -> None:
        """Record the number of orders at a level in `before`, unless it is there."""
        if COMPILED:
            before.note(price, count)
        else:
            before.setdefault(price, count)

    def _record_order(self, side: int, order_id: OrderId, old: Order | None, new: Order | None) -> None:
        """Record an order's coming change in the undo log and in the index by price, if they are in use."""
        if self._undo_orders is not None:
            self._undo_orders[side].setdefault(order_id, old)
        if self._ids_at_price is not None:
            _move_id(self._ids_at_price[side], order_id, old, new)

    def _evict(self, side: int, price: int) -> None:
        super()._evict(side, price)
        del self._counts[side][price]
        assert self._ids_at_price is not None
        for order_id in list(self._ids_at_price[side][price]):
            self._record_order(side, order_id, self._orders[side].pop(order_id), None)

    def _clear_side(self, side: int) -> None:
        super()._clear_side(side)
        if self._undo_orders is not None:
            for order_id, order in self._orders[side].items():
                self._undo_orders[side].setdefault(order_id, order)
        if self._ids_at_price is not None:
            self._ids_at_price[side].clear()
        self._orders[side].clear()


def _move_id(at: dict[int, set[OrderId]], order_id: OrderId, old: Order | None, new: Order | None) -> None:
    if old is not None:
        ids = at[old[0]]
        ids.discard(order_id)
        if not ids:
            del at[old[0]]
    if new is not None:
        at.setdefault(new[0], set()).add(order_id)


def _orders_of(ids: Sequence[OrderId], pairs: Sequence[Sequence[int]]) -> MutableMapping[OrderId, Order]:
    if not set(map(type, ids)) <= {int, str}:
        raise ValueError("an order id is neither a number nor text")
    orders = orders_from(ids, pairs)
    if len(orders) != len(ids):
        raise ValueError("an order id is repeated")
    return orders


def _ids_by_price(orders: MutableMapping[OrderId, Order]) -> dict[int, set[OrderId]]:
    at: dict[int, set[OrderId]] = {}
    for order_id, order in orders.items():
        _move_id(at, order_id, None, order)
    return at


def _counts_of(orders: Iterable[Sequence[int]]) -> dict[int, int]:
    """Price → number of orders."""
    counts: dict[int, int] = {}
    for price, _ in orders:
        counts[price] = counts.get(price, 0) + 1
    return counts


def _levels_of(orders: Iterable[Sequence[int]]) -> dict[int, int]:
    levels: dict[int, int] = {}
    for price, quantity in orders:
        if not (
            type(price) is type(quantity) is int and -MAX_INTEGER <= price <= MAX_INTEGER and quantity >= 1
        ):
            raise ValueError(f"an order of {quantity} at {price} is out of range")
        levels[price] = levels.get(price, 0) + quantity
    if max(levels.values(), default=0) > MAX_INTEGER:
        raise ValueError("a level is out of range")
    return levels
