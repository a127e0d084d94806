"""What a symbol's book stands for, beside what is wanted of it."""

from typing import NamedTuple

from depthcast.shared.instruments import Instrument
from depthcast.shared.listing import Listing


class Registered(NamedTuple):
    """One symbol: the instrument in the hash, None if there is none, and its last listing, None if unknown.

    `problem`: why the value in the hash cannot be used.
    """

    symbol: str
    wanted: Instrument | None
    listing: Listing | None
    problem: str = ""

    @property
    def awaits_leader(self) -> bool:
        """Whether no leader has recorded the listing that is wanted."""
        return self.wanted is not None and (
            self.listing is None or self.listing.withdrawn or self.wanted.listing > self.listing.number
        )

    @property
    def awaits_empty_book(self) -> bool:
        """Whether the book stands for something else than what is wanted, because it holds levels."""
        return (
            self.wanted is not None
            and not self.awaits_leader
            and self.listing is not None
            and not self.listing.stands_for(self.wanted)
        )

    @property
    def state(self) -> str:
        """The state in a few words."""
        if self.problem:
            return f"malformed: {self.problem}"
        if self.wanted is None:
            return "withdrawn"
        if self.awaits_leader:
            return "waits for a leader"
        return "a change waits for an empty book" if self.awaits_empty_book else "listed"

    @property
    def difference(self) -> str:
        """What the change that waits changes, such as `tick size 0.01 → 0.001`."""
        if self.wanted is None or self.listing is None:
            return ""
        now = self.listing.instrument
        pairs = (
            ("tick size", now.tick_size, self.wanted.tick_size),
            ("lot size", now.lot_size, self.wanted.lot_size),
            ("feed", now.feed, self.wanted.feed),
            ("on cross", now.on_cross, self.wanted.on_cross),
        )
        return ", ".join(f"{name} {before} → {after}" for name, before, after in pairs if before != after)
