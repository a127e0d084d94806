"""Observes how long input waits until a leader consumes it, and then until its result is published."""

from collections.abc import Iterable
from typing import NamedTuple

from depthcast.ingestor.runtime.environment import Environment
from depthcast.ingestor.runtime.stats import PartitionStats
from depthcast.shared.position import Position
from depthcast.shared.runtime.stages import Stage


class Drained(NamedTuple):
    """What is about to be published.

    `since`: when the first input in it was consumed (s, monotonic); None if it has none. `batch_at_us`: when
    its last batch was consumed (µs since 1970).
    """

    since: float | None
    batch_at_us: int


class Consumption:
    """Three observations at most for each batch and each publish, none for each entry.

    They are made after the publish, or with the next batch, so that they delay nothing.
    """

    def __init__(self, partition: int, stats: PartitionStats, environment: Environment) -> None:
        self.partition = partition
        self.stats = stats
        self.environment = environment
        self._batch_at_us = 0
        self._since: float | None = None
        self._unobserved: list[tuple[Stage, float]] = []

    def begin_batch(self, first: Position, server_us: float | None) -> None:
        """Note the oldest entry of a batch that is about to be applied.

        `server_us`: what the server's clock shows, in µs since 1970; None if it is not known.
        """
        if self._unobserved:
            self._observe()
        self._batch_at_us = self.environment.now_us()
        if server_us is not None:
            waited_s = server_us / 1e6 - first.epoch / 1e3
            self._unobserved.append((Stage.INPUT_TO_CONSUMED, waited_s))

    def begin_entry(self) -> None:
        """Note that an entry is about to be applied; the first one after a drain waits longest."""
        if self._since is None:
            self._since = self.environment.monotonic()

    def drain(self, event_times: Iterable[int | None]) -> Drained:
        """Note the newest source time that was drained; returns what `publish` needs.

        `event_times`: newest source time of each interval, in µs since 1970, None if it has none.
        """
        newest = max((ts for ts in event_times if ts is not None), default=None)
        if newest is not None and self._batch_at_us:
            took_s = (self._batch_at_us - newest) / 1e6
            self._unobserved.append((Stage.SOURCE_TO_CONSUMED, took_s))
        since, self._since = self._since, None
        return Drained(since, self._batch_at_us)

    def publish(self, drained: Drained, src: str) -> None:
        """Observe that what was drained has been published. `src`: the last input in it."""
        self._observe()
        if drained.since is None:
            return
        took_s = self.environment.monotonic() - drained.since
        self.stats.observe(Stage.CONSUMED_TO_PUBLISHED, self.partition, took_s)
        if self.stats.traces is not None:
            now_us = self.environment.now_us()
            self.stats.traces.publish(self.partition, src, drained.batch_at_us, now_us)

    def _observe(self) -> None:
        """Make the observations that were put off."""
        for stage, took_s in self._unobserved:
            self.stats.observe(stage, self.partition, took_s)
        self._unobserved.clear()
