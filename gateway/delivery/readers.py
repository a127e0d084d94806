"""Who reads a channel.

A worker has tens of thousands of channels, most with a single reader. So what there is none of costs nothing,
and what is there no more keeps no room.
"""

from typing import Any, Final

from depthcast.gateway.delivery.cohort import Cohort
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.protocol.messages import Encoding

_NOBODY: Final[dict[Any, None]] = {}
"""Nothing is added to it."""


class Readers:
    """The readers of one channel; false if there are none. All but `by_encoding` are sets in order.

    `by_encoding`: cohorts without an interval; `throttled`: other cohorts; `split`: groups outside cohorts.
    """

    __slots__ = ("by_encoding", "split", "throttled")

    def __init__(self) -> None:
        self.by_encoding: tuple[tuple[Encoding, dict[Cohort, None]], ...] = ()
        self.throttled: dict[Cohort, None] = _NOBODY
        self.split: dict[SubscriptionGroup, None] = _NOBODY

    def add(self, cohort: Cohort, encoding: Encoding) -> None:
        """Add a cohort; one with an interval is asked for no bytes, so its `encoding` does not matter."""
        if cohort.interval_ms:
            self.throttled = self.throttled or {}
            self.throttled[cohort] = None
            return
        for each, cohorts in self.by_encoding:
            if each is encoding:
                cohorts[cohort] = None
                return
        self.by_encoding += ((encoding, {cohort: None}),)

    def remove(self, cohort: Cohort, encoding: Encoding) -> None:
        """Remove a cohort that was added with this encoding."""
        if cohort.interval_ms:
            del self.throttled[cohort]
            self.throttled = self.throttled or _NOBODY
            return
        alike = next(cohorts for each, cohorts in self.by_encoding if each is encoding)
        del alike[cohort]
        if not alike:
            self.by_encoding = tuple(pair for pair in self.by_encoding if pair[1])

    def add_split(self, group: SubscriptionGroup) -> None:
        """Add a group outside cohorts."""
        self.split = self.split or {}
        self.split[group] = None

    def remove_split(self, group: SubscriptionGroup) -> None:
        """Remove one."""
        del self.split[group]
        self.split = self.split or _NOBODY

    def __bool__(self) -> bool:
        return bool(self.by_encoding or self.throttled or self.split)
