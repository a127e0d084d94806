"""Which entries are traced, and the IDs of their traces: everybody computes the same, without a byte more."""

from hashlib import blake2b
from typing import NamedTuple


class TraceIdentity(NamedTuple):
    """The trace of one input entry: its ID, and that of its first span, the parent of all others."""

    trace_id: int
    span_id: int


def identity_of(prefix: str, partition: int, src: str, share: float) -> TraceIdentity | None:
    """Return the trace of the input entry with the ID `src`, None if it is not traced.

    `share`: of all entries, 0 … 1. Who traces less than another traces a part of the same entries.
    """
    digest = blake2b(f"{prefix}:{partition}:{src}".encode(), digest_size=32).digest()
    if int.from_bytes(digest[:8], "big") >= share * 2**64:
        return None
    # 0 is no ID.
    return TraceIdentity(int.from_bytes(digest[8:24], "big") or 1, int.from_bytes(digest[24:], "big") or 1)
