"""How far one subscription was sent."""

from typing import NamedTuple


class NeedsSnapshot(NamedTuple):
    """The client has no book yet; it has waited for one since broadcast number `since`."""

    since: int


Cursor = int | NeedsSnapshot
"""The number of the last broadcast that a subscription was sent, or that it needs a snapshot first."""
