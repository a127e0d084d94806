"""Decides which server a partition is read from: a replica that follows closely, or the primary.

Pure: `depthcast.shared.runtime.replicas` asks the servers. `docs/protocol.md`, section 2.6, has the rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from depthcast.shared.codec import WRITTEN_FIELD, decode_written
from depthcast.shared.position import Position

Address = tuple[str, int]

AWAY: Final = "away"
LINK: Final = "link"
HISTORY: Final = "history"
BEHIND: Final = "behind"
MOVING: Final = "moving"
REASONS: Final = (AWAY, LINK, HISTORY, BEHIND, MOVING)
"""Why a replica is not read from: it does not answer; it does not follow its primary just now; it follows
another primary, or holds what the primary does not hold; it is too far behind; the slot is being moved."""

AGAIN_S: Final = 10.0
"""A replica that was left is read from again when nothing was wrong with it for this long."""

AGAIN_LAG_MS: Final = 500
"""It must then be at most so far behind, and at most half the limit."""

_Entry = tuple[Position, Sequence[tuple[bytes, bytes]]]


class Report(NamedTuple):
    """A replica as asked: one of `REASONS`, empty if nothing is wrong; `problem` in words; `lag_ms`.

    `lag_ms`: None if it is not known.
    """

    reason: str
    problem: str = ""
    lag_ms: int | None = None


class Compared(NamedTuple):
    """The ends of a `deltas` stream at two servers, the replica asked first.

    - `newest`: the replica's newest entry; None: it holds none.
    - `following`: the first two entries that the primary holds from that one on, or of all without one.
    - `last`: the primary's newest entry.
    """

    newest: _Entry | None
    following: Sequence[_Entry]
    last: _Entry | None


class Missing(NamedTuple):
    """What a replica lacks. `since`: the oldest entry, None for nothing. `ms`: its age, None if not known."""

    since: Position | None
    ms: int | None


def link_problem(replica: Mapping[str, Any], primary: Mapping[str, Any]) -> Report | None:
    """What is wrong with a replica's link, by both servers' replies to INFO replication; None: nothing."""
    role = replica.get("role")
    if role != "slave":
        return Report(HISTORY, f"it is no replica, its role is {role}")
    if replica.get("master_link_status") != "up":
        return Report(LINK, "its link to the primary is down")
    if replica.get("master_sync_in_progress"):
        return Report(LINK, "it is being filled by a full synchronisation")
    if replica.get("master_replid") != primary.get("master_replid"):
        return Report(HISTORY, "it follows another primary: their replication IDs differ")
    return None


def missing_of(ends: Compared) -> Missing | None:
    """What the replica lacks of the stream; None if it holds what the primary does not.

    The age is from the writing of the oldest missing entry to that of the last one, so no clock is needed.
    """
    newest, following, last = ends
    if newest is None:
        missing = following[0] if following else None
    elif following and following[0][0] == newest[0]:
        if dict(following[0][1]) != dict(newest[1]):
            return None
        missing = following[1] if len(following) > 1 else None
    elif following:  # trimmed beyond what the replica has
        return Missing(following[0][0], _between_ms(newest, last))
    else:
        return None
    return Missing(None, 0) if missing is None else Missing(missing[0], _between_ms(missing, last))


def _between_ms(first: _Entry, last: _Entry | None) -> int | None:
    begin_us, end_us = _written_us(first), None if last is None else _written_us(last)
    return None if begin_us is None or end_us is None else max(0, end_us - begin_us) // 1000


def _written_us(entry: _Entry) -> int | None:
    return next((decode_written(raw) for name, raw in entry[1] if name == WRITTEN_FIELD), None)


class Lag:
    """How far one replica is behind, in ms: as long as entries that it lacks took to be written.

    Or longer, if it was seen to lack the same entry for longer: then nothing may be written any more.
    """

    def __init__(self) -> None:
        self._missing: Position | None = None
        self._since = 0.0

    def observe(self, missing: Missing, now: float) -> int | None:
        """Take what is missing at `now` (s, monotonic); returns the lag, None if it is not known."""
        if missing.since is None:
            self._missing = None
            return 0
        if missing.since != self._missing:
            self._missing, self._since = missing.since, now
        seen_ms = round((now - self._since) * 1000)
        return None if missing.ms is None else max(missing.ms, seen_ms)


class ReplicaChoice:
    """Where one partition is read from. `at`: the replica; None: the primary.

    `lag_max_ms`: a replica that is further behind is left. `first`: a number that differs between readers, so
    that they share several replicas.
    """

    def __init__(self, lag_max_ms: int, first: int = 0) -> None:
        self.at: Address | None = None
        self._lag_max_ms = lag_max_ms
        self._first = first
        self._bad_at: dict[Address, float] = {}

    def checked(self, report: Report, address: Address) -> Report:
        """The report, with the reason `behind` if it is only the lag that speaks against the replica.

        One that is not read from has to be closer than one that is.
        """
        if report.reason:
            return report
        limit = self._lag_max_ms if address == self.at else min(self._lag_max_ms // 2, AGAIN_LAG_MS)
        if report.lag_ms is None:
            return report._replace(
                reason=BEHIND, problem="its entries do not say when they were written (_w)"
            )
        if report.lag_ms > limit:
            return report._replace(
                reason=BEHIND, problem=f"it is {report.lag_ms} ms behind, more than {limit}"
            )
        return report

    def observe(self, now: float, reports: Mapping[Address, Report]) -> Report | None:
        """Decide on checked reports at `now` (s, monotonic); changes `at`.

        Returns the report for which the replica in use was left, None if it was not.
        """
        self._bad_at = {address: at for address, at in self._bad_at.items() if now - at < AGAIN_S}
        for address, report in reports.items():
            if report.reason:
                self._bad_at[address] = now
        left = reports.get(self.at) if self.at is not None else None
        if self.at is not None and (left is None or not left.reason):
            return None
        usable = sorted(address for address, report in reports.items() if self._usable(address, report, now))
        self.at = usable[self._first % len(usable)] if usable else None
        return left

    def leave(self, now: float) -> None:
        """Go back to the primary for a reason of the reader's own."""
        if self.at is not None:
            self._bad_at[self.at] = now
            self.at = None

    def _usable(self, address: Address, report: Report, now: float) -> bool:
        bad_at = self._bad_at.get(address)
        return not report.reason and (bad_at is None or now - bad_at >= AGAIN_S)
