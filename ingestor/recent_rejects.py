"""The rejects that were published last: what of them a stream has lost is recorded again.

A failover may lose the newest rejects together with the deltas of the same publishes. The next leader then
rejects that input again, because `deltas` says where to continue. If `deltas` is emptied before it looks, it
continues from what this process retains, and nothing else knows those rejects.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from depthcast.ingestor.output import reject_fields
from depthcast.ingestor.rejects import Reject
from depthcast.shared.errors import PositionError
from depthcast.shared.position import Position

RECENT_MAX: Final = 1_000
"""Of more rejects that were lost, only this many are recorded again. `rejected` counts all."""


class RecentRejects:
    """The last rejects that one process published for a partition, in order."""

    def __init__(self, most: int = RECENT_MAX) -> None:
        self._published: deque[Reject] = deque(maxlen=most)

    def record(self, rejects: Iterable[Reject]) -> None:
        """Remember rejects that were published."""
        self._published.extend(rejects)

    def missing(
        self, newest: Mapping[bytes, bytes] | None, unpublished: Sequence[Reject], upto: Position
    ) -> list[Reject]:
        """The rejects to publish after `newest`, the fields of the stream's last entry; None if it is empty.

        `unpublished`: of a publish that failed; it may have been written all the same. `upto`: the last input
        that is still there. What was published of input after it is lost with that input.
        """
        published = [reject for reject in self._published if Position.parse(reject.source) <= upto]
        rejects = [*published, *unpublished]
        if newest is None:
            return rejects
        for number in range(len(rejects) - 1, -1, -1):
            if dict(reject_fields(rejects[number])) == newest:
                return rejects[number + 1 :]
        if published and _is_before(newest, published[0]):
            return rejects
        return list(unpublished)


def _is_before(newest: Mapping[bytes, bytes], reject: Reject) -> bool:
    """Whether an entry of the stream is of older input than a reject. False if nothing says so."""
    try:
        return Position.parse(newest.get(b"source", b"")) < Position.parse(reject.source)
    except PositionError:
        return False
