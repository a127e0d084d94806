"""When the input of a book came, and when its source says that it happened (`docs/protocol.md`, 2.2 and 2.3).

The leader says both: the time at the source in the marks of a delta, the time of the last input by the
entry's `src`. Both are in the marks of a snapshot. All times are µs since 1970.
"""

from collections.abc import Mapping
from typing import Any, Final

from depthcast.shared.types import MAX_INTEGER

EVENT_TS: Final = "event_ts"
"""The mark's key: newest source time of what is merged in a delta, or of the last delta that had one."""

INPUT_TS: Final = "input_ts"
"""The mark's key, in snapshots: when the last input came, by the server's clock."""

_DIGITS_MAX: Final = 16


def time_in(marks: Mapping[str, Any], key: str) -> int | None:
    """The time in `marks`; None if there is none, or if it is not a time."""
    value = marks.get(key)
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else None


def input_ts_of(src: str) -> int:
    """When the input entry with the ID `src` came, by the server's clock; 0 if the ID does not say it."""
    ms = src.partition("-")[0]
    if not (ms.isascii() and ms.isdigit() and len(ms) <= _DIGITS_MAX):
        return 0
    ts = int(ms) * 1000
    return ts if ts <= MAX_INTEGER else 0


def to_marks(event_ts: int | None, input_ts: int) -> dict[str, int]:
    """The marks of a snapshot; what is not known is left out."""
    marks = {} if event_ts is None else {EVENT_TS: event_ts}
    return marks | {INPUT_TS: input_ts} if input_ts else marks
