"""The bodies of HTTP answers: encoded once for all who ask for the same state, large ones in slices.

A body is at least as new as the market was when it was asked for. It is kept until a newer state is asked
for, or until others need the room.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, NamedTuple

import orjson

from depthcast.gateway.market.listing import Listing
from depthcast.gateway.market.market import Market
from depthcast.gateway.protocol.messages import UNGROUPED, Message, state_name
from depthcast.gateway.runtime import slices

BODIES_BYTES_MAX: Final = 16 * 2**20
"""Bytes of bodies kept. A body is a megabyte at most, unless `full_depth_max` was raised."""
BODIES_MAX: Final = 1_000

SYMBOLS: Final = "*"

_Stamp = tuple[Hashable, ...]


class _Key(NamedTuple):
    """Which view a body has: of a symbol, at a depth, grouped or with the number of orders."""

    symbol: str
    depth: int = 0
    group_ticks: int = UNGROUPED
    orders: bool = False


class _Body(NamedTuple):
    """`stamp`: what it was made from. `number`: it was begun as that many were begun.

    `state`: of its book at that moment.
    """

    stamp: _Stamp
    number: int
    data: bytes
    state: Message


class Answers:
    """The bodies of one process."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.begun = 0
        self.bytes_kept = 0
        self._bodies: OrderedDict[_Key, _Body] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()

    async def symbols(self) -> bytes:
        """`/v1/symbols`: all symbols with their status, in order."""
        key, asked = _Key(SYMBOLS), self.begun
        if (found := self._found(key, self._symbols_stamp(), asked)) is not None:
            return found.data
        async with self._one_at_a_time:
            stamp = self._symbols_stamp()
            if (found := self._found(key, stamp, asked)) is not None:
                return found.data
            self.begun += 1
            number = self.begun
            parts = await self._listed(_any)
            data = b"[" + b",".join(filter(None, parts)) + b"]"
            return self._keep(key, _Body(stamp, number, data, {})).data

    async def some_symbols(self, may_read: Callable[[str], bool]) -> bytes:
        """The same of the symbols that one client may read; it is not kept."""
        async with self._one_at_a_time:
            parts = await self._listed(may_read)
        return b"[" + b",".join(filter(None, parts)) + b"]"

    async def _listed(self, may_read: Callable[[str], bool]) -> list[bytes]:
        """The objects of symbols, in order and in slices."""
        parts, symbols = [], sorted(self.market.listings)
        for first in range(0, len(symbols), slices.SLICE_LEVELS):
            wanted = filter(may_read, symbols[first : first + slices.SLICE_LEVELS])
            listings = self.market.listings
            some = [listings.peek(symbol) for symbol in wanted if symbol in listings]
            parts.append(orjson.dumps([self._symbol(listing) for listing in some])[1:-1])
            await asyncio.sleep(0)
        return parts

    async def book(
        self, listing: Listing, depth: int, group_ticks: int = UNGROUPED, *, orders: bool = False
    ) -> bytes | None:
        """`/v1/books/<symbol>`: a `snapshot` with what is known of its age.

        None if there is no book yet, or if it is to have the number of orders and nobody says that.
        """
        key = _Key(listing.instrument.symbol, depth, group_ticks, orders)
        body = await self._snapshot(listing, key)
        if body is None:
            return None
        lag_ms = listing.freshness.lag_ms
        known = _state_of(body, listing, key) | self._age(listing)
        if lag_ms is not None:
            known["lag_ms"] = lag_ms
        return body.data[:-1] + b"," + orjson.dumps(known)[1:]

    async def _snapshot(self, listing: Listing, key: _Key) -> _Body | None:
        asked = self.begun
        if (found := self._found(key, _stamp(listing, key), asked)) is not None:
            return found
        if listing.levels_read(key.depth, key.group_ticks) <= slices.SLICE_LEVELS:
            return self._small(listing, key)
        async with self._one_at_a_time:
            if (found := self._found(key, _stamp(listing, key), asked)) is not None:
                return found
            return await self._large(listing, key)

    def _small(self, listing: Listing, key: _Key) -> _Body | None:
        view = listing.view(key.depth, key.group_ticks, orders=key.orders)
        if view is None:
            return None
        self.begun += 1
        data = orjson.dumps(view.snapshot_message(key.symbol) | _stands_for(listing))
        return self._keep(key, _Body(_stamp(listing, key), self.begun, data, _state(listing)))

    async def _large(self, listing: Listing, key: _Key) -> _Body | None:
        """Make a body in slices; all of it is of the moment of the call."""
        listed = _in_slices(listing, key)
        if listed is None:
            return None
        self.begun += 1
        number, stamp, state, terms = self.begun, _stamp(listing, key), _state(listing), _stands_for(listing)
        return self._keep(key, _Body(stamp, number, orjson.dumps(await listed | terms), state))

    def _symbols_stamp(self) -> _Stamp:
        """What the list depends on; the second is in it because ages grow."""
        market = self.market
        followed = market.counters.taken_up
        return (market.catalog_number, market.last_status_change, followed, int(market.input_ages.now))

    def _symbol(self, listing: Listing) -> Message:
        symbol: Message = {"symbol": listing.instrument.symbol}
        if not self.market.is_followed(listing.instrument.symbol):
            return symbol | _stands_for(listing) | _state(listing) | {"followed": False}
        return symbol | _stands_for(listing) | _state(listing) | self._age(listing)

    def _age(self, listing: Listing) -> Message:
        """How long ago the last input came, if that is known."""
        age_ms = self.market.input_ages.of(listing.replica)
        return {} if age_ms is None else {"input_age_ms": age_ms}

    def _found(self, key: _Key, stamp: _Stamp, asked: int) -> _Body | None:
        """A body that is still right, or that was begun after `asked` were."""
        body = self._bodies.get(key)
        if body is None or (body.stamp != stamp and body.number <= asked):
            return None
        self._bodies.move_to_end(key)
        return body

    def _keep(self, key: _Key, body: _Body) -> _Body:
        before = self._bodies.pop(key, None)
        self.bytes_kept += len(body.data) - (len(before.data) if before else 0)
        self._bodies[key] = body
        while len(self._bodies) > BODIES_MAX or (
            self.bytes_kept > BODIES_BYTES_MAX and len(self._bodies) > 1
        ):
            _, oldest = self._bodies.popitem(last=False)
            self.bytes_kept -= len(oldest.data)
        return body


