"""Observes how long input waits until a leader consumes it, and then until its result is published."""

from collections.abc import Iterable

from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.position import Position
from depthcast.shared.runtime.stages import Stage


class Consumption:
    """Three observations at most for each batch and each publish, none for each entry."""

    def __init__(self, partition: int, stats: PartitionStats, environment: Environment) -> None:
        self.partition = partition
        self.stats = stats
        self.environment = environment
        self._batch_at_us = 0
        self._since: float | None = None

    def begin_batch(self, first: Position, server_us: float | None) -> None:
        """Observe the oldest entry of a batch that is about to be applied.

        `server_us`: what the server's clock shows, in µs since 1970; None if it is not known.
        """
        self._batch_at_us = self.environment.now_us()
        if server_us is not None:
            waited_s = server_us / 1e6 - first.epoch / 1e3
            self.stats.observe(Stage.INPUT_TO_CONSUMED, self.partition, waited_s)

    def begin_entry(self) -> None:
        """Note that an entry is about to be applied; the first after a drain waits longest to be published."""
        if self._since is None:
            self._since = self.environment.monotonic()

    def drain(self, event_times: Iterable[int | None]) -> float | None:
        """Observe the newest source time that was drained; returns what `publish` needs.

        `event_times`: newest source time of each interval, in µs since 1970, None if it has none.
        """
        newest = max((ts for ts in event_times if ts is not None), default=None)
        if newest is not None and self._batch_at_us:
            took_s = (self._batch_at_us - newest) / 1e6
            self.stats.observe(Stage.SOURCE_TO_CONSUMED, self.partition, took_s)
        since, self._since = self._since, None
        return since

    def publish(self, since: float | None) -> None:
        """Observe that what was drained has been published. `since`: what `drain` returned."""
        if since is not None:
            took_s = self.environment.monotonic() - since
            self.stats.observe(Stage.CONSUMED_TO_PUBLISHED, self.partition, took_s)
