"""The cursor: how far a subscription was sent."""

from typing import NamedTuple


class NeedsSnapshot(NamedTuple):
    """The client has no book yet; it has been waiting for one since broadcast number `since`."""

    since: int


Cursor = int | NeedsSnapshot
"""The number of the last broadcast sent on a subscription, or `NeedsSnapshot` before the first snapshot."""
