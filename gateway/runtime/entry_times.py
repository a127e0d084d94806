"""Observes how long entries take from Redis to sockets: some numbers for each entry, none for each client."""

import time
from collections.abc import Callable
from typing import NamedTuple

from depthcast.shared.reader import AppliedEntry
from depthcast.shared.runtime.stages import ObserveStage, Stage


class _Unwritten(NamedTuple):
    """An entry with changes that was read and not flushed yet; `event_ts`: its newest source time (µs)."""

    partition: int
    read_at: float
    event_ts: int | None


class EntryTimes:
    """The entries between a read and the next flush.

    `now_us`: the wall clock, in µs since 1970. `monotonic`: seconds.
    """

    def __init__(
        self,
        observe: ObserveStage,
        now_us: Callable[[], int],
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._observe = observe
        self._now_us = now_us
        self._monotonic = monotonic
        self._unwritten: list[_Unwritten] = []

    def read(self, partition: int, entry: AppliedEntry, age_s: float | None, read_at: float) -> None:
        """Note an entry that was applied.

        `read_at`: when it came (s, `monotonic`). `age_s`: its age then, by the server's clock, None if that is
        not known.

        What was written before this reader came was not on its way, so it does not count.
        """
        if entry.info is None or entry.written is None or not entry.written.is_new:
            return
        if age_s is not None:
            self._observe(Stage.PUBLISHED_TO_READ, partition, age_s)
        if entry.updates:
            self._unwritten.append(_Unwritten(partition, read_at, entry.info.event_ts))

    def flush(self) -> None:
        """Note that everything read has been flushed."""
        if not self._unwritten:
            return
        now, now_us = self._monotonic(), self._now_us()
        for partition, read_at, event_ts in self._unwritten:
            self._observe(Stage.READ_TO_WRITTEN, partition, now - read_at)
            if event_ts is not None:
                self._observe(Stage.SOURCE_TO_WRITTEN, partition, (now_us - event_ts) / 1e6)
        self._unwritten.clear()
