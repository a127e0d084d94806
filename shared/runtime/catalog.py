"""Reads a deployment's number of partitions and its instruments from Redis.

`Catalog` asks each second whether the instruments changed, and reads them only if they did.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from redis.asyncio import Redis

from depthcast.shared.copies import clock_offset_us, copy_of
from depthcast.shared.errors import (
    CopyError,
    DeploymentMismatch,
    InstrumentsError,
    RedisUnavailable,
    WrongKey,
)
from depthcast.shared.freshness import ServerClock
from depthcast.shared.instrument_table import InstrumentTable
from depthcast.shared.instruments import Instrument, from_json
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.protocol import PROTOCOL
from depthcast.shared.runtime.key_watch import KeyWatch
from depthcast.shared.runtime.outage import needs_somebody, remedy_in
from depthcast.shared.runtime.redis import execute, read_hash, run_pipeline
from depthcast.shared.slots import parse_tags
from depthcast.shared.types import is_symbol

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0

HOLD_S: Final = 5.0
"""Readers keep instruments that Redis lost for this long, so that ingestors can register them again."""

INTERVAL_S: Final = 60.0
"""Instruments are read whole after this time, whether anything says that they changed or not."""

PARSED_PER_SLICE: Final = 2_000
"""So many values are parsed at a time; then other tasks run."""


class Deployed(NamedTuple):
    """A deployment that exists: its number of partitions, and all its keys."""

    partitions: int
    keys: DeploymentKeys


async def read_deployed(
    client: Redis, keys: DeploymentKeys, wanted: int | None, *, writes: bool = False
) -> Deployed | None:
    """Return what `meta` says of the deployment, None if no ingestor has created it yet.

    `writes`: for a process that adds input or books. Raises `DeploymentMismatch` if `wanted` is set and
    differs, or if the deployment uses another version of the contract; `CopyError` if the deployment is a
    copy and the process writes; and `WrongKey` if what is there is not written by an ingestor.
    """
    meta = await read_hash(client, keys.meta)
    if writes and (source := copy_of(meta)) is not None:
        raise CopyError(keys.prefix, f"is a copy that a relay keeps of {source}: write to the source instead")
    if b"partitions" not in meta:
        return None
    protocol, partitions = (_number(keys, meta, name) for name in (b"protocol", b"partitions"))
    if protocol != PROTOCOL:
        raise DeploymentMismatch("protocol", PROTOCOL, protocol)
    if wanted is not None and wanted != partitions:
        raise DeploymentMismatch("DEPTHCAST_PARTITIONS", wanted, partitions)
    return Deployed(partitions, keys.deployed(partitions, _tags(keys, meta, partitions)))


def _number(keys: DeploymentKeys, meta: Mapping[bytes, bytes], name: bytes) -> int:
    raw = meta.get(name, b"%d" % PROTOCOL)
    if not re.fullmatch(rb"[1-9][0-9]{0,5}", raw):
        raise WrongKey(keys.meta, f"{keys.meta} holds {raw[:40]!r} as {name.decode()}")
    return int(raw)


def _tags(keys: DeploymentKeys, meta: Mapping[bytes, bytes], partitions: int) -> tuple[str, ...]:
    """The recorded hash tags of the partitions; none outside a cluster, where no ingestor records any."""
    raw = meta.get(b"tags")
    if raw is None or not keys.clustered:
        return ()
    try:
        return parse_tags(raw, partitions)
    except ValueError as error:
        raise WrongKey(keys.meta, f"{keys.meta} holds {raw[:40]!r} as tags: {error}") from error


async def wait_for_deployed(
    client: Redis, keys: DeploymentKeys, wanted: int | None, *, writes: bool = False
) -> Deployed:
    """Wait until an ingestor has created the deployment, and log it.

    Raises the errors of `read_deployed`, whose `writes` it is, but those about Redis.
    """
    said = ""
    while True:
        try:
            deployed = await read_deployed(client, keys, wanted, writes=writes)
            if deployed is not None:
                return deployed
            waiting, level = "waiting for an ingestor to create the deployment", logging.WARNING
        except RedisUnavailable as error:
            waiting, level = f"waiting for Redis: {error.problem}", _level(error)
        if waiting != said:
            logger.log(level, waiting, extra={"key": keys.meta, **remedy_in(waiting)})
            said = waiting
        await asyncio.sleep(POLL_S / 4)


def _level(error: RedisUnavailable) -> int:
    return logging.ERROR if needs_somebody(error) else logging.WARNING


async def read_instruments(
    client: Redis, keys: DeploymentKeys, before: Mapping[str, Instrument] = MappingProxyType({})
) -> Mapping[str, Instrument]:
    """Return all registered instruments, sorted by symbol, because a server lists a hash in any order.

    A malformed value is logged; all others are still returned. Its symbol keeps the definition from `before`,
    if any: a typing error must not withdraw a book in use.
    """
    return await _parsed(await read_hash(client, keys.instruments), before)


async def sample_clock(client: Redis, clock: ServerClock, keys: DeploymentKeys) -> None:
    """Give `clock` a sample of the clock of a deployment's entries, by the event loop's clock.

    That is the server's clock, or in a copy the clock of its source. Raises `RedisUnavailable`.
    """
    offset_us = clock_offset_us(await read_hash(client, keys.meta))
    loop = asyncio.get_running_loop()
    sent = loop.time()
    seconds, us = await execute(client, "TIME")
    clock.observe(sent, loop.time(), seconds * 1_000_000 + us - offset_us)


async def _parsed(table: Mapping[bytes, bytes], before: Mapping[str, Instrument]) -> InstrumentTable:
    instruments = InstrumentTable()
    known: dict[bytes, str] = {}  # most symbols have the same sizes as many others
    for place, (name, raw) in enumerate(sorted(table.items())):
        if place % PARSED_PER_SLICE == PARSED_PER_SLICE - 1:
            await asyncio.sleep(0)
        symbol = name.decode("utf-8", "replace")
        same = known.get(raw)
        if same is not None and is_symbol(symbol):
            instruments.put_like(symbol, same)
            continue
        try:
            instruments.put(symbol, from_json(symbol, raw))
            known[raw] = symbol
        except InstrumentsError as error:
            logger.warning("malformed instrument", extra={"symbol": symbol, "problem": error.problem})
            if symbol in before:
                instruments.put(symbol, before[symbol])
    return instruments


_Polled = tuple[bytes | None, dict[bytes, bytes], dict[bytes, bytes] | None]
"""Incarnation, `meta`, and instruments: None if they are as last read."""


class Catalog:
    """The instruments as last polled; those that Redis lost do not count as withdrawn.

    `instruments`: all known ones by symbol; the same object as long as nothing changed. `incarnation`: random
    name of the data in Redis, None before an ingestor has set it. If that name changes or `meta` is gone,
    Redis has lost everything; likewise if the instruments are gone after their key held something else. The
    known instruments then stay until the deployment exists again, and for at least `HOLD_S`.

    `clock`: takes a sample of the clock of the entries with each poll, by the event loop's clock. That is the
    server's clock, or in a copy the clock of its source. `whole_reads`: how often all instruments were read:
    when they changed, and every `interval_s` seconds.
    """

    def __init__(
        self,
        client: Redis,
        keys: DeploymentKeys,
        clock: ServerClock | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.client = client
        self.keys = keys
        self.clock = ServerClock() if clock is None else clock
        self.interval_s = interval_s
        self.instruments: Mapping[str, Instrument] = InstrumentTable()
        self.incarnation: bytes | None = None
        self.whole_reads = 0
        self._watch = KeyWatch(client, keys.instruments)
        self._whole_at = 0.0
        self._current = False  # as of the last poll, if it succeeded
        self._polled = False
        self._misused = False
        self._lost_at: float | None = None

    async def poll(self, now: float) -> bool:
        """Poll at `now` (s, monotonic); returns True if Redis lost everything. Raises `RedisUnavailable`."""
        sure, self._current = self._current and self._polled and not self._misused, False
        sure = sure and self._lost_at is None and now - self._whole_at < self.interval_s
        try:
            incarnation, meta, table = await self._read(now, sure=sure)
        except WrongKey:
            self._misused = True
            raise
        found = self.instruments
        if table is not None:
            self._misused = self._misused and not table
            found = await _parsed(table, self.instruments)
        self._current = True
        if not self._lost(incarnation, deployed=bool(meta)):
            self.incarnation, self._lost_at = incarnation, None
            if found != self.instruments:
                self.instruments = found
            self._polled = True
            return False
        if self._lost_at is None:
            logger.warning("Redis has lost the deployment", extra={"key": self.keys.meta})
            self._lost_at = now
        if meta and now - self._lost_at >= HOLD_S:
            self._misused = False
            self.incarnation, self.instruments, self._lost_at = incarnation, found, None
        else:
            self.instruments = InstrumentTable(dict(sorted({**self.instruments, **found}.items())))
        return True

    async def aclose(self) -> None:
        """Return the connection that keeps watch."""
        await self._watch.aclose()

    def accept(self) -> None:
        """Trust the next poll, because everything lost has been written again."""
        self._polled = self._misused = False
        self._lost_at = None

    async def _read(self, now: float, *, sure: bool) -> _Polled:
        """The incarnation, `meta`, and the instruments: None if they are as last read."""
        loop = asyncio.get_running_loop()
        sent = loop.time()
        key, state = self.keys.instruments, (("GET", self.keys.incarnation), ("HGETALL", self.keys.meta))
        replies = await self._watch.unchanged(*state, ("TIME",), sure=sure)
        table = None
        if replies is None:
            sent = loop.time()
            async with self.client.pipeline(transaction=True) as pipeline:
                for command in (*state, ("TIME",), ("HGETALL", key)):
                    pipeline.execute_command(*command)
                *replies, table = await run_pipeline(pipeline)
            self._whole_at = now
            self.whole_reads += 1
        incarnation, meta, (seconds, us) = replies
        self.clock.observe(sent, loop.time(), seconds * 1_000_000 + us - clock_offset_us(meta))
        return incarnation, meta, table

    def _lost(self, incarnation: bytes | None, *, deployed: bool) -> bool:
        if not self._polled:
            return False
        named = self.incarnation is not None and incarnation != self.incarnation
        return named or not deployed or self._misused
