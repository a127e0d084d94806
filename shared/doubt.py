"""Doubt: a producer says that a symbol's book may be wrong, and later that it is right again.

While a book is in doubt, its mark `stale` in `deltas` and snapshots holds the producer's reason
(`docs/protocol.md`, section 2.2). The leader sets it; every reader shows such a book as stale.
"""

from collections.abc import Mapping
from typing import Any, Final

STALE: Final = "stale"
"""The mark's key: the reason; null in a delta ends the doubt."""

REASON_CHARS_MAX: Final = 64

UNKNOWN_REASON: Final = "unknown"

REJECTED: Final = "rejected"
"""The leader's own reason: an entry said that the book is right after it, but an event of it was rejected."""


def is_reason(value: object) -> bool:
    """Whether `value` can be a reason: text of 1 to `REASON_CHARS_MAX` characters that UTF-8 can carry."""
    if type(value) is not str or not 1 <= len(value) <= REASON_CHARS_MAX:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def doubt_after(marks: Mapping[str, Any], doubt: str | None) -> str | None:
    """The reason for doubt after a delta or snapshot with `marks`; `doubt`: before it.

    A reason that no leader writes counts as doubt, too.
    """
    if STALE not in marks:
        return doubt
    reason = marks[STALE]
    return reason if reason is None or is_reason(reason) else UNKNOWN_REASON
