"""What is read to take up further symbols of a partition beside its reader: in one round trip, if possible.

What decides whether the books are right is in `depthcast.shared.reader`.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from depthcast.shared.errors import RedisUnavailable
from depthcast.shared.keys import PartitionKeys
from depthcast.shared.position import ZERO, Position
from depthcast.shared.reader import (
    LoadedSnapshots,
    OldestEntry,
    PartitionReader,
    Written,
    is_foreign,
    read_info,
    within_history,
    written_in,
)
from depthcast.shared.runtime.error_replies import refusal
from depthcast.shared.runtime.redis import (
    SNAPSHOTS_AT_ONCE,
    RawEntry,
    map_errors,
    newest_snapshots,
    oldest_entry,
    parse_entries,
    parse_info,
    parse_snapshots,
)

RANGE_COUNT_FIRST: Final = 20
RANGE_COUNT_MOST: Final = 200
RANGE_FIELDS: Final = 10_000
"""While symbols are taken up, about this many fields are read at once; others have their turn in between."""

SPARE: Final = 1.5
"""The next symbols may need a range that is longer than the last one by this factor."""


class StreamEnds(NamedTuple):
    """Both ends of a `deltas` stream: its last ID, what the entry there says of freshness, its oldest entry.

    `oldest` is None if there is no entry, or one of others; `foreign`: the latter.
    """

    tail: Position
    written: Written | None
    oldest: OldestEntry | None
    foreign: bool


class Beginning(NamedTuple):
    """What symbols are taken up with. `newest`: some of the last entries, in order."""

    ends: StreamEnds
    snapshots: LoadedSnapshots
    newest: list[RawEntry]


class TakenUp(NamedTuple):
    """Symbols that were taken up beside the reader, which is where `beside` is.

    `written`: how fresh their books are, if nobody read the partition before.
    """

    beside: PartitionReader
    symbols: Collection[str]
    written: Written | None = None


class RangeLength:
    """How many entries to read at once: so few that others have their turn, so many that one time will do."""

    def __init__(self) -> None:
        self.count = RANGE_COUNT_FIRST
        self._newest = RANGE_COUNT_FIRST

    @property
    def newest(self) -> int:
        """How many of the newest entries to read at first; 0 if they would not do."""
        return self._newest if self._newest <= self.count else 0

    def read(self, entries: Sequence[RawEntry]) -> None:
        """Note entries that were read."""
        fields = sum(len(fields) for _, fields in entries)
        self.count = max(1, min(RANGE_COUNT_MOST, RANGE_FIELDS * len(entries) // max(fields, 1)))

    def taken_up(self, needed: int) -> None:
        """Note how many entries were needed."""
        self._newest = min(RANGE_COUNT_MOST + 1, max(RANGE_COUNT_FIRST, round(needed * SPARE)))


async def read_beginning(
    client: Redis, keys: PartitionKeys, symbols: Collection[str], newest: int
) -> Beginning:
    """Read both ends of the stream, then the newest snapshots, then so many of the newest entries.

    One round trip for a few hundred symbols. Raises `RedisUnavailable`.
    """
    deltas = keys.deltas
    snapshots = [keys.snapshots(symbol) for symbol in symbols]
    first = snapshots[:SNAPSHOTS_AT_ONCE]
    async with map_errors(), client.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("XINFO", "STREAM", deltas)
        for key in first:
            pipeline.execute_command("XREVRANGE", key, "+", "-", "COUNT", 1)
        if newest:
            pipeline.execute_command("XREVRANGE", deltas, "+", "-", "COUNT", newest)
        replies = await pipeline.execute(raise_on_error=False)
    ends = parse_ends(deltas, replies[0])
    if ends.foreign:
        ends = ends._replace(oldest=await oldest_entry(client, deltas))
        first = []
    found = await parse_snapshots(client, first, replies[1:], unreadable=set())
    found += await newest_snapshots(client, snapshots[len(first) :], unreadable=set())
    of_symbols = within_history(dict(zip(symbols, found, strict=True)), ends.oldest)
    return Beginning(ends, of_symbols, _entries(deltas, replies[-1]) if newest else [])


def parse_ends(key: str, reply: object) -> StreamEnds:
    """The ends of the stream from the reply of `XINFO STREAM`; raises `RedisUnavailable`."""
    info = parse_info(key, reply)
    if info is None:
        return StreamEnds(ZERO, None, None, foreign=False)
    try:
        tail = Position.parse(info[b"last-generated-id"])
        first, last = (
            parse_entries([info[end]] if info[end] else []) for end in (b"first-entry", b"last-entry")
        )
    except KeyError as error:
        raise RedisUnavailable(f"XINFO STREAM said no {error}; is it Redis that answers?") from error
    written = written_in(*last[0]) if last and last[0][0] == tail else None
    foreign = bool(first) and is_foreign(first[0][1])
    oldest = OldestEntry(first[0][0], read_info(first[0][1])[1]) if first and not foreign else None
    return StreamEnds(tail, written, oldest, foreign)


def _entries(key: str, reply: object) -> list[RawEntry]:
    """Entries in order from the reply of `XREVRANGE`."""
    if isinstance(reply, RedisError):
        raise refusal(reply, key)
    return parse_entries(reply)[::-1]
