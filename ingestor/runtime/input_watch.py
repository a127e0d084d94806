"""Watches how far a leader has read its input, by the server's clock, and says it in every entry."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from depthcast.broadcaster.publication import Broadcast
from depthcast.broadcaster.runtime.publisher import Publisher, Receipt
from depthcast.ingestor.input_progress import InputProgress, Milestone
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.freshness import ServerClock
from depthcast.shared.position import ZERO, Position
from depthcast.shared.runtime.redis import RawEntry
from depthcast.shared.types import EntryInfo

logger = logging.getLogger(__name__)


class InputWatch:
    """Input lag and lost input of one leadership, which begins after the entry with `info`.

    `oldest`: the first input that was unread then, if there was any.
    """

    def __init__(
        self, publisher: Publisher, stats: PartitionStats, info: EntryInfo, oldest: Position = ZERO
    ) -> None:
        self.publisher = publisher
        self.stats = stats
        self.progress = InputProgress(Position.parse(info.src), info.entries, info.lost or 0, oldest)
        self._clock = ServerClock()
        self._receipt: Receipt | None = None
        self.record_publish()

    def server_us(self) -> float | None:
        """What the server's clock shows now, in µs since 1970; None before the first write."""
        return self._clock.now_us(asyncio.get_running_loop().time())

    def begin_read(self) -> Milestone | None:
        """Call when a read is sent, and pass the result to `record_read`."""
        return self.progress.begin_read()

    def record_read(self, batch: Iterable[RawEntry], milestone: Milestone | None) -> None:
        """Record what a read returned, if it did not fail."""
        self._note(self.progress.record_read([position for position, _ in batch], milestone))

    def stamp(self, broadcasts: Sequence[Broadcast], consumed: str = "") -> list[Broadcast]:
        """Add input lag, entries and lost entries to what is about to be published.

        `consumed`: the last input consumed, if that is not the `src` of the last broadcast.
        """
        progress = self.progress
        ends = [Position.parse(broadcast.info.src) for broadcast in broadcasts]
        after = Position.parse(consumed) if consumed else ends[-1]
        now_us = self.server_us()
        lag_ms = None if now_us is None else progress.lag_ms(after, now_us / 1000)
        self.stats.input_lag_s = (lag_ms or 0) / 1000
        stamped = []
        for broadcast, end in zip(broadcasts, ends, strict=True):
            progress.publish(end)
            lost = progress.lost or None
            info = broadcast.info._replace(lag_ms=lag_ms, entries=progress.entries, lost=lost)
            stamped.append(broadcast._replace(info=info))
        return stamped

    def record_publish(self) -> None:
        """Take what the server said with the last write."""
        receipt = self.publisher.receipt
        if receipt is not None and receipt is not self._receipt:
            self._receipt = receipt
            self._clock.observe(receipt.sent, receipt.received, receipt.written_us)
            now_ms = receipt.written_us // 1000
            self._note(self.progress.record_end(receipt.input_end, receipt.input_added, now_ms))

    def _note(self, lost: int) -> None:
        about = {"partition": self.publisher.partition, "key": self.publisher.keys.events}
        self.stats.input_lost = self.progress.lost
        self.stats.lost_entries += lost
        if lost:
            logger.error(
                "input was deleted before it was read; send the books again",
                extra={**about, "entries": lost, "since_the_beginning": self.progress.lost},
            )
        elif self.progress.restarted:
            logger.warning("the input log began again; what was unread in it is lost", extra=about)
