"""Sequence numbers that never repeat, even after Redis lost entries (`docs/protocol.md`, section 2.2).

A new epoch moves every symbol into a block of numbers that only this epoch uses. This holds as long as no
symbol is broadcast more than 2,048 times in a millisecond.
"""

from typing import Final

ORIGIN_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z in milliseconds since 1970."""

SEQS_PER_MS: Final = 2048


def first_seq(epoch: int, recovered: int) -> int:
    """A symbol's first seq in `epoch` (ms since 1970); `recovered`: its last known seq, 0 if new."""
    return max(recovered + 1, (epoch - ORIGIN_MS) * SEQS_PER_MS)
