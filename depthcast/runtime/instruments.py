"""Changes the instruments of a deployment, and waits until the leaders' listings are as wanted."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from depthcast.inspection.listings import Registered
from depthcast.shared.errors import DepthcastError, InstrumentsError, RedisUnavailable
from depthcast.shared.instruments import Instrument, from_json, to_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.listing import Listing
from depthcast.shared.partition import partition_of
from depthcast.shared.runtime.command import with_remedy
from depthcast.shared.runtime.listing_record import read_record
from depthcast.shared.runtime.redis import execute, read_hash

LOOK_S: Final = 0.05


class NotDone(DepthcastError):
    """A change of an instrument was refused, or is not in effect; the text says why, and what to do."""


class Instruments:
    """The instruments of one deployment. `wait_s`: how long a change waits until a leader has applied it."""

    def __init__(self, client: Redis, keys: DeploymentKeys, partitions: int, wait_s: float) -> None:
        self.client = client
        self.keys = keys
        self.partitions = partitions
        self.wait_s = wait_s

    async def all(self) -> list[Registered]:
        """Every symbol that is registered or was ever listed, in order."""
        table = await read_hash(self.client, self.keys.instruments)
        names = {name.decode("utf-8", "replace"): raw for name, raw in table.items()}
        record: dict[str, Listing] = {}
        for number in range(self.partitions):
            record |= await read_record(self.client, self.keys.partition(number))
        return [_registered(s, names.get(s), record.get(s)) for s in sorted(names.keys() | record.keys())]

    async def one(self, symbol: str) -> Registered:
        """One symbol."""
        raw = await execute(self.client, "HGET", self.keys.instruments, symbol)
        record = await read_record(self.client, self.keys.partition(partition_of(symbol, self.partitions)))
        return _registered(symbol, raw, record.get(symbol))

    async def add(self, instrument: Instrument) -> Listing:
        """Register a symbol and wait for its listing; raises `NotDone`."""
        symbol = str(instrument.symbol)
        before = (await self.one(symbol)).listing
        # Also if no leader looks meanwhile, it is another listing than the one before.
        wanted = instrument._replace(listing=0 if before is None else before.number + 1)
        if not await execute(self.client, "HSETNX", self.keys.instruments, symbol, to_json(wanted)):
            raise NotDone(f"{symbol} is registered already; change it by: depthcast instruments set {symbol}")
        return await self._until(
            symbol,
            lambda now: not now.withdrawn and now.number >= max(wanted.listing, 1),
            f"{symbol} is registered, but not listed within {self.wait_s:g} s; is an ingestor running?",
        )

    async def set(self, wanted: Instrument, *, relist: bool) -> Listing:
        """Change a symbol and wait until its listing is as wanted; raises `NotDone`.

        `relist`: begin a new listing at this place of the input, whatever the book holds.
        """
        symbol = str(wanted.symbol)
        before = (await self.one(symbol)).listing
        if before is None:
            raise NotDone(f"no leader has recorded a listing of {symbol} yet; is an ingestor running?")
        await execute(self.client, "HSET", self.keys.instruments, symbol, to_json(wanted))
        least = before.number
        if relist:
            least = max(before.number, wanted.listing) + 1
            await self._relist(wanted._replace(listing=least))
        return await self._until(
            symbol,
            lambda now: not now.withdrawn and now.number >= least and now.stands_for(wanted),
            f"no leader has consumed the request within {self.wait_s:g} s; it is in the input log"
            if relist
            else f"listing {before.number} of {symbol} goes on: its book holds levels, or nobody leads. The "
            "change is applied once the book is empty; to empty it now, run this again with --relist",
        )

    async def withdraw(self, symbol: str) -> Listing | None:
        """Withdraw a symbol and wait until its listing has ended; raises `NotDone`."""
        before = (await self.one(symbol)).listing
        if not await execute(self.client, "HDEL", self.keys.instruments, symbol):
            raise NotDone(f"{symbol} is not registered; depthcast instruments list shows what is")
        if before is None:
            return None
        return await self._until(
            symbol,
            lambda now: now.withdrawn or now.number > before.number,
            f"{symbol} is withdrawn, but its listing has not ended yet; is an ingestor running?",
        )

    async def _relist(self, wanted: Instrument) -> None:
        symbol = str(wanted.symbol)
        options = json.dumps({"relist": {symbol: json.loads(to_json(wanted))}})
        events = self.keys.partition(partition_of(symbol, self.partitions)).events
        await execute(self.client, "XADD", events, "*", "_", options)

    async def _until(self, symbol: str, done: Callable[[Listing], bool], problem: str) -> Listing:
        deadline = time.monotonic() + self.wait_s
        while True:
            refusal: RedisUnavailable | None = None
            try:
                now = (await self.one(symbol)).listing
            except RedisUnavailable as error:
                now, refusal = None, error  # the change is written: what it led to may be seen yet
            if now is not None and done(now):
                return now
            if time.monotonic() >= deadline:
                if refusal is None:
                    raise NotDone(problem)
                raise NotDone(
                    f"the change of {symbol} is written, but its listing could not be read: "
                    f"{with_remedy(refusal)}; depthcast instruments list shows what "
                    "came of it"
                )
            await asyncio.sleep(LOOK_S)


def _registered(symbol: str, raw: bytes | None, listing: Listing | None) -> Registered:
    try:
        return Registered(symbol, None if raw is None else from_json(symbol, raw), listing)
    except InstrumentsError as error:
        return Registered(symbol, None, listing, error.problem)
