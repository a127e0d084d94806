"""The bodies of HTTP answers: encoded once for all who ask for the same state, large ones in slices.

A body is at least as new as the market was when it was asked for. It is kept until a newer state is asked
for, or until others need the room.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

import orjson

from depthcast.gateway.market.listing import Listing
from depthcast.gateway.market.market import Market
from depthcast.gateway.market.view import View
from depthcast.gateway.protocol.messages import UNGROUPED, Levels, Message, snapshot_message, state_name
from depthcast.shared.book import BookSide

BODIES_BYTES_MAX: Final = 16 * 2**20
"""Bytes of bodies kept. A body is a megabyte at most, unless `full_depth_max` was raised."""
BODIES_MAX: Final = 1_000
SLICE_LEVELS: Final = 1_000
"""Levels listed, or symbols, before others have their turn of the event loop."""

SYMBOLS: Final = "*"


_Key = tuple[str, int, int]
"""Symbol, depth and grouping of a body."""


class _Body(NamedTuple):
    """`stamp`: what it was made from. `number`: it was begun as that many were begun."""

    stamp: tuple[Hashable, ...]
    number: int
    data: bytes


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
        key, asked = (SYMBOLS, 0, UNGROUPED), self.begun
        if (found := self._found(key, self._symbols_stamp(), asked)) is not None:
            return found
        async with self._one_at_a_time:
            stamp = self._symbols_stamp()
            if (found := self._found(key, stamp, asked)) is not None:
                return found
            self.begun += 1
            number = self.begun
            parts = await self._listed(_any)
            return self._keep(key, _Body(stamp, number, b"[" + b",".join(filter(None, parts)) + b"]"))

    async def some_symbols(self, may_read: Callable[[str], bool]) -> bytes:
        """The same of the symbols that one client may read; it is not kept."""
        async with self._one_at_a_time:
            parts = await self._listed(may_read)
        return b"[" + b",".join(filter(None, parts)) + b"]"

    async def _listed(self, may_read: Callable[[str], bool]) -> list[bytes]:
        """The objects of symbols, in order and in slices."""
        parts, symbols = [], sorted(self.market.listings)
        for first in range(0, len(symbols), SLICE_LEVELS):
            wanted = filter(may_read, symbols[first : first + SLICE_LEVELS])
            some = [self.market.listings.get(symbol) for symbol in wanted]
            parts.append(orjson.dumps([self._symbol(listing) for listing in some if listing])[1:-1])
            await asyncio.sleep(0)
        return parts

    async def book(self, listing: Listing, depth: int, group_ticks: int = UNGROUPED) -> bytes | None:
        """`/v1/books/<symbol>`: a `snapshot` with what is known of its age; None if there is no book yet."""
        snapshot = await self._snapshot(listing, (listing.instrument.symbol, depth, group_ticks))
        if snapshot is None:
            return None
        lag_ms = listing.freshness.lag_ms
        known = _stands_for(listing) | _state(listing) | self._age(listing)
        if lag_ms is not None:
            known["lag_ms"] = lag_ms
        return snapshot[:-1] + b"," + orjson.dumps(known)[1:]

    async def _snapshot(self, listing: Listing, key: _Key) -> bytes | None:
        asked = self.begun
        if (found := self._found(key, _stamp(listing, key), asked)) is not None:
            return found
        if listing.levels_read(*key[1:]) <= SLICE_LEVELS:
            return self._small(listing, key)
        async with self._one_at_a_time:
            if (found := self._found(key, _stamp(listing, key), asked)) is not None:
                return found
            view = listing.view(*key[1:])
            if view is None:
                return None
            self.begun += 1
            number, stamp = self.begun, _stamp(listing, key)
            message = await _in_slices(key[0], view)
            return self._keep(key, _Body(stamp, number, orjson.dumps(message)))

    def _small(self, listing: Listing, key: _Key) -> bytes | None:
        view = listing.view(*key[1:])
        if view is None:
            return None
        self.begun += 1
        data = orjson.dumps(view.snapshot_message(key[0]))
        return self._keep(key, _Body(_stamp(listing, key), self.begun, data))

    def _symbols_stamp(self) -> tuple[Hashable, ...]:
        """What the list depends on; the second is in it because ages grow."""
        market = self.market
        return (market.catalog_number, market.last_status_change, int(market.input_ages.now))

    def _symbol(self, listing: Listing) -> dict[str, Any]:
        symbol = {"symbol": listing.instrument.symbol}
        return symbol | _stands_for(listing) | _state(listing) | self._age(listing)

    def _age(self, listing: Listing) -> dict[str, Any]:
        """How long ago the last input came, if that is known."""
        age_ms = self.market.input_ages.of(listing.replica)
        return {} if age_ms is None else {"input_age_ms": age_ms}

    def _found(self, key: _Key, stamp: tuple[Hashable, ...], asked: int) -> bytes | None:
        """A body that is still right, or that was begun after `asked` were."""
        body = self._bodies.get(key)
        if body is None or (body.stamp != stamp and body.number <= asked):
            return None
        self._bodies.move_to_end(key)
        return body.data

    def _keep(self, key: _Key, body: _Body) -> bytes:
        before = self._bodies.pop(key, None)
        self.bytes_kept += len(body.data) - (len(before.data) if before else 0)
        self._bodies[key] = body
        while len(self._bodies) > BODIES_MAX or (
            self.bytes_kept > BODIES_BYTES_MAX and len(self._bodies) > 1
        ):
            _, oldest = self._bodies.popitem(last=False)
            self.bytes_kept -= len(oldest.data)
        return body.data


def _any(_symbol: str) -> bool:
    return True


def _stamp(listing: Listing, key: _Key) -> tuple[Hashable, ...]:
    """What a body depends on. The view and the replica are in it as objects, for their numbers may repeat."""
    channel = listing.channel(*key[1:])
    if channel is None:
        replica = listing.replica
        return (replica, replica.seq if replica is not None else 0, listing.ts)
    view = channel.view
    return (view, view.seq if view is not None else 0, view.ts if view is not None else 0)


async def _in_slices(symbol: str, view: View) -> Message:
    """The `snapshot` of a large view as it is now; it may change while its levels are listed."""
    sides = [(_copy(side.side, view.depth), side.side.sign) for side in (view.bids, view.asks)]
    seq, ts, digest, event_ts = view.seq, view.ts, view.digest, view.event_ts
    listed: list[Levels] = []
    for (ranks, quantities), sign in sides:
        rows: list[tuple[int, int]] = []
        for end in range(len(ranks), 0, -SLICE_LEVELS):
            some = reversed(ranks[max(0, end - SLICE_LEVELS) : end])
            rows += [(price := rank * -sign, quantities[price]) for rank in some]
            await asyncio.sleep(0)
        listed.append(rows)
    return snapshot_message(
        symbol, view.depth, seq, ts, (listed[0], listed[1]), digest, event_ts, group_ticks=view.group_ticks
    )


def _copy(side: BookSide, depth: int) -> tuple[list[int], dict[int, int]]:
    """The ranks of the best levels, worst first, and the quantities by price."""
    ranks = list(side.ranks)
    return ranks[-depth:] if depth else ranks, dict(side.levels)


def _state(listing: Listing) -> dict[str, Any]:
    """Whether the book is live, and why a producer calls it stale if it does."""
    state: dict[str, Any] = {"state": state_name(listing.stale)}
    return state if listing.doubt is None else state | {"reason": listing.doubt}


def _stands_for(listing: Listing) -> dict[str, Any]:
    """The sizes of the book, and the number of its listing if the stream has named it."""
    sizes: dict[str, Any] = {
        "tick_size": listing.instrument.tick_size,
        "lot_size": listing.instrument.lot_size,
    }
    return sizes if listing.stated is None else {"listing": listing.stated.number} | sizes
