"""The two servers of a relay: clients for reading the source, and all that is written to a copy."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, Final

import msgpack
from redis.asyncio import Redis

from depthcast.relay.comparison import End, Entry
from depthcast.runtime import relay_scripts as scripts
from depthcast.shared.errors import DepthcastError, Fenced, RedisUnavailable
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import Position
from depthcast.shared.runtime.outage import Outage
from depthcast.shared.runtime.redis import map_errors, parse_entries

logger = logging.getLogger(__name__)

SOURCE: Final = "source"
TARGET: Final = "target"


class LeaseHeld(DepthcastError):
    """Another process holds the lease of a partition's copy."""

    def __init__(self, partition: int, holder: str) -> None:
        self.partition = partition
        self.holder = holder
        super().__init__(f"partition {partition}: {holder} holds the lease of the copy")


class Side:
    """One server as one task sees it: says once when it is away, and counts failures in `failures`."""

    def __init__(self, name: str, failures: Counter[str], **about: object) -> None:
        self.name = name
        self.failures = failures
        self.outage = Outage(logger, f"the relay waits for its {name}", side=name, **about)

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[None]:
        """Whatever is asked inside is asked of this server; raises its `RedisUnavailable`."""
        try:
            async with map_errors():
                yield
        except RedisUnavailable as error:
            self.failures[self.name] += 1
            self.outage.note(error)
            raise
        self.outage.over()


class CopyWriter:
    """Writes the streams of one partition's copy, under its lease.

    `name`: of the relay. Every method raises `LeaseHeld` if another process holds the lease, and
    `RedisUnavailable`.
    """

    def __init__(
        self, client: Redis, side: Side, place: tuple[int, PartitionKeys], name: str, lease_ms: int
    ) -> None:
        self.client = client
        self.side = side
        self.partition, self.keys = place
        self.name = name
        self._lease: list[Any] = [name, lease_ms]
        self._take = client.register_script(scripts.TAKE)
        self._append = client.register_script(scripts.APPEND)
        self._store = client.register_script(scripts.STORE)
        self._last = client.register_script(scripts.LAST)
        self._trim = client.register_script(scripts.TRIM)
        self._release = client.register_script(scripts.RELEASE)

    async def take(self) -> End:
        """Take the lease, or keep it; returns the end of the copy."""
        _, last, newest = await self._run(self._take, [self.keys.deltas])
        entries = parse_entries(newest)
        return End(Position.parse(last), entries[0] if entries else None)

    async def append(self, expected: Position, entries: Sequence[Entry], *, replace: bool = False) -> None:
        """Append entries if the last ID is `expected`; `replace`: after deleting all that is there.

        Raises `Fenced` if the last ID is another one.
        """
        arguments: list[Any] = [str(expected), "replace" if replace else ""]
        for position, fields in entries:
            arguments += [str(position), _packed(list(chain.from_iterable(fields)))]
        await self._run(self._append, [self.keys.deltas], arguments)

    async def store(self, snapshots: Mapping[str, Sequence[Entry]], *, replace: bool = False) -> None:
        """Write snapshots by key; `replace`: instead of those that are there."""
        values = [
            _packed([[str(position), list(chain.from_iterable(fields))] for position, fields in entries])
            for entries in snapshots.values()
        ]
        await self._run(self._store, list(snapshots), ["replace" if replace else "", *values])

    async def last(self, keys: Sequence[str]) -> list[Position]:
        """The last ID of each stream."""
        return [Position.parse(raw) for raw in (await self._run(self._last, keys))[1:]]

    async def trim(self, first: Position) -> None:
        """Trim the copy to begin at `first`; at least its newest entry stays."""
        await self._run(self._trim, [self.keys.deltas], [str(first)])

    async def release(self) -> None:
        """Give the lease back."""
        async with self.side.reached():
            await self._release([self.keys.leader], [self.name])

    async def _run(self, script: Any, streams: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
        async with self.side.reached():
            reply = await script([self.keys.leader, *streams], [*self._lease, *arguments])
        if reply[0] == 1:
            return reply
        found = reply[2].decode("utf-8", "replace")
        if reply[1] == b"lease":
            raise LeaseHeld(self.partition, found)
        raise Fenced(self.partition, arguments[0], found)


def _packed(values: list[Any]) -> bytes:
    """Pack for the server's Lua, which reads only the old msgpack format with one type for text and bytes."""
    packed: bytes = msgpack.packb(values, use_bin_type=False)
    return packed
