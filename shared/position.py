"""Positions in a stream, ordered as Redis orders stream IDs."""

import re
from typing import Final, NamedTuple

from depthcast.shared.errors import PositionError

_TEXT: Final = re.compile(r"(\d{1,20})-(\d{1,20})\Z", re.ASCII)
_MAX_PART: Final = 2**64 - 1
_DIGITS_MAX: Final = 20


class Position(NamedTuple):
    """A stream ID; in a `deltas` stream, the epoch in ms and the number of the entry in the epoch."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @classmethod
    def parse(cls, text: str | bytes) -> "Position":
        """Read `<epoch>-<n>`; raises `PositionError` for anything else."""
        if type(text) is bytes or type(text) is str:
            first, _, second = text.partition(b"-" if type(text) is bytes else "-")  # type: ignore[arg-type]
            # The common case, at a third of the cost.
            if (
                len(first) < _DIGITS_MAX > len(second)
                and first.isdigit()
                and second.isdigit()
                and text.isascii()
            ):
                return tuple.__new__(cls, (int(first), int(second)))
        if isinstance(text, bytes):
            text = text.decode("ascii", "replace")
        match = _TEXT.match(text) if isinstance(text, str) else None
        if match is None:
            raise PositionError(text)
        epoch, n = int(match[1]), int(match[2])
        if epoch > _MAX_PART or n > _MAX_PART:
            raise PositionError(text)
        return cls(epoch, n)

    def next(self) -> "Position":
        """Return the position that follows in the same epoch."""
        return Position(self.epoch, self.n + 1)


ZERO: Final = Position(0, 0)
"""The position before all others: that of an empty stream."""

LAST: Final = Position(_MAX_PART, _MAX_PART)
"""The position behind all others."""


def follows(position: Position, previous: Position, prev_named: Position | None) -> bool:
    """Return whether the entry at `position` directly follows `previous`.

    Within an epoch `n` grows by one. The first entry of an epoch (n = 0) names the position that it
    continues.
    """
    if position.n == 0:
        return prev_named == previous
    return position.epoch == previous.epoch and position.n == previous.n + 1
