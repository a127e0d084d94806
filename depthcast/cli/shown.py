"""A book as `depthcast watch` shows it, and its age as text."""

from typing import Final, NamedTuple

from depthcast.updates import Levels, State

MINUTE_S: Final = 60
HOUR_S: Final = 3600


class Shown(NamedTuple):
    """One book at one moment.

    - `state`: None until its first snapshot; REMOVED also for a symbol that the gateway refused.
    - `reason`: why it is not live, if somebody said so.
    - `bids`, `asks`: levels as (price in ticks, quantity in lots), the best first. Empty unless the state is
      LIVE or STALE.
    - `tick_size`, `lot_size`: decimal text.
    - `age_s`: seconds since its last snapshot or delta arrived; None if none did.
    - `lag_ms`: age of its last delta on arrival, by this machine's clock; None if that is unknown, or if the
      book is not live.
    """

    symbol: str
    state: State | None = None
    reason: str | None = None
    seq: int = 0
    bids: Levels = ()
    asks: Levels = ()
    tick_size: str = "1"
    lot_size: str = "1"
    age_s: float | None = None
    lag_ms: float | None = None


def age(seconds: float) -> str:
    """Return a time as text: `7 s`, `12 min` or `3 h`, rounded down."""
    if seconds < 2 * MINUTE_S:
        return f"{int(seconds)} s"
    if seconds < 2 * HOUR_S:
        return f"{int(seconds // MINUTE_S)} min"
    return f"{int(seconds // HOUR_S)} h"
