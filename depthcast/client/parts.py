"""Puts a snapshot together that comes in parts (`docs/protocol.md`, section 3.3).

Until its last part has come, nothing of it is shown. A part that is not the next one is a gap.
"""

from typing import Final, NamedTuple

from depthcast.shared.errors import CodecError
from depthcast.shared.order_counts import ORDERS, counts_of
from depthcast.shared.replica import ApplyResult
from depthcast.shared.types import Snapshot

LEVELS_MAX: Final = 20_000_000
"""Levels of a snapshot in parts: a gateway that never sends the last one must not use up the memory."""


class Place(NamedTuple):
    """Which part a message is, counted from 1, and how many there are."""

    part: int
    parts: int


WHOLE: Final = Place(1, 1)
"""The place of a snapshot in one message."""


class PartialSnapshot:
    """The parts that have come of one snapshot.

    `_of`: what its parts have in common: seq, both digests and their number; None before the first. The
    number of orders at each level is in the marks of a part, and of the whole, if there is any.
    """

    __slots__ = ("_asks", "_bids", "_came", "_counts", "_of")

    def __init__(self) -> None:
        self._of: tuple[int, int, int | None, int] | None = None
        self._came = 0
        self._bids: list[int] = []
        self._asks: list[int] = []
        self._counts: tuple[list[int], list[int]] = ([], [])

    @property
    def begun(self) -> bool:
        """Whether parts have come, but not the last one."""
        return self._of is not None

    def forget(self) -> None:
        """Let go of what has come."""
        self._of, self._came, self._bids, self._asks, self._counts = None, 0, [], [], ([], [])

    def add(self, snapshot: Snapshot, place: Place) -> Snapshot | ApplyResult | None:
        """Take one part; returns the whole snapshot after the last one, None while others must come.

        ALREADY: it has come before. GAP: it is not the next one, so all that has come is forgotten. Raises
        `CodecError` for more than `LEVELS_MAX` levels.
        """
        counts = None
        if snapshot.marks is not None:
            counts = counts_of(snapshot.marks, snapshot.bids, snapshot.asks)
        of = (snapshot.seq, snapshot.digest, None if counts is None else counts.digest, place.parts)
        if of != self._of:
            self.forget()
        elif place.part <= self._came:
            return ApplyResult.ALREADY
        if place.part != self._came + 1:
            self.forget()
            return ApplyResult.GAP
        self._of, self._came = of, place.part
        self._bids += snapshot.bids
        self._asks += snapshot.asks
        if counts is not None:
            self._counts[0].extend(counts.bids)
            self._counts[1].extend(counts.asks)
        if len(self._bids) + len(self._asks) > 2 * LEVELS_MAX:
            self.forget()
            raise CodecError("snapshot message", f"its parts have more than {LEVELS_MAX} levels")
        if place.part < place.parts:
            return None
        marks = None if counts is None else {ORDERS: [*self._counts, counts.digest]}
        whole = snapshot._replace(bids=self._bids, asks=self._asks, marks=marks)
        self.forget()
        return whole
