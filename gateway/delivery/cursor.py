"""The cursor: how far a subscription was sent."""

from typing import NamedTuple

from depthcast.gateway.market.snapshot_parts import SnapshotParts


class NeedsSnapshot(NamedTuple):
    """The client has no book yet; it has been waiting for one since broadcast number `since`."""

    since: int


class PartlySent(NamedTuple):
    """The client was sent the first `sent` parts of a snapshot, and has nothing of it yet.

    With the last part it is at broadcast `number`. `status`: of a first snapshot, what goes behind the last
    part: the `status` of that broadcast, empty while live. None if the client had a book before.
    """

    number: int
    parts: SnapshotParts
    sent: int
    status: bytes | None

    @property
    def is_first(self) -> bool:
        """Whether the client had no book before."""
        return self.status is not None


Cursor = int | NeedsSnapshot | PartlySent
"""The number of the last broadcast sent on a subscription; something else until a snapshot was sent whole."""
