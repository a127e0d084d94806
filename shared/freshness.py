"""How old a book is, by the clock of the server that holds its stream (`docs/protocol.md`, section 2.4).

Every entry of `deltas` says when it was written, by the server's clock. A reader estimates what that clock
shows now, so the wall clocks of processes do not matter. Times of a reader are seconds of its monotonic
clock.
"""

from typing import Final

from depthcast.shared.reader import Written

DRIFT: Final = 0.0005
"""Clocks that are not stepped run apart at most this fast."""

STEP_S: Final = 0.005
"""Samples that contradict each other by more than this were taken before and after a step of the clock."""

FUTURE_S: Final = 0.25
"""An entry from further in the future was written by another clock, so its age is unknown."""

LIVE_AGAIN_S: Final = 1.0
"""Input lag must have been small for this long before books are live again."""


class ServerClock:
    """Estimates a server's clock from replies to `TIME`, each between the sending and the reply.

    It keeps the sample with the shortest round trip, because that is the most precise one. A sample that
    contradicts it shows that the clock was stepped, or that another server answers, and replaces it.
    """

    def __init__(self) -> None:
        self._least_us = 0.0
        self._most_us: float | None = None
        self._at = 0.0

    def observe(self, sent: float, received: float, server_us: int) -> None:
        """Take a sample: the server's clock showed `server_us` (µs) between `sent` and `received`."""
        least, most = server_us - received * 1e6, server_us - sent * 1e6
        if self._most_us is not None:
            drift_us = (received - self._at) * DRIFT * 1e6
            slack_us = drift_us + STEP_S * 1e6
            contradicts = least > self._most_us + slack_us or most < self._least_us - slack_us
            if not contradicts and most - least > self._most_us - self._least_us + drift_us:
                return
        self._least_us, self._most_us, self._at = least, most, received

    def earliest_us(self, now: float) -> float | None:
        """The earliest time (µs since 1970) that the server's clock may show at `now`; None if unknown."""
        return None if self._most_us is None else self._least_us + now * 1e6

    def now_us(self, now: float) -> float | None:
        """The latest time (µs since 1970) that the server's clock may show at `now`; None if unknown.

        So an age that is computed from it is never too small, and too large by a round trip at most.
        """
        return None if self._most_us is None else self._most_us + now * 1e6


class Freshness:
    """Whether the books of one partition are fresh: the newest entry applied is young, and input is not late.

    After the first entry with n > 0, seals and steps of moves do not count.

    - `lag_ms`: age of the oldest unread input when that entry was written; None if the entry does not say.
    - `late`: result of the last `update`: the newest entry is older than `stale_s`, or its age is unknown.
    - `lagging`: input lag exceeded `lag_max_ms`, and has not been at most half of that for `LIVE_AGAIN_S`.

    `late` ends once the age is at most half of `stale_s`. So a reader that lags, or a leader whose input
    does, does not change its books' status with every entry.

    The age of an entry is fixed when it is applied, and grows with the monotonic clock afterwards. So a later
    step of the server's clock changes nothing, and an entry is never younger than the time since it arrived.
    """

    __slots__ = ("_clock", "_lag_max_ms", "_seen_more", "_small_since", "_stale_s", "_unaged", "_written_at",
                 "lag_ms", "lagging", "late")  # fmt: skip

    def __init__(self, clock: ServerClock, stale_s: float, lag_max_ms: int) -> None:
        self.lag_ms: int | None = None
        self.late = True
        self.lagging = False
        self._clock = clock
        self._stale_s = stale_s
        self._lag_max_ms = lag_max_ms
        self._seen_more = False
        self._small_since: float | None = None
        self._written_at: float | None = None
        self._unaged: tuple[Written, float] | None = None

    def record(self, written: Written, now: float) -> None:
        """Record that books include this entry since `now`.

        A seal makes no book younger: its leader does not know yet what input waits, and may end before it
        does. A reader that has seen nothing else takes it for what it is, the newest entry.
        """
        if written.is_seal and self._seen_more:
            return
        self._seen_more = not written.is_seal
        self._unaged = written, now
        self._find_age()
        self.lag_ms = written.lag_ms
        if self.lag_ms is not None and self.lag_ms > self._lag_max_ms:
            self.lagging, self._small_since = True, None
        elif self.lagging:
            self._end_lagging(self.lag_ms or 0, now)

    def _end_lagging(self, lag_ms: int, now: float) -> None:
        if lag_ms > self._lag_max_ms / 2:
            self._small_since = None
        elif self._small_since is None:
            self._small_since = now
        elif now - self._small_since >= LIVE_AGAIN_S:
            self.lagging = False

    def _find_age(self) -> None:
        """Determine when the newest entry was written, by the monotonic clock, once that is possible.

        An entry that was there before this reader came, and does not say when it was written, has no known
        age; nor has one that another server wrote whose clock was ahead.
        """
        assert self._unaged is not None
        written, applied_at = self._unaged
        if written.us is None:
            age_s = 0.0 if written.is_new else None
        else:
            server_us = self._clock.now_us(applied_at)
            if server_us is None:
                return
            age_s = (server_us - written.us) / 1e6
            if age_s < -FUTURE_S and not written.is_new:
                age_s = None
        self._unaged = None
        if age_s is not None:
            self._written_at = applied_at - max(age_s, 0.0)

    def age_s(self, now: float) -> float | None:
        """Age of the newest entry applied, in seconds; None if it is not known."""
        if self._unaged is not None:
            self._find_age()
        return None if self._written_at is None else now - self._written_at

    def update(self, now: float) -> bool:
        """Determine `late`; returns whether books are fresh."""
        age_s = self.age_s(now)
        if age_s is None or age_s > self._stale_s:
            self.late = True
        elif age_s <= self._stale_s / 2:
            self.late = False
        return not (self.late or self.lagging)
