"""Who reads a channel.

A worker has tens of thousands of channels, most with a single reader. So what there is none of costs nothing,
one alone costs a tuple that all channels of that reader share, and what is there no more keeps no room.
"""

from collections.abc import Collection
from typing import TypeVar

from depthcast.gateway.delivery.cohort import Cohort
from depthcast.gateway.delivery.subscription_group import SubscriptionGroup
from depthcast.gateway.protocol.messages import Encoding

Reader = TypeVar("Reader")

ByEncoding = tuple[tuple[Encoding, Collection[Cohort]], ...]


def alone(cohort: Cohort, encoding: Encoding) -> ByEncoding:
    """A cohort as the only reader."""
    return ((encoding, (cohort,)),)


class Readers:
    """The readers of one channel; false if there are none.

    `by_encoding`: cohorts without an interval; `throttled`: other cohorts; `split`: groups outside cohorts.
    """

    __slots__ = ("by_encoding", "split", "throttled")

    def __init__(self) -> None:
        self.by_encoding: ByEncoding = ()
        self.throttled: Collection[Cohort] = ()
        self.split: Collection[SubscriptionGroup] = ()

    def add(self, cohort: Cohort, only: ByEncoding) -> None:
        """Add a cohort. `only`: what `alone` made of it; pass the same one to all channels."""
        if cohort.interval_ms:
            self.throttled = _with(self.throttled, cohort)
        elif not self.by_encoding:
            self.by_encoding = only
        else:
            encoding = only[0][0]
            self._put(encoding, _with(self._alike(encoding), cohort))

    def remove(self, cohort: Cohort, encoding: Encoding) -> None:
        """Remove a cohort that was added with this encoding."""
        if cohort.interval_ms:
            self.throttled = _without(self.throttled, cohort)
        else:
            self._put(encoding, _without(self._alike(encoding), cohort))

    def add_split(self, group: SubscriptionGroup) -> None:
        """Add a group outside cohorts."""
        self.split = _with(self.split, group)

    def remove_split(self, group: SubscriptionGroup) -> None:
        """Remove one."""
        self.split = _without(self.split, group)

    def __bool__(self) -> bool:
        return bool(self.by_encoding or self.throttled or self.split)

    def _alike(self, encoding: Encoding) -> Collection[Cohort]:
        return next((cohorts for each, cohorts in self.by_encoding if each is encoding), ())

    def _put(self, encoding: Encoding, cohorts: Collection[Cohort]) -> None:
        if cohorts and cohorts is self._alike(encoding):
            return
        others = tuple(pair for pair in self.by_encoding if pair[0] is not encoding)
        self.by_encoding = (*others, (encoding, cohorts)) if cohorts else others


def _with(readers: Collection[Reader], reader: Reader) -> Collection[Reader]:
    """These and one more, which may be among them; a dictionary is changed in place."""
    if reader in readers:
        return readers
    if not isinstance(readers, dict):
        return dict.fromkeys((*readers, reader)) if readers else (reader,)
    readers[reader] = None
    return readers


def _without(readers: Collection[Reader], reader: Reader) -> Collection[Reader]:
    """These without one that is among them."""
    if isinstance(readers, dict) and len(readers) > 1:
        del readers[reader]
        return readers
    assert reader in readers
    return ()
