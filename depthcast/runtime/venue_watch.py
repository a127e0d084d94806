"""Watches a deployment for what makes a fed book wrong without the feeder's doing, and says so.

Each second: rejects of its symbols, input that was deleted unread, another incarnation of the data, and
changed instruments.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from redis.asyncio import Redis

from depthcast.runtime.venue_listings import read_listings
from depthcast.shared.codec import decode_info
from depthcast.shared.errors import CodecError, InstrumentsError, RedisUnavailable
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime import redis
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.types import Symbol

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0
HURRY_S: Final = 0.1
"""Time between two looks, usually, and while a listing is waited for."""
REJECTS_READ: Final = 1_000
FOREIGN_MAX: Final = 16
"""Entries of `deltas` that are searched for one of the leader's, if others have added some."""

OnReject = Callable[[Symbol, str], None]
OnLost = Callable[[int | None, str], None]
OnListing = Callable[[Symbol, Listing], None]
OnInstrument = Callable[[Symbol, Instrument | None], None]


class Watch:
    """Polls for one feed. `partitions`: symbols by partition; `lag_ms`: input lag of each as last published.

    - `instruments`: those of the hash as last read. `hurry`: a listing is waited for.
    - `on_reject`: called with a symbol and the reason, for each reject.
    - `on_lost`: called with a partition, or None for all, where the books need to be written again.
    - `on_instrument`: called with a symbol whose instrument has changed, None: it was withdrawn.
    - `on_listing`: called with a symbol and its listing, if that is not the one of `listings` any more.
    """

    def __init__(
        self,
        client: Redis,
        keys: DeploymentKeys,
        partitions: Mapping[int, frozenset[Symbol]],
        instruments: Mapping[Symbol, Instrument],
        *,
        on_reject: OnReject,
        on_lost: OnLost,
        on_instrument: OnInstrument,
        on_listing: OnListing,
        listings: Mapping[Symbol, Listing],
    ) -> None:
        self.client = client
        self.keys = keys
        self.partitions = partitions
        self.instruments: dict[Symbol, Instrument | None] = dict(instruments)
        self.lag_ms: dict[int, int] = {}
        self.rejects = 0
        self.hurry = False
        self._on_reject = on_reject
        self._on_lost = on_lost
        self._on_instrument = on_instrument
        self._on_listing = on_listing
        self._listings = {symbol: listing.number for symbol, listing in listings.items()}
        self._rejects_at: dict[int, Position] = {}
        self._lost: dict[int, int] = {}
        self._incarnation: bytes | None = None
        self._outage = Outage(logger, "the watch of the deployment waits for Redis")

    async def start(self) -> None:
        """Remember how things are now. Raises `RedisUnavailable`."""
        for number in self.partitions:
            keys = self.keys.partition(number)
            self._rejects_at[number] = await redis.last_position(self.client, keys.rejects)
            await self._look_at_deltas(number)
        self._incarnation = await redis.execute(self.client, "GET", self.keys.incarnation)

    async def run(self) -> None:
        """Look each second, for ever; more often while `hurry` is True."""
        while True:
            await self._pause()
            try:
                await self.look()
            except RedisUnavailable as error:
                self._outage.note(error)
            else:
                self._outage.over()

    async def _pause(self) -> None:
        for _ in range(round(POLL_S / HURRY_S)):
            await asyncio.sleep(HURRY_S)
            if self.hurry:
                return

    async def look(self) -> None:
        """Look once. Raises `RedisUnavailable`."""
        incarnation = await redis.execute(self.client, "GET", self.keys.incarnation)
        if incarnation is not None and incarnation != self._incarnation:
            if self._incarnation is not None:
                self._on_lost(None, "Redis has lost the deployment's data")
            self._incarnation = incarnation
        await self._look_at_instruments(incarnation)
        for symbol, listing in (await read_listings(self.client, self.keys, self.partitions)).items():
            # A lower number: nobody remembers the listings that Redis has lost.
            if not listing.withdrawn and listing.number != self._listings.get(symbol, 0):
                self._listings[symbol] = listing.number
                self._on_listing(symbol, listing)
        for number, symbols in self.partitions.items():
            await self._look_at_rejects(number, symbols)
            await self._look_at_deltas(number)

    async def _look_at_instruments(self, incarnation: bytes | None) -> None:
        symbols = list(self.instruments)
        raws = await redis.execute(self.client, "HMGET", self.keys.instruments, *symbols)
        if not any(raws) and incarnation is None:
            return  # Redis has lost everything: ingestors write it again
        for symbol, raw in zip(symbols, raws, strict=True):
            try:
                found = None if raw is None else from_json(symbol, raw)
            except InstrumentsError:
                continue  # as every reader, keep what was there before
            if found != self.instruments[symbol]:
                self.instruments[symbol] = found
                self._on_instrument(symbol, found)

    async def _look_at_rejects(self, number: int, symbols: frozenset[Symbol]) -> None:
        key = self.keys.partition(number).rejects
        after = self._rejects_at.get(number, ZERO)
        for position, pairs in await redis.read_stream(self.client, key, after, count=REJECTS_READ):
            self._rejects_at[number] = position
            fields = dict(pairs)
            symbol = Symbol(fields.get(b"symbol", b"").decode("utf-8", "replace"))
            if symbol in symbols:
                self.rejects += 1
                self._on_reject(symbol, fields.get(b"reason", b"").decode("utf-8", "replace"))

    async def _look_at_deltas(self, number: int) -> None:
        key = self.keys.partition(number).deltas
        for count in (1, FOREIGN_MAX):
            reply = await redis.execute(self.client, "XREVRANGE", key, "+", "-", "COUNT", count)
            info = _newest_info(redis.parse_entries(reply))
            if info is not None:
                break
        else:
            return
        lost, lag_ms = info
        self.lag_ms[number] = lag_ms
        if lost > self._lost.get(number, lost):
            self._on_lost(number, "input was deleted before an ingestor had read it")
        self._lost[number] = lost


def _newest_info(entries: Iterable[redis.RawEntry]) -> tuple[int, int] | None:
    for _, pairs in entries:
        for name, raw in pairs:
            if name == b"_":
                try:
                    info = decode_info(raw)
                except CodecError:
                    break
                return info.lost or 0, info.lag_ms or 0
    return None