def _any(_symbol: str) -> bool:
    return True


def _in_slices(listing: Listing, key: _Key) -> Coroutine[Any, Any, Message] | None:
    """What lists the `snapshot`, as the view is when it is first awaited; None if there is no view."""
    symbol, depth, group_ticks, orders = key
    if listing.is_grouped_by(group_ticks):
        view = listing.view(depth, group_ticks, orders=orders)
        return None if view is None else slices.snapshot_in_slices(symbol, view)
    if listing.replica is None:
        return None
    return slices.grouped_in_slices(symbol, listing.replica, depth, group_ticks, listing.ts)


def _stamp(listing: Listing, key: _Key) -> _Stamp:
    """What a body depends on. The view and the replica are in it as objects, for their numbers may repeat."""
    terms = (listing.instrument, listing.stated)
    channel = listing.channel(key.depth, key.group_ticks, orders=key.orders)
    if channel is None:
        replica = listing.replica
        return (*terms, replica, replica.seq if replica is not None else 0, listing.ts)
    view = channel.view
    return (*terms, view, view.seq if view is not None else 0, view.ts if view is not None else 0)


def _state_of(body: _Body, listing: Listing, key: _Key) -> Message:
    """The state to tell with a body: that of now, but a stale book that has changed since stays stale.

    A large body takes time. If a producer has replaced a wrong book meanwhile, the body has the wrong one.
    """
    if body.stamp != _stamp(listing, key) and body.state["state"] != state_name(stale=False):
        return body.state
    return _state(listing)


def _state(listing: Listing) -> Message:
    """Whether the book is live, and why a producer calls it stale if it does.

    A doubt counts from the entry that says it, also before clients are told.
    """
    doubt = listing.doubt
    if listing.replica is not None and listing.replica.doubt is not None:
        doubt = listing.replica.doubt
    state: Message = {"state": state_name(listing.stale or doubt is not None)}
    return state if doubt is None else state | {"reason": doubt}


def _stands_for(listing: Listing) -> Message:
    """The sizes of the book, and the number of its listing if the stream has named it."""
    sizes: Message = {
        "tick_size": listing.instrument.tick_size,
        "lot_size": listing.instrument.lot_size,
    }
    return sizes if listing.stated is None else {"listing": listing.stated.number} | sizes
