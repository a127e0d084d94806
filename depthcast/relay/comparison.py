"""Compares the end of a copy with its source, and says what the relay has to do.

A copy is good if its newest entry is one of the source, byte for byte: an entry is written only behind the
one that its writer saw, so two streams that share an entry share what is before it. Otherwise the source has
lost entries that the copy has, was emptied, or has trimmed what the copy lacks; then the copy is replaced.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from depthcast.shared.codec import WRITTEN_FIELD, decode_written
from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.position import Position, follows
from depthcast.shared.reader import read_info

Entry = tuple[Position, Sequence[tuple[bytes, bytes]]]
"""An entry of a stream as it is in Redis: its ID, and its fields in order."""

_FIRST_ITEM: Final = slice(1, 2)
_ZERO: Final = b"\x00"
"""Of a delta's packed array, `prev_seq` comes first; 0 is one byte."""


class End(NamedTuple):
    """The end of a copy: the last ID ever generated, and the newest entry; None if the stream has none."""

    last: Position
    newest: Entry | None


class Verdict(Enum):
    """What the relay does next."""

    APPEND = "append"
    """The source goes on from the end of the copy."""
    REPLACE = "replace"
    """It does not: the copy has to begin again with what the source holds."""
    WAIT = "wait"
    """The source holds nothing at all: the copy stays as it is."""


def goes_on(entry: Entry, after: Position) -> bool:
    """Return whether `entry` says that it directly follows the entry at `after`."""
    position, fields = entry
    try:
        _, named = read_info(fields)
    except (CodecError, PositionError):
        return False
    return follows(position, after, named)


def compare(end: End, held: Entry | None, next_one: Entry | None, oldest: Entry | None) -> Verdict:
    """Say whether the source goes on from `end`.

    `held`: the source's entry with the ID of the copy's newest one; `next_one`: its first entry behind that
    ID; `oldest`: its oldest entry; each None if there is none. `oldest` has to be read last.
    """
    if oldest is None and held is None and next_one is None:
        return Verdict.WAIT
    if end.newest is None or end.newest[0] != end.last:
        return Verdict.REPLACE
    if held is not None:
        return Verdict.APPEND if list(held[1]) == list(end.newest[1]) else Verdict.REPLACE
    if next_one is not None and goes_on(next_one, end.last):
        return Verdict.APPEND
    return Verdict.REPLACE


def symbols_to_copy(entries: Iterable[Entry], known: Collection[str]) -> list[str]:
    """Return the symbols whose snapshots have to be in the copy before these entries are.

    Those that are born there, and those of which nothing is `known` yet. A snapshot that is ahead of the
    entries does no harm, because a reader waits for its entry.
    """
    found: dict[str, None] = {}
    for _, fields in entries:
        for name, raw in fields:
            if name.startswith(b"_"):
                continue
            symbol = name.decode("utf-8", "replace")
            if symbol not in known or raw[_FIRST_ITEM] == _ZERO:
                found[symbol] = None
    return list(found)


def parts(entries: Sequence[Entry], bytes_max: int) -> Iterator[list[Entry]]:
    """Split entries into runs of at most `bytes_max` bytes, but of at least one entry."""
    part: list[Entry] = []
    size = 0
    for entry in entries:
        own = size_of(entry)
        if part and size + own > bytes_max:
            yield part
            part, size = [], 0
        part.append(entry)
        size += own
    if part:
        yield part


def size_of(entry: Entry) -> int:
    """Return the bytes of an entry's names and values."""
    return sum(len(name) + len(raw) for name, raw in entry[1])


def written_us(entries: Sequence[Entry]) -> int | None:
    """Return when the newest of these entries was written that says so, by the source's clock (µs)."""
    for _, fields in reversed(entries):
        for name, raw in fields:
            if name == WRITTEN_FIELD:
                return decode_written(raw)
    return None
