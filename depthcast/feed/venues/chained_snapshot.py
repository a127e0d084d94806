"""Joins a snapshot that was requested to a stream whose updates name the number of the one before. Pure.

The rule is the one that OKX gives ("Delist initial snapshot and checksum field in order book channels", how
to manage a local order book): updates are kept from the beginning of the subscription. A snapshot from before
the first of them is of no use. Of the others, those up to the snapshot's number are dropped, and the first
one left must follow a number that is not beyond the snapshot's. A snapshot that the stream has not reached
yet waits.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from depthcast.feed.venue import BUFFERED_MOST, VenueLevel

WAITS_MOST: Final = 20
"""So often no other snapshot is wanted while one waits for the stream; its numbers may have begun anew."""


class Numbered(NamedTuple):
    """A whole book, or an update that follows the number `previous`."""

    number: int
    previous: int
    bids: Sequence[VenueLevel]
    asks: Sequence[VenueLevel]
    ts: int | None


class Joint(NamedTuple):
    """A snapshot, and the updates that lead on from it."""

    snapshot: Numbered
    updates: Sequence[Numbered]


class ChainedSnapshot:
    """What waits for one book. `overflown`: more updates came than are kept, so they were forgotten."""

    def __init__(self) -> None:
        self.updates: list[Numbered] = []
        self.overflown = False
        self._snapshot: Numbered | None = None
        self._waits = 0

    def wants_snapshot(self) -> bool:
        """Whether a snapshot requested now could be joined soon."""
        if self._snapshot is not None and self._waits < WAITS_MOST:
            self._waits += 1
            return False
        self._waits = 0
        return True

    def take_update(self, update: Numbered) -> Joint | None:
        """Keep an update; returns the joint if the stream has reached the snapshot by it."""
        if self.updates and update.previous != self.updates[-1].number:
            self.updates.clear()  # messages are missing: what came before leads nowhere
        if len(self.updates) >= BUFFERED_MOST:
            self.updates.clear()
            self.overflown = True
        if update.number < update.previous:
            self.updates.clear()  # the venue began its numbers anew: a snapshot has to be from after that
            self._snapshot = None
        else:
            self.updates.append(update)
        return self._join()

    def take_snapshot(self, snapshot: Numbered) -> Joint | None:
        """Take a snapshot in place of the one before; returns the joint if there is one."""
        self._snapshot, self._waits = snapshot, 0
        return self._join()

    def _join(self) -> Joint | None:
        snapshot = self._snapshot
        if snapshot is None or not self.updates or self.updates[-1].number < snapshot.number:
            return None
        if snapshot.number < self.updates[0].previous:
            self._snapshot = None  # too old
            return None
        return Joint(snapshot, [update for update in self.updates if update.number > snapshot.number])
