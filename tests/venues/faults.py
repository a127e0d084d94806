"""Faults of a fake venue, and the seeded plan that says when each happens. Pure."""

from collections.abc import Collection, Iterator
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple


class Fault(StrEnum):
    """What goes wrong, once, for all connections or for the next message or answer that it concerns."""

    CUT = "cut"
    """The connection ends without a close frame."""
    CUT_IN_FRAME = "cut-in-frame"
    """It ends in the middle of a frame."""
    PARTIAL = "partial"
    """A frame comes in pieces with pauses. Nothing is wrong, so nothing may happen."""
    FRAGMENTS = "fragments"
    """A message comes in several frames. Nothing is wrong."""
    CLOSE_1001 = "close-1001"
    CLOSE_1012 = "close-1012"
    CLOSE_1013 = "close-1013"
    """Closed for maintenance."""
    SILENCE = "silence"
    """The connection stays open, but nothing comes: no message, no pong."""
    QUIET = "quiet"
    """Books do not change, but heartbeats, pings and pongs go on. Nothing is wrong."""
    UNSUBSCRIBED = "unsubscribed"
    """The subscription of a book ends without a word; heartbeats, pings and pongs go on."""
    REFUSE = "refuse"
    """All connections end, and new ones are refused for a while."""
    HANDSHAKE_503 = "handshake-503"
    """All connections end, and for a while the handshake is answered with 503."""
    GARBAGE = "garbage"
    """A message that is no JSON."""
    GAP = "gap"
    """A message of a book is lost."""
    DUPLICATE = "duplicate"
    """A message of a book comes twice."""
    REORDER = "reorder"
    """Two messages of a book change places."""
    CHECKSUM = "checksum"
    """A message of a book has a checksum that does not agree with it."""
    RESET = "reset"
    """The venue begins a book's numbers anew."""
    RESIZE = "resize"
    """A book gets other sizes, finer and coarser by turns."""
    DELIST = "delist"
    """A book vanishes from the list of instruments, does not change, and comes back."""
    REST_429 = "rest-429"
    """Requests are answered with 429 and Retry-After for a while, and connections end, to cause some."""
    REST_500 = "rest-500"
    """Likewise with 500, 502 and 503."""
    REST_LATE = "rest-late"
    """Answers come late, as they were at the time of the request; connections end."""
    REST_CUT = "rest-cut"
    """Answers end in the middle; connections end."""


ALWAYS: Final = frozenset(Fault) - {
    Fault.GAP,
    Fault.DUPLICATE,
    Fault.REORDER,
    Fault.CHECKSUM,
    Fault.RESET,
}
"""Faults that no venue can be blamed for: every feed has to withstand them."""

HARMLESS: Final = frozenset({Fault.PARTIAL, Fault.FRAGMENTS, Fault.QUIET})
"""Faults after which no book may be in doubt."""


class Planned(NamedTuple):
    """A fault and when it happens, in seconds since the server began."""

    at_s: float
    fault: Fault


def plan(random: Random, faults: Collection[Fault], *, seconds: float, mean_s: float) -> Iterator[Planned]:
    """Yield faults until `seconds`: each kind once in random order, then the same again in another order."""
    at_s = 0.0
    while True:
        kinds = sorted(faults)
        random.shuffle(kinds)
        for fault in kinds:
            at_s += mean_s * random.uniform(0.5, 1.5)
            if at_s > seconds:
                return
            yield Planned(at_s, fault)
