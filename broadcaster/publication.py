"""What one publish writes, as plain data: entries of `deltas`, rejects, first snapshots and checkpoints.

One script writes everything in a `Publication` or nothing, so consuming input and publishing its result is
one atomic step. `depthcast.broadcaster.runtime.publisher` talks to Redis.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgpack

from depthcast.shared.codec import INFO_FIELD, NO_MARKS, Marks, encode_deltas, encode_info
from depthcast.shared.position import Position
from depthcast.shared.types import Delta, EntryInfo

SYMBOLS_PER_ENTRY: Final = 3_000
"""More symbols in one interval take several entries: Lua's `unpack` fails near 8,000 arguments."""

Fields = list[tuple[bytes, bytes]]
"""Fields of a stream entry, in order."""


class Record(StrEnum):
    """How a record in a hash changes.

    `WHOLE`, `MORE`: the record of the partition's symbols is replaced, or symbols are added to it; the value
    of each is the position of the publish. `VALUES`: fields get values of their own.
    """

    WHOLE = "="
    MORE = "+"
    VALUES = "#"


class Attachment(NamedTuple):
    """A snapshot, a checkpoint or a record to write together with entries.

    `at`: the stream ID of a snapshot, None for a checkpoint, whose key is a plain string. The position is the
    first number in a checkpoint's bytes, so that a script can keep the newer of two.
    """

    key: str
    value: bytes
    at: Position | Record | None

    @classmethod
    def record(cls, key: str, items: Iterable[str], how: Record) -> "Attachment":
        """Record symbols, or fields and values in turn, as the msgpack array that the server's Lua reads."""
        return cls(key, msgpack.packb(list(items), use_bin_type=False), how)


class Publication(NamedTuple):
    """One compare-and-append: written if the stream's last ID is `previous` and `events` reaches `src`."""

    previous: Position
    src: str
    entries: list[tuple[Position, Fields]]
    rejects: list[Fields]
    attachments: list[Attachment]

    @property
    def position(self) -> Position:
        """Position of the last entry, which is the end of the stream after this publish."""
        return self.entries[-1][0]


class Broadcast(NamedTuple):
    """The result of one interval, before it has a position in the stream.

    `marks`: what deltas say beside levels, by symbol.
    """

    info: EntryInfo
    deltas: Sequence[tuple[str, Delta]]
    marks: Mapping[str, Marks] = NO_MARKS


def place(
    previous: Position, first: Position, broadcasts: Sequence[Broadcast]
) -> list[tuple[Position, Fields]]:
    """Give the entries of `broadcasts` positions, starting at `first`; a broadcast has one or more entries.

    An entry with n = 0 names `previous`, the position that it continues, in `prev`.
    Only the first entry of a broadcast lists `inputs`, which may be long.
    """
    entries = []
    position = first
    for broadcast in broadcasts:
        for start in range(0, max(len(broadcast.deltas), 1), SYMBOLS_PER_ENTRY):
            info = broadcast.info
            if position.n == 0:
                info = info._replace(prev=str(previous))
            if start and info.inputs:
                info = info._replace(inputs=None)
            deltas = broadcast.deltas[start : start + SYMBOLS_PER_ENTRY]
            fields = encode_deltas(deltas, broadcast.marks)
            entries.append((position, [(INFO_FIELD, encode_info(info)), *fields]))
            position = position.next()
    return entries


def batches(attachments: Iterable[Attachment], bytes_max: int, count_max: int) -> Iterator[list[Attachment]]:
    """Group attachments into batches of about `bytes_max`, at least one and at most `count_max` in each."""
    batch: list[Attachment] = []
    size = 0
    for item in attachments:
        if batch and (len(batch) == count_max or size + len(item.value) > bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.value)
    if batch:
        yield batch
