"""Observes how long entries take from Redis to sockets: some numbers for each entry, none for each client."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from depthcast.shared.reader import AppliedEntry, Written
from depthcast.shared.runtime.stages import ObserveStage, Stage
from depthcast.shared.types import EntryInfo

if TYPE_CHECKING:
    from depthcast.shared.runtime.open_telemetry import Traces


class _Unwritten(NamedTuple):
    """An entry with changes that was read at `read_at` and not flushed yet.

    `age_s`: its age then, None if that is not known. `read_us`: µs since 1970.
    """

    partition: int
    info: EntryInfo
    written: Written
    age_s: float | None
    read_at: float
    read_us: int


class EntryTimes:
    """The entries between a read and the next flush.

    `now_us`: the wall clock, in µs since 1970. `traces`: None if nothing is traced. `monotonic`: seconds.
    """

    def __init__(
        self,
        observe: ObserveStage,
        now_us: Callable[[], int],
        traces: "Traces | None" = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._observe = observe
        self._now_us = now_us
        self._traces = traces
        self._monotonic = monotonic
        self._unwritten: list[_Unwritten] = []

    def read(self, partition: int, entry: AppliedEntry, age_s: float | None, read_at: float) -> None:
        """Note an entry that was applied.

        `read_at`: when it came (s, `monotonic`). `age_s`: its age then, by the server's clock; None if that
        is not known. What was written before this reader came was not on its way, so it does not count.
        """
        info, written = entry.info, entry.written
        if info is None or written is None or not written.is_new:
            return
        if entry.updates:
            read_us = 0 if self._traces is None else self._now_us()
            self._unwritten.append(_Unwritten(partition, info, written, age_s, read_at, read_us))
        elif age_s is not None:
            self._observe(Stage.PUBLISHED_TO_READ, partition, age_s)

    def flush(self) -> None:
        """Note that everything read has been flushed."""
        if not self._unwritten:
            return
        now, now_us = self._monotonic(), self._now_us()
        for partition, info, written, age_s, read_at, read_us in self._unwritten:
            if age_s is not None:
                self._observe(Stage.PUBLISHED_TO_READ, partition, age_s)
            self._observe(Stage.READ_TO_WRITTEN, partition, now - read_at)
            if info.event_ts is not None:
                self._observe(Stage.SOURCE_TO_WRITTEN, partition, (now_us - info.event_ts) / 1e6)
            if self._traces is not None:
                self._traces.deliver(partition, info.src, (written.us, read_us, now_us))
        self._unwritten.clear()
