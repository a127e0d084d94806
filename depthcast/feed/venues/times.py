"""Numbers and times as venues write them.

Times are µs since 1970. One that cannot be read is None: no book depends on it.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from depthcast.feed.decimals import scaled

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_WHOLE: Final = re.compile(r"-?\d{1,19}\Z", re.ASCII)
_MS_END: Final = 10**14


def whole_number(value: object) -> int | None:
    """Return an integer that is written as a number or as text; None for anything else."""
    if isinstance(value, str):
        return int(value) if _WHOLE.match(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def from_ms(value: object) -> int | None:
    """Read milliseconds since 1970, a number or text."""
    number = whole_number(value)
    return number * 1_000 if number is not None and 0 <= number < _MS_END else None


def from_seconds(value: object) -> int | None:
    """Read seconds since 1970 as decimal text with up to six decimals."""
    try:
        return scaled(value, 6) if isinstance(value, str) else None
    except ValueError:
        return None


def from_rfc3339(value: object) -> int | None:
    """Read a time such as "2023-10-06T17:35:55.440295Z"; digits beyond µs are cut off."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        return None
    return (moment - _EPOCH) // _MICROSECOND if moment.tzinfo is not None else None
