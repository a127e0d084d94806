"""Limits of the input: what one entry, one array and one book may hold (`docs/protocol.md`, section 2.1.3).

An entry is refused for its size before anything of it is decoded. The same limits must hold when an orders
feed's input is replayed, so each checkpoint records those it was written under.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from depthcast.shared.settings import IngestorSettings


class Limits(NamedTuple):
    """Limits that decide which events are rejected; the settings of the same names set them.

    `entry_bytes_max`: values of an entry together, names included. `entry_values_max`: fields of an entry.
    `array_events_max`: events of an array. `levels_max`: levels of a book's side. `orders_max`: orders of a
    book.
    """

    entry_bytes_max: int = 16 << 20
    entry_values_max: int = 10_000
    array_events_max: int = 1_000_000
    levels_max: int = 1_000_000
    orders_max: int = 2_000_000

    @classmethod
    def of(cls, settings: IngestorSettings) -> Self:
        """The limits that settings ask for."""
        return cls(*(getattr(settings, name) for name in cls._fields))


DEFAULT: Final = Limits()

_MOST: Final = 2**62

UNLIMITED: Final = Limits(*[_MOST] * len(Limits._fields))
"""For input that was applied before there were limits."""

NOTHING: Final = Limits(*[0] * len(Limits._fields))
"""For a symbol that is withdrawn: no input is applied."""

SMALL_BYTES: Final = 1 << 16
"""Entries up to this size are decoded whole and applied in one step; larger ones in slices."""


def entry_bytes(fields: Sequence[tuple[bytes, bytes]]) -> int:
    """Size of an entry: its names and values together."""
    size = 0
    for name, raw in fields:
        size += len(name) + len(raw)
    return size
