"""Reads records of the `rejects` stream (`docs/protocol.md`, section 2.1.3)."""

from collections.abc import Sequence
from typing import NamedTuple

from depthcast.shared.errors import CodecError, PositionError
from depthcast.shared.position import Position


class RejectRecord(NamedTuple):
    """One record of `rejects`: what was refused, and why.

    `at`: ID of the record; its first number is the time by the server's clock (ms). `source`: ID of the input
    entry. `place`: index in the array, -1 where no single event is meant. `events`: number of events refused.
    `event`: as received, in JSON or msgpack, possibly cut. `detail`: what is wrong in words, empty if the
    ingestor did not say.
    """

    at: Position
    symbol: str
    reason: str
    source: Position
    place: int
    events: int
    event: bytes
    detail: str


def read_reject(at: Position, fields: Sequence[tuple[bytes, bytes]]) -> RejectRecord:
    """Parse one entry of `rejects`; raises `CodecError` if no leader wrote it."""
    found = dict(fields)
    try:
        return RejectRecord(
            at,
            found[b"symbol"].decode(errors="replace"),
            found[b"reason"].decode("ascii"),
            Position.parse(found[b"source"]),
            int(found[b"index"]),
            int(found[b"count"]),
            found[b"event"],
            found.get(b"detail", b"").decode(errors="replace"),
        )
    except (KeyError, ValueError, PositionError) as error:
        raise CodecError("reject", f"no leader wrote the entry {at} ({error})") from error
