"""Copies what belongs to a deployment as a whole: `meta`, instruments, incarnation, revoked tokens.

The clock of the copy's server differs from that of its source. The relay measures by how much and writes it
into `meta`, so that readers of the copy judge the age of entries by the source's clock.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from depthcast.runtime import relay_scripts as scripts
from depthcast.runtime.relay_sides import SOURCE, TARGET, Side
from depthcast.shared.copies import COPY_OF, OFFSET, clock_offset_us
from depthcast.shared.errors import CopyError
from depthcast.shared.freshness import ServerClock
from depthcast.shared.keys import DeploymentKeys
from depthcast.shared.relay_entry import FORGET_MS, RelayEntry, decode_entry, encode_entry
from depthcast.shared.runtime.catalog import read_deployed
from depthcast.shared.runtime.key_watch import KeyWatch
from depthcast.shared.runtime.redis import execute, map_errors, read_hash, run_pipeline
from depthcast.shared.slots import spread_tags, tags_text
from depthcast.shared.version import VERSION

logger = logging.getLogger(__name__)

FIELDS_AT_ONCE: Final = 500

TAGS: Final = b"tags"
"""Field of `meta`: the hash tags of partitions in a cluster."""


class _Seen(NamedTuple):
    """What the source says of the deployment as a whole, but its instruments."""

    meta: Mapping[bytes, bytes]
    incarnation: bytes | None
    revoked: Sequence[bytes]


class CatalogCopier:
    """Copies the catalog from `source` to `target`.

    - `name`: what the copy says that it is a copy of.
    - `symbols`: the instruments' symbols at the last look.
    - `written`: the copy has been brought up to date at least once.
    - `clock`: the clock of the source's entries, `offset_us`: what the clock of the target is ahead of it.
    - `source_keys`, `target_keys`: complete once `find` has found the source.
    - `whole_reads`: by side, how often all instruments were read: when they changed, and every
      `interval_s` seconds.
    """

    def __init__(
        self,
        name: str,
        clients: tuple[Redis, Redis],
        keys: tuple[DeploymentKeys, DeploymentKeys],
        interval_s: float,
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self.source, self.target = clients
        self.source_keys, self.target_keys = keys
        self.failures: Counter[str] = Counter()
        self.symbols: frozenset[str] = frozenset()
        self.written = False
        self.clock = ServerClock()
        self.offset_us: int | None = None
        self.whole_reads: Counter[str] = Counter()
        self._table: dict[bytes, bytes] = {}  # the source's instruments, as last read
        self._listed: dict[bytes, bytes] | None = None  # the table that `symbols` are of
        self._read_at = float("-inf")
        self._current = Counter[str]()  # 1 for a side that is as last read
        self._watches = {
            SOURCE: KeyWatch(self.source, self.source_keys.instruments),
            TARGET: KeyWatch(self.target, self.target_keys.instruments),
        }
        self._target_clock = ServerClock()
        self._source_side = Side(SOURCE, self.failures, key=self.source_keys.meta)
        self._target_side = Side(TARGET, self.failures, key=self.target_keys.meta)
        self._claim = self.target.register_script(scripts.CLAIM)

    async def find(self) -> int | None:
        """Look at both sides; returns the number of partitions, None if the source has none yet.

        Raises `CopyError` if the target is no copy of this source, and `RedisUnavailable`.
        """
        async with self._source_side.reached():
            deployed = await read_deployed(self.source, self.source_keys, None)
            meta = await read_hash(self.source, self.source_keys.meta)
        if deployed is None:
            return None
        partitions = deployed.partitions
        tags = spread_tags(self.target_keys.prefix, partitions) if self.target_keys.clustered else ()
        self.source_keys, self.target_keys = deployed.keys, self.target_keys.deployed(partitions, tags)
        was_there = await self._claimed(meta, look=True)
        async with self._target_side.reached():
            logs = [self.target_keys.partition(number).events for number in range(partitions)]
            written = [key for key in logs if await execute(self.target, "EXISTS", key)]
        if written:
            problem = (
                f"has input that nobody reads ({written[0]}): producers write to it; give them the source"
            )
            if not was_there:
                raise CopyError(self.target_keys.prefix, problem)
            logger.error("the copy %s", problem, extra={"prefix": self.target_keys.prefix})
        return partitions

    async def poll(self, *, write: bool) -> None:
        """Look at the source, and bring the copy up to date if we may `write`.

        Raises `CopyError` if the target is not ours any more, and `RedisUnavailable`.
        """
        async with self._source_side.reached():
            meta, incarnation, revoked = await self._read_source()
        async with self._target_side.reached():
            await self._sample(self.target, self._target_clock)
        if b"partitions" not in meta:
            return  # the source lost it: the copy keeps what readers of the source keep, too
        if self._listed is not self._table:
            self._listed = self._table
            self.symbols = frozenset(symbol.decode("utf-8", "replace") for symbol in self._table)
        self.offset_us = self._offset_us()
        if write:
            await self._write(meta, incarnation, revoked)
            self.written = True

    async def _read_source(self) -> _Seen:
        """What the source says, all of one moment; its instruments only if they may have changed."""
        loop, keys = asyncio.get_running_loop(), self.source_keys
        state = (
            ("HGETALL", keys.meta),
            ("GET", keys.incarnation),
            ("ZRANGEBYSCORE", keys.revoked, "-inf", "+inf", "WITHSCORES"),
            ("TIME",),
        )
        sent = loop.time()
        sure = self._current.pop(SOURCE, 0) and sent - self._read_at < self.interval_s
        replies = await self._watches[SOURCE].unchanged(*state, sure=bool(sure))
        if replies is None:
            sent = loop.time()
            async with self.source.pipeline(transaction=True) as pipeline:
                for command in (*state, ("HGETALL", keys.instruments)):
                    pipeline.execute_command(*command)
                *replies, self._table = await run_pipeline(pipeline)
            self.whole_reads[SOURCE] += 1
            self._read_at = sent
            self._current[TARGET] = 0
        self._current[SOURCE] = 1
        meta, incarnation, revoked, (seconds, us) = replies
        self.clock.observe(sent, loop.time(), seconds * 1_000_000 + us - clock_offset_us(meta))
        return _Seen(meta, incarnation, revoked)

    async def say(self, name: str, lag_ms: Mapping[int, int | None], problem: str) -> None:
        """Say in the copy how far this relay is, and forget others that are gone."""
        now_us = self._target_clock.now_us(asyncio.get_running_loop().time())
        if now_us is None:
            return
        key = self.target_keys.relays
        entry = RelayEntry(round(now_us), VERSION, self.name, lag_ms, problem)
        async with self._target_side.reached():
            found = await read_hash(self.target, key)
            await execute(self.target, "HSET", key, name, encode_entry(entry))
            gone = [other for other, raw in found.items() if _is_gone(raw, now_us) and other != name.encode()]
            if gone:
                await execute(self.target, "HDEL", key, *gone)

    async def leave(self, name: str) -> None:
        """Remove what `say` said."""
        async with self._target_side.reached():
            await execute(self.target, "HDEL", self.target_keys.relays, name)

    async def close(self) -> None:
        """Return the connections that keep watch."""
        for watch in self._watches.values():
            await watch.aclose()

    async def _sample(self, client: Redis, clock: ServerClock) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        seconds, us = await execute(client, "TIME")
        clock.observe(sent, loop.time(), seconds * 1_000_000 + us)

    def _offset_us(self) -> int | None:
        """What the target's clock is ahead of the entries' at least: no age may be taken for too small."""
        now = asyncio.get_running_loop().time()
        target_us, source_us = self._target_clock.earliest_us(now), self.clock.now_us(now)
        return None if target_us is None or source_us is None else round(target_us - source_us)

    async def _write(
        self,
        meta: Mapping[bytes, bytes],
        incarnation: bytes | None,
        revoked: Sequence[bytes],
    ) -> None:
        # Readers wait for `meta`, so instruments come before it. The incarnation is last: whoever sees a
        # new one keeps what it knows for a while.
        await self._claimed(meta, look=True)
        async with self._target_side.reached():
            await self._write_instruments()
        await self._claimed(meta, look=False)
        async with self._target_side.reached():
            if incarnation is not None and incarnation != await self._incarnation():
                await execute(self.target, "SET", self.target_keys.incarnation, incarnation)
            if revoked:
                scored = [word for name, score in _pairs(revoked) for word in (score, name)]
                await execute(self.target, "ZADD", self.target_keys.revoked, "GT", *scored)

    async def _write_instruments(self) -> None:
        """Make the instruments of the copy those of the source, if either may have changed since then."""
        sure = self._current.pop(TARGET, 0)
        if await self._watches[TARGET].unchanged(("TIME",), sure=bool(sure)) is None:
            table, held = self._table, await read_hash(self.target, self.target_keys.instruments)
            self.whole_reads[TARGET] += 1
            changed = {symbol: raw for symbol, raw in table.items() if held.get(symbol) != raw}
            gone = [symbol for symbol in held if symbol not in table]
            pairs = [word for pair in changed.items() for word in pair]
            for start in range(0, len(pairs), 2 * FIELDS_AT_ONCE):
                some = pairs[start : start + 2 * FIELDS_AT_ONCE]
                await execute(self.target, "HSET", self.target_keys.instruments, *some)
            for start in range(0, len(gone), FIELDS_AT_ONCE):
                some = gone[start : start + FIELDS_AT_ONCE]
                await execute(self.target, "HDEL", self.target_keys.instruments, *some)
        self._current[TARGET] = 1

    async def _incarnation(self) -> bytes | None:
        found: bytes | None = await execute(self.target, "GET", self.target_keys.incarnation)
        return found

    async def _claimed(self, meta: Mapping[bytes, bytes], *, look: bool) -> bool:
        """Make `meta` that of a copy of this source, or only look if it can be; returns whether it was."""
        async with self._source_side.reached():
            ours = await execute(self.source, "GET", self.source_keys.incarnation)
        fields = [(name, raw) for name, raw in meta.items() if name not in (COPY_OF, OFFSET, TAGS)]
        if self.target_keys.tags:  # hash tags spread partitions over a cluster: they are its own
            fields.append((TAGS, tags_text(self.target_keys.tags).encode()))
        async with self._target_side.reached():
            same = ours is not None and ours == await self._incarnation()
            offset: Any = "look" if look or self.offset_us is None else self.offset_us
            arguments = [
                self.name,
                "same" if same else "",
                offset,
                *(word for pair in fields for word in pair),
            ]
            async with map_errors():
                reply = await self._claim([self.target_keys.meta], arguments)
        if reply[0] == 1:
            return bool(reply[1])
        raise CopyError(
            self.target_keys.prefix, self._refusal(*(word.decode("utf-8", "replace") for word in reply[1:]))
        )

    def _refusal(self, what: str, found: str) -> str:
        if what == "own":
            return (
                "has ingestors of its own, or had them: it is no copy, and nothing is written to it; "
                "use another --prefix for the copy"
            )
        if what == "copy":
            return (
                f"is a copy of {found}, not of {self.name}: use another --prefix, or the same "
                "--source-name if both are the same deployment"
            )
        return (
            f"is a copy with {what} {found}, and its source now has another one: end its gateways, delete "
            "its keys, and start the relay again"
        )


def _is_gone(raw: bytes, now_us: float) -> bool:
    entry = decode_entry(raw)
    return entry is None or now_us - entry.at > FORGET_MS * 1000


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
